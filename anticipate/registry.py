"""What experiments are made of: data sets, models and networks that YAML files name and combine."""

from lightning.pytorch import LightningDataModule, LightningModule

from anticipate.data import (
    Assembly101,
    Breakfast,
    EgteaGaze,
    EpicKitchens55,
    EpicKitchens100,
    Salads50,
    Synthetic,
    SyntheticActions,
)
from anticipate.data.datamodule import DenseDataModule
from anticipate.data.short_term_module import ShortTermDataModule
from anticipate.errors import ConfigError
from anticipate.models import (
    DenseAnticipator,
    DiffusionAnticipator,
    SequenceAnticipator,
    ShortTermAnticipator,
)
from anticipate.nn import AGA, MixANT, Transformer

SHORT_NAMES = (
    *(Assembly101, Breakfast, Salads50, Synthetic),
    *(EgteaGaze, EpicKitchens55, EpicKitchens100, SyntheticActions),
    *(DiffusionAnticipator, MixANT, Transformer),
    *(SequenceAnticipator, AGA),
)
"""Classes that YAML files may name without their module: being imported makes it so."""

TASKS = {
    "dense anticipation": (DenseDataModule, DenseAnticipator),
    "short-term anticipation": (ShortTermDataModule, ShortTermAnticipator),
}
"""Data sets and the models that can learn from them."""

FROM_DATA = (
    *("num_classes", "feature_dim"),
    *("sample_rate", "obs_ratios", "pred_ratios"),  # dense
    *("protocol", "class_counts"),  # short-term
)
"""Facts that models are built with, where the data tells them and the model wants them."""


def check_task(data: type[LightningDataModule], model: type[LightningModule]) -> None:
    """Compare what a data set is for with what a model does.

    Raises:
        ConfigError: The two are of different tasks.
    """
    for task, (data_sets, models) in TASKS.items():
        if issubclass(data, data_sets) and not issubclass(model, models):
            raise ConfigError(
                f"{data.__name__} is a data set for {task}, and {model.__name__} no model for "
                f"that: name another model or other data"
            )
