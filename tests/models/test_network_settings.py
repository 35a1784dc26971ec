"""A checkpoint comes back as the network that was trained, or not at all."""

import doctest

import lightning.pytorch as pl
import pytest
import torch

from anticipate.errors import CheckpointError
from anticipate.models import network_settings as module
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.models.sequence_anticipator import SequenceAnticipator
from anticipate.nn.aga import AGA
from anticipate.nn.mixant import MixANT

SIZES = {"d_model": 4, "num_layers": 2, "num_static_layers": 1, "num_experts": 2}


def test_the_example_of_the_docstring_holds():
    assert doctest.testmod(module).failed == 0


def saved(tmp_path, **settings):
    """A checkpoint of a model, as its trainer writes it."""
    model = DiffusionAnticipator(3, 5, 1, denoiser=lambda c, f: MixANT(c, f, **SIZES, **settings))
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    content["pytorch-lightning_version"] = pl.__version__
    model.on_save_checkpoint(content)
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    return path


def load(path, **settings):
    denoiser = {"denoiser": lambda c, f: MixANT(c, f, **SIZES, **settings)} if settings else {}
    return DiffusionAnticipator.load_from_checkpoint(path, **denoiser)


def test_the_network_that_was_trained_is_loaded(tmp_path):
    path = saved(tmp_path, selection="soft")
    assert load(path, selection="soft").denoiser.method == "MixANT"


def test_another_network_is_refused_though_its_shapes_agree(tmp_path):
    path = saved(tmp_path, selection="soft")
    with pytest.raises(CheckpointError, match=r"selection = 'soft', but one with 'straight_thr"):
        load(path, selection="straight_through")
    with pytest.raises(CheckpointError, match=r"load it with anticipate\.load\(RUN_FOLDER\)"):
        load(path)


def test_a_checkpoint_that_does_not_tell_is_refused(tmp_path):
    path = saved(tmp_path)
    content = torch.load(path, weights_only=True)
    content.pop(module.KEY)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="does not say how its network was built"):
        load(path, selection="straight_through")


def test_settings_that_earlier_versions_had_do_not_matter_where_they_say_what_is_done_now(protocol):
    model = SequenceAnticipator(6, 5, protocol, [1] * 6, lambda c, f: AGA(c, f, hidden_dim=32))
    content = {}
    model.on_save_checkpoint(content)
    content[module.KEY]["guidance.summarise.start"] = "first"
    model.on_load_checkpoint(content)
    content[module.KEY]["guidance.summarise.start"] = "uniform"
    with pytest.raises(CheckpointError, match=r"summarise\.start = 'uniform'"):
        model.on_load_checkpoint(content)
