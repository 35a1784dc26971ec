"""What a Mamba layer does between its matrix products and scans, in one pass over memory each.

Every function has a plain PyTorch form, which other devices and float64 run and which states what
the function means, and a compiled form for the CPU.
"""

from anticipate.nn.fused.conv import causal_conv_silu as causal_conv_silu
from anticipate.nn.fused.gate import gated_sum as gated_sum
