"""`extends`: one experiment file names its parent and only what differs.

jsonargparse merges several `--config` files from left to right; this module replaces each
`--config FILE` by its chain of parents, oldest first. A file is read once, where it first stands:
`--config parent --config other --config child` puts `other` between a parent and its child.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from anticipate.errors import ConfigError


def config_chain(path: Path, children: tuple[Path, ...] = ()) -> list[Path]:
    """Return the ancestors of a configuration file, oldest first, then the file itself.

    Args:
        path: A YAML file; its key `extends` names one parent or a list, relative to the file.
        children: The files that led here.

    Raises:
        ConfigError: A file is missing, is not YAML, names its parents wrongly, or is its own
            ancestor.
    """
    path = path.resolve()
    if path in children:
        circle = (*children[children.index(path) :], path)
        names = " -> ".join(os.path.relpath(child, path.parent) for child in circle)
        raise ConfigError(f"circular extends in {path.parent}: {names}; remove one of these lines")
    chains = (
        config_chain(path.parent / name, (*children, path)) for name in _parents(path, children)
    )
    return [*dict.fromkeys(ancestor for chain in chains for ancestor in chain), path]


def expand_extends(argv: list[str]) -> list[str]:
    """Replace every `--config FILE` of a command line by those of its chain not yet named.

    Args:
        argv: Words of a command line; `-c FILE` and `--config=FILE` count too.

    Raises:
        ConfigError: As `config_chain` does.
    """
    return list(_expanded(argv))


def _expanded(argv: list[str]) -> Iterator[str]:
    words = iter(argv)
    named: set[Path] = set()
    for word in words:
        if word in ("--config", "-c"):
            word = f"--config={next(words, '')}"
        if word.startswith("--config="):
            chain = config_chain(Path(word.removeprefix("--config=")))
            new = [path for path in chain if path not in named]
            named.update(new)
            yield from (part for path in new for part in ("--config", str(path)))
        else:
            yield word


def _parents(path: Path, children: tuple[Path, ...]) -> list[str]:
    extends = _read(path, children).get("extends") or []
    names = extends if isinstance(extends, list) else [extends]
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(
                f"{path}: extends is {name!r}, expected a file name or a list of them"
            )
    return names


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice, where PyYAML keeps the last silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys are all different."""
        keys = [key.value for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                line = node.value[number][0].start_mark.line + 1
                raise yaml.YAMLError(f"key '{key}' stands twice, again in line {line}")
        return super().construct_mapping(node, deep)


def _read(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        named = f" (named by extends in {children[-1]})" if children else ""
        raise ConfigError(f"no configuration file {path}{named}")
    try:
        content = yaml.load(path.read_text(), _StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}, expected keys and values")
    if "config" in (content or {}):
        raise ConfigError(
            f"{path} has a key 'config', which nothing reads: did you mean 'extends'?"
        )
    return content or {}
