"""Data sets: one file each holds its facts, the reader of its release and its data module.

What they share is in folders: `file` (the HDF5 file), `release` (what releases consist of, and
making features from labels), `batches` (items, batches and loaders of either task).
"""

from anticipate.catalog import attribute_lookup

__getattr__, __dir__ = attribute_lookup("datasets")
