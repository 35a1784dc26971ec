"""The splits that a data file has."""

from anticipate.datasets.file.data_file import DataFile
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.training.settings import Settings


def splits_of(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of all splits of the data file that settings name.

    Raises:
        DataError: No such file, or a damaged one.
    """
    path = settings["data.init_args.path"]
    with DataFile(path) as file:
        kind = file.kind
    if kind == "short_term":
        with ShortTermStore(path) as clips:
            return tuple(sorted(map(int, clips.num_rows)))
    with DenseStore(path) as videos:
        return tuple(sorted(map(int, videos.splits)))
