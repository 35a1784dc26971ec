"""`anticipate prepare DATASET ...`: convert a public release, or invented data, into one HDF5 file.

Each module named in `DATASETS` reads one family of releases through two functions,
`add_arguments(parser)` and `prepare(arguments)`; it is imported only when its data set is wanted.
"""

from anticipate.data.prepare.command import main

__all__ = ["main"]
