"""What a test costs: time per video, memory and parameters (MixANT Tab. 3 and 4, Fig. 10)."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from anticipate.machine import cpu_name, memory_peak, reset_memory_peak
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.types import DenseForecast

__all__ = ["Efficiency"]


class Efficiency(Callback):
    """Measures the forecasts of a test, for `metrics.json`; each process measures itself."""

    def __init__(self) -> None:
        self._batches: list[tuple[float, int]] = []
        self._num_samples = 1
        self._spent, self._since = 0.0, time.process_time()

    def state_dict(self) -> dict[str, Any]:
        """Keep what the training has cost so far in its checkpoint."""
        return {"cpu_seconds": self._cpu_seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from there."""
        self._spent, self._since = state_dict["cpu_seconds"], time.process_time()

    def _cpu_seconds(self) -> float:
        return self._spent + time.process_time() - self._since

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget earlier tests and the memory of training, and time every forecast from now on."""
        self._batches.clear()
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        reset_memory_peak()
        if isinstance(pl_module, DenseAnticipator | ShortTermAnticipator):
            # An attribute of the model hides its method: scoring and other callbacks do not count.
            timed = partial(self._timed, pl_module.forecast, pl_module.device)
            vars(pl_module)["forecast"] = timed

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the clock away."""
        vars(pl_module).pop("forecast", None)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Likewise."""
        vars(pl_module).pop("forecast", None)

    def _timed(self, forecast: Callable[[Any], Any], device: torch.device, batch: Any) -> Any:
        started = _now(device)
        found = forecast(batch)
        self._batches.append((_now(device) - started, len(batch.video_ids)))
        self._num_samples = len(found.preds) if isinstance(found, DenseForecast) else 1
        return found

    def summary(self, model: pl.LightningModule) -> dict[str, Any]:
        """Return the costs of the batches so far.

        `parameters`; `peak_memory_bytes`, what CUDA gave out at most or, on a CPU, what the whole
        process held; `seconds_per_video`, the mean over the forecasts of all batches but the first,
        in which kernels are compiled and tuned, for `num_samples` futures; `cpu_seconds`, the
        computing of training and test by this process, all threads; `device`.
        """
        counted = self._batches[1:] or self._batches
        videos = sum(rows for _, rows in counted)
        seconds = sum(duration for duration, _ in counted)
        on_gpu = model.device.type == "cuda"
        return {
            "parameters": sum(weights.numel() for weights in model.parameters()),
            "peak_memory_bytes": torch.cuda.max_memory_allocated(model.device)
            if on_gpu
            else memory_peak(),
            "seconds_per_video": seconds / videos if videos else None,
            "num_samples": self._num_samples,
            "cpu_seconds": round(self._cpu_seconds(), 1),
            "device": torch.cuda.get_device_name(model.device)
            if on_gpu
            else f"{cpu_name()}, threads: {torch.get_num_threads()}",
        }


def efficiency(trainer: pl.Trainer, model: pl.LightningModule) -> dict[str, Any] | None:
    """Return the summary of the trainer's `Efficiency`, None where it has none."""
    found = [callback for callback in trainer.callbacks if isinstance(callback, Efficiency)]  # type: ignore[attr-defined]
    return found[0].summary(model) if found else None


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
