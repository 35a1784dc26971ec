"""Which tensors the compiled forms are for."""

from importlib.util import find_spec

import torch
from torch import Tensor

_COMPILER_FOUND = find_spec("numba") is not None


def runs_compiled(x: Tensor) -> bool:
    """Return whether `x` is on the CPU, in a precision that float32 covers."""
    return _COMPILER_FOUND and x.device.type == "cpu" and x.dtype != torch.float64
