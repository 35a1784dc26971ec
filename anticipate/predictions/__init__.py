"""Predictions files: what `predict` (or anybody) writes and `score` reads, one layout per task."""
