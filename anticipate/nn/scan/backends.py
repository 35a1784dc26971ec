"""Which implementation runs a scan: the one named, or the best one for the device.

A backend is a module of this package with `forward`, `backward` and `BACKEND`: the device types
that it runs on, the package that it needs, what pip installs for it, its rank among those of a
device (1 is tried first: the fastest), and the oldest GPU that it knows. It is found by that, and
imported when it is first used.
"""

import logging
import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from anticipate.catalog import plain_values
from anticipate.console import notice
from anticipate.errors import ConfigError
from anticipate.nn.scan.inputs import ScanInputs

AUTO, REFERENCE = "auto", "reference"
"""The best backend for a device; the one that runs everything."""

VARIABLE = "ANTICIPATE_SCAN_BACKEND"
"""Variable of the environment that wins over the setting of a network."""

ELSE = "|"
"""Between names of backends: the first one that is there and able runs."""

logger = logging.getLogger(__name__)


@runtime_checkable
class Backend(Protocol):
    """What the module of a backend offers."""

    def forward(self, inputs: ScanInputs) -> tuple[Tensor, Tensor]:
        """Return y (batch, d_inner, length) and the states that `backward` starts from."""

    def backward(self, grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
        """Return the gradients of `inputs.tensors()`."""


@runtime_checkable
class Together(Backend, Protocol):
    """What a backend offers that runs the two scans of a bidirectional layer at once."""

    def can_go_together(self, one: ScanInputs, other: ScanInputs) -> bool:
        """Return whether two scans fit into one launch."""

    def forward_together(self, scans: Sequence[ScanInputs]) -> list[tuple[Tensor, Tensor]]:
        """Return what `forward` does, for each scan."""

    def backward_together(
        self, grads_y: Sequence[Tensor], starts: Sequence[Tensor], scans: Sequence[ScanInputs]
    ) -> list[list[Tensor | None]]:
        """Return what `backward` does, for each scan."""


class Description(NamedTuple):
    """`BACKEND` of a module."""

    devices: tuple[str, ...]
    package: str
    install: str
    rank: int
    capability: tuple[int, int] = (0, 0)
    """Compute capability that a CUDA device must have."""


class UnusableError(Exception):
    """A backend that cannot be used on this machine, as shows when it is used."""


_failed: dict[str, str] = {}
"""Backends that turned out not to work here, and why."""


@cache
def known_backends() -> dict[str, Description]:
    """Return the backends of this package by name, best first."""
    files = {file.stem: plain_values(file) for file in Path(__file__).parent.glob("*.py")}
    found = {name: Description(**v["BACKEND"]) for name, v in files.items() if "BACKEND" in v}
    return dict(sorted(found.items(), key=lambda item: item[1].rank))


def network_backend(setting: str) -> str:
    """Return the backend argument of a network's scans.

    Args:
        setting: `scan_backend` of the network; the variable ANTICIPATE_SCAN_BACKEND wins over it.

    Returns:
        That backend or, where it is missing or unable, the best one that is there.

    Raises:
        ConfigError: An unknown name.
    """
    name = os.environ.get(VARIABLE) or setting
    _check_name(name)
    return name if name == AUTO else f"{name}{ELSE}{AUTO}"


def check_backend(backend: str, inputs: ScanInputs) -> None:
    """Refuse a backend that does not exist or cannot run these inputs.

    Args:
        backend: "auto", the name of a backend, or several with `|` in between.
        inputs: What it shall run.

    Raises:
        ConfigError: The name is unknown, or the device, dtype or A is for other backends.
    """
    first, *others = backend.split(ELSE)
    _check_name(first)
    problem = None if others else _problem(first, inputs.u, inputs.A)
    if problem:
        raise ConfigError(
            f"scan backend '{first}' cannot run {problem}: use backend 'auto' or 'reference'"
        )


def load(backend: str, u: Tensor, A: Tensor) -> Backend:
    """Import the module that runs a scan.

    Args:
        backend: "auto", the name of a backend, or several with `|` in between.
        u: Input sequence; its device and dtype decide what "auto" means.
        A: Transition; one that changes with the token is for the reference alone.

    Returns:
        The module of the backend.

    Raises:
        ConfigError: The package that the backend needs cannot be imported.
    """
    first, *others = backend.split(ELSE)
    if others:
        reason = _lack(first, u.device) or _problem(first, u, A)
        if reason:
            _tell_fallback(first, reason)
            return load(ELSE.join(others), u, A)
    if first == AUTO:
        first = REFERENCE if A.ndim == 4 else _best(u.device, u.dtype)
    try:
        return cast(Backend, import_module(f"anticipate.nn.scan.{first}"))
    except ImportError as error:
        raise ConfigError(
            f"scan backend '{first}' is not available ({error}): "
            f"install it with: pip install {known_backends()[first].install}"
        ) from error


def give_up(backend: str, failed: Backend, error: Exception) -> None:
    """Use a backend no more that failed where it was first used.

    Args:
        backend: "auto", the name of a backend, or several with `|` in between.
        failed: The module that `load` chose for it.
        error: What it raised.

    Raises:
        ConfigError: No other one is wanted.
    """
    name, reason = cast(ModuleType, failed).__name__.rpartition(".")[2], str(error)
    if backend == name:
        raise ConfigError(
            f"scan backend '{name}' does not work here ({reason}): use backend 'auto'"
        ) from error
    _failed[name] = reason
    _best.cache_clear()
    _tell_fallback(name, reason)


def _check_name(name: str) -> None:
    if name != AUTO and name not in known_backends():
        raise ConfigError(
            f"unknown scan backend '{name}': choose from {', '.join([AUTO, *known_backends()])}"
        )


def _problem(name: str, u: Tensor, A: Tensor) -> str | None:
    """Say what of some inputs a backend cannot run; None where it can."""
    if name in (AUTO, REFERENCE):
        return None
    if u.device.type not in known_backends()[name].devices:
        return f"tensors on {u.device.type}"
    if u.dtype == torch.float64:
        return "float64 tensors"
    return "A that changes with the token" if A.ndim == 4 else None


def _lack(name: str, device: torch.device) -> str | None:
    """Say what a backend lacks on a machine; None where it is complete."""
    if name == AUTO:
        return None
    one = known_backends()[name]
    if find_spec(one.package) is None:
        return f"'{one.package}' is missing"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < one.capability:
        least, found = (
            "{}.{}".format(*pair)
            for pair in (one.capability, torch.cuda.get_device_capability(device))
        )
        return f"it needs compute capability {least}, this GPU has {found}"
    return _failed.get(name)


@cache
def _tell_fallback(name: str, reason: str) -> None:
    """Say once why another backend runs; cached for that."""
    notice(f"scan backend '{name}' cannot be used here ({reason}): the best other one runs")


@cache
def _best(device: torch.device, dtype: torch.dtype) -> str:
    """Choose by device and dtype; cached, so that each choice is reported once."""
    fitting = [name for name, one in known_backends().items() if device.type in one.devices]
    lacks = {name: _lack(name, device) for name in fitting if dtype != torch.float64}
    able = [name for name, lack in lacks.items() if lack is None]
    found = able[0] if able else REFERENCE
    logger.info("selective scan of %s tensors on %s runs on the '%s' backend", dtype, device, found)
    if found == REFERENCE and dtype != torch.float64:
        reasons = "; ".join(f"'{name}': {lack}" for name, lack in lacks.items() if lack)
        notice(
            f"the selective scan runs in plain PyTorch on {device.type}, many times slower than by "
            f"a kernel ({reasons or 'there is none for this device'})"
        )
    return found
