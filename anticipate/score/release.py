"""Whether a short-term predictions file speaks of the same release as a data file."""

from anticipate.console import name_some, notice
from anticipate.data.segment_table import SegmentTable
from anticipate.data.short_term_store import ShortTermStore
from anticipate.errors import DataError
from anticipate.predictions.short_term import ShortTermPredictionsReader


def check_release(
    predictions: ShortTermPredictionsReader, store: ShortTermStore, rows: SegmentTable
) -> None:
    """See that predictions and data file speak of the same actions and segments.

    Raises:
        DataError: They do not.
    """
    if predictions.num_actions != store.num_classes:
        raise DataError(
            f"{predictions.path}: 'action' has {predictions.num_actions} columns, expected one for "
            f"each of the {store.num_classes} actions of {store.path}"
        )
    others = set(predictions.segment_ids).difference(rows.segment_ids)
    known = {
        segment_id
        for k, parts in (store.num_rows.items() if others else ())
        for part in parts
        for segment_id in store.rows(k, part).segment_ids
    }
    unknown = sorted(others - known)
    if unknown:
        raise DataError(
            f"{predictions.path}: {len(unknown)} rows are not in {store.path}, so from another "
            f"release: {name_some(unknown)}"
        )
    if others:
        notice(f"{predictions.path}: {len(others)} rows outside the part that is used")
