"""A model and its data from a checkpoint and the settings stored with it."""

import pytest
import torch

from anticipate.datasets import Synthetic
from anticipate.errors import CheckpointError, DataError
from anticipate.models import DiffusionAnticipator
from anticipate.training.loading import load, settings_file


@pytest.fixture(scope="module")
def checkpoint(demo_run):
    """A tiny MixANT, trained with another number of layers than its experiment says."""
    return demo_run / "checkpoints" / "last.ckpt"


def test_a_run_comes_back_with_its_settings_and_weights(checkpoint, synthetic_file):
    model, data = load(checkpoint)
    assert isinstance(model, DiffusionAnticipator)
    assert isinstance(data, Synthetic)
    assert data.path == str(synthetic_file)
    assert len(model.denoiser.blocks) == 3
    assert not model.training
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.state_dict().items())


def test_other_data_replaces_what_the_settings_name(checkpoint, tmp_path):
    with pytest.raises(DataError, match=r"elsewhere\.h5: no such data file"):
        load(checkpoint, tmp_path / "elsewhere.h5")


def test_settings_beside_the_checkpoint_come_first(tmp_path):
    ckpt = tmp_path / "checkpoints" / "last.ckpt"
    ckpt.parent.mkdir()
    with pytest.raises(CheckpointError, match="keep a checkpoint in the folder of its run"):
        settings_file(ckpt)
    for folder in (tmp_path, ckpt.parent):
        (folder / "config.yaml").touch()
        assert settings_file(ckpt) == folder / "config.yaml"


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint .*nowhere\.ckpt"):
        load(tmp_path / "nowhere.ckpt")
