"""`anticipate convert`: weights of other code as a checkpoint with its settings next to it."""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from anticipate.catalog import data_sets
from anticipate.console import CommandParser, notice
from anticipate.datasets.file.data_file import DataFile
from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn.aga import (
    AttentionKind,
    GateKind,
    QueryKind,
    aga_from_reference,
    reference_settings,
)
from anticipate.training.checkpoints import read_tensors

FALLBACK = "ek100"
"""Data set of weights for a number of actions that no data set has: the authors' code is for it."""


def main(argv: list[str]) -> None:
    """Run `anticipate convert aga`.

    Args:
        argv: The words of the command line from `convert` on.

    Raises:
        CheckpointError: The source is no AGA of this variant.
        ConfigError: The output exists already, or the data file is of other sizes.
    """
    options = _parser().parse_args(argv[1:])
    output: Path = options.output
    config = output.parent / "config.yaml"
    for path in (output, config):
        if path.exists():
            raise ConfigError(f"{path} exists already: choose an --output in another folder")
    variant = {
        "queue_length": options.queue_length,
        "query": options.query,
        "gate": options.gate,
        "attention": options.attention,
    }
    weights = read_tensors(options.source)
    try:
        settings = reference_settings(weights, **variant)
        network = aga_from_reference(weights, **variant)
    except CheckpointError as error:
        raise CheckpointError(f"{options.source}: {error}") from error
    document = run_settings(output.stem, settings, options.data)
    output.parent.mkdir(parents=True, exist_ok=True)
    _save(output, {f"network.{name}": tensor for name, tensor in network.state_dict().items()})
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    notice(f"{output}: {settings['num_classes']} actions; settings in {config}")


def run_settings(name: str, settings: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """Return the settings of a run that `test` and `predict` take.

    Args:
        name: Name of the run.
        settings: Arguments of the network, the sizes of the data among them.
        data: Data file to read; None for the usual place of the data set with so many actions.

    Raises:
        ConfigError: The data file has another number of actions or features.
    """
    sizes = {key: settings[key] for key in ("num_classes", "feature_dim")}
    by_actions = {one.fact("num_actions"): name for name, one in data_sets().items()}
    dataset = by_actions.get(sizes["num_classes"], FALLBACK)
    reading: dict[str, Any] = {}
    if data is not None:
        dataset = _check_data(data, sizes)
        reading = {"init_args": {"path": str(data.resolve())}}
    network = {key: value for key, value in settings.items() if key not in sizes}
    return {
        "run_name": name,
        "data": {"class_path": data_sets()[dataset].offer.name, **reading},
        "model": {
            "class_path": "SequenceAnticipator",
            "init_args": {
                "network": {"class_path": "AGA", "init_args": network},
                "loss_reduction": "released",
            },
        },
    }


def _check_data(path: Path, sizes: dict[str, int]) -> str:
    """Return the data set of a file that fits the network."""
    with DataFile(path) as file:
        dataset, found = file.dataset, (file.num_classes, file.feature_dim)
        kind = file.kind
    if kind != "short_term" or dataset not in data_sets():
        known = [name for name, one in data_sets().items() if one.fact("measures")]
        raise ConfigError(f"{path} holds '{dataset}', expected one of {', '.join(known)}")
    expected = (sizes["num_classes"], sizes["feature_dim"])
    if found != expected:
        raise ConfigError(
            f"{path} has {found[0]} actions and features of width {found[1]}, the weights are "
            f"for {expected[0]} and {expected[1]}: prepare the data that they were trained on"
        )
    return dataset


def _save(output: Path, state_dict: dict[str, Any]) -> None:
    content = {
        "state_dict": state_dict,
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("lightning"),
    }
    partial = output.with_name(output.name + ".partial")
    torch.save(content, partial)
    partial.replace(output)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="anticipate convert", description="Turn weights of other code into a checkpoint."
    )
    commands = parser.add_subparsers(metavar="SYSTEM", required=True)
    add = commands.add_parser(
        "aga", help="weights of AGA's authors", description="Convert weights of AGA's authors."
    ).add_argument
    add("source", type=Path, metavar="SRC.pt", help="state dict, or checkpoint that holds one")
    add("--output", type=Path, required=True, metavar="DST.ckpt", help="checkpoint to write")
    add("--data", type=Path, metavar="FILE.h5", help="data file for its config.yaml")
    add("--query", choices=get_args(QueryKind), default="ema_released", help="as in training")
    add("--gate", choices=get_args(GateKind), default="elementwise", help="as in training")
    add("--attention", choices=get_args(AttentionKind), default="action_guided", help="likewise")
    add("--queue-length", type=int, default=30, metavar="S", help="steps remembered (default: 30)")
    return parser
