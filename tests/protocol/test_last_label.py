"""The last-label baseline repeats what was seen last."""

import numpy as np
import pytest

from anticipate.errors import DataError
from anticipate.protocol.dense_baselines import LastLabel


def test_the_last_label_goes_on_in_every_sample():
    observed = np.array([4, 4, 2], np.int16)
    preds = LastLabel().forecast(observed, 6, 2, np.random.default_rng(0))
    assert preds.tolist() == [[4, 4, 2, 2, 2, 2]] * 2
    assert preds.dtype == np.int16


def test_a_forecast_no_longer_than_the_observation_is_its_beginning():
    preds = LastLabel().forecast(np.array([4, 3, 2]), 2, 1, np.random.default_rng(0))
    assert preds.tolist() == [[4, 3]]


def test_an_empty_observation_is_an_error():
    with pytest.raises(DataError, match="at least one observed frame"):
        LastLabel().forecast(np.array([], np.int16), 6, 2, np.random.default_rng(0))
