"""What the compiled forms share: whole vectors of channels, and items that no two threads share.

An item is a group of vectors of channels of one sample, over all its tokens.
"""

from typing import Any, NamedTuple, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor

from anticipate.nn.cpu.lanes import LANES, inline
from anticipate.nn.cpu.team import Kernel, launch

WIDE = 8 * LANES
"""Channels of an item: what a processor foresees is a walk through long pieces of memory."""


class Rows(NamedTuple):
    """A float32 (batch, tokens, channels) tensor, or one that lacks leading axes.

    Address, and how many numbers further the next one along an axis is; channels are contiguous.
    """

    address: int
    batch: int = 0
    token: int = 0


@inline
@no_type_check
def at(x: Rows, b: int, token: int, c: int) -> int:
    """Return how many numbers after the address of `x` an element is."""
    return b * x.batch + token * x.token + c


def whole(x: Tensor) -> Tensor:
    """Return `x` in float32 with contiguous channels, zeros added up to whole vectors of them."""
    missing = -x.shape[-1] % LANES
    x = F.pad(x, (0, missing)) if missing else x
    return x.float() if x.stride(-1) == 1 else x.float().contiguous()


def trimmed(x: Tensor, like: Tensor) -> Tensor:
    """Undo `whole`: return `x` in the width and dtype of `like`, contiguous."""
    return x[..., : like.shape[-1]].to(like.dtype).contiguous()


def rows(x: Tensor) -> Rows:
    """Return where what `whole` returned is; good as long as the tensor lives."""
    batch, token = (0, 0, *x.stride()[:-1])[-2:]
    return Rows(x.data_ptr(), batch, token)


def run_groups(kernel: Kernel, shape: torch.Size, arguments: tuple[Any, ...]) -> None:
    """Run a kernel on all items.

    Args:
        kernel: What to run.
        shape: Batch, tokens and channels, whole vectors of them.
        arguments: What the kernel reads.
    """
    launch(kernel, shape[0] * -(-shape[2] // WIDE), arguments)


@inline
@no_type_check
def span(item: int, d_inner: int) -> tuple[int, int, int]:
    """Return the sample of an item, its first channel, and the end of its channels."""
    groups = (d_inner + WIDE - 1) // WIDE
    first = (item % groups) * WIDE
    return item // groups, first, min(first + WIDE, d_inner)
