"""`anticipate inspect FILE.h5`: what a data file holds, and whether it is undamaged."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from anticipate.console import CommandParser, print_json
from anticipate.data.store import FeatureStore
from anticipate.errors import DataError

_NAMED = 3  # damaged arrays named in an error


def main(argv: list[str]) -> None:
    """Run `anticipate inspect`.

    Args:
        argv: The words of the command line from `inspect` on.

    Raises:
        DataError: The file cannot be read, or `--verify` found damage.
    """
    arguments = _parser().parse_args(argv[1:])
    with FeatureStore(arguments.file) as store:
        document = describe(store)
        if arguments.verify:
            _verify(store)
            document["verified"] = True
    if arguments.json:
        print_json(document)
    else:
        _print_table(document, arguments.file)


def describe(store: FeatureStore) -> dict[str, Any]:
    """Return the facts of a data file as one JSON document."""
    return {
        "dataset": store.dataset,
        "num_videos": len(store.video_ids),
        "num_frames": sum(store.num_frames(video_id) for video_id in store.video_ids),
        "num_classes": store.num_classes,
        "feature_dim": store.feature_dim,
        "dtype": store.dtype,
        "fps": store.fps,
        "stride": store.stride,
        "synthetic": store.synthetic,
        "source": store.source,
        "splits": {
            k: {part: len(video_ids) for part, video_ids in parts.items()}
            for k, parts in store.splits.items()
        },
        "notes": store.notes,
    }


def _verify(store: FeatureStore) -> None:
    damaged = store.verify()
    if damaged:
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise DataError(
            f"{store.path}: {len(damaged)} damaged arrays: {', '.join(damaged[:_NAMED])}{more}; "
            f"make the file again with: {store.make_with}"
        )


def _print_table(document: dict[str, Any], path: Path) -> None:
    table = Table("what", "found", title=str(path))
    features = "synthetic features, made from the labels" if document["synthetic"] else "features"
    seconds = document["num_frames"] / document["fps"]
    rows = {
        "data set": f"{document['dataset']}, from {document['source']}",
        "videos": f"{document['num_videos']:,}",
        "frames": f"{document['num_frames']:,} at {document['fps']} per second, "
        f"{seconds / 3600:.1f} hours",
        "classes": f"{document['num_classes']}",
        "features": f"{document['feature_dim']} {features}; {document['dtype']}, every "
        f"{document['stride']}. frame",
    }
    for k, parts in document["splits"].items():
        rows[f"split {k}"] = ", ".join(f"{count:,} {part}" for part, count in parts.items())
    for name, value in document["notes"].items():
        rows[name.replace("_", " ")] = json.dumps(value).strip('"')
    if "verified" in document:
        rows["checksums"] = "all match"
    for what, found in rows.items():
        table.add_row(what, found)
    Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="anticipate inspect", description="Show what a data file holds.")
    parser.add_argument("file", type=Path, metavar="FILE.h5", help="data file made by prepare")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")
    parser.add_argument("--verify", action="store_true", help="check the checksum of every array")
    return parser
