"""What a measurement was made on."""

import os
import platform
from pathlib import Path

import torch

_CPU_FACTS = Path("/proc/cpuinfo")


def describe() -> dict[str, str | int]:
    """Return processor, threads that torch uses, versions, and how busy the machine is (1 min)."""
    return {
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
    }


def _cpu_name() -> str:
    if _CPU_FACTS.is_file():
        for line in _CPU_FACTS.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
