"""What the EPIC-Kitchens action anticipation challenges accept.

A zip archive of JSON documents. Each has `version`, `challenge`, in EK-100 the supervision levels,
and `results`: for each test segment a score of every `verb`, of every `noun`, and of exactly 100
actions keyed "verb,noun".
"""

import io
import json
import math
import zipfile
import zlib
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from anticipate.catalog import data_sets
from anticipate.console import CommandParser, name_some, notice
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError, DataError
from anticipate.protocol.recall import Tasks
from anticipate.protocol.short_term_predictions import (
    Missing,
    ShortTermPredictionsReader,
    check_release,
)

NAME = "action_anticipation"
LEVELS = {
    "sls_pt": "supervision level of the pre-training",
    "sls_tl": "supervision level of the training labels",
    "sls_td": "supervision level of the training data",
}
"""Supervision levels, which must be given, and what they mean."""

NUM_LEVELS = 6
NUM_ACTIONS = 100


class Challenge(NamedTuple):
    """One edition of the challenge."""

    version: str
    documents: dict[str, str | None]
    """Documents at the root of the archive, and the subset of the test segments that each holds;
    None for all."""
    num_verbs: int
    num_nouns: int
    has_levels: bool


@cache
def challenges() -> dict[str, Challenge]:
    """Return the editions by data set, from the facts of the data sets."""
    return {
        name: Challenge(
            **one.fact("challenge"),
            num_verbs=one.fact("num_verbs"),
            num_nouns=one.fact("num_nouns"),
        )
        for name, one in data_sets().items()
        if one.fact("challenge")
    }


class Findings(NamedTuple):
    """What a check found."""

    violations: list[str]
    """One line for each rule that is broken."""
    num_segments: int


def check_archive(path: Path, segments: Mapping[str, Sequence[str]] | None = None) -> Findings:
    """Check the file that the challenge gets.

    Args:
        path: The zip archive.
        segments: Segments that each of its documents must score; None leaves the ids unchecked.

    Raises:
        DataError: It is no zip archive.
    """
    violations, num_segments = [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            challenge = _challenge_of(names, segments)
            if challenge is None:
                return Findings([f"holds {name_some(names) or 'nothing'}, expected {_known()}"], 0)
            for name in challenge.documents:
                ids = None if segments is None else segments[name]
                size, limit = archive.getinfo(name).file_size, _most_bytes(challenge, ids)
                if size > limit:
                    violations.append(f"{name}: has {size:,} bytes, expected at most {limit:,}")
                    continue
                found = check_document(archive.read(name), challenge, ids)
                violations += [f"{name}: {line}" for line in found.violations]
                num_segments += found.num_segments
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a zip archive that can be read ({error})") from error
    return Findings(violations, num_segments)


MOST_SEGMENTS = 20_000
"""Segments of a test part, where they are not known; EK-100 has 13,092."""


def _most_bytes(challenge: Challenge, segment_ids: Sequence[str] | None) -> int:
    """Return what a document can need, at 64 characters for a class and its score."""
    num_segments = MOST_SEGMENTS if segment_ids is None else len(segment_ids)
    return 64 * (num_segments + 100) * (challenge.num_verbs + challenge.num_nouns + NUM_ACTIONS)


def check_document(
    content: bytes, challenge: Challenge, segment_ids: Sequence[str] | None
) -> Findings:
    """Check one document of the archive.

    Args:
        content: The JSON text.
        challenge: Whose rules hold.
        segment_ids: Segments that must be scored; None leaves them unchecked.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        return Findings([f"no JSON ({error})"], 0)
    if not isinstance(document, dict):
        return Findings(["no JSON object at the top"], 0)
    violations = list(_head_violations(document, challenge))
    results = document.get("results")
    if not isinstance(results, dict) or not results:
        return Findings([*violations, "no 'results' by segment id"], 0)
    violations += _score_violations(results, challenge)
    if segment_ids is not None:
        violations += _id_violations(results, segment_ids)
    return Findings(violations, len(results))


def _challenge_of(
    names: Sequence[str], segments: Mapping[str, Sequence[str]] | None
) -> Challenge | None:
    """Return the edition whose documents the archive holds, which the data file may prescribe."""
    for challenge in challenges().values():
        members = sorted(challenge.documents)
        if sorted(names) == members and (segments is None or sorted(segments) == members):
            return challenge
    return None


def _known() -> str:
    editions = (f"{' and '.join(c.documents)} for {name}" for name, c in challenges().items())
    return f"{' or '.join(editions)}, at the top of the archive"


def _head_violations(document: Mapping[str, Any], challenge: Challenge) -> Iterator[str]:
    for key, expected in (("version", challenge.version), ("challenge", NAME)):
        if document.get(key) != expected:
            yield f"'{key}' is {document.get(key)!r}, expected {expected!r}"
    for key in LEVELS if challenge.has_levels else ():
        level = document.get(key)
        if type(level) is not int or not 0 <= level < NUM_LEVELS:
            yield f"'{key}' is {level!r}, expected an integer from 0 to {NUM_LEVELS - 1}"


def _id_violations(results: Mapping[str, Any], segment_ids: Sequence[str]) -> Iterator[str]:
    missing = [name for name in segment_ids if name not in results]
    unknown = sorted(set(results).difference(segment_ids))
    if missing:
        yield f"{len(missing)} of {len(segment_ids)} segments are missing: {name_some(missing)}"
    if unknown:
        yield f"{len(unknown)} segments are not in the test part: {name_some(unknown)}"


def _score_violations(results: Mapping[str, Any], challenge: Challenge) -> list[str]:
    """Check every segment; those that break the same rule share a line."""
    spaces = {
        "verb": frozenset(map(str, range(challenge.num_verbs))),
        "noun": frozenset(map(str, range(challenge.num_nouns))),
    }
    # The evaluator makes action scores out of verbs and nouns where no segment has any.
    has_actions = any(isinstance(s, dict) and "action" in s for s in results.values())
    tasks = ("verb", "noun", "action") if has_actions else ("verb", "noun")
    broken: dict[str, list[str]] = defaultdict(list)
    for segment_id, segment in results.items():
        for task in tasks:
            scores = segment.get(task) if isinstance(segment, dict) else None
            if not isinstance(scores, dict):
                broken[f"without '{task}'"].append(segment_id)
                continue
            for rule in _broken_rules(task, scores, spaces):
                broken[rule].append(segment_id)
    return [f"{len(ids)} segments {rule}: {name_some(ids)}" for rule, ids in broken.items()]


def _broken_rules(
    task: str, scores: Mapping[str, Any], spaces: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    if task == "action":
        if len(scores) != NUM_ACTIONS:
            yield f"whose 'action' has not exactly {NUM_ACTIONS} entries"
        if not all(_is_pair(key, spaces) for key in scores):
            yield "whose 'action' has keys that are not a known 'verb,noun'"
    elif scores.keys() != spaces[task]:
        yield f"whose '{task}' has not exactly the classes 0 to {len(spaces[task]) - 1}"
    if not all(type(s) in (int, float) and math.isfinite(s) for s in scores.values()):
        yield f"whose '{task}' has scores that are not finite numbers"


def _is_pair(key: str, spaces: Mapping[str, frozenset[str]]) -> bool:
    verb, _, noun = key.partition(",")
    return verb in spaces["verb"] and noun in spaces["noun"]


DIGITS = 7
"""Significant decimal digits of a score: float32, in which networks compute, has no more."""


def challenge_of(store: ShortTermStore) -> Challenge:
    """Return the challenge of a data file.

    Raises:
        ConfigError: There is none for its data set.
    """
    if store.dataset not in challenges():
        raise ConfigError(
            f"{store.path}: {store.dataset} has no challenge; {', '.join(challenges())} have one"
        )
    return challenges()[store.dataset]


def wanted_segments(store: ShortTermStore) -> dict[str, tuple[str, ...]]:
    """Return the segments that each document of the challenge's archive must score."""
    segment_ids = store.rows("1", "test").segment_ids
    return {
        member: segment_ids
        if subset is None
        else tuple(name for name in segment_ids if name in store.subsets[subset])
        for member, subset in challenge_of(store).documents.items()
    }


def write_challenge(
    predictions: ShortTermPredictionsReader,
    store: ShortTermStore,
    output: Path,
    levels: Mapping[str, int],
    missing: Missing = "error",
) -> int:
    """Write the archive under a temporary name, then rename it.

    Args:
        predictions: The scores of all actions.
        store: The data file.
        output: The archive to make; one of that name is replaced.
        levels: Supervision levels by name; empty where the challenge has none.
        missing: What becomes of test segments without predictions: `error` or `zero`.

    Returns:
        Number of segments.

    Raises:
        DataError: Predictions are missing or of another release, or the file cannot be written.
    """
    challenge = challenge_of(store)
    check_release(predictions, store, store.rows("1", "test"))
    head = {"version": challenge.version, "challenge": NAME, **levels}
    members = wanted_segments(store)
    partial = output.with_name(f"{output.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, segment_ids in members.items():
                results = _results(predictions, store, segment_ids, missing)
                with io.TextIOWrapper(archive.open(member, "w"), "utf-8") as out:
                    out.writelines(_document(head, results))
        partial.replace(output)
    except OSError as error:
        raise DataError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)
    return sum(map(len, members.values()))


def significant(
    values: Float64[np.ndarray, "*shape"], digits: int = DIGITS
) -> Float64[np.ndarray, "*shape"]:
    """Round to a number of significant decimal digits, so that JSON writes no more.

    >>> significant(np.array([0.0, 0.012345678901, -1234.567891])).tolist()
    [0.0, 0.01234568, -1234.568]
    """
    magnitude = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
    # Two powers of ten, because one of them could overflow for the smallest numbers.
    scale = 10.0 ** np.clip(digits - 1 - magnitude, -300, 300)
    return np.round(values * scale) / scale


def _document(
    head: Mapping[str, Any], results: Iterator[tuple[str, dict[str, dict[str, float]]]]
) -> Iterator[str]:
    """Write a document piece by piece: at once, that of EK-100 would take a gigabyte of memory."""
    yield json.dumps(head)[:-1] + ', "results": {'
    separator = ""
    for segment_id, scores in results:
        yield f"{separator}{json.dumps(segment_id)}: {json.dumps(scores)}"
        separator = ",\n"
    yield "}}\n"


def _results(
    predictions: ShortTermPredictionsReader,
    store: ShortTermStore,
    segment_ids: Sequence[str],
    missing: Missing,
) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    verbs, nouns, num_verbs, num_nouns = store.taxonomy
    pairs = [f"{verb},{noun}" for verb, noun in zip(verbs, nouns, strict=True)]
    classes = {"verb": list(map(str, range(num_verbs))), "noun": list(map(str, range(num_nouns)))}
    tasks = Tasks(store.taxonomy, "zero")
    for positions, found in predictions.aligned(segment_ids, missing):
        marginals = {task: significant(p).tolist() for task, p in tasks.marginals(found).items()}
        logits = tasks.actions(found)
        best = np.argsort(logits, axis=1, kind="stable")[:, : -NUM_ACTIONS - 1 : -1]
        scores = significant(np.take_along_axis(logits, best, axis=1)).tolist()
        for row, position in enumerate(positions.tolist()):
            segment = {
                task: dict(zip(names, marginals[task][row], strict=True))
                for task, names in classes.items()
            }
            actions = (pairs[action] for action in best[row].tolist())
            yield (
                segment_ids[position],
                segment | {"action": dict(zip(actions, scores[row], strict=True))},
            )


def main(argv: list[str]) -> None:
    """Run `anticipate export challenge` or `anticipate export check`.

    Args:
        argv: The words of the command line from `export` on.
    """
    options = _parser().parse_args(argv[1:])
    options.run(options)


def _export(options: Namespace) -> None:
    with (
        ShortTermPredictionsReader(options.predictions) as predictions,
        ShortTermStore(options.data) as store,
    ):
        levels = _levels(options, store)
        if store.synthetic:
            notice(f"{options.data}: synthetic features")
        count = write_challenge(predictions, store, options.output, levels, options.missing)
    notice(f"{options.output}: {count} segments")


def _levels(options: Namespace, store: ShortTermStore) -> dict[str, int]:
    """Return the supervision levels: all of them, or none where the challenge has none."""
    given = {name: getattr(options, name) for name in LEVELS if getattr(options, name) is not None}
    wanted = LEVELS if challenge_of(store).has_levels else {}
    if given.keys() != wanted.keys():
        names = ", ".join(f"--{name.replace('_', '-')}" for name in LEVELS)
        raise ConfigError(
            f"the {store.dataset} challenge needs {'each' if wanted else 'none'} of {names}"
        )
    return given


def _check(options: Namespace) -> None:
    segments = None
    if options.data is None:
        notice("without --data the segment ids are not checked")
    else:
        with ShortTermStore(options.data) as store:
            segments = wanted_segments(store)
    violations, num_segments = check_archive(options.archive, segments)
    for line in violations:
        notice(line)
    if violations:
        raise DataError(f"{options.archive}: breaks {len(violations)} rules of the challenge")
    notice(f"{options.archive}: ready, {num_segments} segments")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="anticipate export", description="Write files for others, and check them."
    )
    commands = parser.add_subparsers(metavar="NAME", required=True)
    export = commands.add_parser("challenge", help="write the file of the EPIC-Kitchens challenge")
    export.set_defaults(run=_export)
    export.add_argument("predictions", metavar="PREDICTIONS.h5", help="scores of the test rows")
    export.add_argument("--data", required=True, metavar="FILE.h5", help="the prepared data file")
    export.add_argument(
        "--output", required=True, type=Path, metavar="FILE.zip", help="the file to write"
    )
    for name, meaning in LEVELS.items():
        export.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            choices=range(NUM_LEVELS),
            metavar="N",
            help=f"{meaning}, 0 to {NUM_LEVELS - 1} (EK-100)",
        )
    export.add_argument(
        "--missing",
        choices=("error", "zero"),
        default="error",
        help="what becomes of test rows without predictions; zero: all their scores are 0 "
        "(default: error)",
    )
    check = commands.add_parser("check", help="apply the challenge's rules to such a file")
    check.set_defaults(run=_check)
    check.add_argument("archive", type=Path, metavar="FILE.zip", help="the file to check")
    check.add_argument("--data", metavar="FILE.h5", help="check that every test row is scored")
    return parser
