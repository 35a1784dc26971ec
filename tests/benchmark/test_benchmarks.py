"""Every benchmark at tiny sizes: its document, and that all candidates compute the same."""

import json
import logging
import math
import shutil

import pytest

from anticipate.benchmark import main
from anticipate.benchmark.command import BENCHMARKS
from anticipate.benchmark.peers import has_mambapy
from anticipate.cli import main as cli

COMPARED = {
    "scan": {"reference backend", "mamba_ssm's reference"},
    "block": {"on the reference scan"},
    "sample": set(),
    "train": {"on the reference scan"},
    "data": {"whole .npy", "mapped .npy"},
    "metrics": {"loop over frames"},
}
"""Candidates whose results must equal those of the first one of their group."""


def document(capsys, name):
    main(["benchmark", name, "--quick", "--repeats", "1", "--json"])
    captured = capsys.readouterr()
    assert captured.err.startswith(f"benchmark {name} on ")
    return json.loads(captured.out)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_document_holds_positive_times_and_agreeing_results(capsys, name):
    found = document(capsys, name)
    assert (found["benchmark"], found["quick"], found["repeats"]) == (name, True, 1)
    assert {"cpu", "threads", "torch", "load"} <= found["machine"].keys()
    compared = set()
    for group in found["groups"]:
        assert group["rows"][0]["ratio"] == 1.0
        for row in group["rows"]:
            assert 0 < row["fastest"] <= row["seconds"]
            assert row["ratio"] > 0
            if "difference" in row["figures"]:
                compared.add(row["name"])
                assert row["figures"]["difference"] < 1e-5, row
    assert COMPARED[name] <= compared


def test_scan_compares_with_the_peers_that_this_machine_has(capsys):
    names = {row["name"] for row in document(capsys, "scan")["groups"][0]["rows"]}
    assert ("mambapy" in names) == has_mambapy()
    assert ("fused C loop" in names) == bool(shutil.which("gcc") or shutil.which("cc"))


def test_what_is_missing_is_said_in_one_line_each(capsys, monkeypatch):
    monkeypatch.setattr("anticipate.benchmark.peers.has_mambapy", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    forward = document(capsys, "scan")["groups"][0]
    assert [row["name"] for row in forward["rows"]] == [
        "anticipate",
        "reference backend",
        "mamba_ssm's reference",
    ]
    assert forward["notes"] == [
        "mambapy left out: not installed; install it with: pip install 'anticipate[bench]'",
        "fused C loop left out: no C compiler found",
    ]


def test_data_asks_for_the_bytes_of_its_tokens_alone(capsys):
    ours, whole, _ = document(capsys, "data")["groups"][0]["rows"]
    tokens, frames = math.ceil(int(0.2 * 60) / 3), 60
    assert ours["figures"]["asked MiB"] == tokens * 32 * 4 / 2**20
    assert whole["figures"]["asked MiB"] == frames * 32 * 4 / 2**20


def test_the_reference_scan_really_runs_and_only_when_asked_for(caplog):
    from anticipate.benchmark.network import reference_scan
    from anticipate.benchmark.scan import SCANS, make_inputs

    def chosen():
        caplog.clear()
        SCANS["anticipate"](make_inputs(1, 3, d_inner=4, d_state=2))
        return caplog.text

    with caplog.at_level(logging.INFO, logger="anticipate.nn.scan.backends"):
        with reference_scan():
            assert "'reference' backend" in chosen()
        assert "'cpu' backend" in chosen()


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
