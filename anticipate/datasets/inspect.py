"""`anticipate inspect FILE.h5`: what a data file holds, and whether it is undamaged."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from anticipate.catalog import data_sets
from anticipate.console import CommandParser, print_json
from anticipate.datasets.file.data_file import DataFile
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import DataError

_NAMED = 3  # damaged arrays named in an error

Document = dict[str, Any]


def main(argv: list[str]) -> None:
    """Run `anticipate inspect`.

    Args:
        argv: The words of the command line from `inspect` on.

    Raises:
        DataError: The file cannot be read, or `--verify` found damage.
    """
    arguments = _parser().parse_args(argv[1:])
    with _reader(arguments.file) as store:
        document = describe(store)
        if arguments.verify:
            _verify(store)
            document |= {"verified": True, "tables_verified": store.has_sum_of_tables}
        if arguments.probe:
            from anticipate.datasets.feature_probe import probe  # scikit-learn takes a second

            document["probe"] = probe(store, arguments.split, arguments.seed)
    if arguments.json:
        print_json(document)
    else:
        _print_table(document, arguments.file)


def describe(store: DenseStore | ShortTermStore) -> Document:
    """Return the facts of a data file as one JSON document."""
    own = _describe_dense(store) if isinstance(store, DenseStore) else _describe_short_term(store)
    return {
        "dataset": store.dataset,
        "num_videos": len(store.video_ids),
        "num_frames": sum(store.num_frames(video_id) for video_id in store.video_ids),
        "num_classes": store.num_classes,
        "feature_dim": store.feature_dim,
        "dtype": store.dtype,
        "fps": store.fps,
        **own,
        "synthetic": store.synthetic,
        "source": store.source,
        "notes": store.notes,
    }


def _describe_dense(store: DenseStore) -> Document:
    """Tell the stored frames, and the videos of each part."""
    splits = {
        k: {part: len(video_ids) for part, video_ids in parts.items()}
        for k, parts in store.splits.items()
    }
    return {"stride": store.stride, "splits": splits}


def _describe_short_term(store: ShortTermStore) -> Document:
    """Tell the stored rows per second, the label spaces, and the segments of each part."""
    splits = store.num_rows
    (only, *_) = splits.values()
    return {
        "feature_fps": float(store.feature_fps),
        "streams": dict(store.streams),
        "num_actions": store.num_classes,
        "num_verbs": len(store.verbs),
        "num_nouns": len(store.nouns),
        "splits": splits if len(splits) > 1 or _has_several_splits(store.dataset) else only,
    }


def _has_several_splits(dataset: str) -> bool:
    """Return whether the release of a data set has them, also where a file holds one."""
    known = data_sets().get(dataset)
    return known is not None and bool(known.fact("several_splits"))


def _reader(path: Path) -> DenseStore | ShortTermStore:
    with DataFile(path) as file:
        return DenseStore(path) if file.kind == "dense" else ShortTermStore(path)


def _verify(store: DataFile) -> None:
    damaged = store.verify()
    if damaged:
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise DataError(
            f"{store.path}: {len(damaged)} damaged arrays: {', '.join(damaged[:_NAMED])}{more}; "
            f"make the file again with: {store.make_with}"
        )


def _print_table(document: Document, path: Path) -> None:
    table = Table("what", "found", title=str(path))
    for what, found in _facts(document).items():
        table.add_row(what, found)
    for k, parts in _parts(document["splits"]).items():
        table.add_row(k, ", ".join(f"{count:,} {part}" for part, count in parts.items()))
    for name, value in document["notes"].items():
        table.add_row(name.replace("_", " "), json.dumps(value).strip('"'))
    if "verified" in document:
        no_tables = "those of the arrays match; no checksum of tables: made before version 0.2"
        table.add_row("checksums", "all match" if document["tables_verified"] else no_tables)
    for what, text in _probed(document).items():
        table.add_row(what, text)
    Console().print(table)


def _probed(document: Document) -> dict[str, str]:
    """Return what a probe has found as rows of the table."""
    if "probe" not in document:
        return {}
    found = document["probe"]
    low, first, middle, last, high = (f"{value:.3g}" for value in found["percentiles"])
    return {
        "probe": f"{found['train_frames']:,} frames of training videos of split {found['split']}, "
        f"{found['held_out_frames']:,} of held-out ones",
        "linear classifier": f"{100 * found['accuracy']:.1f} % of held-out frames; most frequent "
        f"class {100 * found['most_frequent']:.1f} %",
        "range": f"{low} to {high}; median {middle}, 98 % in {first} to {last}; "
        f"{100 * found['negative']:.2g} % negative, {100 * found['not_finite']:.2g} % not finite",
        "channels": f"{100 * found['dead_channels']:.2g} % of {found['width']} never change",
        "cosine": f"{found['neighbours']:.3f} of neighbouring rows, {found['strangers']:.3f} of "
        "rows of different videos",
        "features look": found["verdict"],
    }


def _facts(document: Document) -> dict[str, str]:
    features = "synthetic features, made from the labels" if document["synthetic"] else "features"
    seconds = document["num_frames"] / document["fps"]
    classes, stored = f"{document['num_classes']:,}", f"every {document.get('stride')}. frame"
    if "num_verbs" in document:
        stored = f"{document['feature_fps']:g} per second"
        classes += f" actions of {document['num_verbs']} verbs and {document['num_nouns']} nouns"
    streams = ", ".join(f"{name} {width}" for name, width in document.get("streams", {}).items())
    return {
        "data set": f"{document['dataset']}, from {document['source']}",
        "videos": f"{document['num_videos']:,}",
        "frames": f"{document['num_frames']:,} at {document['fps']} per second, "
        f"{seconds / 3600:.1f} hours",
        "classes": classes,
        "features": f"{document['feature_dim']} {features}; {document['dtype']}, {stored}",
        **({"streams": streams} if streams else {}),
    }


def _parts(splits: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return sizes of parts by what the table calls the split."""
    if any(isinstance(count, int) for count in splits.values()):
        return {"segments": splits}
    return {f"split {k}": parts for k, parts in splits.items()}


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="anticipate inspect", description="Show what a data file holds.")
    parser.add_argument("file", type=Path, metavar="FILE.h5", help="data file made by prepare")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")
    parser.add_argument("--verify", action="store_true", help="check the checksum of every array")
    parser.add_argument(
        "--probe", action="store_true", help="tell from some frames whether features look real"
    )
    parser.add_argument("--split", metavar="N", help="split to probe (default: the first one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="frames to probe (0)")
    return parser
