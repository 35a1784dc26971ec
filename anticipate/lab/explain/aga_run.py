"""What an explanation of AGA starts from: a trained network, its data, and what the user named."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.errors import ConfigError
from anticipate.models.sequence_anticipator import SequenceAnticipator
from anticipate.nn.aga import AGA, ActionGuidance
from anticipate.training.loading import load_marked
from anticipate.training.provenance import figure_note


class AGARun(NamedTuple):
    """A network in evaluation mode on the CPU, none of whose parameters asks for gradients."""

    network: AGA
    data: ShortTermDataModule
    caveat: str
    """What results have to say about the checkpoint; may be empty."""

    @property
    def note(self) -> str:
        """What every picture has to say; may be empty."""
        return figure_note(self.data.synthetic, self.caveat)

    @property
    def origin(self) -> dict[str, Any]:
        """What every document says about data and checkpoint."""
        return {
            "dataset": self.data.dataset,
            "synthetic": self.data.synthetic,
            "caveat": self.caveat or None,
        }


def load_aga(
    ckpt: Path, data: Path, settings: Sequence[str] = (), allow_foreign: bool = False
) -> AGARun:
    """Return the AGA of a checkpoint and a data file of the same data set.

    Args:
        ckpt: Checkpoint of a run.
        data: Data file.
        settings: More settings, as on the command line; they replace those of the run.
        allow_foreign: Whether the data may be others than those of the training.

    Raises:
        ConfigError: The checkpoint is of another network.
        AnticipateError: Checkpoint or data that cannot be used, or that do not fit together.
    """
    (model, module), caveat = load_marked(ckpt, data, settings, allow_foreign)
    if not isinstance(model, SequenceAnticipator) or not isinstance(model.network, AGA):
        raise ConfigError(f"{ckpt} has no AGA network, which this analysis needs")
    assert isinstance(module, ShortTermDataModule)
    return AGARun(model.network.requires_grad_(requires_grad=False), module, caveat)


def guidance_of(network: AGA) -> ActionGuidance:
    """Return what makes queries and keys of predictions.

    Raises:
        ConfigError: Attention is visual, so no prediction plays a part in it.
    """
    if network.guidance is None:
        raise ConfigError(
            "the network has visual attention, which no prediction guides: "
            "explain one trained with attention: action_guided"
        )
    return network.guidance


def action_ids(names: Sequence[str], vocabulary: tuple[str, ...]) -> list[int]:
    """Return the ids of some actions, each once.

    Args:
        names: Actions, as the data set calls them.
        vocabulary: Name of each action.

    Raises:
        ConfigError: An action that the data set does not have.
    """
    ids = {name: action for action, name in enumerate(vocabulary)}
    for name in names:
        if name not in ids:
            raise ConfigError(f"no action '{name}' among {len(ids):,}{_near(name, vocabulary)}")
    return list(dict.fromkeys(ids[name] for name in names))


def clip_items(segment_ids: Sequence[str], data: ShortTermDataModule) -> list[int]:
    """Return the positions of some clips among those that the run is scored on.

    Args:
        segment_ids: Segments that the clips anticipate.
        data: Data module.

    Raises:
        ConfigError: No such segment, or one that is not scored.
    """
    known = data.test_dataset.rows.segment_ids
    items = {segment_id: item for item, segment_id in enumerate(known)}
    for segment_id in segment_ids:
        if segment_id in items:
            continue
        if segment_id in data.test_segments.segment_ids:
            raise ConfigError(f"clip '{segment_id}' {_why_left_out(data)}; name another one")
        raise ConfigError(
            f"no clip '{segment_id}' among the {len(known):,} {data.evaluate_on} segments"
            + _near(segment_id, known)
        )
    return [items[segment_id] for segment_id in segment_ids]


def _why_left_out(data: ShortTermDataModule) -> str:
    early = "starts too early to be anticipated: nothing of its video may be seen"
    if data.limit_test_rows is None:
        return early
    return f"{early}, or is left out by limit_test_rows ({data.limit_test_rows}) of the run"


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f": did you mean {' or '.join(repr(word) for word in near)}?"
    return f", such as {known[0]!r}" if known else ""
