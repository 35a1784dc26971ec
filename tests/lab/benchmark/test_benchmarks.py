"""Every benchmark at tiny sizes: its document, and that all candidates compute the same."""

import json
import math
from functools import cache
from importlib.util import find_spec

import pytest
import torch

from anticipate.cli import main as cli
from anticipate.lab.benchmark import scan_speed as scan
from anticipate.lab.benchmark.benchmark_command import BENCHMARKS, benchmark, main
from anticipate.lab.benchmark.mixant_speed import make_inputs, make_network
from anticipate.nn.scan import backends, ops

COMPARED = {
    "scan": {"reference backend", "mamba_ssm's reference"},
    "block": {"on the reference scan"},
    "sample": set(),
    "train": {"on the reference scan"},
    "aga": set(),
    "data": {"whole .npy", "mapped .npy"},
    "metrics": {"loop over frames"},
}
"""Candidates whose results must equal those of the first one of their group."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads of torch wait for each other for long where other work runs, such as other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def report(name):
    return benchmark(name)(quick=True, repeats=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_times_are_positive_and_results_agree(name):
    compared = set()
    for group in report(name):
        assert group.rows[0].ratio == 1.0
        for row in group.rows:
            assert 0 < row.fastest <= row.seconds
            assert row.ratio > 0
            if "difference" in row.figures:
                compared.add(row.name)
                assert row.figures["difference"] < 1e-5, row
    assert COMPARED[name] <= compared


def test_json_is_one_document_and_notices_go_elsewhere(capsys):
    main(["benchmark", "metrics", "--quick", "--repeats", "2", "--json"])
    captured = capsys.readouterr()
    assert captured.err.startswith("benchmark metrics on ")
    document = json.loads(captured.out)
    assert (document["benchmark"], document["quick"], document["repeats"]) == ("metrics", True, 2)
    assert {"cpu", "threads", "torch", "load"} <= document["machine"].keys()
    ours, loop = document["groups"][0]["rows"]
    assert (ours["name"], loop["name"]) == ("anticipate", "loop over frames")
    assert loop.keys() == {"name", "seconds", "fastest", "ratio", "figures"}


def test_scan_compares_with_the_packages_that_are_installed(monkeypatch):
    ours = ["anticipate", "reference backend", "mamba_ssm's reference"]
    missing = "mambapy left out: not installed; install it with: pip install 'anticipate[bench]'"
    for found in (None, find_spec("mambapy")):
        monkeypatch.setattr(scan, "find_spec", lambda name, found=found: found)
        group = scan.forward(batch=1, frames=5, repeats=1)
        assert [row.name for row in group.rows] == [*ours, *(["mambapy"] if found else [])]
        assert group.notes == (() if found else (missing,))


def test_data_asks_for_the_bytes_of_its_tokens_alone():
    ours, whole, _ = report("data")[0].rows
    tokens, frames = math.ceil(int(0.2 * 60) / 3), 60
    assert ours.figures["asked MiB"] == tokens * 32 * 4 / 2**20
    assert whole.figures["asked MiB"] == frames * 32 * 4 / 2**20


def test_networks_scan_as_their_setting_says(monkeypatch):
    scans = []
    monkeypatch.setattr(
        ops, "load", lambda name, u, A: scans.append(name) or backends.load(name, u, A)
    )
    for backend in ("auto", "reference"):
        network = make_network(quick=True, scan_backend=backend)
        inputs = make_inputs(network, 1, 4)
        condition = network.encode(inputs.features, inputs.observed)
        network(inputs.x_t, inputs.t, condition, inputs.observed, inputs.valid)
    assert set(scans) == {"auto", "reference|auto"}


def test_tables_show_every_candidate(capsys):
    main(["benchmark", "metrics", "--quick", "--repeats", "1"])
    out = capsys.readouterr().out
    assert "loop over frames" in out
    assert "difference" in out
    assert "threads" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["benchmark"], "the following arguments are required: NAME"),
        (["benchmark", "scna"], "invalid choice: 'scna'"),
        (["benchmark", "scan", "--repeats", "0"], "'0' is not a number of at least 1"),
        (["benchmark", "scan", "--repeats", "some"], "'some' is not a number of at least 1"),
    ],
)
def test_mistakes_are_one_line_with_code_two(capsys, argv, message):
    with pytest.raises(SystemExit) as exit_:
        cli(argv)
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1
