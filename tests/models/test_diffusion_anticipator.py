"""Training steps of diffusion models, on data that are made up."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from anticipate.datasets.batches.buckets import LengthBuckets
from anticipate.diffusion.objective import one_hot, reconstruction_loss
from anticipate.models import DiffusionAnticipator
from anticipate.nn import MixANT
from anticipate.types import PAD_LABEL, DenseBatch

LENGTHS = np.array([3, 3, 4, 6, 6, 9])


def batch_of(draws):
    """Label 0 throughout, padded to the longest."""
    lengths = torch.from_numpy(LENGTHS[[draw.item for draw in draws]])
    valid = torch.arange(int(lengths.max())) < lengths[:, None]
    return DenseBatch(
        features=torch.zeros(*valid.shape, 2),
        targets=torch.where(valid, 0, PAD_LABEL),
        observed=valid,
        valid=valid,
        frame_targets=valid[:, :0].long(),
        num_frames=lengths,
        obs_ratios=(0.3,) * len(draws),
        video_ids=("v",) * len(draws),
    )


class Tokens(Dataset):
    """Items of `LENGTHS`: a batch of draws is all that `batch_of` needs."""

    def __getitem__(self, draw):
        return draw


@pytest.mark.parametrize("reduction", ["mean", "released"])
def test_released_loss_divides_all_items_of_an_epoch_by_one_length(reduction, make_trainer):
    seen = []

    class Recorded(DiffusionAnticipator):
        def training_step(self, batch):
            seen.append((self.length_weight, batch))
            return super().training_step(batch)

    model = Recorded(
        3,
        2,
        sample_rate=1,
        denoiser=lambda classes, width: MixANT(
            classes, width, d_model=4, num_layers=1, num_static_layers=1
        ),
        loss_reduction=reduction,
    )
    buckets = LengthBuckets(LENGTHS, batch_size=2, seed=0)
    data = DataLoader(Tokens(), batch_sampler=buckets, collate_fn=batch_of)
    make_trainer(max_epochs=1, use_distributed_sampler=False).fit(model, data)

    assert len(seen) == 3
    if reduction == "mean":
        assert [weight for weight, _ in seen] == [1.0] * 3
        return
    mean_length = np.average([batch.valid.shape[1] for _, batch in seen])
    for weight, batch in seen:
        x_0 = one_hot(batch.targets, batch.valid, 3)
        loss = weight * reconstruction_loss(x_0, 0 * x_0, batch.valid, "released")
        assert float(loss) == pytest.approx(float(batch.valid.sum()) / (3 * mean_length))
