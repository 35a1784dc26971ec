"""`anticipate sweep`: many experiments, splits and seeds, several at a time, resumable."""
