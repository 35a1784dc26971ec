"""A short-term data set of six actions, made up for the tests of models."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from anticipate.types import PAD_LABEL, ShortTermBatch, ShortTermProtocol, Taxonomy

FEATURES, STEPS = 5, 4


@pytest.fixture(scope="session")
def protocol():
    """Six actions of two verbs and three nouns, scored as EGTEA Gaze+."""
    taxonomy = Taxonomy((0, 0, 0, 1, 1, 1), (0, 1, 2, 0, 1, 2), 2, 3)
    return ShortTermProtocol("egtea", taxonomy, {}, {})


def make_clips(rows, seed=0):
    """Random clips; a fifth of the steps before the last has no label."""
    generator = torch.Generator().manual_seed(seed)
    step_targets = torch.randint(6, (rows, STEPS), generator=generator)
    unlabelled = torch.rand(rows, STEPS, generator=generator) < 0.2
    unlabelled[:, -1] = False
    step_targets[unlabelled] = PAD_LABEL
    return ShortTermBatch(
        features=torch.randn(rows, STEPS, FEATURES, generator=generator),
        step_targets=step_targets,
        targets=step_targets[:, -1],
        frames=torch.arange(STEPS).expand(rows, -1),
        segment_ids=tuple(f"s{row}" for row in range(rows)),
        video_ids=("v",) * rows,
        first_targets=torch.randint(6, (rows,), generator=generator),
    )


class Clips(pl.LightningDataModule):
    """Three batches of eight clips for every stage."""

    def __init__(self):
        super().__init__()
        self.batches = [make_clips(8, seed) for seed in range(3)]

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    test_dataloader = train_dataloader


@pytest.fixture(scope="session")
def clips():
    """Data with the batches of `make_clips`."""
    return Clips()


@pytest.fixture
def make_trainer(tmp_path):
    """A quiet trainer that writes nowhere."""

    def make(**settings):
        return pl.Trainer(
            accelerator="cpu",
            logger=False,
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )

    return make
