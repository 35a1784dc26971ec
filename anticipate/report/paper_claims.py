"""The claims of the papers that runs can test."""

from anticipate.report.claims import Claim, best, everywhere, flat, higher, inside
from anticipate.report.runs import SHARE

SECONDS = "efficiency/seconds_per_video"
ACTION = "overall/action"

CLAIMS = (
    Claim("experts", "MixANT Fig. 3a", "Best at about 5 experts per block", best("5")),
    Claim(
        "experts",
        "MixANT Tab. 1",
        "MixANT (5 experts) beats MANTA (1 expert) in all settings",
        everywhere("5", "1"),
    ),
    Claim(
        "experts",
        "MixANT Fig. 10",
        "Inference time hardly grows from 2 experts on",
        flat(tuple(map(str, range(2, 9))), SECONDS, 1.2),
    ),
    Claim("static_blocks", "MixANT Fig. 3b", "Best at 3 static blocks", best("3")),
    Claim(
        "router",
        "MixANT Fig. 4",
        "One router for both directions beats one for each",
        higher("unified", "independent"),
    ),
    Claim(
        "balancing",
        "MixANT Fig. 8",
        "Best weight lies inside: too little and too much load balancing hurt",
        inside(),
    ),
    Claim(
        "balancing",
        "MixANT Fig. 4",
        "Load balancing helps",
        higher("0.1", "none"),
    ),
    Claim(
        "balancing",
        "MixANT Fig. 5",
        "Without load balancing few experts take most of the choices (largest share, %)",
        higher("none", "0.1", SHARE),
    ),
    Claim(
        "routing_context",
        "MixANT Fig. 7",
        "Routing on the observed frames beats routing on all frames",
        higher("observed", "full"),
    ),
    Claim(
        "forget_gate",
        "MixANT Tab. 3",
        "The mixture beats a single matrix",
        higher("mixture", "single"),
    ),
    Claim(
        "forget_gate", "MixANT Tab. 3", "The mixture beats a large MLP", higher("mixture", "mlp")
    ),
    Claim(
        "forget_gate",
        "MixANT Tab. 3",
        "The mixture beats query and key",
        higher("mixture", "query_key"),
    ),
    Claim(
        "forget_gate",
        "MixANT Tab. 3",
        "A large MLP is slower than the mixture (seconds per video)",
        higher("mlp", "mixture", SECONDS),
    ),
    Claim(
        "denoiser",
        "MixANT Tab. 3",
        "MixANT beats a Transformer of 15 blocks",
        higher("mixant", "transformer_15"),
    ),
    Claim(
        "denoiser",
        "MixANT Tab. 3",
        "MixANT beats a Transformer of 18 blocks",
        higher("mixant", "transformer_18"),
    ),
    Claim(
        "denoiser",
        "MixANT Tab. 3",
        "A Transformer of 15 blocks is slower than MixANT (seconds per video)",
        higher("transformer_15", "mixant", SECONDS),
    ),
    Claim("aga_ema", "AGA, ablations", "Best at a weight of 0.8", best("0.8", ACTION)),
    Claim(
        "aga_ema",
        "AGA, ablations",
        "The average beats the last prediction alone",
        higher("0.8", "last", ACTION),
    ),
    Claim(
        "aga_attention",
        "AGA, ablations",
        "Action-guided attention beats visual attention",
        higher("action_guided", "visual", ACTION),
    ),
    Claim(
        "aga_gate",
        "AGA, ablations",
        "The gate beats history alone",
        higher("elementwise", "history", ACTION),
    ),
)
"""Every claim that runs of a study can test, in the order of the studies."""
