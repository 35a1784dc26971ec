"""What the compiled forms share: whole vectors of channels, and items that no two threads share.

An item is a group of vectors of channels of one sample, over all its tokens.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor

from anticipate.nn.scan.lanes import LANES, inline
from anticipate.nn.threads import share

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


def run_groups(kernel: Callable[..., None], shape: torch.Size, *call: Any) -> None:
    """Run a kernel on all items.

    Args:
        kernel: Takes `call`, the number of groups of a sample, and a span of items.
        shape: Batch, tokens and channels, whole vectors of them.
        call: Its other arguments.
    """
    groups = -(-shape[2] // WIDE)

    def run(thread: int, first: int, last: int) -> None:
        kernel(*call, groups, first, last)

    share(shape[0] * groups, run)
