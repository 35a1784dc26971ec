"""Refusals of models without a forecast of the right shape, or with a network for another model."""

import inspect
from typing import Any, NoReturn

from torch import Tensor, nn

from anticipate.errors import ConfigError


def require_forecast(model: Any) -> None:
    """See that a model defines what it is for; Lightning's modules may lack abstract methods.

    Raises:
        ConfigError: It has no `forecast`.
    """
    if getattr(type(model).forecast, "__isabstractmethod__", False):
        raise ConfigError(
            f"{type(model).__name__} has no method forecast: expected forecast(batch), which "
            "returns a DenseForecast or ShortTermForecast of anticipate.types"
        )


def require_inputs(model: nn.Module, network: nn.Module, *inputs: str) -> None:
    """See that a network can be called with what a model gives it.

    Networks of this package name their inputs alike; others may name theirs as they like.

    Raises:
        ConfigError: It takes other inputs: it was made for another kind of model.
    """
    signature = inspect.signature(network.forward)
    taken = tuple(signature.parameters)
    ours = type(network).__module__.startswith("anticipate.")
    try:
        signature.bind(*inputs)
        fits = not ours or taken[: len(inputs)] == inputs
    except TypeError:
        fits = False
    if not fits:
        raise ConfigError(
            f"the network {type(network).__name__} takes {', '.join(taken)}, but "
            f"{type(model).__name__} gives it {', '.join(inputs)}: name another network, or the "
            "model that this one is made for"
        )


def refuse_forecast(model: nn.Module, found: Any, expected: str) -> NoReturn:
    """Say what `forecast` returned.

    Raises:
        ConfigError: Always.
    """
    parts = found if isinstance(found, tuple) else (found,)
    tensors = [f"{part.dtype} {tuple(part.shape)}" for part in parts if isinstance(part, Tensor)]
    raise ConfigError(
        f"{type(model).__name__}.forecast returned {', '.join([type(found).__name__, *tensors])}: "
        f"expected {expected}"
    )
