"""Action anticipation in video: models, protocols, ablations."""

__version__ = "0.1.0"
