"""The benchmarks for GPUs, rehearsed on a CPU: they run, and all works compute the same."""

import pytest
import torch

from anticipate.cli import main as cli
from anticipate.errors import ConfigError
from anticipate.lab.benchmark import gpu_speed


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu_speed.BENCHMARKS)
def test_every_work_is_measured(name):
    groups = gpu_speed.run(name, quick=True, repeats=2, device="cpu")
    assert groups
    for group in groups:
        assert group.rows[0].ratio == 1.0
        assert all(0 < row.fastest <= row.seconds for row in group.rows)


def test_by_graphs_and_by_kernels_the_same_is_computed():
    (works,) = gpu_speed.sample(True, torch.device("cpu")).values()
    by_kernels, *others = (work() for work in works.values())
    for other in others:
        torch.testing.assert_close(other, by_kernels)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_there_is_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        cli(["benchmark", "scan", "--device", "cuda"])
    assert end.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("no CUDA device was found: leave --device out to measure on the CPU")
    )


def test_benchmarks_that_are_for_cpus_are_refused():
    with pytest.raises(
        ConfigError, match="benchmark data is for CPUs: expected one of scan, block"
    ):
        gpu_speed.run("data", quick=True, repeats=1)
