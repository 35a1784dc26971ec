"""Figures from plain arrays. Nothing here knows of models, runs or files of results."""
