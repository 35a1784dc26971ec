"""`anticipate convert`: weights of other code as a checkpoint with its settings next to it."""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
import yaml
from torch import nn

from anticipate.catalog import data_sets
from anticipate.console import CommandParser, notice
from anticipate.datasets.file.data_file import DataFile
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn import aga, avt, futr, gtda, rulstm, testra
from anticipate.training.checkpoints import read_tensors
from anticipate.training.settings import RECIPES, read_yaml

WINDOWS = "anticipate.datasets.batches.ticks.TickWindows"

FALLBACK = {"short_term": "ek100", "dense": "breakfast"}
"""Data set of weights for a number of actions that no data set has, by task."""


class Converted(NamedTuple):
    """A network with the weights of other code, and the model that trains such networks."""

    network: nn.Module
    arguments: dict[str, Any]
    """What the network was built with."""
    model: str
    slot: str
    """Argument of the model that takes the network."""
    others: dict[str, Any]
    """More arguments of the model."""
    reading: dict[str, Any]
    """Arguments of the data, where they are not the usual ones."""


def main(argv: list[str]) -> None:
    """Run `anticipate convert SYSTEM`.

    Args:
        argv: The words of the command line from `convert` on.

    Raises:
        CheckpointError: The source holds no weights of the system, or of another variant.
        ConfigError: The output exists already, or the data file is of other sizes.
    """
    options = _parser().parse_args(argv[1:])
    output: Path = options.output
    config = output.parent / "config.yaml"
    for path in (output, config):
        if path.exists():
            raise ConfigError(f"{path} exists already: choose an --output in another folder")
    weights = read_tensors(options.source)
    try:
        converted = options.read(weights, options)
    except CheckpointError as error:
        raise CheckpointError(f"{options.source}: {error}") from error
    streams = getattr(options, "streams", None)
    document = run_settings(output.stem, converted, options.task, options.data, streams)
    output.parent.mkdir(parents=True, exist_ok=True)
    tensors = converted.network.state_dict().items()
    _save(output, {f"{converted.slot}.{name}": tensor for name, tensor in tensors})
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    notice(f"{output}: {converted.arguments['num_classes']} actions; settings in {config}")


def run_settings(
    name: str,
    converted: Converted,
    task: str,
    data: Path | None,
    streams: list[str] | None = None,
) -> dict[str, Any]:
    """Return the settings of a run that `test` and `predict` take.

    Args:
        name: Name of the run.
        converted: Network and model.
        task: `short_term` or `dense`.
        data: Data file to read; None for the usual place of the data set with so many actions.
        streams: Streams of the file that the network reads; None for all.

    Raises:
        ConfigError: The data file is of the other task, or has other numbers of actions or
            features.
    """
    sizes = {key: converted.arguments[key] for key in ("num_classes", "feature_dim")}
    dataset = _dataset_of(sizes["num_classes"], task)
    reading = converted.reading | ({"streams": streams} if streams else {})
    if data is not None:
        dataset = _check_data(data, task, sizes, streams)
        reading["path"] = str(data.resolve())
    network = {key: value for key, value in converted.arguments.items() if key not in sizes}
    kind = type(converted.network).__name__.removesuffix("Fusion")
    built = {"class_path": kind, "init_args": network}
    return {
        "run_name": name,
        "data": {
            "class_path": data_sets()[dataset].offer.name,
            **({"init_args": reading} if reading else {}),
        },
        "model": {
            "class_path": converted.model,
            "init_args": {converted.slot: built, **converted.others},
        },
    }


def _dataset_of(num_classes: int, task: str) -> str:
    """Return the data set of a task with so many actions."""
    by_actions = {data_sets()[name].fact("num_actions"): name for name in _published(task)}
    return by_actions.get(num_classes, FALLBACK[task])


def _published(task: str) -> list[str]:
    """Return the data sets of a task whose number of actions is known."""
    return [
        name
        for name, one in data_sets().items()
        if one.fact("num_actions") and bool(one.fact("measures")) == (task == "short_term")
    ]


def _check_data(path: Path, task: str, sizes: dict[str, int], streams: list[str] | None) -> str:
    """Return the data set of a file that fits the network."""
    with DataFile(path) as file:
        dataset, found = file.dataset, (file.num_classes, file.feature_dim)
        kind = file.kind
    if kind == "short_term":
        with ShortTermStore(path, streams=streams) as clips:
            found = (clips.num_classes, clips.feature_dim)
    if kind != task or dataset not in data_sets():
        expected = ", ".join(_published(task))
        raise ConfigError(f"{path} holds '{dataset}', expected one of {expected}")
    if found != (sizes["num_classes"], sizes["feature_dim"]):
        raise ConfigError(
            f"{path} has {found[0]} actions and features of width {found[1]}, the weights are "
            f"for {sizes['num_classes']} and {sizes['feature_dim']}: prepare the data that they "
            "were trained on, or choose --streams"
        )
    return dataset


def _read_aga(weights: Any, options: argparse.Namespace) -> Converted:
    variant = {
        "queue_length": options.queue_length,
        "query": options.query,
        "gate": options.gate,
        "attention": options.attention,
    }
    arguments = aga.reference_settings(weights, **variant)
    network = aga.aga_from_reference(weights, **variant)
    others = {"loss_reduction": "released"}
    return Converted(network, arguments, "SequenceAnticipator", "network", others, {})


def _read_avt(weights: Any, options: argparse.Namespace) -> Converted:
    arguments = avt.reference_settings(weights, num_heads=options.num_heads)
    network = avt.avt_from_reference(weights, num_heads=options.num_heads)
    reading = {"num_steps": arguments["window"], "drift": False}
    return Converted(network, arguments, "AVTAnticipator", "network", {}, reading)


def _read_futr(weights: Any, options: argparse.Namespace) -> Converted:
    arguments = futr.reference_settings(weights, num_heads=options.num_heads)
    network = futr.futr_from_reference(weights, num_heads=options.num_heads)
    return Converted(network, arguments, "QueryAnticipator", "network", {}, {})


def _read_gtda(weights: Any, options: argparse.Namespace) -> Converted:
    network, arguments = gtda.read_reference(weights, options.self_conditioning)
    if isinstance(network, gtda.DeterministicGTDA):
        return Converted(network, arguments, "FrameAnticipator", "network", {}, {})
    others = {"load_balancing": 0.0, "loss_reduction": "released"}
    return Converted(network, arguments, "DiffusionAnticipator", "denoiser", others, {})


def _read_rulstm(weights: Any, options: argparse.Namespace) -> Converted:
    """Return RULSTM or its fusion, which the settings describe by one of its branches.

    Clips are those of the recipe of the data set.
    """
    arguments = rulstm.reference_settings(weights)
    network = rulstm.rulstm_from_reference(weights)
    fusion = {"fusion": arguments.pop("fusion")}
    dataset = _dataset_of(arguments["num_classes"], "short_term")
    recipe = read_yaml((RECIPES / f"configs/data/rulstm_{dataset}.yaml").read_text())["init_args"]
    times = ("anticipation_time", "num_steps", "step_time", "train_until", "drift")
    clips = {name: recipe[name] for name in times}
    return Converted(network, arguments, "RULSTMAnticipator", "network", fusion, clips)


def _read_testra(weights: Any, options: argparse.Namespace) -> Converted:
    variant = {
        "long_steps": options.long_steps,
        "num_heads": options.num_heads,
        "decay": options.decay,
        "work_in_memory": not options.compressed_memory_only,
    }
    arguments = testra.reference_settings(weights, **variant)
    network = testra.testra_from_reference(weights, **variant)
    del arguments["num_verbs"], arguments["num_nouns"]
    # Checkpoints and settings are plain YAML and JSON, which have no tuples.
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}
    windows = {"class_path": WINDOWS, "init_args": {"long_steps": options.long_steps}}
    return Converted(network, arguments, "TeSTraAnticipator", "network", {}, {"windows": windows})


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

    def add_system(name: str, about: str, **defaults: Any) -> CommandParser:
        system: CommandParser = commands.add_parser(
            name, help=about, description=f"Convert {about}."
        )
        system.set_defaults(**defaults)
        add = system.add_argument
        add("source", type=Path, metavar="SRC.pt", help="state dict, or checkpoint that holds one")
        add("--output", type=Path, required=True, metavar="DST.ckpt", help="checkpoint to write")
        add("--data", type=Path, metavar="FILE.h5", help="data file for its config.yaml")
        if defaults["task"] == "short_term":
            add("--streams", nargs="+", metavar="NAME", help="streams of the file (default: all)")
        return system

    add = add_system(
        "aga", "weights of AGA's authors", read=_read_aga, task="short_term"
    ).add_argument
    add("--query", choices=get_args(aga.QueryKind), default="ema_released", help="as in training")
    add("--gate", choices=get_args(aga.GateKind), default="elementwise", help="as in training")
    kinds = get_args(aga.AttentionKind)
    add("--attention", choices=kinds, default="action_guided", help="likewise")
    add("--queue-length", type=int, default=30, metavar="S", help="steps remembered (default: 30)")
    add = add_system(
        "avt", "weights of AVT's authors", read=_read_avt, task="short_term"
    ).add_argument
    add("--num-heads", type=int, default=4, metavar="N", help="attention heads (default: 4)")
    add_system("rulstm", "weights of RULSTM's authors", read=_read_rulstm, task="short_term")
    add = add_system(
        "testra", "weights of TeSTra's authors", read=_read_testra, task="short_term"
    ).add_argument
    add("--long-steps", type=int, default=0, metavar="N", help="long tokens: 64, or 0 for none")
    add("--num-heads", type=int, default=8, metavar="N", help="attention heads (default: 8)")
    add("--decay", type=float, default=1.0, metavar="A", help="of the temporal kernel (default: 1)")
    help_ = "the decoder looks at the compressed long tokens alone"
    add("--compressed-memory-only", action="store_true", help=help_)
    add = add_system(
        "futr", "weights of FUTR's authors", read=_read_futr, task="dense"
    ).add_argument
    add("--num-heads", type=int, default=8, metavar="N", help="attention heads (default: 8)")
    add_system(
        "gtda", "weights of GTDA's authors, either variant", read=_read_gtda, task="dense"
    ).add_argument(
        "--no-self-conditioning",
        dest="self_conditioning",
        action="store_false",
        help="the weights were trained without the previous estimate as input",
    )
    return parser
