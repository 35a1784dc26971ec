"""GTDA, gated temporal diffusion: stages of gated dilated convolutions (ECCV 2024).

Glossary:
    C, F, d    classes, width of the features, width of the tokens (d_model)
    S, L       stages (num_stages), layers of a stage (num_layers)
    labels     what a step brings: noisy labels x_t and the previous estimate of x_0 (self_cond)
    condition  what the video brings: its features, projected once for all stages

From the smallest part to the networks: the layer; the stage; stages that refine each other; GTDA,
and its deterministic variant, which has no noise, no time and a single future; the weights of its
authors' code. Layers work channels first, everything else channels last.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, count, islice, takewhile, zip_longest
from statistics import mode
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn.cpu.linear import Linear, linear
from anticipate.nn.denoiser import (
    Denoiser,
    DenoiserOutput,
    FiLM,
    TimeEmbedding,
    check_sizes,
    for_all_tokens,
)

__all__ = ["GTDA", "DeterministicGTDA", "gtda_deterministic_from_reference", "gtda_from_reference"]


class DilatedLayer(nn.Module):
    """x + FiLM(ReLU(W (a * sigmoid(g)))): convolutions a and g of x, a map W, the time.

    Without gate x + FiLM(W ReLU(a)). Convolutions are centred and see zeros beyond the ends.

    Args:
        dilation: Tokens between two taps.
        d_model: Width of the tokens.
        kernel_size: Taps of the convolutions, an odd number.
        gated: Whether there is a gate.
        timed: Whether the diffusion step scales and shifts the result.
        dropout: Dropout of single values of the result.
        channel_dropout: Dropout of whole channels before W.

    Raises:
        ConfigError: An even number of taps, which has no centre.
    """

    def __init__(
        self,
        dilation: int,
        d_model: int,
        kernel_size: int,
        gated: bool,
        timed: bool,
        dropout: float,
        channel_dropout: float,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(
                f"kernel_size must be odd, so that it has a centre, got {kernel_size}"
            )
        self.gated = gated
        self.conv = nn.Conv1d(  # a and g are one convolution
            d_model,
            2 * d_model if gated else d_model,
            kernel_size,
            padding=kernel_size // 2 * dilation,
            dilation=dilation,
        )
        self.channel_dropout = nn.Dropout1d(channel_dropout)
        self.proj = nn.Conv1d(d_model, d_model, 1)
        self.dropout = nn.Dropout(dropout)
        self.film = FiLM(4 * d_model, d_model) if timed else None

    def forward(
        self,
        x: Float[Tensor, "batch d_model tokens"],
        mask: Float[Tensor, "batch 1 tokens"],
        time: Float[Tensor, "batch d_time"] | None,
    ) -> Float[Tensor, "batch d_model tokens"]:
        """Return the tokens, zero on padding."""
        h = F.glu(self.conv(x), dim=1) if self.gated else F.relu(self.conv(x))
        h = self.proj(self.channel_dropout(h))
        h = self.dropout(F.relu(h) if self.gated else h)
        if self.film is not None:
            h = self.film(h.transpose(1, 2), time).transpose(1, 2)
        return (x + h) * mask


class Stage(nn.Module):
    """A 1x1 map of all inputs, L layers of dilation 1, 2, 4 .., and a 1x1 map to classes.

    Args:
        num_classes: Number of action classes C.
        label_dim: Width of the inputs that a step brings.
        feature_dim: Width of the features; 0 for a stage that reads none.
        d_model: Width of the tokens.
        num_layers: Number of layers L.
        make_layer: Builds the layer of a dilation.
        timed: Whether layers know the diffusion step.
    """

    def __init__(
        self,
        num_classes: int,
        label_dim: int,
        feature_dim: int,
        d_model: int,
        num_layers: int,
        make_layer: Callable[[int], DilatedLayer],
        timed: bool,
    ) -> None:
        super().__init__()
        self.widths = (label_dim, feature_dim)
        self.in_proj = Linear(label_dim + feature_dim, d_model)
        self.time = TimeEmbedding(d_model) if timed else None
        layers = nn.ModuleList(make_layer(2**i) for i in range(num_layers))
        self.layers = cast(Sequence[DilatedLayer], layers)
        self.head = Linear(d_model, num_classes)

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """The columns of the input map for labels, and those for features."""
        return self.in_proj.weight.split(self.widths, dim=1)

    def forward(
        self,
        labels: Float[Tensor, "batch tokens label"],
        features: Float[Tensor, "batch tokens d_model"] | None,
        mask: Float[Tensor, "batch tokens 1"],
        t: Int[Tensor, " batch"] | None,
    ) -> Float[Tensor, "batch tokens classes"]:
        """Return the estimate of the stage, zero on padding.

        Args:
            labels: What the step brings.
            features: Projected features; None for a stage that reads none.
            mask: 1 on valid tokens.
            t: Diffusion step of each row; None without time.
        """
        # Columns that lie apart take oneDNN hundreds of times as long.
        h = linear(labels, self.columns[0].contiguous(), self.in_proj.bias)
        h = h * mask if features is None else (h + features) * mask
        h, mask_first = h.transpose(1, 2).contiguous(), mask.transpose(1, 2)
        time = None if self.time is None else self.time(t)
        for layer in self.layers:
            h = layer(h, mask_first, time)
        return self.head(h.transpose(1, 2)) * mask


class Refinement(nn.Module):
    """Stages with weights of their own, each of which reads the softmax of the one before.

    Args:
        num_classes: Number of action classes C.
        label_dim: Width of the labels.
        feature_dim: Width of the features.
        d_model: Width of the tokens.
        num_stages: Number of stages S.
        num_layers: Layers of a stage.
        make_layer: Builds the layer of a dilation.
        refine_with_features: Whether all stages read labels and features, or the first alone.
        timed: Whether layers know the diffusion step.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        label_dim: int,
        feature_dim: int,
        d_model: int,
        num_stages: int,
        num_layers: int,
        make_layer: Callable[[int], DilatedLayer],
        refine_with_features: bool,
        timed: bool,
    ) -> None:
        super().__init__()
        check_sizes(d_model, num_layers)
        if num_stages < 1:
            raise ConfigError(f"num_stages must be at least 1, got {num_stages}")
        self.d_model = d_model
        later = (num_classes + label_dim, feature_dim) if refine_with_features else (num_classes, 0)
        stages = nn.ModuleList(
            Stage(num_classes, *widths, d_model, num_layers, make_layer, timed)
            for widths in [(label_dim, feature_dim)] + [later] * (num_stages - 1)
        )
        self.stages = cast(Sequence[Stage], stages)

    def encode(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens condition"]:
        """Return the projected features of every stage that reads them, side by side."""
        weight = torch.cat([stage.columns[1] for stage in self.stages if stage.widths[1]])
        return for_all_tokens(linear(features[:, : observed.shape[1]], weight), observed)

    def forward(
        self,
        labels: Float[Tensor, "batch tokens label"],
        condition: Float[Tensor, "batch tokens condition"],
        valid: Bool[Tensor, "batch tokens"],
        t: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "stages batch tokens classes"]:
        """Return the estimate of every stage, zero on padding."""
        mask = valid.unsqueeze(-1).to(condition.dtype)
        (first, *later), (known, *rest) = self.stages, condition.split(self.d_model, dim=-1)
        estimates = [first(labels, known, mask, t)]
        for stage, features in zip_longest(later, rest):
            inputs = [estimates[-1].softmax(dim=-1)] + ([] if features is None else [labels])
            estimates.append(stage(torch.cat(inputs, dim=-1), features, mask, t))
        return torch.stack(estimates)


class GTDA(Denoiser):
    """Denoiser of S stages, each an estimate of x_0; all are trained, the last one is sampled from.

    The authors' code lists dropouts that never act in its training: hence 0.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        d_model: Width of the tokens.
        num_stages: Number of stages S.
        num_layers: Layers of a stage; the dilation doubles from one to the next.
        kernel_size: Taps of the convolutions, an odd number.
        gated: Whether a second convolution gates the first.
        refine_with_features: Whether all stages read noisy labels and features, or the first alone.
        self_conditioning: Whether the previous estimate of x_0 is an input.
        dropout: Dropout in the layers.
        channel_dropout: Dropout of whole class channels of x_t and of whole channels in the layers.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    method = "GTDA"

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int = 64,
        num_stages: int = 5,
        num_layers: int = 9,
        kernel_size: int = 3,
        gated: bool = True,
        refine_with_features: bool = True,
        self_conditioning: bool = True,
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.self_conditioning = self_conditioning
        self.channel_dropout = nn.Dropout1d(channel_dropout)
        self.refinement = Refinement(
            num_classes,
            num_classes * (2 if self_conditioning else 1),
            feature_dim,
            d_model,
            num_stages,
            num_layers,
            partial(
                DilatedLayer,
                d_model=d_model,
                kernel_size=kernel_size,
                gated=gated,
                timed=True,
                dropout=dropout,
                channel_dropout=channel_dropout,
            ),
            refine_with_features,
            timed=True,
        )

    def encode(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens condition"]:
        """Return what depends on the video alone: features as every stage reads them."""
        return self.refinement.encode(features, observed)

    def forward(
        self,
        x_t: Float[Tensor, "batch tokens classes"],
        t: Int[Tensor, " batch"],
        condition: Float[Tensor, "batch tokens condition"],
        observed: Bool[Tensor, "batch tokens"],
        valid: Bool[Tensor, "batch tokens"],
        self_cond: Float[Tensor, "batch tokens classes"] | None = None,
    ) -> DenoiserOutput:
        """Estimate the clean labels, see `Denoiser.forward`."""
        labels = self.channel_dropout(x_t.transpose(1, 2)).transpose(1, 2)
        if self.self_conditioning:
            previous = torch.zeros_like(x_t) if self_cond is None else self_cond
            labels = torch.cat([labels, previous], dim=-1)
        stages = self.refinement(labels, condition, valid, t)
        return DenoiserOutput(stages[-1], x_t.new_zeros(0, 1, len(x_t), 1), stages)


class DeterministicGTDA(nn.Module):
    """The same stages without noise and time: class scores of every token from the features.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        d_model: Width of the tokens.
        num_stages: Number of stages S.
        num_layers: Layers of a stage; the dilation doubles from one to the next.
        kernel_size: Taps of the convolutions, an odd number.
        gated: Whether a second convolution gates the first.
        refine_with_features: Whether all stages read the features, or the first alone.
        dropout: Dropout in the layers.
        channel_dropout: Dropout of whole channels of the features and in the layers.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    method = "GTDA (deterministic)"

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int = 64,
        num_stages: int = 5,
        num_layers: int = 9,
        kernel_size: int = 3,
        gated: bool = True,
        refine_with_features: bool = True,
        dropout: float = 0.4,
        channel_dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.channel_dropout = nn.Dropout1d(channel_dropout)
        self.refinement = Refinement(
            num_classes,
            0,
            feature_dim,
            d_model,
            num_stages,
            num_layers,
            partial(
                DilatedLayer,
                d_model=d_model,
                kernel_size=kernel_size,
                gated=gated,
                timed=False,
                dropout=dropout,
                channel_dropout=channel_dropout,
            ),
            refine_with_features,
            timed=False,
        )

    def forward(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
        valid: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "stages batch tokens classes"]:
        """Return the logits of every stage, zero on padding; the last stage predicts."""
        features = self.channel_dropout(features.transpose(1, 2)).transpose(1, 2)
        condition = self.refinement.encode(features, observed)
        return self.refinement(condition[..., :0], condition, valid)


BUFFERS = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod"),
    *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod"),
    *("sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"),
    *("posterior_variance", "posterior_log_variance_clipped"),
    *("posterior_mean_coef1", "posterior_mean_coef2"),
)
"""What the authors' diffusion object stores besides its network: constants of the schedule."""

OWNERS = ("ema_model.model.", "model.", "")
"""What the names of the network may start with; the average of the weights comes first."""

CONVOLUTIONS = ("conv_dilated", "gate_conv_dilated")
"""Their names of a layer's convolutions, which are one here; the second is the gate's."""

LAYER = re.compile(r"(.+)\.layers\.(\d+)\.")

Shapes = dict[str, tuple[int, ...]]


def gtda_from_reference(state_dict: Any, *, self_conditioning: bool = True) -> GTDA:
    """Build GTDA with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name. Of a file with the average of the weights next to the
            weights themselves, the average is taken.
        self_conditioning: Whether the weights were trained with the previous estimate of x_0 as
            input; without it its columns, which only zeros ever met, are left out.

    Returns:
        The network, in training mode as every new module, its sizes those of the tensors.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown; the
            weights are those of the deterministic variant.
    """
    network, _ = read_reference(state_dict, self_conditioning)
    if not isinstance(network, GTDA):
        raise CheckpointError(
            "found weights of the deterministic GTDA, without diffusion time, expected those of "
            "the stochastic one: use gtda_deterministic_from_reference"
        )
    return network


def gtda_deterministic_from_reference(state_dict: Any) -> DeterministicGTDA:
    """Build the deterministic GTDA with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name.

    Raises:
        CheckpointError: As of `gtda_from_reference`; the weights are those of the stochastic GTDA.
    """
    network, _ = read_reference(state_dict)
    if not isinstance(network, DeterministicGTDA):
        raise CheckpointError(
            "found weights of the stochastic GTDA, with diffusion time, expected those of the "
            "deterministic one: use gtda_from_reference"
        )
    return network


def read_reference(
    state_dict: Any, self_conditioning: bool = True
) -> tuple[GTDA | DeterministicGTDA, dict[str, Any]]:
    """Return the network of the authors' weights, of either variant, and its arguments."""
    tensors, prefix = _tensors(state_dict)
    sizes, timed = _sizes(tensors, prefix)
    _check(tensors, prefix, _shapes(timed=timed, **sizes))
    if timed:
        sizes["self_conditioning"] = self_conditioning
    network = GTDA(**sizes) if timed else DeterministicGTDA(**sizes)
    with torch.no_grad():
        for name, stage in zip(_stage_names(), network.refinement.stages, strict=False):
            start = f"{name}."
            own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            _fill(stage, own)
    return network, sizes


def _tensors(state_dict: Any) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of the network by their names below `ms_tcn.`, and what precedes those."""
    found = state_dict if isinstance(state_dict, Mapping) else {}
    names = [*map(str, found)]
    owners = (owner for owner in OWNERS if any(n.startswith(f"{owner}ms_tcn.") for n in names))
    owner = next(owners, None)
    if owner is None:
        raise CheckpointError(
            f"found {type(state_dict).__name__} without a tensor 'ms_tcn.*', expected the state "
            "dict of a GTDA"
        )
    prefix, averaged = f"{owner}ms_tcn.", owner.startswith("ema_model.")
    beside = {f"{owner.removesuffix('model.')}{buffer}" for buffer in BUFFERS}
    beside |= {"initted", "step"} if averaged else set()
    kept = {
        name: tensor
        for name, tensor in zip(names, found.values(), strict=True)
        if name not in beside and not (averaged and name.startswith("online_model."))
    }
    for name, tensor in kept.items():
        if not name.startswith(prefix) or not isinstance(tensor, Tensor):
            raise _unknown(name)
    return {name.removeprefix(prefix): tensor for name, tensor in kept.items()}, prefix


def _stage_names() -> Iterator[str]:
    return chain(["stage1"], (f"stages.{number}" for number in count()))


def _sizes(tensors: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Any], bool]:
    """Return the arguments that most tensors agree on, and whether they know the diffusion step."""
    shapes = {name: tensor.shape for name, tensor in tensors.items() if tensor.ndim == 3}

    def usual(name: str, axis: int) -> int:
        kind = name.split(".")[-2]
        sizes = [shape[axis] for name, shape in shapes.items() if f".{kind}." in name]
        if not sizes:
            raise _missing(prefix + name)
        return mode(sizes)

    timed = any(".time_mlp." in name for name in tensors)
    num_classes = usual("stage1.conv_out.weight", 0)
    convolution = "stage1.layers.0.conv_dilated.weight"
    layers = {match.groups() for name in tensors if (match := LAYER.match(name))}
    stages = takewhile(
        lambda stage: any(n.startswith(f"{stage}.") for n in tensors), _stage_names()
    )
    first, *later = [shapes.get(f"{stage}.conv_1x1.weight", (0, 0))[1] for stage in stages] or [0]
    refine = not later or mode(later) != num_classes
    label_dim = 2 * num_classes if timed else 0
    features = [first - label_dim, *(w - label_dim - num_classes for w in later if refine)]
    return {
        "num_classes": num_classes,
        "feature_dim": max(mode(features), 1),
        "d_model": usual(convolution, 0),
        "num_stages": 1 + len(later),
        "num_layers": mode(Counter(stage for stage, _ in layers).values() or [1]),
        "kernel_size": usual(convolution, 2),
        "gated": any(".gate_conv_dilated." in name for name in tensors),
        "refine_with_features": refine,
    }, timed


def _shapes(
    num_classes: int,
    feature_dim: int,
    d_model: int,
    num_stages: int,
    num_layers: int,
    kernel_size: int,
    gated: bool,
    refine_with_features: bool,
    timed: bool,
) -> Shapes:
    """Return the shape of each tensor of a network of the authors."""
    d, width = d_model, feature_dim + (2 * num_classes if timed else 0)
    later = num_classes + (width if refine_with_features else 0)
    layer: Shapes = dict.fromkeys(CONVOLUTIONS[: 1 + gated], (d, d, kernel_size))
    layer |= {"conv_1x1": (d, d, 1)}
    stage: Shapes = {"conv_out": (num_classes, d, 1)}
    if timed:
        layer |= {"time_mlp.1": (2 * d, 4 * d)}
        stage |= {"time_mlp.1": (4 * d, d), "time_mlp.3": (4 * d, 4 * d)}
    for i in range(num_layers):
        stage |= {f"layers.{i}.{name}": shape for name, shape in layer.items()}
    maps = {
        f"{name}.{part}": shape
        for number, name in enumerate(islice(_stage_names(), num_stages))
        for part, shape in {**stage, "conv_1x1": (d, later if number else width, 1)}.items()
    }
    return {
        f"{name}.{kind}": size
        for name, shape in maps.items()
        for kind, size in (("weight", shape), ("bias", shape[:1]))
    }


def _check(tensors: Mapping[str, Tensor], prefix: str, expected: Shapes) -> None:
    for name, shape in expected.items():
        if name not in tensors:
            raise _missing(prefix + name)
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"'{prefix}{name}' is {tuple(tensors[name].shape)}, expected {shape} to fit the "
                "other tensors of this GTDA"
            )
    for name in sorted(tensors.keys() - expected.keys()):
        raise _unknown(prefix + name)


def _missing(name: str) -> CheckpointError:
    return CheckpointError(f"tensor '{name}' is missing: expected all the weights of a GTDA")


def _unknown(name: str) -> CheckpointError:
    return CheckpointError(f"unknown tensor '{name}': the weights are not those of a GTDA")


def _fill(stage: Stage, theirs: Mapping[str, Tensor]) -> None:
    """Copy the authors' weights of a stage."""

    def fill(module: nn.Module, *names: str) -> None:
        for kind, parameter in module.named_parameters():
            found = torch.cat([theirs[f"{name}.{kind}"] for name in names])
            parameter.copy_(found.view_as(parameter))

    theirs = {**theirs, "conv_1x1.weight": _ordered(theirs["conv_1x1.weight"], stage)}
    fill(stage.in_proj, "conv_1x1")
    fill(stage.head, "conv_out")
    if stage.time is not None:
        fill(stage.time.mlp[0], "time_mlp.1")
        fill(stage.time.mlp[2], "time_mlp.3")
    for i, layer in enumerate(stage.layers):
        fill(layer.conv, *(f"layers.{i}.{name}" for name in CONVOLUTIONS[: 1 + layer.gated]))
        fill(layer.proj, f"layers.{i}.conv_1x1")
        if layer.film is not None:
            fill(layer.film.proj, f"layers.{i}.time_mlp.1")


def _ordered(weight: Float[Tensor, "d_model theirs 1"], stage: Stage) -> Tensor:
    """Return [softmax, x_t, self_cond, features] of the authors' [.., x_t, features, self_cond]."""
    label_dim, feature_dim = stage.widths
    if stage.time is None or not feature_dim:
        return weight
    self_cond_dim = stage.head.out_features
    before = weight.shape[1] - feature_dim - self_cond_dim
    first, features, self_cond = weight.split([before, feature_dim, self_cond_dim], dim=1)
    return torch.cat([first, self_cond[:, : label_dim - before], features], dim=1)
