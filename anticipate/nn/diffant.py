"""DiffAnt (Zhong et al., arXiv 2311.15991): diffusion over the latents of future segments.

Glossary, the code's names and the letters of the paper:
    C, F, h      classes, width of the features, width of the network (hidden_dim)
    Q            queries: slots of a future, each a segment or NONE = C, which ends the list
    s            diffusion step
    z_0, z_s     latents of the slots of a future, clean and noisy
    Emb          learned vector of each class and of NONE

FUTR reads the observed features. Where its queries start with zeros, here they start with noisy
latents and the step; what its decoder answers is the estimate of the clean latents, from which its
heads read actions and durations. The authors have published no code: README.md lists what the paper
leaves open.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.nn.cpu.linear import Linear
from anticipate.nn.denoiser import sinusoids
from anticipate.nn.futr import FUTR, FUTROutput, Memory, Slots, xavier_matrices
from anticipate.types import PAD_LABEL

__all__ = ["DiffAnt"]

Latent = Literal["class", "class_duration"]


class DiffAnt(nn.Module):
    """DiffAnt: estimates the clean latents of future segments from noisy ones and a video.

    `encode` runs once per video, `forward` once per denoising step, `read` at the end.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        hidden_dim: Width h; even.
        num_encoder_layers: Layers that read the observed part.
        num_decoder_layers: Layers of the queries.
        num_queries: Segments that a future can have, Q.
        num_heads: Number of attention heads.
        max_tokens: Most tokens that can be observed.
        dropout: Dropout in all layers.
        latent: `class`: z_0 is the vector of the class alone; `class_duration`: a linear map of the
            duration is added.

    Raises:
        ConfigError: Sizes that do not fit together; when run, more tokens than `max_tokens`.
    """

    @checked_choices
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
        latent: Latent = "class",
    ) -> None:
        super().__init__()
        if hidden_dim < 4 or hidden_dim % 2:
            raise ConfigError(
                f"hidden_dim must be even and at least 4 (half sines, half cosines of the step), "
                f"got {hidden_dim}"
            )
        self.futr = FUTR(
            num_classes,
            feature_dim,
            hidden_dim,
            num_encoder_layers,
            num_decoder_layers,
            num_queries,
            num_heads,
            max_tokens,
            dropout,
        )
        self.embedding = nn.Parameter(torch.randn(num_classes + 1, hidden_dim))
        self.noisy = Linear(hidden_dim, hidden_dim)
        self.step = nn.Sequential(
            Linear(hidden_dim, 4 * hidden_dim), nn.SiLU(), Linear(4 * hidden_dim, hidden_dim)
        )
        self.duration = Linear(1, hidden_dim) if latent == "class_duration" else None
        for module in (self.noisy, self.step, self.duration):
            if module is not None:
                xavier_matrices(module)

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Q and h: shape of the latents of one future."""
        num_queries, hidden_dim = self.futr.decoder.queries.shape
        return num_queries, hidden_dim

    def latents(
        self, actions: Int[Tensor, "batch queries"], durations: Float[Tensor, "batch queries"]
    ) -> Slots:
        """Return z_0 = sqrt(h) Emb(c) / |Emb(c)|: as large as noise of variance 1.

        As their norm is fixed, no loss gets smaller by shrinking them.

        Args:
            actions: Class of each segment, then NONE; PAD_LABEL, behind it, counts as NONE.
            durations: Share of each segment; only `class_duration` reads them.
        """
        num_classes, hidden_dim = len(self.embedding) - 1, self.embedding.shape[1]
        slots = actions.masked_fill(actions == PAD_LABEL, num_classes)
        z_0 = F.embedding(slots, hidden_dim**0.5 * F.normalize(self.embedding, dim=-1))
        return z_0 if self.duration is None else z_0 + self.duration(durations.unsqueeze(-1))

    def encode(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> Memory:
        """Return what depends on the video alone; arguments and errors as of `FUTR`."""
        return self.futr.encoder(features, observed)

    def forward(self, z_s: Slots, s: Int[Tensor, " batch"], memory: Memory) -> Slots:
        """Return the estimate of z_0.

        Args:
            z_s: Noisy latents; as many futures of one video after another as there are rows for it.
            s: Step of each future.
            memory: What `encode` returned.
        """
        step = self.step(sinusoids(s, z_s.shape[-1]).to(z_s.dtype)).unsqueeze(1)
        return self.futr.decoder(self.noisy(z_s) + step, memory)

    def read(self, z_0: Slots, memory: Memory) -> FUTROutput:
        """Return actions and durations of the estimates, and the labels of the observed tokens."""
        return self.futr.read(z_0, memory)
