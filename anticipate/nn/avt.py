"""AVT-h, the head of the anticipative video transformer: it predicts the features of what follows.

Girdhar and Grauman (ICCV 2021) on features that were extracted before. Glossary, the code's names
and the paper's:
    F, D, T    width of the features, width of the decoder (hidden_dim), frames of a clip
    x_i        feature of frame i
    h_i        hidden state of frame i after the last norm; it has seen x_0 .. x_i
    z_i        predicted feature of frame i + 1
    p_i        learned position i

    h = decoder blocks (W_in x + p),   z = W_out h,   logits = classifier(z)

The classifier lives in the space of features: it is applied to predicted ones, and in training to
x_0 too. So the logits of a step are about the action one step later, as those of AGA.

From the smallest part to the network: what attention has seen, the block, the network, the weights
of its authors' code.
"""

import re
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn.cpu.linear import Linear
from anticipate.nn.reference_weights import matrix_size, reference_tensors, take_weights

__all__ = ["AVT", "AVTState", "avt_from_reference"]

BODY_DEVIATION, OUTER_DEVIATION = 0.02, 0.01
"""Standard deviation of the first weights: inside the body; of encoder, decoder and classifier."""

WINDOW = 10
"""Frames of a clip in all recipes of the authors."""

Hidden = Float[Tensor, "batch steps hidden"]


class Seen(NamedTuple):
    """Keys and values of the frames that a block has seen."""

    keys: Float[Tensor, "batch heads seen head_dim"]
    values: Float[Tensor, "batch heads seen head_dim"]


class AVTState(NamedTuple):
    """What a stream carries to its next frame."""

    frames: Float[Tensor, "batch seen feature"]
    """The newest frames, oldest first, `window` at most."""
    blocks: tuple[Seen, ...]
    """What each block has seen of them."""


class Block(nn.Module):
    """A block of GPT-2: x += attention(norm(x)), then x += MLP(norm(x)), each after dropout.

    Args:
        hidden_dim: Width D.
        num_heads: Heads of the attention.
        dropout: Of attention weights and of both summands.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = num_heads, dropout
        self.attention_norm = nn.LayerNorm(hidden_dim)
        self.qkv = Linear(hidden_dim, 3 * hidden_dim)
        self.out = Linear(hidden_dim, hidden_dim)
        self.mlp_norm = nn.LayerNorm(hidden_dim)
        self.up = Linear(hidden_dim, 4 * hidden_dim)
        self.down = Linear(4 * hidden_dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Hidden, seen: Seen) -> tuple[Hidden, Seen]:
        """Return the next layer's input of some frames, and what has been seen after them."""
        attended, seen = self._attend(self.attention_norm(x), seen)
        x = x + self.dropout(self.out(attended))
        widened = F.gelu(self.up(self.mlp_norm(x)), approximate="tanh")
        return x + self.dropout(self.down(widened)), seen

    def _attend(self, x: Hidden, seen: Seen) -> tuple[Hidden, Seen]:
        queries, keys, values = rearrange(
            self.qkv(x), "b steps (part heads d) -> part b heads steps d", part=3,
            heads=self.num_heads,
        )  # fmt: skip
        keys, values = torch.cat([seen.keys, keys], 2), torch.cat([seen.values, values], 2)
        before, steps = seen.keys.shape[2], x.shape[1]
        visible = x.new_ones(steps, before + steps, dtype=torch.bool).tril(diagonal=before)
        dropout = self.attention_dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=visible, dropout_p=dropout
        )
        return rearrange(found, "b heads steps d -> b steps (heads d)"), Seen(keys, values)


class AVT(nn.Module):
    """Causal decoder that predicts the next feature of every frame, and the action it shows.

    Args:
        num_classes: Number of actions C; set from the data.
        feature_dim: Width F of the features; set from the data.
        hidden_dim: Width D of the decoder.
        num_layers: Blocks of the decoder.
        num_heads: Attention heads of a block.
        dropout: Before the classifier.
        body_dropout: In the decoder: of embeddings, attention weights and the summands of blocks.
        num_positions: Learned positions, the most frames of a clip.
        window: Newest frames that a stream looks at; those of a training clip.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        hidden_dim: int = 2048,
        num_layers: int = 6,
        num_heads: int = 4,
        dropout: float = 0.2,
        body_dropout: float = 0.1,
        num_positions: int = 1024,
        window: int = WINDOW,
    ) -> None:
        super().__init__()
        _check(hidden_dim, num_heads, num_layers, num_positions, window)
        self.num_heads, self.window = num_heads, window
        self.encoder = Linear(feature_dim, hidden_dim, bias=False)
        self.positions = nn.Embedding(num_positions, hidden_dim)
        self.dropout = nn.Dropout(body_dropout)
        self.blocks = nn.ModuleList(
            Block(hidden_dim, num_heads, body_dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_dim)
        self.decoder = Linear(hidden_dim, feature_dim, bias=False)
        self.classifier = nn.Sequential(nn.Dropout(dropout), Linear(feature_dim, num_classes))
        self._initialize()

    def forward(
        self, features: Float[Tensor, "batch steps feature"]
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of the action one step after each frame; oldest frame first."""
        return self.classifier(self.predict_features(features))

    def predict_features(
        self, features: Float[Tensor, "batch steps feature"]
    ) -> Float[Tensor, "batch steps feature"]:
        """Return z: the predicted feature one step after each frame."""
        hidden, _ = self._decode(self.encoder(features), self._nothing_seen(len(features)))
        return self.decoder(hidden)

    def rollout(
        self, features: Float[Tensor, "batch steps feature"], num_steps: int
    ) -> Float[Tensor, "batch num_steps actions"]:
        """Return the logits of the actions 1, .., num_steps steps after the last frame.

        The hidden state of a frame stands for the embedding of the next, which nobody has seen.
        The network is trained for one step alone.

        Args:
            features: Frames, oldest first.
            num_steps: How far to look ahead, at least 1.
        """
        hidden, seen = self._decode(self.encoder(features), self._nothing_seen(len(features)))
        hiddens = [hidden]
        for _ in range(num_steps - 1):
            hidden, seen = self._decode(hiddens[-1][:, -1:], seen)
            hiddens.append(hidden)
        return self.classifier(self.decoder(torch.cat(hiddens, dim=1)))[:, -num_steps:]

    def initial_state(self, batch: int) -> AVTState:
        """Return the state of so many streams that have seen nothing."""
        frames = self.encoder.weight.new_empty(batch, 0, self.encoder.in_features)
        return AVTState(frames, self._nothing_seen(batch))

    def step(
        self, features: Float[Tensor, "batch feature"], state: AVTState
    ) -> tuple[Float[Tensor, "batch actions"], AVTState]:
        """Return the logits of the next step of each stream, and the state after it.

        For the first `window` frames this is what `forward` computes. Later on it is what `forward`
        computes of the last `window` frames: their positions move with them, so they are all
        encoded again. The old state stays as it is.
        """
        frames = torch.cat([state.frames, features.unsqueeze(1)], dim=1)[:, -self.window :]
        new, seen = frames[:, -1:], state.blocks
        if state.frames.shape[1] == self.window:
            new, seen = frames, self._nothing_seen(len(frames))
        hidden, seen = self._decode(self.encoder(new), seen)
        return self.classifier(self.decoder(hidden[:, -1])), AVTState(frames, seen)

    def _decode(self, embedded: Hidden, seen: tuple[Seen, ...]) -> tuple[Hidden, tuple[Seen, ...]]:
        """Return h of some frames that follow those seen, and what has been seen after them."""
        first, last = seen[0].keys.shape[2], seen[0].keys.shape[2] + embedded.shape[1]
        if last > self.positions.num_embeddings:
            raise ConfigError(
                f"{last} frames found, at most {self.positions.num_embeddings} expected: shorten "
                "the clips or raise num_positions"
            )
        x = self.dropout(embedded + self.positions.weight[first:last])
        after = []
        for block, blocks_seen in zip(self.blocks, seen, strict=True):
            x, blocks_seen = block(x, blocks_seen)
            after.append(blocks_seen)
        return self.norm(x), tuple(after)

    def _nothing_seen(self, batch: int) -> tuple[Seen, ...]:
        head_dim = self.encoder.out_features // self.num_heads
        empty = self.encoder.weight.new_empty(batch, self.num_heads, 0, head_dim)
        return (Seen(empty, empty),) * len(self.blocks)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=BODY_DEVIATION)
            if isinstance(module, Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name in ("encoder", "decoder", "classifier.1"):
            nn.init.normal_(self.get_parameter(f"{name}.weight"), std=OUTER_DEVIATION)


def _check(
    hidden_dim: int, num_heads: int, num_layers: int, num_positions: int, window: int
) -> None:
    if num_heads < 1 or hidden_dim < 1 or hidden_dim % num_heads:
        raise ConfigError(f"num_heads ({num_heads}) must divide hidden_dim ({hidden_dim})")
    if num_layers < 1:
        raise ConfigError(f"num_layers must be at least 1, got {num_layers}")
    if not 1 <= window <= num_positions:
        raise ConfigError(f"window must lie in 1 .. num_positions ({num_positions}), got {window}")


GPT = "future_predictor.gpt_model"
"""What the names of the decoder's tensors start with in the authors' code."""

MODULES = {
    "encoder": "future_predictor.encoder",
    "decoder": "future_predictor.decoder",
    "positions": f"{GPT}.wpe",
    "norm": f"{GPT}.ln_f",
    "classifier.1": "classifiers.action",
}
"""Our name of each module outside the blocks, and the authors'."""

BLOCK_MODULES = {
    "attention_norm": "ln_1",
    "qkv": "attn.c_attn",
    "out": "attn.c_proj",
    "mlp_norm": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
"""The same within a block."""

NOT_LEARNED = re.compile(
    rf"{re.escape(GPT)}\.h\.\d+\.attn\.(bias|masked_bias)|cls_map_(verb|noun)_action"
)
"""Buffers of theirs: the causal mask of older checkpoints; verb and noun of each action."""


def avt_from_reference(state_dict: Any, *, num_heads: int = 4) -> AVT:
    """Build AVT-h with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name, also with the prefix `module.`, or a released checkpoint.
        num_heads: Attention heads, which the tensors do not show: 4, or 8 on EPIC-Kitchens-55.

    Returns:
        The network, in training mode as every new module.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown; the
            number of heads does not divide the width.
    """
    tensors = _learned(state_dict)
    network = AVT(**reference_settings(state_dict, num_heads=num_heads))
    take_weights(network, tensors, _their_name, _stored_transposed)
    return network


def reference_settings(state_dict: Any, *, num_heads: int) -> dict[str, Any]:
    """Return the arguments of `AVT` that fit the tensors; errors as of `avt_from_reference`."""
    tensors = _learned(state_dict)
    hidden_dim, feature_dim = matrix_size(tensors, "future_predictor.encoder.weight")
    num_classes, _ = matrix_size(tensors, "classifiers.action.weight")
    num_positions, _ = matrix_size(tensors, f"{GPT}.wpe.weight")
    if num_heads < 1 or hidden_dim % num_heads:
        raise CheckpointError(
            f"'future_predictor.encoder.weight' has {hidden_dim} rows, expected a multiple of "
            f"num_heads ({num_heads})"
        )
    layers = set(re.findall(rf"{re.escape(GPT)}\.h\.(\d+)\.", "\n".join(tensors)))
    return {
        "num_classes": num_classes,
        "feature_dim": feature_dim,
        "hidden_dim": hidden_dim,
        "num_layers": max(len(layers), 1),
        "num_heads": num_heads,
        "num_positions": num_positions,
        "window": min(WINDOW, num_positions),
    }


def _learned(state_dict: Any) -> dict[str, Tensor]:
    tensors = reference_tensors(state_dict, "an AVT-h")
    return {name: value for name, value in tensors.items() if not NOT_LEARNED.fullmatch(name)}


def _their_name(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    if module.startswith("blocks."):
        _, number, part = module.split(".")
        return f"{GPT}.h.{number}.{BLOCK_MODULES[part]}.{parameter}"
    return f"{MODULES[module]}.{parameter}"


def _stored_transposed(name: str) -> bool:
    """Return whether theirs is a matrix of the body, which computes x W where ours is x W^T."""
    return name.startswith("blocks.") and name.endswith(
        ("qkv.weight", "out.weight", "up.weight", "down.weight")
    )
