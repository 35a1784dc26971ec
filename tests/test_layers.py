"""Who may import whom, as CONTRIBUTING.md says."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "anticipate"
BASE = {"errors", "types", "console", "segments", "machine"}
ALLOWED = {
    "data": BASE,
    "nn": BASE,
    "diffusion": BASE,
    "metrics": BASE,
    "baselines": BASE,
    "predictions": BASE | {"metrics"},
    "report": BASE | {"metrics"},
    "models": BASE | {"nn", "diffusion", "metrics"},
    "callbacks": BASE | {"data", "nn", "metrics", "baselines", "predictions", "report", "models"},
}
CONFINED = {
    "h5py": {"data", "predictions", "benchmark"},
    "matplotlib": {"report"},
    "lightning": {
        "models",
        "callbacks",
        "data",
        "training",
        "registry",
        "run_settings",
        "benchmark",
    },
    "diffusers": {"diffusion"},
    "numba": {"nn"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def part(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path):
    own = part(path)
    for name in imports(path):
        head, *rest = name.split(".")
        if head == "anticipate" and rest and own in ALLOWED:
            assert rest[0] in ALLOWED[own] | {own}, f"{path} imports {name}"
        if head in CONFINED:
            assert own in CONFINED[head], f"{path} imports {name}"
        assert name != "__future__", f"{path}: jaxtyping needs real annotations"
