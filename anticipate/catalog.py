"""What the package offers, read from its source without importing it.

A module offers the names in its `__all__`; a package offers those of its modules. `anticipate`,
`anticipate.nn`, `anticipate.datasets`, `anticipate.models` and `anticipate.protocol` hand them out
under their own name and import a module when one of its names is asked for, so that nothing waits
for torch or Lightning in vain, and a new file is found without being listed anywhere. Facts about
a data set are plain values in the body of its class, so that commands which only need those (the
name, the title, the measures) do not import it either.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from anticipate.errors import ConfigError
from anticipate.safe import check_importable, is_safe

ROOT = Path(__file__).parent

OPEN_PACKAGES = ("nn", "datasets", "models", "protocol", "training")
"""Packages whose names `anticipate` offers, too."""


class Offer(NamedTuple):
    """A public name."""

    module: str
    """Module that defines it, such as `anticipate.nn.mixant`."""
    name: str
    facts: Mapping[str, Any]
    """Plain values in the body of a class, by name; none for other things."""

    def load(self) -> Any:
        """Import the module and return what it defines."""
        return getattr(import_module(self.module), self.name)


class DataSet(NamedTuple):
    """A data set of the package, by the facts in the body of its data module."""

    offer: Offer
    name: str
    """What files and commands call it: `dataset` of the class."""
    title: str

    def fact(self, name: str, default: Any = None) -> Any:
        """Return a plain value of the class body."""
        return self.offer.facts.get(name, default)


@cache
def offers(package: str) -> dict[str, Offer]:
    """Return what the modules of a package of ours offer, by name.

    Args:
        package: Such as `nn`; modules of its subpackages count too.
    """
    folder = ROOT / package
    found: dict[str, Offer] = {}
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        module = ".".join(["anticipate", *(part for part in parts if part != "__init__")])
        if file != folder / "__init__.py":
            found |= _offers_of(module, file)
    return found


def find(name: str) -> Offer | None:
    """Return what any package offers under a name; None for a name that none offers."""
    for package in OPEN_PACKAGES:
        if name in offers(package):
            return offers(package)[name]
    return None


def data_sets() -> dict[str, DataSet]:
    """Return the data sets of the package by name."""
    classes = [offer for offer in offers("datasets").values() if "dataset" in offer.facts]
    found = [DataSet(offer, offer.facts["dataset"], offer.facts["title"]) for offer in classes]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def class_at(path: str) -> type:
    """Import a class by its path, such as `my_module.MyDataSet`.

    Args:
        path: Import path; the current folder is searched, too.

    Raises:
        ConfigError: No such module, no such class in it, a module that fails to import, or safe
            mode.
    """
    check_importable(path)
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{path}: its module needs '{error.name}', which is not installed"
            ) from error
        raise ConfigError(
            f"{path}: no module '{error.name}' in the current folder or among the installed ones: "
            "start in the folder that it lies in, or add that to PYTHONPATH"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"{path}: importing module '{module}' failed ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(found, type):
        raise ConfigError(f"{path}: module '{module}' has no class '{name}'")
    return found


def search_current_folder() -> None:
    """Let the user's classes be found in the current folder; installed modules take precedence.

    In safe mode nothing is found there.

    In an interactive session Python searches it as '', which names another folder while a file of
    settings is read.
    """
    here = str(Path.cwd())
    if is_safe():
        sys.path[:] = [path for path in sys.path if path not in ("", here)]
    elif here not in sys.path:
        sys.path.append(here)


def attribute_lookup(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package that offers what its modules do."""

    def look_up(name: str) -> Any:
        if name.startswith("_") or name not in offers(package):
            raise AttributeError(f"module 'anticipate.{package}' has no attribute '{name}'")
        return offers(package)[name].load()

    return look_up, lambda: sorted(offers(package))


def plain_values(file: Path) -> dict[str, Any]:
    """Return the plain values that a module defines, by name, read from its source.

    Args:
        file: The module; it need not be importable here.
    """
    return dict(_facts(ast.parse(file.read_text(encoding="utf-8"))))


def _offers_of(module: str, file: Path) -> Iterator[tuple[str, Offer]]:
    """Read the `__all__` of a module, and the classes among it, from its source."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    for node in body:
        if isinstance(node, ast.Assign) and _names(node) == ["__all__"]:
            for name in ast.literal_eval(node.value):
                facts = dict(_facts(classes[name])) if name in classes else {}
                yield name, Offer(module, name, facts)


def _facts(node: ast.ClassDef | ast.Module) -> Iterator[tuple[str, Any]]:
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            try:
                value = ast.literal_eval(statement.value)
            except ValueError:
                continue
            yield from ((name, value) for name in _names(statement))


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]
