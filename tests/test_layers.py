"""Who may import whom, as CONTRIBUTING.md says, and that one name means one thing."""

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "anticipate"
BASE = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "cli"}
LAYERS = [{"nn"}, {"diffusion"}, {"datasets"}, {"figures"}, {"protocol"}, {"models"}, {"training"}]
SIBLINGS = {"nn", "diffusion", "datasets", "figures"}
"""From the lowest layer to the highest; these four never import each other, `lab` may all."""
CONFINED = {
    "h5py": {"datasets", "protocol", "lab"},
    "matplotlib": {"figures", "lab"},
    "lightning": {"datasets", "models", "training", "lab"},
    "diffusers": {"diffusion"},
    "numba": {"nn"},
    "jinja2": {"lab"},
}
"""Packages, and the parts that may import them."""
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if path.stem not in ("__init__", "__main__")]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def allowed(own):
    """Parts that a part may import."""
    names = [name for layer in LAYERS for name in layer]
    if own in BASE:
        return BASE
    if own in SIBLINGS:
        return BASE | {own}
    return BASE | {*names[: names.index(own) + 1]} if own in names else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        head, *rest = name.split(".")
        if head == "anticipate" and rest and allowed(own) is not None:
            assert rest[0] in allowed(own), f"{path} imports {name}"
        if head in CONFINED:
            assert own in CONFINED[head], f"{path} imports {name}"
        assert name != "__future__", f"{path}: jaxtyping needs real annotations"


def test_a_base_name_means_one_thing():
    packages = [path.parent.name for path in FILES if path.stem == "__init__"]
    modules = [path for path in MODULES if path.relative_to(PACKAGE).parts[:2] != ("nn", "scan")]
    counts = Counter([*(path.stem for path in modules), *packages[1:]])  # backends name devices
    assert [name for name, count in counts.items() if count > 1] == []
