"""`make gpu-check`: the tests of this folder and the benchmarks on a GPU, and one JSON of both.

Needs Python >= 3.11 with torch, Triton, pytest, Lightning, jaxtyping and einops, and no network.
`--rehearse` runs everything at tiny sizes on the CPU, kernels in Triton's interpreter.
"""

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
NEEDED = ("torch", "triton", "pytest", "lightning", "torchmetrics", "jaxtyping", "einops")
MOST_JOBS = 6
"""Tests that run at a time."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Check and measure on a GPU.")
    parser.add_argument("output", type=Path, nargs="?", default=Path("gpu_check.json"))
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args()
    missing = _missing()
    if missing:
        return _tell(f"gpu-check needs {', '.join(missing)}: install them for {sys.executable}", 2)
    import torch

    if not torch.cuda.is_available() and not options.rehearse:
        return _tell("no CUDA device was found: nothing was checked", 0)
    if options.rehearse:
        os.environ |= {"ANTICIPATE_GPU_CHECK": "cpu", "TRITON_INTERPRET": "1"}
    failed = _test()
    document = {"tests": "failed" if failed else "passed", **_measure(options.rehearse)}
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    return _tell(f"tests {document['tests']}; figures: {options.output}", int(failed))


def _missing() -> list[str]:
    return [name for name in NEEDED if find_spec(name) is None]


def _test() -> bool:
    import pytest

    from anticipate.machine import usable_cores

    own = ["-c", str(FOLDER / "pytest.ini"), "--rootdir", str(FOLDER), "--confcutdir", str(FOLDER)]
    jobs = min(MOST_JOBS, usable_cores() // 2)
    if find_spec("xdist") and jobs > 1:  # most of the time goes into compilers
        own += ["-n", str(jobs)]
    return pytest.main([*own, str(FOLDER)]) != 0


def _measure(rehearse: bool) -> dict[str, object]:
    from anticipate.lab.benchmark import gpu_speed

    device, found = "cpu" if rehearse else "cuda", {}
    for name in gpu_speed.BENCHMARKS:
        try:
            groups = gpu_speed.run(name, rehearse, 1 if rehearse else 5, device)
            rows = {group.title: [row._asdict() for row in group.rows] for group in groups}
            found[name] = rows
        except Exception as error:  # the figures of the others are worth having
            found[name] = f"{type(error).__name__}: {error}"
    return {"rehearsal": rehearse, "machine": gpu_speed.describe(), "benchmarks": found}


def _tell(text: str, code: int) -> int:
    sys.stdout.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
