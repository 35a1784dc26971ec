"""The loss of TeSTra: frames that show several actions or none, and rare classes equalised."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TINY = 1e-8
"""Kept of a class that is left out, so that its logarithm is finite."""


def multi_label_loss(
    logits: Float[Tensor, "rows columns"],
    targets: Float[Tensor, "rows columns"],
    rare: Bool[Tensor, " classes"] | None = None,
    drop_rate: float = 0.95,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over rows of -sum_c target_c log softmax(logits)_c, without the background.

    Targets are not normalised by the number of labels of a row. Rows whose background target is 1
    do not count; without any other the loss is 0.

    Args:
        logits: Scores (rows, classes + 1); column 0 is the background and takes no part.
        targets: Weight of each label; column 0 is 1 where nothing is labelled.
        rare: Classes that are left out of the softmax of a row, with probability `drop_rate` each,
            where they are not its label: so frequent classes do not push them down (equalisation
            loss, Tan et al. 2020). None for all in.
        drop_rate: That probability.
        generator: Source of chance; None for torch's own.
    """
    scores, wanted = logits[:, 1:], targets[:, 1:]
    if rare is not None:
        chance = torch.rand(scores.shape, generator=generator).to(scores.device)
        left_out = (chance < drop_rate) & rare
        scores = scores + (1 - left_out * (1 - wanted) + TINY).log()
    loss = -(wanted * scores.log_softmax(dim=-1)).sum(dim=-1)
    counts = targets[:, 0] != 1
    return torch.where(counts, loss, 0).sum() / counts.sum().clamp(min=1)
