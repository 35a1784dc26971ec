"""What is scored and how: measures, baselines, files of predictions and of the challenge."""

from anticipate.catalog import attribute_lookup

__getattr__, __dir__ = attribute_lookup("protocol")
