"""The full MixANT of the paper's Breakfast recipe, with random inputs, for the benchmarks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.nn.mixant import MixANT, S6Plus
from anticipate.nn.scan.inputs import ScanInputs

NUM_CLASSES, FEATURE_DIM = 48, 2048
OBSERVED_SHARE = 2 / 7
"""Of the tokens: 20 % of the video are observed, 50 % anticipated."""


class Inputs(NamedTuple):
    """What a denoiser reads, without padding."""

    features: Float[Tensor, "batch observed_tokens feature"]
    x_t: Float[Tensor, "batch tokens classes"]
    t: Int[Tensor, " batch"]
    observed: Bool[Tensor, "batch tokens"]
    valid: Bool[Tensor, "batch tokens"]


def make_network(quick: bool, num_experts: int = 5, scan_backend: str = "auto") -> MixANT:
    """Return MixANT with 15 blocks, or with 2 narrow ones."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_experts": num_experts, "scan_backend": scan_backend}
    # As after training: experts that differ, and below, blocks that matter to the result.
    settings["expert_init"] = "spread"
    if quick:
        small: dict[str, Any] = {"d_model": 8, "num_layers": 2, "num_static_layers": 1}
        network = MixANT(num_classes=5, feature_dim=8, **small, **settings)
    else:
        network = MixANT(NUM_CLASSES, FEATURE_DIM, **settings)
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.ones_(parameter)
    return network


def make_inputs(network: MixANT, batch: int, tokens: int) -> Inputs:
    """Return random inputs for a network."""
    generator = torch.Generator().manual_seed(0)
    num_observed = round(OBSERVED_SHARE * tokens)
    feature_dim = network.feature_proj.in_features
    return Inputs(
        features=torch.randn(batch, num_observed, feature_dim, generator=generator),
        x_t=torch.randn(batch, tokens, network.num_classes, generator=generator),
        t=torch.full((batch,), 500),
        observed=(torch.arange(tokens) < num_observed).expand(batch, tokens),
        valid=torch.ones(batch, tokens, dtype=torch.bool),
    )


def scan_with(network: MixANT, scan: Callable[[ScanInputs], Tensor]) -> None:
    """Let the layers scan as another package does, which knows one direction and A per sample."""

    def selective_scan(*arguments: Any, **settings: Any) -> Tensor:
        x = ScanInputs(*arguments, **settings)
        x = x._replace(A=x.A.expand(len(x.u), -1, -1))
        if not x.reverse:
            return scan(x)
        flipped = {name: getattr(x, name).flip(2) for name in ("u", "delta", "B", "C")}
        return scan(x._replace(**flipped)).flip(2)

    for module in network.modules():
        if isinstance(module, S6Plus):
            module.scan = selective_scan
