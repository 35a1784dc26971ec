"""Networks as CUDA graphs: a step of thousands of small kernels, launched as one.

A graph is captured for one shape of the inputs, so sequences of a denoiser are padded to one of a
few lengths and the estimate is cut again: what is outside, such as a loss that divides by the
padded length, does not notice. A shape is captured when it comes a second time; before that it
would not pay. In a long job the blocks of a denoiser are compiled as well, which fuses the small
kernels between products and scans.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anticipate.console import notice
from anticipate.nn.denoiser import Denoiser, DenoiserOutput

Accelerate = Literal["auto", "none"]

Inputs = tuple[Tensor, ...]
"""Of a denoiser: x_t, t, condition, observed, valid and, where there is one, self_cond."""
Replay = Callable[..., Any]
"""Does what a network does, with inputs of the shapes that it was captured for."""

SIZES_PER_OCTAVE = 4
"""Lengths from each power of two to the next: at most a fifth of the tokens is padding."""
MOST_GRAPHS = 96
"""Graphs that are kept. They share their memory, so that the largest decides how much it is."""
COMPILED_FROM = 5000
"""Calls until the blocks are compiled: about as many as then have lost the time of compiling."""
WITH_TOKENS = (0, 2, 3, 4, 5)
"""Places in `Inputs` of tensors whose second axis is the tokens."""


def rounded(tokens: int) -> int:
    """Return the length to which a sequence is padded.

    Args:
        tokens: Length of the sequence.
    """
    step = -(-(1 << tokens.bit_length() - 1) // SIZES_PER_OCTAVE) if tokens else 1
    return -(-tokens // step) * step


class Graphed:
    """Calls a network by CUDA graphs where that is possible.

    Copies, such as those that averaging makes of a model, and pickles have no graphs yet.

    Args:
        network: The network. Its weights may change in place.
        accelerate: `auto` or `none`, which always calls it as it is.
    """

    DEVICE = "cuda"

    def __init__(self, network: nn.Module, accelerate: Accelerate = "auto") -> None:
        self.network, self.accelerate = network, accelerate
        self._obstacles: dict[bool, str] = {}
        self._weights = [*network.parameters(), *network.buffers()]
        self._addresses: tuple[int, ...] = ()
        self._seen: Counter[Any] = Counter()
        self._graphs: OrderedDict[Any, Replay] = OrderedDict()
        self._pool: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.network, self.accelerate)

    def refuse(self, why: str, gradients: bool) -> None:
        """Use no graphs from now on, and say so.

        Args:
            why: What stands against it.
            gradients: Whether in training, or where nothing is differentiated.
        """
        if self.accelerate == "auto" and gradients not in self._obstacles:
            self._obstacles[gradients] = why
            work = "training" if gradients else "sampling"
            notice(f"no CUDA graphs in {work}, every kernel is launched by itself: {why}")

    def check_training(self, device: torch.device, processes: int, batches: int) -> None:
        """Do without graphs of training steps where gradients are exchanged or added up.

        Args:
            device: Where the network is trained.
            processes: Number of processes that train it.
            batches: Batches whose gradients are added up.
        """
        if device.type == self.DEVICE and processes > 1:
            self.refuse("several processes train", gradients=True)
        if device.type == self.DEVICE and batches > 1:
            self.refuse("gradients of several batches are added up", gradients=True)

    def _usable(self, x: Tensor) -> bool:
        return (
            self.accelerate == "auto"
            and x.device.type == self.DEVICE
            and torch.is_grad_enabled() not in self._obstacles
        )

    def _replay(self, inputs: Inputs) -> Replay | None:
        """Return the graph for some inputs; None for a shape that is new, or cannot be captured."""
        self._forget_moved()
        modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), self.network.training)
        key = (*modes, *_autocast(self.DEVICE), *map(_kind, inputs))
        self._seen[key] += 1
        if key not in self._graphs and self._seen[key] >= self._worth_it():
            try:
                self._graphs[key] = self._capture(inputs)
            except RuntimeError as error:  # of CUDA, its memory, a compiler, or of the network
                self._give_way(_first_line(error))
                return None
            if len(self._graphs) > MOST_GRAPHS:
                self._graphs.popitem(last=False)
        if key in self._graphs:
            self._graphs.move_to_end(key)
        return self._graphs.get(key)

    def _worth_it(self) -> int:
        """Return the time that a shape comes at which it is captured."""
        return 2

    def _give_way(self, why: str) -> None:
        self.refuse(why, torch.is_grad_enabled())

    def _forget_moved(self) -> None:
        """Drop graphs that read weights where they no longer are: on the way to a device."""
        addresses = tuple(map(Tensor.data_ptr, self._weights))
        if addresses != self._addresses:
            self._drop_graphs()
            self._addresses = addresses

    def _drop_graphs(self) -> None:
        """Forget all graphs, and with them their memory: a pool without graphs is gone."""
        self._graphs.clear()
        self._pool = None

    def _capture(self, inputs: Inputs) -> Replay:
        """Capture what the network does, and leave random numbers as they were."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        capture = capture_training if torch.is_grad_enabled() else capture_sampling
        devices = [inputs[0].device] if inputs[0].is_cuda else []
        with torch.random.fork_rng(devices):
            return capture(self.network, inputs, self._pool)


class GraphedTraining(Graphed):
    """Calls a network of one tensor: in training by graphs, else as it is."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the network makes of a tensor."""
        replay = self._replay((x,)) if torch.is_grad_enabled() and self._usable(x) else None
        return cast(Tensor, self.network(x) if replay is None else replay(x))


class GraphedDenoiser(Graphed):
    """Calls a denoiser; in a long job its blocks are compiled as well."""

    network: Denoiser

    def __init__(self, network: Denoiser, accelerate: Accelerate = "auto") -> None:
        super().__init__(network, accelerate)
        self._calls_to_compile = COMPILED_FROM

    def __call__(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Tensor,
        observed: Tensor,
        valid: Tensor,
        self_cond: Tensor | None = None,
    ) -> DenoiserOutput:
        """Estimate the clean labels, see `Denoiser.forward`."""
        present = (x_t, t, condition, observed, valid, self_cond)
        replay = None
        if self._usable(x_t):
            self._calls_to_compile -= 1
            if self._calls_to_compile == 0:
                self.compile()
            inputs = _padded(tuple(x for x in present if x is not None))
            replay = self._replay(inputs)
        if replay is None:
            return self.network(*present)
        output = _cut(replay(*inputs), x_t.shape[1])
        for hook in self.network._forward_hooks.values():  # of those who count experts
            hook(self.network, present, output)
        return output

    def compile(self) -> None:
        """Let torch fuse what lies between products and scans: once, for all lengths."""
        self._calls_to_compile = 0
        for block in self._blocks():
            block.compile(dynamic=True)
        self._drop_graphs()

    def _worth_it(self) -> int:
        """Return 1 once the blocks are compiled, as a call without a graph would compile again."""
        return 1 if self._calls_to_compile <= 0 else super()._worth_it()

    def _give_way(self, why: str) -> None:
        """Do without the compiler where it may be the cause, else without graphs."""
        compiled = [block for block in self._blocks() if block._compiled_call_impl is not None]
        for block in compiled:
            block._compiled_call_impl = None
        if compiled:
            notice(f"the blocks are not compiled, which makes them slower: {why}")
        else:
            super()._give_way(why)

    def _blocks(self) -> Iterator[nn.Module]:
        lists = (child for child in self.network.children() if isinstance(child, nn.ModuleList))
        return chain.from_iterable(lists)


def capture_sampling(network: nn.Module, inputs: Inputs, pool: Any) -> Replay:
    """Capture a forward pass without gradients.

    Args:
        network: The network.
        inputs: Inputs of the shapes to come.
        pool: Memory of all graphs.
    """
    graph, static = torch.cuda.CUDAGraph(), [x.clone() for x in inputs]
    with _uncached_autocast():
        network.forward(*static)  # compiles and loads what a capture must not
        with torch.cuda.graph(graph, pool=pool):
            output = network.forward(*static)

    def replay(*fresh: Tensor) -> DenoiserOutput:
        for place, x in zip(static, fresh, strict=True):
            place.copy_(x)
        graph.replay()
        return DenoiserOutput(*(x.clone() for x in output))  # solvers keep earlier estimates

    return replay


class _Call(nn.Module):
    """What torch captures and marks as captured, so that the network itself stays as it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return self.network.forward(*inputs)


def capture_training(network: nn.Module, inputs: Inputs, pool: Any) -> Replay:
    """Capture a forward pass and, apart from it, its backward pass.

    Args:
        network: The network.
        inputs: Inputs of the shapes to come; those with gradients need them.
        pool: Memory of all graphs.
    """
    static = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in inputs)
    with _uncached_autocast():
        replay = torch.cuda.make_graphed_callables(
            _Call(network), static, allow_unused_input=True, pool=pool
        )
    return cast(Replay, replay)


def _uncached_autocast() -> torch.autocast:
    """Return the present mixed precision without its cache, which would outlive a capture."""
    enabled, dtype = _autocast("cuda")
    return torch.autocast("cuda", dtype, enabled, cache_enabled=False)


def _first_line(error: BaseException) -> str:
    """Return what went wrong first: a broken capture raises another error when it ends."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0]


def _autocast(device: str) -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


def _padded(inputs: Inputs) -> Inputs:
    """Return inputs of a length that has a graph; what is added is no valid token."""
    tokens = inputs[0].shape[1]
    extra = rounded(tokens) - tokens
    return tuple(_longer(x, extra) if i in WITH_TOKENS else x for i, x in enumerate(inputs))


def _cut(output: DenoiserOutput, tokens: int) -> DenoiserOutput:
    """Return the estimates of the first tokens."""
    estimates = {name: x for name, x in output._asdict().items() if name != "gamma"}
    return output._replace(**{name: x[..., :tokens, :] for name, x in estimates.items()})


def _longer(x: Tensor, extra: int) -> Tensor:
    return F.pad(x, [0, 0] * (x.ndim - 2) + [0, extra]) if extra else x


def _kind(x: Tensor) -> tuple[Sequence[int], torch.dtype, bool]:
    return tuple(x.shape), x.dtype, x.requires_grad
