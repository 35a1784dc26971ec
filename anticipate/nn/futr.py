"""FUTR (Gong et al., CVPR 2022): a Transformer that answers with the segments of the future.

Glossary, the code's names and the letters of the paper and its released code:
    C, F, h      classes, width of the features, width of the network (hidden_dim)
    S, Q         observed tokens, queries: the most segments that a future can have
    p            learned positions, which every layer of the encoder adds anew
    NONE = C     class of the queries behind the last segment
    d            logarithm of a duration; durations are shares of the anticipated half video

An encoder reads the observed features, and a frame-wise head labels them. A decoder turns Q learned
queries into one action, or NONE, and one duration each: one deterministic future. Attention never
masks one query from another. Keys are values too: both carry positions.

From the smallest part to the network: attention, layers, encoder and decoder, the network; from its
output to labels; the weights of its authors' code.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn.cpu.linear import Linear, linear
from anticipate.nn.reference_weights import matrix_size, reference_tensors, take_weights

__all__ = ["FUTR", "FUTROutput", "futr_from_reference"]

Tokens = Float[Tensor, "batch tokens hidden"]
Slots = Float[Tensor, "batch queries hidden"]


class Attention(nn.Module):
    """Multi-head attention whose keys are its values; dropout acts on the weights.

    Args:
        hidden_dim: Width of queries, keys and the result.
        num_heads: Number of heads; divides hidden_dim.
        dropout: Share of the attention weights that are dropped in training.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        # One matrix of query, key and value, as its start depends on its size.
        self.in_proj = Linear(hidden_dim, 3 * hidden_dim)
        self.out_proj = Linear(hidden_dim, hidden_dim)
        for projection in (self.in_proj, self.out_proj):
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        queries: Float[Tensor, "batch asking hidden"],
        keys: Float[Tensor, "batch asked hidden"],
        seen: Bool[Tensor, "batch asked"] | None = None,
    ) -> Float[Tensor, "batch asking hidden"]:
        """Return what the queries find among the keys; `seen` is False on keys to ignore."""
        width = queries.shape[-1]
        weights, biases = (part.split([width, 2 * width]) for part in self.in_proj.parameters())
        q = linear(queries, weights[0], biases[0])
        k, v = linear(keys, weights[1], biases[1]).chunk(2, dim=-1)
        split = "b n (heads d) -> b heads n d"
        q, k, v = (rearrange(x, split, heads=self.num_heads) for x in (q, k, v))
        mask = None if seen is None else rearrange(seen, "b n -> b 1 1 n")
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(rearrange(found, "b heads n d -> b n (heads d)"))


def feed_forward(hidden_dim: int, dropout: float) -> nn.Sequential:
    """Return W2 Drop(ReLU(W1 x)), four times as wide inside."""
    inner = 4 * hidden_dim
    return nn.Sequential(
        Linear(hidden_dim, inner), nn.ReLU(), nn.Dropout(dropout), Linear(inner, hidden_dim)
    )


class EncoderLayer(nn.Module):
    """Self-attention and MLP, each with a residual and a LayerNorm behind it.

    Args:
        hidden_dim: Width h.
        num_heads: Number of attention heads.
        dropout: Dropout of attention weights, of both updates and in the MLP.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = Attention(hidden_dim, num_heads, dropout)
        self.feed_forward = feed_forward(hidden_dim, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(hidden_dim), nn.LayerNorm(hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tokens, p: Float[Tensor, "1 tokens hidden"], seen: Bool[Tensor, "batch tokens"]
    ) -> Tokens:
        """Return the tokens; `p` are the positions, `seen` is False on padding."""
        x = self.norm1(x + self.dropout(self.self_attention(x + p, x + p, seen)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class Memory(NamedTuple):
    """What the encoder makes of the observed part."""

    tokens: Tokens
    """What frame-wise heads read."""
    keys: Tokens
    """Tokens with positions: what the queries look at."""
    seen: Bool[Tensor, "batch tokens"]
    """False on padding."""


class Encoder(nn.Module):
    """Observed features -> memory: ReLU(W f), then layers.

    Args:
        feature_dim: Width of the features.
        hidden_dim: Width h.
        num_layers: Number of layers.
        num_heads: Number of attention heads.
        max_tokens: Number of positions: the most tokens that can be observed.
        dropout: Dropout in the layers.
    """

    def __init__(
        self,
        feature_dim: int,
        hidden_dim: int,
        num_layers: int,
        num_heads: int,
        max_tokens: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.input = Linear(feature_dim, hidden_dim)
        # Three axes, as Xavier's bound depends on them: sqrt(6 / (max_tokens h + h)).
        self.positions = nn.Parameter(torch.empty(1, max_tokens, hidden_dim))
        self.layers = nn.ModuleList(
            EncoderLayer(hidden_dim, num_heads, dropout) for _ in range(num_layers)
        )
        xavier_matrices(self)

    def forward(
        self,
        features: Float[Tensor, "batch tokens feature"],
        observed: Bool[Tensor, "batch tokens_or_more"],
    ) -> Memory:
        """Read the features of the observed tokens; others never matter.

        Raises:
            ConfigError: More tokens than positions.
        """
        num_tokens, most = features.shape[1], self.positions.shape[1]
        if num_tokens > most:
            raise ConfigError(
                f"{num_tokens} tokens are observed, but the network has max_tokens = {most} "
                "positions: raise max_tokens, or sample_rate for fewer tokens"
            )
        seen, p = observed[:, :num_tokens], self.positions[:, :num_tokens]
        x = self.input(features * seen.unsqueeze(-1)).relu()
        for layer in self.layers:
            x = layer(x, p, seen)
        return Memory(x, x + p, seen)


class DecoderLayer(nn.Module):
    """Attention among the queries, attention to the memory, MLP; a LayerNorm behind each.

    Args:
        hidden_dim: Width h.
        num_heads: Number of attention heads.
        dropout: Dropout of attention weights, of the updates and in the MLP.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = Attention(hidden_dim, num_heads, dropout)
        self.cross_attention = Attention(hidden_dim, num_heads, dropout)
        self.feed_forward = feed_forward(hidden_dim, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(hidden_dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Slots, queries: Float[Tensor, "queries hidden"], memory: Memory) -> Slots:
        """Return the answers so far; `queries` tell the slots apart, as positions do.

        Several rows of `y`, one after another, can be about the same row of the memory.
        """
        y = self.norm1(y + self.dropout(self.self_attention(y + queries, y + queries)))
        # They ask as one, so that the keys of a video are projected once.
        asked = rearrange(y + queries, "(b s) q h -> b (s q) h", b=len(memory.keys))
        found = self.cross_attention(asked, memory.keys, memory.seen)
        y = self.norm2(y + self.dropout(found.view_as(y)))
        return self.norm3(y + self.dropout(self.feed_forward(y)))


class Decoder(nn.Module):
    """Learned queries that read the memory.

    Args:
        hidden_dim: Width h.
        num_layers: Number of layers.
        num_queries: Number Q of queries.
        num_heads: Number of attention heads.
        dropout: Dropout in the layers.
    """

    def __init__(
        self, hidden_dim: int, num_layers: int, num_queries: int, num_heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(hidden_dim, num_heads, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_dim)
        xavier_matrices(self)
        self.queries = nn.Parameter(torch.randn(num_queries, hidden_dim))

    def forward(self, y: Slots, memory: Memory) -> Slots:
        """Return the answer of every query; `y` is what each starts with."""
        for layer in self.layers:
            y = layer(y, self.queries, memory)
        return self.norm(y)


def xavier_matrices(module: nn.Module) -> None:
    """Start all matrices as Xavier's uniform law says; vectors stay as torch starts them."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


class FUTROutput(NamedTuple):
    """What FUTR says of the observed part and of the future."""

    segmentation: Float[Tensor, "batch observed_tokens classes"]
    """Logits of the observed tokens."""
    actions: Float[Tensor, "batch queries classes_and_none"]
    """Logits of the action of each query; the last class is NONE."""
    durations: Float[Tensor, "batch queries"]
    """Logarithm of the duration of each query, up to a constant: see `normalized_durations`."""


class FUTR(nn.Module):
    """FUTR: frame-wise labels of the observed part, and the segments of one future.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        hidden_dim: Width h.
        num_encoder_layers: Layers that read the observed part.
        num_decoder_layers: Layers of the queries.
        num_queries: Segments that a future can have, Q.
        num_heads: Number of attention heads.
        max_tokens: Most tokens that can be observed.
        dropout: Dropout in all layers.

    Raises:
        ConfigError: Sizes that do not fit together; when run, more tokens than `max_tokens`.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        hidden_dim: int = 128,
        num_encoder_layers: int = 2,
        num_decoder_layers: int = 1,
        num_queries: int = 8,
        num_heads: int = 8,
        max_tokens: int = 2000,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check_sizes(hidden_dim, num_encoder_layers, num_decoder_layers, num_queries, num_heads)
        self.encoder = Encoder(
            feature_dim, hidden_dim, num_encoder_layers, num_heads, max_tokens, dropout
        )
        self.decoder = Decoder(hidden_dim, num_decoder_layers, num_queries, num_heads, dropout)
        self.segmentation = Linear(hidden_dim, num_classes)
        self.actions = Linear(hidden_dim, num_classes + 1)
        self.durations = Linear(hidden_dim, 1)
        for head in (self.segmentation, self.actions, self.durations):
            xavier_matrices(head)

    def forward(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> FUTROutput:
        """Label the observed tokens and anticipate segments.

        Args:
            features: Features of the observed part.
            observed: True on tokens with features; only the columns of `features` are read.

        Raises:
            ConfigError: More tokens than `max_tokens`.
        """
        memory = self.encoder(features, observed)
        y = torch.zeros_like(self.decoder.queries).expand(len(features), -1, -1)
        return self.read(self.decoder(y, memory), memory)

    def read(self, y: Slots, memory: Memory) -> FUTROutput:
        """Return what the heads say of the memory and of the decoder's answers y."""
        return FUTROutput(
            self.segmentation(memory.tokens), self.actions(y), self.durations(y).squeeze(-1)
        )


def _check_sizes(hidden_dim: int, encoder: int, decoder: int, queries: int, heads: int) -> None:
    if heads < 1 or hidden_dim % heads:
        raise ConfigError(
            f"hidden_dim must be a multiple of num_heads, got {hidden_dim} and {heads}"
        )
    if min(encoder, decoder, queries) < 1:
        raise ConfigError(
            "num_encoder_layers, num_decoder_layers and num_queries must be at least 1, got "
            f"{encoder}, {decoder} and {queries}"
        )


def normalized_durations(
    durations: Float[Tensor, "*batch queries"], mask: Bool[Tensor, "*batch queries"]
) -> Float[Tensor, "*batch queries"]:
    """Return exp(d) m / sum(exp(d) m): shares of the future, zero where the mask is False.

    Args:
        durations: Logarithms d, as FUTR returns them.
        mask: Slots m that hold a segment; at least one in each row.

    >>> normalized_durations(torch.zeros(3), torch.tensor([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    return durations.masked_fill(~mask, -torch.inf).softmax(dim=-1)


def future_labels(
    actions: Float[Tensor, "queries classes_and_none"],
    durations: Float[Tensor, " queries"],
    num_frames: int,
    released: bool = False,
) -> Int[Tensor, " frames"]:
    """Turn the answers of the queries into a label for every frame of the future.

    The queries before the first that says NONE, or all, share out the frames, each length rounded
    half up. What rounding leaves over continues the last of them; where the first query says NONE,
    its likeliest action fills the future.

    Args:
        actions: Logits; the last class is NONE.
        durations: Logarithms of the durations.
        num_frames: Frames to label.
        released: Whether the frames left over, all of them where the first query says NONE, get
            what the last query says, used or not, as in the public code: possibly NONE, the class
            number C. The code takes over the cut of another video where no query says NONE; here
            all queries count.

    >>> future_labels(torch.eye(3), torch.zeros(3), 5).tolist()
    [0, 0, 0, 1, 1]
    """
    labels = actions.argmax(dim=-1)
    used = (labels != actions.shape[-1] - 1).int().cumprod(dim=0).bool()
    num_used = int(used.sum())
    if not (num_used or released):
        labels = actions[:, :-1].argmax(dim=-1)
    shares = normalized_durations(durations, used).nan_to_num()  # zeros where no query is used
    ends = (0.5 + num_frames * shares).long().cumsum(dim=0)
    last = len(labels) - 1 if released else max(num_used, 1) - 1
    frames = torch.arange(num_frames, device=labels.device)
    return labels[torch.bucketize(frames, ends[:last], right=True)]


THEIRS = {
    r"^encoder\.input\.": "input_embed.",
    r"^encoder\.positions$": "pos_embedding",
    r"^decoder\.queries$": "query_embed.weight",
    r"^(encoder|decoder)\.": r"transformer.\1.",
    r"\.self_attention\.": ".self_attn.",
    r"\.cross_attention\.": ".multihead_attn.",
    r"\.in_proj\.": ".in_proj_",
    r"\.feed_forward\.0\.": ".linear1.",
    r"\.feed_forward\.3\.": ".linear2.",
    r"^segmentation\.": "fc_seg.",
    r"^actions\.": "fc.",
    r"^durations\.": "fc_len.",
}
"""Parts of our names, and what they are in the authors' names."""

UNUSED = "pos_enc.pos_table"
"""A table of theirs that nothing reads."""


def futr_from_reference(state_dict: Any, *, num_heads: int = 8) -> FUTR:
    """Build FUTR with the weights of the authors' code; all sizes follow from the tensors.

    Args:
        state_dict: Their tensors by name, also with the prefix `module.` or wrapped in a mapping.
        num_heads: Number of attention heads, which no tensor tells.

    Returns:
        The network, in training mode as every new module.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown.
    """
    network = FUTR(**reference_settings(state_dict, num_heads=num_heads))
    take_weights(network, _tensors(state_dict), _their_name)
    return network


def reference_settings(state_dict: Any, *, num_heads: int) -> dict[str, Any]:
    """Return the arguments of `FUTR` that fit the tensors; errors as of `futr_from_reference`."""
    tensors = _tensors(state_dict)
    hidden_dim, feature_dim = matrix_size(tensors, "input_embed.weight")
    if num_heads < 1 or hidden_dim % num_heads:
        raise CheckpointError(
            f"'input_embed.weight' has {hidden_dim} rows, expected a multiple of {num_heads}, the "
            "number of heads"
        )
    positions = tensors.get("pos_embedding")
    if positions is None or positions.ndim != 3:
        found = "missing" if positions is None else f"{tuple(positions.shape)}"
        raise CheckpointError(f"'pos_embedding' is {found}, expected three axes")
    return {
        "num_classes": matrix_size(tensors, "fc_seg.weight")[0],
        "feature_dim": feature_dim,
        "hidden_dim": hidden_dim,
        "num_encoder_layers": _num_layers(tensors, "encoder"),
        "num_decoder_layers": _num_layers(tensors, "decoder"),
        "num_queries": matrix_size(tensors, "query_embed.weight")[0],
        "num_heads": num_heads,
        "max_tokens": positions.shape[1],
    }


def _tensors(state_dict: Any) -> dict[str, Tensor]:
    """Return the tensors that the network uses, by the authors' names."""
    tensors = reference_tensors(state_dict, "a FUTR")
    return {name: tensor for name, tensor in tensors.items() if name != UNUSED}


def _num_layers(tensors: Mapping[str, Tensor], part: str) -> int:
    found = (re.match(rf"transformer\.{part}\.layers\.(\d+)\.", name) for name in tensors)
    layers = {int(match[1]) for match in found if match}
    if not layers:
        raise CheckpointError(f"no tensor 'transformer.{part}.layers.0.*', expected one or more")
    return len(layers)


def _their_name(name: str) -> str:
    for ours, theirs in THEIRS.items():
        name = re.sub(ours, theirs, name)
    return name
