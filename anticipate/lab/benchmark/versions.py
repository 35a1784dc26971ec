"""What a measurement was made on."""

import os
import platform

import torch

from anticipate.machine import cpu_name


def describe() -> dict[str, str | int]:
    """Return processor, threads that torch uses, versions, and how busy the machine is (1 min)."""
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
    }
