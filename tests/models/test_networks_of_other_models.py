"""A network that is given to a model of another kind is refused before anything is computed."""

import pytest
from torch import nn

import anticipate
from anticipate.errors import ConfigError
from anticipate.models.own_forecasts import require_inputs

FEATURES, CLASSES, RATE = 16, 4, 3


@pytest.mark.parametrize(
    ("model", "network", "taken"),
    [
        ("QueryAnticipator", "DiffAnt", "z_s, s, memory"),
        ("QueryAnticipator", "MixANT", "x_t, "),
        ("QueryAnticipator", "AGA", "features, past"),
        ("QueryAnticipator", "DeterministicGTDA", "features, observed, valid"),
        ("FrameAnticipator", "DiffAnt", "z_s, s, memory"),
        ("FrameAnticipator", "FUTR", "features, observed"),
    ],
)
def test_a_network_of_another_model_is_refused(model, network, taken):
    """As many inputs as the model gives are not enough where they are others."""
    expected = f"the network {network} takes {taken}.*, but {model} gives it features, observed"
    with pytest.raises(ConfigError, match=expected):
        getattr(anticipate, model)(CLASSES, FEATURES, RATE, network=getattr(anticipate, network))


def test_a_clip_s_network_sees_features_alone(protocol):
    with pytest.raises(ConfigError, match="FUTR takes features, observed, but SequenceAnticipator"):
        anticipate.SequenceAnticipator(6, FEATURES, protocol, [1] * 6, network=anticipate.FUTR)


def test_a_network_of_one_s_own_may_name_its_inputs():
    class Own(nn.Module):
        def forward(self, x, mask, extra=None):
            """Compute nothing."""

    require_inputs(nn.Module(), Own(), "features", "observed")
    with pytest.raises(ConfigError, match="Own takes x, mask, extra, but Module gives it features"):
        require_inputs(nn.Module(), Own(), "features")
