"""MixANT: the network that cleans noisy label sequences, given observed features (Sec. 4.2).

Published sizes: 1,588,720 parameters on Breakfast; 1,388,272 with one expert, which is MANTA; about
8.0 M and 2.3 M when A is computed from every token instead (Tab. 3).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.nn.block import BlockReading, DenoisingBlock, RoutingContext
from anticipate.nn.forget_gate import ForgetGate, MLPForgetGate, QueryKeyForgetGate
from anticipate.nn.mamba import BidirectionalMamba
from anticipate.nn.mixture import ForgetGateBank, Router, Selection
from anticipate.nn.scan.backends import AUTO
from anticipate.nn.stack import BlockStack

__all__ = ["MixANT"]

ForgetGateKind = Literal["mixture", "mlp", "query_key"]

METHODS = {"mixture": "MixANT", "mlp": "Large MLP", "query_key": "Query-Key"}
"""What Tab. 3 calls a network by what makes its forget matrices."""


class MixANT(BlockStack):
    """Denoiser of MixANT; with one expert, of MANTA.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        d_model: Width of the tokens.
        num_layers: Number of blocks K.
        num_static_layers: First blocks whose forget matrices are plain parameters, K0.
        num_experts: Forget matrices per mixture block and direction, E; 1 is MANTA.
        router: `unified`: one gamma for both directions; `independent`: one each.
        routing_context: Tokens the router averages: the `observed` ones or the `full` sequence.
        selection: `straight_through` (hard choice, gradient to the router), `literal` (hard choice,
            the router learns from load balancing alone) or `soft` (weighted mean of the experts).
        expert_init_jitter: Standard deviation of the Gaussian that tells experts apart at the
            start.
        forget_gate: What makes A after the static blocks: a `mixture` of experts, or, without
            experts and for every token anew, a large `mlp` or products of queries and keys
            (`query_key`).
        block: Reading of Eq. 14-15: `manta` (one residual) or `prenorm2` (two residuals, as in a
            transformer).
        mlp_ratio: Hidden width of the MLP of `prenorm2` over d_model.
        d_state: State size N per channel.
        d_conv: Width of the depth-wise convolution.
        expand: d_inner / d_model.
        self_conditioning: Whether the previous estimate of x_0 is an input.
        dropout: Dropout in the blocks; the public code of the predecessors lists it but never
            applies it.
        channel_dropout: Dropout of whole class channels of x_t; likewise.
        scan_backend: What runs the scans: `auto` (the best for the device), `reference`, `cpu`,
            `triton` or `mamba_ssm`; one that is missing or unable gives way to auto, with a notice.
            The variable ANTICIPATE_SCAN_BACKEND wins.

    Raises:
        ConfigError: For sizes that do not fit together, or a word that is not offered.
    """

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int = 64,
        num_layers: int = 15,
        num_static_layers: int = 3,
        num_experts: int = 5,
        router: Literal["unified", "independent"] = "unified",
        routing_context: RoutingContext = "observed",
        selection: Selection = "straight_through",
        expert_init_jitter: float = 0.0,
        forget_gate: ForgetGateKind = "mixture",
        block: BlockReading = "manta",
        mlp_ratio: float = 1.0,
        d_state: int = 16,
        d_conv: int = 3,
        expand: int = 2,
        self_conditioning: bool = True,
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
        scan_backend: str = AUTO,
    ) -> None:
        if num_experts < 1:
            raise ConfigError(f"num_experts must be at least 1, got {num_experts}")
        adaptive = forget_gate != "mixture" or num_experts > 1
        first_adaptive = num_static_layers if adaptive else num_layers
        gate = _gate(forget_gate, num_experts, selection, expert_init_jitter)
        num_routers = {"unified": 1, "independent": 2}[router] if forget_gate == "mixture" else 0

        def make_block(layer: int) -> DenoisingBlock:
            static = layer < first_adaptive
            return DenoisingBlock(
                BidirectionalMamba(
                    d_model,
                    d_state,
                    d_conv,
                    expand,
                    ForgetGateBank if static else gate,
                    scan_backend,
                ),
                d_model,
                [Router(d_model, num_experts) for _ in range(0 if static else num_routers)],
                routing_context,
                block,
                mlp_ratio,
                dropout,
            )

        super().__init__(
            num_classes,
            feature_dim,
            d_model,
            num_layers,
            make_block,
            self_conditioning,
            channel_dropout,
        )
        if not 0 <= num_static_layers <= num_layers:
            raise ConfigError(
                f"num_static_layers must lie between 0 and num_layers ({num_layers}), "
                f"got {num_static_layers}"
            )
        self.method = METHODS[forget_gate] if first_adaptive < num_layers else "MANTA"


def _gate(
    kind: ForgetGateKind, num_experts: int, selection: Selection, jitter: float
) -> Callable[[int, int], ForgetGate]:
    if kind == "mixture":
        return partial(ForgetGateBank, num_experts=num_experts, selection=selection, jitter=jitter)
    return {"mlp": MLPForgetGate, "query_key": QueryKeyForgetGate}[kind]
