"""The settings of a run: YAML files with parents and profiles, and words of a command line.

A file names its parent with `extends`, relative to itself, and what makes it smaller with
`profiles`. jsonargparse merges several `--config` files from left to right; `expand` replaces each
of them by its chain: parents first, the oldest in front, then the file itself. `--profile NAME`
puts the file that an experiment of the chain lists under that name right after that experiment, so
that it beats the experiment and its parents, and the files after it beat the profile. A file that
two chains share is read once, at its first place.
"""

import difflib
import inspect
import itertools
import os
import re
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from anticipate.catalog import ROOT, class_at, find
from anticipate.console import notice
from anticipate.errors import ConfigError
from anticipate.safe import check_settings

Settings = Mapping[str, Any]
"""Values by dotted key; those that are null or empty are left out."""

RECIPES = ROOT / "recipes"
"""The folders `experiments` and `configs` of the repository, which the package brings along."""

FILE_KEYS = ("extends", "profiles", "profile")
"""Keys that say which files are read; they are no settings of a run."""

RENAMED_KEYS = {"results": "dense_results"}
DROPPED_KEYS = ("weights_only",)
RENAMED_VALUES = {("loss_reduction", "code"): "released"}
"""Settings of earlier versions: keys at the top of a file, keys without effect, and values."""

DROPPED_ARGUMENTS = {"expert_init_jitter": None, "ema_start": "first", "mlp_ratio": 1.0}
"""Arguments of earlier versions, and the value that is what this one does; None for any."""

WITHOUT_EFFECT = (
    "allow_foreign_checkpoint",
    "checkpoint.",
    "ckpt_path",
    "expert_usage.",
    "figures.",
    "predictions.",
    "run_dir",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger.",
)
"""How the keys begin that leave the results of a run as they are .."""
ANY_PLACE = (".accelerate", ".num_workers", ".scan_backend")
""".. and how they end, wherever they are."""

ADDED = {
    "balancing_momentum": 0.0,
    "expert_init": "identical",
    "lr_schedule": "plateau",
    "scored_clips": "strict",
    "steps_per_pool": 32,
    "warmup_steps": 0,
}
"""Settings that runs of earlier versions do not name, and the values that are what they did."""

YAML_MODE = "anticipate"
"""Name under which jsonargparse knows our loader."""


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice, where PyYAML keeps the last silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys are all different."""
        keys = [key.value for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                line = node.value[number][0].start_mark.line + 1
                raise yaml.YAMLError(f"key '{key}' is given twice, again in line {line}")
        return super().construct_mapping(node, deep)


_NUMBER = re.compile(r"[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$")
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789"))
"""YAML 1.1 takes 1e-3, without a dot, for text."""


def read_yaml(text: str) -> Any:
    """Return what a YAML text says, in the names of this version; each text is parsed once.

    Raises:
        yaml.YAMLError: It is not YAML, names a key twice, or has more values than settings need.
    """
    return deepcopy(_parsed(text))


MOST_VALUES = 20_000
"""Values that a file of settings can have; one with anchors in anchors may have billions."""


def check_size(content: Any) -> None:
    """See that a document is not larger than settings can be, its anchors written out.

    Raises:
        yaml.YAMLError: It has more than `MOST_VALUES` values, or contains itself.
    """
    rest, count = [content], 0
    while rest:
        value = rest.pop()
        if isinstance(value, dict | list):
            rest.extend(value.values() if isinstance(value, dict) else value)
        count += 1
        if count > MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES:,} values, its anchors written out")


@cache
def _parsed(text: str) -> Any:
    content = yaml.load(text, _StrictLoader)
    check_size(content)
    if isinstance(content, dict):
        content = {RENAMED_KEYS.get(k, k): v for k, v in content.items() if k not in DROPPED_KEYS}
    return _renamed(content)


def _renamed(value: Any, key: str = "") -> Any:
    """Return a document with the names that classes and values have now."""
    if isinstance(value, dict):
        return {
            name: _renamed(part, str(name)) for name, part in value.items() if _is_kept(name, part)
        }
    if isinstance(value, list):
        return [_renamed(part) for part in value]
    if key == "class_path" and isinstance(value, str):
        return current_path(value)
    return _current_value(key, value)


def _is_kept(name: Any, value: Any) -> bool:
    """Return whether an argument still exists; refuse one that asks for what does not."""
    only = DROPPED_ARGUMENTS.get(name)
    if only not in (None, value):
        raise ConfigError(f"{name} is {value!r}, which this version does not have: expected {only}")
    return name not in DROPPED_ARGUMENTS


def _current_value(key: str, value: Any) -> Any:
    renamed = RENAMED_VALUES.get((key, value)) if isinstance(value, str) else None
    if renamed:
        notice(f"{key}: '{value}' is called '{renamed}' now")
    return renamed or value


def current_path(class_path: str) -> str:
    """Return the path of a class of ours by its name alone, wherever earlier versions kept it.

    >>> current_path("anticipate.data.breakfast.Breakfast")
    'anticipate.Breakfast'
    >>> current_path("my_module.MyNetwork")
    'my_module.MyNetwork'
    """
    package, _, name = class_path.rpartition(".")
    ours = package in ("", "anticipate") or package.startswith("anticipate.")
    return f"anticipate.{name}" if ours and find(name) else class_path


def find_file(path: Path) -> Path:
    """Return a file of the current folder or, where it has none, of the package's recipes.

    >>> find_file(Path("experiments/demo.yaml")).is_file()
    True
    """
    shipped = RECIPES / path
    return shipped if not path.exists() and shipped.exists() else path


def beside(path: Path, name: str) -> Path:
    """Return the file that another one names relative to itself.

    Where there is none, it is the one at the same place among the package's recipes, so that
    `experiments/mine.yaml` of any folder extends `mixant_breakfast.yaml`.
    """
    here = path.parent / name
    shipped = find_file(Path(os.path.relpath(here)))
    return shipped if shipped.is_relative_to(RECIPES) else here


def config_chain(path: Path, profile: str | None = None) -> list[Path]:
    """Return the ancestors of a configuration file, oldest first, then the file itself.

    Args:
        path: A YAML file; its key `extends` names one parent or a list, relative to the file (see
            `beside`).
        profile: Name of a profile, whose file comes right after the last file that lists it.

    Raises:
        ConfigError: A file is missing, is not YAML, names its parents wrongly, is its own
            ancestor, or lists no such profile.
    """
    chain = _chain(find_file(path), ())
    if profile is None:
        return chain
    known: list[str] = []
    for place in range(len(chain), 0, -1):
        profiles = _profiles(chain[place - 1])
        if profile in profiles:
            file = beside(chain[place - 1], profiles[profile])
            if not file.is_file():
                raise ConfigError(f"no configuration file {file} (a profile of {chain[place - 1]})")
            smaller = _chain(file, ())
            return [*chain[:place], *(f for f in smaller if f not in chain), *chain[place:]]
        known += profiles
    names = ", ".join(file.name for file in reversed(chain))
    hint = (
        f": choose from {', '.join(known)}"
        if known
        else f": none is listed under 'profiles' of {names}"
    )
    raise ConfigError(f"{path} has no profile '{profile}'{hint}")


def _profiles(path: Path) -> Mapping[str, str]:
    """Return the files that a file lists under `profiles`, by name."""
    profiles = _read(path).get("profiles") or {}
    if not isinstance(profiles, Mapping) or any(
        not isinstance(file, str) for file in profiles.values()
    ):
        raise ConfigError(f"{path}: profiles is {profiles!r}, expected names and files")
    return profiles


def expand(words: Sequence[str]) -> list[str]:
    """Replace every `--config FILE` of a command line by its chain, with the profile in between.

    Args:
        words: Words of a command line; `-c FILE` and `--config=FILE` count too.

    Returns:
        The words, without `--profile`; in front the run name that follows from the last file,
        which anything after it may replace.

    Raises:
        ConfigError: As `config_chain` does, or the profile has no file to make smaller.
    """
    options, profile = _split_profile([*_current_words(words)])
    files = [Path(value) for key, value in options if key == "--config"]
    if profile is not None and not files:
        raise ConfigError(f"--profile {profile} needs an experiment: add --config FILE")
    expanded = [f"--run_name={run_name(files[-1])}"] if files else []
    named: set[Path] = set()
    for key, value in options:
        if key != "--config":
            expanded.append(value)
            continue
        new = [path for path in config_chain(Path(value), profile) if path not in named]
        named.update(new)
        expanded += [word for path in new for word in ("--config", str(path))]
    return expanded


def run_name(path: Path) -> str:
    """Return the name of a file's run: its path below `experiments`, without `ablations`.

    >>> run_name(Path("experiments/ablations/experts/5.yaml"))
    'experts/5'
    >>> run_name(Path("/home/me/mine.yaml"))
    'mine'
    """
    parts = find_file(path).resolve().with_suffix("").parts
    if "experiments" not in parts[:-1]:
        return parts[-1]
    below = parts[len(parts) - parts[::-1].index("experiments") :]
    return "/".join(below[1:] if below[0] == "ablations" and len(below) > 1 else below)


def experiment_of(name: str) -> Path | None:
    """Return the file whose run has a name, None where there is none below `experiments`.

    >>> experiment_of("experts/5") == find_file(Path("experiments/ablations/experts/5.yaml"))
    True
    """
    places = (Path("experiments"), Path("experiments/ablations"))
    files = (find_file(place / f"{name}.yaml") for place in places)
    return next((file for file in files if file.is_file()), None)


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested document by dotted key, without nulls and empty mappings."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat


def decisive(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide about the results of a run."""
    return {
        key: value
        for key, value in settings.items()
        if not key.startswith(WITHOUT_EFFECT)
        and not key.endswith(ANY_PLACE)
        and ADDED.get(key.rpartition(".")[2], ...) != value
    }


def differences(first: Settings, second: Settings, free: tuple[str, ...] = ()) -> list[str]:
    """Return the keys, of those that decide about the results, whose values differ.

    Args:
        first: Settings of a run.
        second: Those of another.
        free: How further keys begin that may differ.
    """
    a, b = decisive(first), decisive(second)
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    return [key for key in keys if not key.startswith(free)] if free else keys


def explain(message: str, options: Iterable[str], classes: Sequence[str]) -> str:
    """Return what is wrong with a setting, with the nearest name where one is unknown.

    Args:
        message: What jsonargparse says.
        options: Names of the command's options.
        classes: Names of classes that files may use without their module.
    """
    place = ".".join(dict.fromkeys(_KEY.findall(message)))
    if unknown := _UNKNOWN_OPTION.search(message):
        name = unknown[1] or ".".join(filter(None, unknown.groups()))
        return f"no setting '{name}'{_near(name, list(options))}"
    if unknown := _UNKNOWN_ARGUMENT.search(message):
        if not place:
            return f"no setting '{unknown[1]}'{_near(unknown[1], list(options))}"
        known = [name for path in _CLASS.findall(message) for name in _arguments(path)]
        return f"{place} has no setting '{unknown[1]}'{_near(unknown[1], known)}"
    if one := _NO_LIST.search(message):
        return f"{place} is {one[1]}: expected a list, written as --{place} '[{one[1]}]'"
    return _wrong_value(place, _KEY.split(message)[-1], classes)


def _wrong_value(place: str, mistake: str, classes: Sequence[str]) -> str:
    """Return what is wrong with the value of a setting, from the innermost part of a message."""
    if other := _OTHER_CLASS.search(mistake):
        return f"{place} is {other[1]}: expected {other[2]}, or the model for {other[1]}"
    given = _GIVEN.search(mistake)
    value = given[1] if given else ""
    types = {name or "one of": names for name, names in _TYPE.findall(mistake)}
    if _NO_CLASS.search(mistake) and not types.keys() & {"int", "float", "str", "one of"}:
        named = _GIVEN_CLASS.search(mistake) or _BARE_CLASS.search(mistake)
        return _no_class(place, named[1] if named else value, classes)
    if value and (expected := _expected(mistake)):
        return f"{place} is {value}: expected {expected}"
    if "codec can't decode" in mistake:
        hint = ": a data file is given as --data.path FILE" if place == "data" else ""
        return f"{place} names a file that is not YAML{hint}"
    if problem := _import_problem(_IMPORT_PATH.findall(mistake)):
        return f"{place}: {problem}"
    lines = [line.strip(" -") for line in mistake.splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith(CHATTER)).strip(": ")
    return f"{place}: {said}" if place else said


def check_sections(words: Sequence[str], options: Iterable[str]) -> None:
    """Refuse unknown sections without values, which jsonargparse drops silently.

    Args:
        words: Words of a command line, as `expand` returns them.
        options: Names of the command's options.

    Raises:
        ConfigError: A file has a section that is no setting.
    """
    known = {name for name in options if not name.endswith(".help")}
    sections = {head for name in known for head in _heads(name)[:-1]}
    for before, file in itertools.pairwise(words):
        for key in _empty(_read(Path(file))) if before == "--config" else ():
            inside = any(head in known - sections for head in _heads(key))
            if not inside and key not in sections:
                raise ConfigError(f"{file}: no setting '{key}'{_near(key, [*known])}")


def _heads(key: str) -> list[str]:
    """Return what a dotted key lies in, from outside, and the key itself."""
    return list(itertools.accumulate(key.split("."), "{}.{}".format))


def _empty(document: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of empty mappings."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _empty(value, f"{prefix}{key}.") if value else [f"{prefix}{key}"]


def option_names(parser: ArgumentParser) -> Iterator[str]:
    """Yield the names of all options of a parser."""
    yield from (action.dest for action in parser._actions)


def _load(text: str) -> Any:
    """Read what jsonargparse reads: files by our rules, single words by its own."""
    content = read_yaml(text) if "\n" in text else get_loader("yaml")(text)
    check_settings(content)
    return content


set_loader(YAML_MODE, _load, exceptions=(yaml.YAMLError,))


def _chain(path: Path, children: tuple[Path, ...]) -> list[Path]:
    path = path.resolve()
    if path in children:
        circle = (*children[children.index(path) :], path)
        names = " -> ".join(os.path.relpath(child, path.parent) for child in circle)
        raise ConfigError(f"circular extends in {path.parent}: {names}; remove one of these lines")
    chains = (_chain(beside(path, name), (*children, path)) for name in _parents(path, children))
    return [*dict.fromkeys(ancestor for chain in chains for ancestor in chain), path]


def _parents(path: Path, children: tuple[Path, ...]) -> list[str]:
    extends = _read(path, children).get("extends") or []
    names = extends if isinstance(extends, list) else [extends]
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(
                f"{path}: extends is {name!r}, expected a file name or a list of them"
            )
    return names


def _read(path: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    if not path.is_file():
        named = f" (named by extends in {children[-1]})" if children else ""
        raise ConfigError(f"no configuration file {path}{named}")
    try:
        content = read_yaml(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{path} holds {held}, expected keys and values")
    check_settings(content)
    if "config" in content:
        raise ConfigError(
            f"{path} has a key 'config', which nothing reads: did you mean 'extends'?"
        )
    return content


def _split_profile(words: Sequence[str]) -> tuple[list[tuple[str, str]], str | None]:
    """Return the words, those of `--config` as pairs, and the profile."""
    options: list[tuple[str, str]] = []
    profile = None
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--config", "-c", "--profile"):
            value = value if equals else next(rest, "")
        if name == "--profile":
            if not value or value.startswith("-"):
                raise ConfigError("--profile needs the name of a profile, as --profile demo")
            profile = value
        else:
            options.append(("--config", value) if name in ("--config", "-c") else ("", word))
    return options, profile


def _current_words(words: Sequence[str]) -> Iterator[str]:
    """Yield the words in the names of this version."""
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.startswith("--"):
            yield word
            continue
        first, dot, rest = key.removeprefix("--").partition(".")
        last = (rest or first).rpartition(".")[2]
        yield f"--{RENAMED_KEYS.get(first, first)}{dot}{rest}={_current_value(last, value)}"


CHATTER = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'None", "Given value")
"""Lines of jsonargparse's messages that are about its internals instead of the mistake."""

TYPES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "keys with values",
}
"""What a value is called that is read as a type."""

_UNKNOWN_OPTION = re.compile(
    r"unrecognized arguments: --([^\s=]+)|(?:Group '(.+?)' )?does not accept option '(.+?)'"
)
_UNKNOWN_ARGUMENT = re.compile(r"Option '(.+?)' is not accepted")
_NO_CLASS = re.compile(
    r"dot import path string|import path format|No module named|module '.+?' has no attribute"
)
_GIVEN = re.compile(r"(?:Got|Given) value: (.+?)(?:\. Got value|$)", re.MULTILINE)
_GIVEN_CLASS = re.compile(r"class_path'?[ =:]+'(.+?)'")
_OTHER_CLASS = re.compile(r"Expected '(?:[\w.]+\.)?(\w+)' to be a subclass of <class '(\w+)'>")
_BARE_CLASS = re.compile(r"dot import path string: (\w+)")
_IMPORT_PATH = re.compile(r"'([A-Za-z_]\w*(?:\.\w+)+)'")
_TYPE = re.compile(r"Expected a (?:<class '(\w+)'>|typing\.Literal\[(.+?)\])")
_NO_LIST = re.compile(
    r"Expected a <class '(?:tuple|list)'>\. Got value: ([^\s\[(]+)$", re.MULTILINE
)
_KEY = re.compile(r'Parser key "(.+?)"')
_CLASS = re.compile(r"class_path[ =]'([\w.]+)'")


def _expected(mistake: str) -> str:
    """Return in words the types that jsonargparse tried; a number includes whole numbers."""
    found = _TYPE.findall(mistake)
    names = [TYPES[name] for name, _ in found if name in TYPES]
    if {"int", "float"} <= {name for name, _ in found}:
        names.remove(TYPES["int"])
    if choices := [choice for _, choices in found if choices for choice in choices.split(", ")]:
        names.append("one of " + ", ".join(dict.fromkeys(one.strip("'") for one in choices)))
    return " or ".join(dict.fromkeys(names))


def _no_class(place: str, path: str, classes: Sequence[str]) -> str:
    """Return why a class cannot be had, or what is given instead of one."""
    if place == "data" and path.endswith((".h5", ".hdf5")):
        return f"data is {path}: a data file is given as --data.path {path}"
    if "/" in path or path.endswith((".yaml", ".yml")):
        return f"{place}: no file '{path}'"
    if "." in path and (problem := _import_problem([path])):
        return f"{place}: {problem}"
    if path in classes:
        return f"{place} is {path}, a class of another kind: name another, or the model for {path}"
    near = difflib.get_close_matches(path, classes, n=1)
    hint = (
        f"did you mean '{near[0]}'?" if near else f"a user-defined one is written my_module.{path}"
    )
    return f"{place}: no class or file '{path}': {hint}"


def _import_problem(paths: Iterable[str]) -> str:
    """Return why the first of some classes that cannot be imported cannot."""
    for path in paths:
        try:
            class_at(path)
        except ConfigError as error:
            return str(error)
    return ""


def _near(name: str, known: Sequence[str]) -> str:
    if near := difflib.get_close_matches(name, known, n=1):
        return f": did you mean '{near[0]}'?"
    some = sorted(set(known)) if len(set(known)) <= 40 else []
    return f"; there are: {', '.join(some)}" if some else ""


def _arguments(path: str) -> list[str]:
    """Return the names of a class's arguments, and of the keys around them in a file."""
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name)
    names = ["class_path", "init_args"]
    for base in getattr(found, "__mro__", (found,)):
        parameters = inspect.signature(vars(base).get("__init__", base)).parameters.values()
        names += [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
        if parameters and not any(one.kind is one.VAR_KEYWORD for one in parameters):
            break  # what it does not know goes to its base class, as `**settings`
    return [name for name in names if name != "self"]
