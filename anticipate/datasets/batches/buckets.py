"""Which items make a batch: similar in length, so that padding stays small, divided over processes.

Lightning's own division over processes must be off (`use_distributed_sampler: false`): here it is
part of the batching, as only then all processes work on items of similar length in the same step.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

STEPS_PER_POOL = 32
"""Steps whose items are sorted together: more cut padding further, fewer mix batches better."""


class Draw(NamedTuple):
    """Index of a dataset: the epoch travels along, as workers keep one copy of the dataset."""

    item: int
    epoch: int


class LengthBuckets(Sampler[list[Draw]]):
    """Training batches of items of similar length, ordered by the seed and the epoch alone.

    Each epoch shuffles the items, sorts them by length within large pools, cuts the pools into
    steps and shuffles the steps. Within a step every process takes each `world_size`-th item.

    Note:
        Every process gets equally many batches of equal size. Where the number of items is no
        multiple of the number of processes, the first items of the shuffled order are drawn twice
        to fill up; with one process every item is drawn exactly once.

    Args:
        lengths: Tokens of each item.
        batch_size: Items per batch and process.
        seed: Seed of the shuffling.
        rank: Number of this process.
        world_size: Number of processes.
        drop_last: Whether to leave out a step of fewer items than the others.
        steps_per_pool: Steps whose items are sorted together.
    """

    def __init__(
        self,
        lengths: Int[np.ndarray, " items"],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        steps_per_pool: int = STEPS_PER_POOL,
    ) -> None:
        self.lengths = lengths
        self.drop_last, self.steps_per_pool = drop_last, steps_per_pool
        self.step_size = batch_size * world_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    @property
    def sampler(self) -> "LengthBuckets":
        """This object: Lightning announces the epoch to `dataloader.batch_sampler.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        Args:
            epoch: Number of finished epochs.
        """
        self.epoch = epoch

    @cached_property
    def mean_padded_length(self) -> float:
        """Tokens that an item is padded to, averaged over the items of the first epoch."""
        steps = self._steps(np.random.default_rng((self.seed, 0)))
        longest = [self.lengths[step].max() for step in steps]
        return float(np.average(longest, weights=[len(step) for step in steps]))

    def __len__(self) -> int:
        filled_up = len(self.lengths) + -len(self.lengths) % self.world_size
        whole, rest = divmod(filled_up, self.step_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch = self.epoch
        for step in self._steps(np.random.default_rng((self.seed, epoch))):
            yield [Draw(int(item), epoch) for item in step[self.rank :: self.world_size]]

    def _steps(self, generator: np.random.Generator) -> list[Int[np.ndarray, " step"]]:
        order = generator.permutation(len(self.lengths))
        order = np.resize(order, len(order) + -len(order) % self.world_size)
        pools = _cut(order, self.steps_per_pool * self.step_size)
        by_length = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
        steps = [step for pool in by_length for step in _cut(pool, self.step_size)]
        least = self.step_size if self.drop_last else 1
        shuffled = generator.permutation(len(steps))
        return [steps[position] for position in shuffled if len(steps[position]) >= least]


def evaluation_order(
    lengths: Int[np.ndarray, " items"], rank: int = 0, world_size: int = 1
) -> list[Draw]:
    """Order the items of one process for evaluation: longest first, each once over all processes.

    The longest come first so that memory that does not suffice shows at once. Processes may get
    different numbers of items, never the same one: an item scored twice would change the metrics.

    Args:
        lengths: Tokens of each item.
        rank: Number of this process.
        world_size: Number of processes.
    """
    order = np.argsort(-lengths, kind="stable")
    return [Draw(int(item), 0) for item in order[rank::world_size]]


def _cut(items: Int[np.ndarray, " items"], size: int) -> list[Int[np.ndarray, " piece"]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
