"""A denoiser as CUDA graphs: a step of thousands of small kernels, launched as one.

A graph is captured for one shape of the inputs, so sequences are padded to one of a few lengths and
the estimate is cut again: what is outside, such as a loss that divides by the padded length, does
not notice. A shape is captured when it comes a second time; before that it would not pay.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anticipate.console import notice
from anticipate.nn.denoiser import Denoiser, DenoiserOutput

Accelerate = Literal["auto", "none"]

Inputs = tuple[Tensor, ...]
"""x_t, t, condition, observed, valid and, where there is one, self_cond of a denoiser."""
Replay = Callable[..., DenoiserOutput]
"""Does what a denoiser does, with inputs of the shapes that it was captured for."""

SIZES_PER_OCTAVE = 4
"""Lengths from each power of two to the next: at most a fifth of the tokens is padding."""
MOST_GRAPHS = 96
"""Graphs that are kept. They share their memory, so that the largest decides how much it is."""
WITH_TOKENS = (0, 2, 3, 4, 5)
"""Places in `Inputs` of tensors whose second axis is the tokens."""


def rounded(tokens: int) -> int:
    """Return the length to which a sequence is padded.

    Args:
        tokens: Length of the sequence.
    """
    step = -(-(1 << tokens.bit_length() - 1) // SIZES_PER_OCTAVE) if tokens else 1
    return -(-tokens // step) * step


class GraphedDenoiser:
    """Calls a denoiser: by graphs where that is possible, else as it is.

    Graphs are for CUDA alone. Copies, such as those that averaging makes of a model, and pickles
    have no graphs yet.

    Args:
        denoiser: The network. Its weights may change in place.
        accelerate: `auto` or `none`, which always calls it as it is.
    """

    DEVICE = "cuda"

    def __init__(self, denoiser: Denoiser, accelerate: Accelerate = "auto") -> None:
        self.denoiser, self.accelerate = denoiser, accelerate
        self._obstacles: dict[bool, str] = {}
        self._weights = [*denoiser.parameters(), *denoiser.buffers()]
        self._addresses: tuple[int, ...] = ()
        self._seen: Counter[Any] = Counter()
        self._graphs: OrderedDict[Any, Replay] = OrderedDict()
        self._pool: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.denoiser, self.accelerate)

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
        inputs = tuple(x for x in present if x is not None)
        replay = self._replay(inputs) if self._usable(x_t) else None
        if replay is None:
            return self.denoiser(*present)
        output = _cut(replay(*_padded(inputs)), x_t.shape[1])
        for hook in self.denoiser._forward_hooks.values():  # of those who count experts
            hook(self.denoiser, present, output)
        return output

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

    def _usable(self, x_t: Tensor) -> bool:
        return (
            self.accelerate == "auto"
            and x_t.device.type == self.DEVICE
            and torch.is_grad_enabled() not in self._obstacles
        )

    def _replay(self, inputs: Inputs) -> Replay | None:
        """Return the graph for some inputs; None for a shape that is new, or cannot be captured."""
        self._forget_moved()
        padded = _padded(inputs)
        modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), self.denoiser.training)
        key = (*modes, *_autocast(self.DEVICE), *map(_kind, padded))
        self._seen[key] += 1
        if key not in self._graphs and self._seen[key] > 1:
            try:
                self._graphs[key] = self._capture(padded)
            except RuntimeError as error:  # of CUDA, of its memory too, or of the network
                self.refuse(str(error).partition("\n")[0], torch.is_grad_enabled())
                return None
            if len(self._graphs) > MOST_GRAPHS:
                self._graphs.popitem(last=False)
        if key in self._graphs:
            self._graphs.move_to_end(key)
        return self._graphs.get(key)

    def _forget_moved(self) -> None:
        """Drop graphs that read weights where they no longer are: on the way to a device."""
        addresses = tuple(map(Tensor.data_ptr, self._weights))
        if addresses != self._addresses:
            self._graphs.clear()
            self._addresses = addresses

    def _capture(self, inputs: Inputs) -> Replay:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        capture = capture_training if torch.is_grad_enabled() else capture_sampling
        return capture(self.denoiser, inputs, self._pool)


def capture_sampling(denoiser: Denoiser, inputs: Inputs, pool: Any) -> Replay:
    """Capture a forward pass without gradients.

    Args:
        denoiser: The network.
        inputs: Inputs of the shapes to come.
        pool: Memory of all graphs.
    """
    graph, static = torch.cuda.CUDAGraph(), [x.clone() for x in inputs]
    with _uncached_autocast():
        denoiser.forward(*static)  # compiles and loads what a capture must not
        with torch.cuda.graph(graph, pool=pool):
            output = denoiser.forward(*static)

    def replay(*fresh: Tensor) -> DenoiserOutput:
        for place, x in zip(static, fresh, strict=True):
            place.copy_(x)
        graph.replay()
        return DenoiserOutput(*(x.clone() for x in output))  # solvers keep earlier estimates

    return replay


class _Call(nn.Module):
    """What torch captures and marks as captured, so that the denoiser itself stays as it is."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, *inputs: Tensor) -> DenoiserOutput:
        return self.denoiser.forward(*inputs)


def capture_training(denoiser: Denoiser, inputs: Inputs, pool: Any) -> Replay:
    """Capture a forward pass and, apart from it, its backward pass.

    Args:
        denoiser: The network.
        inputs: Inputs of the shapes to come; those with gradients need them.
        pool: Memory of all graphs.
    """
    static = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in inputs)
    with _uncached_autocast():
        replay = torch.cuda.make_graphed_callables(
            _Call(denoiser), static, allow_unused_input=True, pool=pool
        )
    return cast(Replay, replay)


def _uncached_autocast() -> torch.autocast:
    """Return the present mixed precision without its cache, which would outlive a capture."""
    enabled, dtype = _autocast("cuda")
    return torch.autocast("cuda", dtype, enabled, cache_enabled=False)


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
