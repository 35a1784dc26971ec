"""Refusals of user-defined models whose forecast is missing or of another shape."""

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
