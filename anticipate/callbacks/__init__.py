"""What happens around training and testing: figures, results and the files of a run."""

from anticipate.callbacks.expert_usage import ExpertUsage
from anticipate.callbacks.figures import ForecastFigures
from anticipate.callbacks.predictions_file import PredictionsFile
from anticipate.callbacks.results import DenseResults
from anticipate.callbacks.short_term_results import ShortTermResults

__all__ = ["DenseResults", "ExpertUsage", "ForecastFigures", "PredictionsFile", "ShortTermResults"]
