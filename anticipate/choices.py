"""Arguments that are one of some words: `Literal`s, checked for callers in Python, too.

Settings of files and command lines are checked when they are read.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar, get_args, get_origin

from anticipate.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


def checked_choices(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that refuses words which the `Literal`s of its arguments do not list.

    Args:
        function: A function, or the `__init__` of a class.

    Raises:
        ConfigError: From the function that is returned: another word.
    """
    signature = inspect.signature(function)
    choices = {
        name: get_args(parameter.annotation)
        for name, parameter in signature.parameters.items()
        if get_origin(parameter.annotation) is Literal
    }

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
            if name in choices and value not in choices[name]:
                expected = ", ".join(choices[name])
                raise ConfigError(f"{name} is {value!r}: expected one of {expected}")
        return function(*args, **kwargs)

    return checked
