"""Which implementation runs a scan: the one named, or the best one for the device."""

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from anticipate.errors import ConfigError
from anticipate.nn.scan.inputs import ScanInputs

REQUIRES = {
    "reference": "torch",
    "cpu": "numba",
    "triton": "triton",
    "mamba_ssm": "'anticipate[cuda]'",
}
"""Name of a backend, which is its module in this package, and what pip installs for it."""

CANDIDATES = {"cpu": ("cpu",), "cuda": ("triton", "mamba_ssm")}
"""Fast backends of a device type, best first; the reference runs everywhere."""

PACKAGES = {"cpu": "numba", "triton": "triton", "mamba_ssm": "mamba_ssm"}
"""What must be importable for "auto" to choose a backend."""

logger = logging.getLogger(__name__)


@runtime_checkable
class Backend(Protocol):
    """What the module of a backend offers."""

    def forward(self, inputs: ScanInputs) -> tuple[Tensor, Tensor]:
        """Return y (batch, d_inner, length) and the states that `backward` starts from."""

    def backward(self, grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
        """Return the gradients of `inputs.tensors()`."""


def check_backend(backend: str, inputs: ScanInputs) -> None:
    """Refuse a backend that does not exist or cannot run these inputs.

    Args:
        backend: "auto" or a key of `REQUIRES`.
        inputs: What it shall run.

    Raises:
        ConfigError: The name is unknown, or the device, dtype or A is for other backends.
    """
    if backend in ("auto", "reference"):
        return
    if backend not in REQUIRES:
        known = ", ".join(["auto", *REQUIRES])
        raise ConfigError(f"unknown scan backend '{backend}': choose from {known}")
    device = inputs.u.device.type
    found = {
        f"tensors on {device}": backend in CANDIDATES.get(device, ()),
        "float64 tensors": inputs.u.dtype != torch.float64,
        "A that changes with the token": inputs.A.ndim < 4,
    }
    for what, able in found.items():
        if not able:
            raise ConfigError(
                f"scan backend '{backend}' cannot run {what}: use backend 'auto' or 'reference'"
            )


def load(backend: str, u: Tensor, A: Tensor) -> Backend:
    """Import the module that runs a scan.

    Args:
        backend: "auto" or the name of a backend.
        u: Input sequence; its device and dtype decide what "auto" means.
        A: Transition; one that changes with the token is for the reference alone.

    Returns:
        The module of the backend.

    Raises:
        ConfigError: The package that the backend needs cannot be imported.
    """
    if backend == "auto":
        backend = "reference" if A.ndim == 4 else _best(u.device.type, u.dtype)
    try:
        return cast(Backend, import_module(f"anticipate.nn.scan.{backend}"))
    except ImportError as error:
        raise ConfigError(
            f"scan backend '{backend}' is not available ({error}): "
            f"install it with: pip install {REQUIRES[backend]}"
        ) from error


@cache
def _best(device: str, dtype: torch.dtype) -> str:
    """Choose by device and dtype; cached, so that each choice is told once."""
    candidates = () if dtype == torch.float64 else CANDIDATES.get(device, ())
    found = next((name for name in candidates if find_spec(PACKAGES[name])), "reference")
    logger.info("selective scan of %s tensors on %s runs on the '%s' backend", dtype, device, found)
    return found
