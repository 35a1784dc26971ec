"""TeSTra with its short-memory variants: attention, Mamba and MixMamba (MixANT Tab. 5).

Zhao and Kraehenbuehl, "Real-time online video detection with temporal smoothing transformers" (ECCV
2022). Glossary, the code's names and the paper's:
    d, F            width of the tokens (hidden_dim), of the features
    work tokens     the newest features, one every half second: what the network recognises
    anticipation    learned tokens that follow them: what the network anticipates
    long tokens     features before the work tokens, one a second; compressed into `queries` tokens
    alpha           decay of the temporal kernel: 1 "box", below 1 "Laplace"
    E, gamma        experts and probabilities of the router of MixMamba

The tokens after the last work token have seen all work tokens; a work token has seen itself and
those before it. Class 0 of each output is the background.

From the smallest part to the network: the trunks that work tokens pass (attention, decoder with
long memory, Mamba), the network, the weights of its authors' code.
"""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn.cpu.linear import Linear
from anticipate.nn.denoiser import RoutingContext
from anticipate.nn.mixant import ExpertInit, ForgetGateBank, Router, S6Plus
from anticipate.nn.reference_weights import matrix_size, reference_tensors, take_weights
from anticipate.nn.scan.backends import AUTO
from anticipate.tick_grid import LONG_TICKS, WORK, long_ticks

__all__ = ["TeSTra", "TeSTraOutput", "TeSTraState", "testra_from_reference"]

Block = Literal["attention", "mamba", "mixmamba"]
Initialization = Literal["vms", "mamba"]

Tokens = Float[Tensor, "batch tokens d_model"]
Memory = Float[Tensor, "batch memory d_model"]
Observed = Bool[Tensor, "batch tokens"]
"""False on the anticipation tokens, which hold no observation."""
Gammas = list[Tensor]

METHODS = {
    "attention": "TeSTra (short)",
    "mamba": "TeSTra (Mamba)",
    "mixmamba": "TeSTra (MixMamba)",
}
"""What tables call the variants without long memory."""

OUTPUTS = ("action", "verb", "noun")
REACH = (-int(WORK[0]) - 1, LONG_TICKS - int(WORK[0]) - 1)
"""Ticks of a stream from the oldest work token to the newest, from the oldest long one."""
D_STATE, D_CONV, RMS_EPSILON = 16, 4, 1e-5
"""Of Mamba."""


class TeSTraOutput(NamedTuple):
    """Logits of each work token, then of each anticipation token; class 0 is the background."""

    action: Float[Tensor, "batch tokens actions+1"]
    verb: Float[Tensor, "batch tokens verbs+1"]
    noun: Float[Tensor, "batch tokens nouns+1"]
    gamma: Float[Tensor, "blocks routers batch experts"]
    """Probabilities of the routers; of no block where there are none."""


class TeSTraState(NamedTuple):
    """Tokens of a window, or of all ticks that the next windows of a stream may look at."""

    work: Float[Tensor, "batch ticks d_model"]
    long: Float[Tensor, "batch ticks d_model"]
    """None without long memory."""


class CausalAttention(nn.Module):
    """The short memory `attention`: encoder layers in which a token sees those before it.

    Args:
        d_model: Width d.
        num_heads: Heads of each attention.
        ffn_dim: Hidden width of the feed-forward parts.
        num_layers: Number of layers.
        dropout: Dropout of attention weights and of each summand.
    """

    def __init__(
        self, d_model: int, num_heads: int, ffn_dim: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(d_model, num_heads, ffn_dim, dropout, batch_first=True)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tokens, observed: Observed, memory: Memory) -> tuple[Tokens, Gammas]:
        """Return the tokens; `observed` and `memory` are for the other kinds."""
        mask = _causal(x)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x), []


class Decoder(nn.Module):
    """Decoder layers in which tokens see each other and a memory; see `CausalAttention`."""

    def __init__(
        self, d_model: int, num_heads: int, ffn_dim: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(d_model, num_heads, ffn_dim, dropout, batch_first=True)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self,
        x: Tokens,
        memory: Memory,
        mask: Float[Tensor, "tokens tokens"] | None = None,
        memory_mask: Float[Tensor, "tokens memory"] | None = None,
        padding: Float[Tensor, "batch memory"] | None = None,
    ) -> Tokens:
        """Return what the tokens have found.

        Args:
            x: Queries.
            memory: Memory that they look at.
            mask: Added to the logits of the self-attention.
            memory_mask: Added to those of the attention to the memory.
            padding: The same, for each memory token of each row.
        """
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask, memory_key_padding_mask=padding)
        return self.norm(x)


class MemoryDecoder(nn.Module):
    """The work side next to long memory: tokens see it whole, and each other causally.

    Args:
        work_in_memory: Whether the tokens before the decoder are part of what it looks at.
        **sizes: Those of `CausalAttention`.
    """

    def __init__(self, work_in_memory: bool, **sizes: Any) -> None:
        super().__init__()
        self.work_in_memory = work_in_memory
        self.decoder = Decoder(**sizes)

    def forward(self, x: Tokens, observed: Observed, memory: Memory) -> tuple[Tokens, Gammas]:
        """Return the tokens; `observed` is for routers."""
        mask, memory_mask = _causal(x), None
        if self.work_in_memory:
            memory_mask = torch.cat([mask.new_zeros(len(mask), memory.shape[1]), mask], dim=1)
            memory = torch.cat([memory, x], dim=1)
        return self.decoder(x, memory, mask, memory_mask), []


class LongMemory(nn.Module):
    """Two stages of learned queries that compress the long tokens.

    Args:
        feature_dim: Width F of the features.
        num_layers: Layers of the two stages.
        num_queries: Queries of the two stages.
        decay: Decay alpha of the temporal kernel, which the first stage looks through.
        d_model: Width d.
        **sizes: The other sizes of `CausalAttention`.
    """

    def __init__(
        self,
        feature_dim: int,
        num_layers: tuple[int, int],
        num_queries: tuple[int, int],
        decay: float,
        d_model: int,
        **sizes: Any,
    ) -> None:
        super().__init__()
        self.decay = decay
        self.head = Linear(feature_dim, d_model)
        self.queries = nn.ModuleList(nn.Embedding(number, d_model) for number in num_queries)
        self.stages = nn.ModuleList(
            Decoder(d_model, num_layers=number, **sizes) for number in num_layers
        )

    def embed(self, features: Float[Tensor, "batch long feature"]) -> Memory:
        """Return the long tokens of some features."""
        return F.relu(self.head(features))

    def forward(
        self, tokens: Memory, padding: Bool[Tensor, "batch memory"] | None
    ) -> Float[Tensor, "batch queries d_model"]:
        """Return the compressed memory of long tokens of which the newest comes last.

        Args:
            tokens: Long tokens.
            padding: True where a token has no content; at least one of a row has.
        """
        age = torch.arange(tokens.shape[1], device=tokens.device).flip(0).to(tokens.dtype)
        kernel = torch.zeros_like(age) if self.decay == 1 else (self.decay**age + 1e-10).log()
        if padding is None:
            padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        hidden = torch.zeros_like(tokens[..., 0]).masked_fill(padding, -torch.inf)
        first, second = (
            table.get_parameter("weight").expand(len(tokens), -1, -1) for table in self.queries
        )
        recall, compress = self.stages
        return compress(second, recall(first, tokens, padding=hidden + kernel))


class MambaBlock(nn.Module):
    """x + Mamba(RMSNorm(x)) in one direction; a router chooses A where there are experts.

    Args:
        d_model: Width d.
        num_experts: Forget matrices to choose from; 0 for Mamba's own A and no router.
        routing_context: Tokens the router averages.
        expert_init: How the experts start.
        initialization: How the convolution starts.
        scan_backend: What runs the scan.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        routing_context: RoutingContext,
        expert_init: ExpertInit,
        initialization: Initialization,
        scan_backend: str,
    ) -> None:
        super().__init__()
        d_inner, bank = 2 * d_model, partial(ForgetGateBank, num_experts=max(1, num_experts))
        self.routing_context = routing_context
        self.norm = nn.RMSNorm(d_model, eps=RMS_EPSILON)
        self.router = Router(d_model, num_experts) if num_experts else None
        self.in_proj = Linear(d_model, 2 * d_inner, bias=False)
        self.scan = S6Plus(
            d_inner,
            D_STATE,
            D_CONV,
            math.ceil(d_model / 16),
            reverse=False,
            forget_gate=partial(bank, start=expert_init),
            scan_backend=scan_backend,
        )
        self.out_proj = Linear(d_inner, d_model, bias=False)
        if initialization == "vms":
            nn.init.normal_(self.scan.conv_weight)
            nn.init.normal_(self.scan.conv_bias)

    def forward(
        self, x: Tokens, observed: Observed
    ) -> tuple[Tokens, Float[Tensor, "routers batch experts"] | None]:
        """Return the tokens and gamma, if there is a router."""
        u = self.norm(x)
        routed = observed if self.routing_context == "observed" else torch.ones_like(observed)
        gamma = None if self.router is None else self.router(u, routed)
        inner, z = self.in_proj(u).chunk(2, dim=-1)
        y = self.scan(inner, torch.ones_like(x[..., 0]), gamma)
        return x + self.out_proj(y * F.silu(z)), None if gamma is None else gamma[None]


class CausalMamba(nn.Module):
    """The short memories `mamba` and `mixmamba`: they replace attention and feed-forward part.

    Args:
        num_layers: Number of blocks.
        d_model: Width d.
        **settings: Settings of `MambaBlock`.
    """

    def __init__(self, num_layers: int, d_model: int, **settings: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MambaBlock(d_model, **settings) for _ in range(num_layers))
        self.norm = nn.RMSNorm(d_model, eps=RMS_EPSILON)

    def forward(self, x: Tokens, observed: Observed, memory: Memory) -> tuple[Tokens, Gammas]:
        """Return the tokens and the gamma of each block; `memory` is for the other kinds."""
        gammas = []
        for layer in self.layers:
            x, gamma = layer(x, observed)
            gammas += [] if gamma is None else [gamma]
        return self.norm(x), gammas


class TeSTra(nn.Module):
    """Recognises the work tokens and anticipates what follows: actions, verbs and nouns.

    Args:
        num_classes: Number of actions C; set from the data.
        feature_dim: Width F of the features; set from the data.
        num_verbs: Number of verbs; set from the data.
        num_nouns: Number of nouns; set from the data.
        block: What the work tokens pass: `attention`, `mamba` or `mixmamba`; with long memory
            `attention` alone.
        hidden_dim: Width d of the tokens; 2048 with long memory.
        ffn_dim: Hidden width of feed-forward parts; null for d.
        num_heads: Heads of each attention.
        num_layers: Layers of the work tokens; 2 with long memory.
        long_steps: Long tokens; 0 for no long memory.
        long_layers: Layers of the two stages that compress them.
        long_queries: Queries of the two stages.
        decay: Decay alpha of their temporal kernel; 1 weighs all alike.
        work_in_memory: Whether the work tokens are looked at next to the compressed ones.
        num_anticipation: Anticipation tokens.
        num_experts: Forget matrices that `mixmamba` chooses from.
        routing_context: Tokens its router averages: the `observed` work tokens, or `full` for all.
        expert_init: How its experts start, as in `MixANT`.
        initialization: How the convolution of Mamba starts: `vms`, normal as in the code that was
            published with the Mamba variant, or `mamba`, uniform.
        dropout: Dropout of tokens and layers.
        head_dropout: Dropout before each of the three classifiers.
        scan_backend: What runs the scan, as in `MixANT`.

    Raises:
        ConfigError: For sizes that do not fit together, or a word that is not offered.
    """

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        num_verbs: int,
        num_nouns: int,
        block: Block = "attention",
        hidden_dim: int = 1024,
        ffn_dim: int | None = None,
        num_heads: int = 8,
        num_layers: int = 1,
        long_steps: int = 0,
        long_layers: tuple[int, int] = (1, 2),
        long_queries: tuple[int, int] = (16, 16),
        decay: float = 1.0,
        work_in_memory: bool = True,
        num_anticipation: int = 2,
        num_experts: int = 5,
        routing_context: RoutingContext = "observed",
        expert_init: ExpertInit = "identical",
        initialization: Initialization = "vms",
        dropout: float = 0.1,
        head_dropout: float = 0.8,
        scan_backend: str = AUTO,
    ) -> None:
        super().__init__()
        _check(hidden_dim, num_heads, block, long_steps, decay, num_experts)
        sizes: dict[str, Any] = {
            "d_model": hidden_dim,
            "num_heads": num_heads,
            "ffn_dim": ffn_dim or hidden_dim,
            "dropout": dropout,
        }
        self.long_steps = long_steps
        self.method = "TeSTra" if long_steps else METHODS[block]
        self.head = Linear(feature_dim, hidden_dim)
        self.anticipation = nn.Embedding(num_anticipation, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.long = None
        self.trunk: CausalAttention | MemoryDecoder | CausalMamba
        if long_steps:
            self.long = LongMemory(feature_dim, long_layers, long_queries, decay, **sizes)
            self.trunk = MemoryDecoder(work_in_memory, num_layers=num_layers, **sizes)
        elif block == "attention":
            self.trunk = CausalAttention(num_layers=num_layers, **sizes)
        else:
            self.trunk = CausalMamba(
                num_layers,
                hidden_dim,
                num_experts=num_experts if block == "mixmamba" else 0,
                routing_context=routing_context,
                expert_init=expert_init,
                initialization=initialization,
                scan_backend=scan_backend,
            )
        numbers = dict(zip(OUTPUTS, (num_classes, num_verbs, num_nouns), strict=True))
        self.classifiers = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Dropout(head_dropout), Linear(hidden_dim, number + 1))
                for name, number in numbers.items()
            }
        )

    def forward(
        self,
        features: Float[Tensor, "batch steps feature"],
        padding: Bool[Tensor, "batch long"] | None = None,
    ) -> TeSTraOutput:
        """Return the logits of the work tokens and the anticipation tokens.

        Args:
            features: Long tokens, then work tokens; oldest first.
            padding: True where a long token has no content; at least one of a row has.

        Raises:
            ConfigError: No work token.
        """
        if features.shape[1] <= self.long_steps:
            raise ConfigError(
                f"{features.shape[1]} features found, more than {self.long_steps} expected: "
                f"{self.long_steps} long tokens and the work tokens"
            )
        long, work = features.tensor_split([self.long_steps], dim=1)
        return self._tell(self._embed(work, long), padding)

    def initial_state(self, batch: int) -> TeSTraState:
        """Return the state of so many streams that have seen nothing."""
        empty = self.anticipation.weight.new_empty(batch, 0, self.head.out_features)
        return TeSTraState(empty, empty)

    def step(
        self, features: Float[Tensor, "batch feature"], state: TeSTraState, token: int = -1
    ) -> tuple[Float[Tensor, "batch actions"], TeSTraState]:
        """Return the logits of one token after the next tick of each stream, and the state then.

        Tick by tick this is what `forward` computes of the windows by which a video that begins
        where the stream does is scored. Each tick passes the feature heads once, and the state
        stays as long as a window reaches back. The old state stays as it is.

        Args:
            features: Features of the tick.
            state: State after the tick before.
            token: Token to read; the last one anticipates what is four ticks after the window.
        """
        tick = features.unsqueeze(1)
        work, long = (
            torch.cat(parts, dim=1)[:, -reach:]
            for *parts, reach in zip(state, self._embed(tick, tick), REACH, strict=True)
        )
        looked_at, padding = long, None
        if self.long is not None:
            begin = long.shape[1] + 1 + int(WORK[0])
            ticks, hidden = long_ticks(begin, self.long_steps, spread_evenly=False)
            looked_at = long[:, ticks]
            padding = torch.from_numpy(hidden).to(long.device).expand(len(long), -1)
        shown = work[:, (work.shape[1] + 1 + WORK).clip(0)]
        output = self._tell(TeSTraState(shown, looked_at), padding)
        return output.action[:, token, 1:], TeSTraState(work, long)

    def _embed(
        self,
        work: Float[Tensor, "batch work feature"],
        long: Float[Tensor, "batch long feature"],
    ) -> TeSTraState:
        """Return the tokens of some features."""
        tokens = F.relu(self.head(work))
        return TeSTraState(tokens, tokens[:, :0] if self.long is None else self.long.embed(long))

    def _tell(
        self, seen: TeSTraState, padding: Bool[Tensor, "batch memory"] | None
    ) -> TeSTraOutput:
        """Return the logits of work tokens, and of the anticipation tokens that follow them."""
        work, memory = seen
        tokens = torch.cat([work, self.anticipation.weight.expand(len(work), -1, -1)], dim=1)
        tokens = self.dropout(tokens + sinusoids(*tokens.shape[1:]).to(tokens))
        observed = torch.ones_like(tokens[..., 0], dtype=torch.bool)
        observed[:, work.shape[1] :] = False
        if self.long is not None:
            memory = self.long(memory, padding)
        x, gammas = self.trunk(tokens, observed, memory)
        gamma = torch.stack(gammas) if gammas else x.new_empty(0, 1, len(x), 0)
        action, verb, noun = (self.classifiers[name](x) for name in OUTPUTS)
        return TeSTraOutput(action, verb, noun, gamma)


def sinusoids(tokens: int, d_model: int) -> Float[Tensor, "tokens d_model"]:
    """Return the positions: sine on even channels, cosine on odd ones."""
    rates = 10_000 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d_model].float()


def _causal(x: Tokens) -> Float[Tensor, "tokens tokens"]:
    return nn.Transformer.generate_square_subsequent_mask(x.shape[1], x.device, x.dtype)


def _check(
    d_model: int, num_heads: int, block: str, long_steps: int, decay: float, num_experts: int
) -> None:
    if num_heads < 1 or d_model % num_heads:
        raise ConfigError(f"num_heads ({num_heads}) must divide hidden_dim ({d_model})")
    if long_steps and block != "attention":
        raise ConfigError(f"block is {block}: expected attention with long memory (long_steps)")
    if not 0 < decay <= 1:
        raise ConfigError(f"decay is {decay}: expected a number above 0, at most 1")
    if num_experts < 1:
        raise ConfigError(f"num_experts must be at least 1, got {num_experts}")


MODULES = {
    "head": "feature_head_work.input_linear.0",
    "long.head": "feature_head_long.input_linear.0",
    "long.queries": "enc_queries",
    "long.stages": "enc_modules",
    "anticipation": "dec_query",
    "trunk.decoder": "dec_modules",
    "trunk": "dec_modules",
    "classifiers.action.1": "classifier",
    "classifiers.verb.1": "classifier_verb",
    "classifiers.noun.1": "classifier_noun",
}
"""What names start with: ours, and the authors'."""

MAMBA = {
    "in_proj": "mixer.in_proj",
    "out_proj": "mixer.out_proj",
    "scan.conv_weight": "mixer.conv1d.weight",
    "scan.conv_bias": "mixer.conv1d.bias",
    "scan.bank.A_log": "mixer.A_log",
    "scan": "mixer",
}
"""The same within a Mamba block."""

POSITIONS = "pos_encoding.pe"


def testra_from_reference(
    state_dict: Any,
    *,
    long_steps: int,
    num_heads: int = 8,
    decay: float = 1.0,
    work_in_memory: bool = True,
) -> TeSTra:
    """Build TeSTra, or its variant with Mamba, with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name, also with the prefix `module.`, or a released checkpoint.
        long_steps: Long tokens; 0 for the variants without long memory.
        num_heads: Heads of each attention, which the tensors do not show.
        decay: Decay of the temporal kernel, which they do not show either.
        work_in_memory: Whether the decoder looks at the work tokens.

    Returns:
        The network, in training mode as every new module.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown; weights
            with long memory where `long_steps` is 0, or without where it is not.
    """
    settings = reference_settings(
        state_dict,
        long_steps=long_steps,
        num_heads=num_heads,
        decay=decay,
        work_in_memory=work_in_memory,
    )
    tensors = {name: _as_ours(name, value) for name, value in _learned(state_dict).items()}
    network = TeSTra(**settings)
    take_weights(network, tensors, partial(_their_name, mamba=settings["block"] == "mamba"))
    return network


def reference_settings(
    state_dict: Any, *, long_steps: int, num_heads: int, decay: float, work_in_memory: bool
) -> dict[str, Any]:
    """Return the arguments of `TeSTra` that fit; errors as of `testra_from_reference`."""
    tensors = _learned(state_dict)
    d_model, feature_dim = matrix_size(tensors, "feature_head_work.input_linear.0.weight")
    num_classes, num_verbs, num_nouns = (
        matrix_size(tensors, f"{MODULES[f'classifiers.{name}.1']}.weight")[0] - 1
        for name in OUTPUTS
    )
    has_long = any(name.startswith(("feature_head_long", "enc_")) for name in tensors)
    if has_long != (long_steps > 0):
        raise CheckpointError(
            f"long_steps is {long_steps}, but the weights are of a network "
            f"{'with' if has_long else 'without'} long memory"
        )
    if num_heads < 1 or d_model % num_heads:
        raise CheckpointError(
            f"'feature_head_work.input_linear.0.weight' has {d_model} rows, expected a multiple of "
            f"num_heads ({num_heads})"
        )
    mamba = any(name.startswith("mamba_modules.") for name in tensors)
    settings: dict[str, Any] = {
        "num_classes": num_classes,
        "feature_dim": feature_dim,
        "num_verbs": num_verbs,
        "num_nouns": num_nouns,
        "block": "mamba" if mamba else "attention",
        "hidden_dim": d_model,
        "num_heads": num_heads,
        "num_layers": _count(tensors, "mamba_modules" if mamba else "dec_modules.layers"),
        "num_anticipation": matrix_size(tensors, "dec_query.weight")[0],
    }
    if not mamba:
        settings["ffn_dim"] = matrix_size(tensors, "dec_modules.layers.0.linear1.weight")[0]
    if has_long:
        settings |= {
            "long_steps": long_steps,
            "long_layers": tuple(_count(tensors, f"enc_modules.{k}.layers") for k in range(2)),
            "long_queries": tuple(
                matrix_size(tensors, f"enc_queries.{k}.weight")[0] for k in range(2)
            ),
            "decay": decay,
            "work_in_memory": work_in_memory,
        }
    return settings


def _learned(state_dict: Any) -> dict[str, Tensor]:
    tensors = reference_tensors(state_dict, "a TeSTra")
    return {name: value for name, value in tensors.items() if name != POSITIONS}


def _count(tensors: Mapping[str, Tensor], layers: str) -> int:
    """Return how many layers the names tell of, at least one: a missing one shows as missing."""
    pattern = re.compile(rf"{re.escape(layers)}\.(\d+)\.")
    return max(1, len({match[1] for name in tensors if (match := pattern.match(name))}))


def _as_ours(name: str, value: Tensor) -> Tensor:
    """Return a tensor of theirs in the shape of ours: one expert, one channel for each filter."""
    if name.endswith("mixer.A_log"):
        return value.unsqueeze(0)
    return value.squeeze(1) if name.endswith("mixer.conv1d.weight") else value


def _their_name(name: str, mamba: bool) -> str:
    if mamba and name == "trunk.norm.weight":
        return "norm_f.weight"
    if mamba and name.startswith("trunk.layers."):
        _, _, number, part = name.split(".", 3)
        return f"mamba_modules.{number}.{_renamed(part, MAMBA)}"
    return _renamed(name, MODULES)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    ours = next((start for start in names if f"{name}.".startswith(f"{start}.")), None)
    return name if ours is None else names[ours] + name.removeprefix(ours)
