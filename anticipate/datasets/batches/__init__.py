"""From a data file to batches: items, collation, loaders, data modules."""
