"""Writes the file that the EPIC-Kitchens action anticipation challenge wants."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from anticipate.data.short_term_store import ShortTermStore
from anticipate.errors import ConfigError, DataError
from anticipate.export.challenge_format import CHALLENGES, NAME, NUM_ACTIONS, Challenge
from anticipate.metrics.tasks import Tasks
from anticipate.predictions.short_term import Missing, ShortTermPredictionsReader
from anticipate.score.release import check_release

DIGITS = 7
"""Significant decimal digits of a score: float32, in which networks compute, has no more."""


def challenge_of(store: ShortTermStore) -> Challenge:
    """Return the challenge of a data file.

    Raises:
        ConfigError: There is none for its data set.
    """
    if store.dataset not in CHALLENGES:
        raise ConfigError(
            f"{store.path}: {store.dataset} has no challenge; those of {', '.join(CHALLENGES)} have"
        )
    return CHALLENGES[store.dataset]


def wanted_segments(store: ShortTermStore) -> dict[str, tuple[str, ...]]:
    """Return the segments that each document of the challenge's archive must score."""
    segment_ids = store.rows("1", "test").segment_ids
    return {
        member: segment_ids
        if subset is None
        else tuple(name for name in segment_ids if name in store.subsets[subset])
        for member, subset in challenge_of(store).members.items()
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
    for positions, logits in predictions.aligned(segment_ids, missing):
        marginals = {task: significant(p).tolist() for task, p in tasks.marginals(logits).items()}
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
