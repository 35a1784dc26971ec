"""The data file: one HDF5 file per prepared release."""
