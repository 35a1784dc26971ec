"""Applies the rules of the challenge's evaluator to a file before it is uploaded."""

import json
import math
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anticipate.console import name_some
from anticipate.errors import DataError
from anticipate.export.challenge_format import (
    CHALLENGES,
    LEVELS,
    NAME,
    NUM_ACTIONS,
    NUM_LEVELS,
    Challenge,
)


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
            for name in challenge.members:
                ids = None if segments is None else segments[name]
                found = check_document(archive.read(name), challenge, ids)
                violations += [f"{name}: {line}" for line in found.violations]
                num_segments += found.num_segments
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a zip archive that can be read ({error})") from error
    return Findings(violations, num_segments)


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
    for challenge in CHALLENGES.values():
        members = sorted(challenge.members)
        if sorted(names) == members and (segments is None or sorted(segments) == members):
            return challenge
    return None


def _known() -> str:
    editions = (f"{' and '.join(c.members)} for {name}" for name, c in CHALLENGES.items())
    return f"{' or '.join(editions)}, at the top of the archive"


def _head_violations(document: Mapping[str, Any], challenge: Challenge) -> Iterator[str]:
    for key, expected in (("version", challenge.version), ("challenge", NAME)):
        if document.get(key) != expected:
            yield f"'{key}' is {document.get(key)!r}, expected {expected!r}"
    for key in LEVELS if challenge.has_levels else ():
        level = document.get(key)
        if type(level) is not int or not 0 <= level < NUM_LEVELS:
            yield f"'{key}' is {level!r}, expected a whole number from 0 to {NUM_LEVELS - 1}"


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
