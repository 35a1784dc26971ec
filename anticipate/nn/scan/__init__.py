"""The selective scan of Mamba (S6) with per-sample transitions, behind one function."""

from collections.abc import Iterable

from torch import Tensor

from anticipate.nn.scan.backends import AUTO, check_backend
from anticipate.nn.scan.inputs import ScanInputs, check
from anticipate.nn.scan.ops import scan, scan_pair

__all__ = ["ScanInputs", "selective_scan", "selective_scan_pair"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    reverse: bool = False,
    backend: str = AUTO,
) -> Tensor:
    """Run h_l = exp(dt_l A) h_{l-1} + dt_l u_l B_l and read y_l = (C_l h_l + D u_l) SiLU(z_l).

    Shapes and meaning are those of `selective_scan_fn` in mamba_ssm, with A also per sample. The
    state is float32 (float64 for float64 inputs on the reference). Tensors may have any strides;
    contiguous channels, as in the transpose of (batch, length, d_inner), are the fastest.

    Args:
        u: Input sequence (batch, d_inner, length).
        delta: Time steps (batch, d_inner, length) before bias and softplus.
        A: Transition (d_inner, d_state), or per sample (batch, d_inner, d_state), or, on the
            reference, per sample and token (batch, d_inner, d_state, length).
        B: What enters the state (batch, d_state, length).
        C: What is read from the state (batch, d_state, length).
        D: Skip connection (d_inner).
        z: Gate (batch, d_inner, length).
        delta_bias: Added to delta (d_inner).
        delta_softplus: Whether dt = softplus(delta + delta_bias) instead of delta + delta_bias.
        reverse: Run from the last token to the first.
        backend: One of auto, reference, cpu, triton, mamba_ssm; auto chooses by device. Several
            with `|` in between: the first one that is there and able.

    Returns:
        y (batch, d_inner, length) in the dtype of `u`, channels contiguous in memory.

    Raises:
        ConfigError: Shapes that do not fit, or a backend that is unknown, missing or unable.
    """
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse)
    check(inputs)
    check_backend(backend, inputs)
    y, _ = scan(*inputs, backend)
    return y


def selective_scan_pair(
    scans: Iterable[ScanInputs], together: bool = False, backend: str = AUTO
) -> list[Tensor]:
    """Run two scans that do not need each other, as those of a bidirectional layer.

    Args:
        scans: Arguments of `selective_scan`, twice. One after the other, the second is asked for
            when the first has run, which saves memory.
        together: Whether in one operator, for which a GPU needs one launch.
        backend: As for `selective_scan`.

    Returns:
        y of both.

    Raises:
        ConfigError: As for `selective_scan`.
    """
    if not together:
        return [selective_scan(*inputs, backend=backend) for inputs in scans]
    one, other = scans
    for inputs in (one, other):
        check(inputs)
        check_backend(backend, inputs)
    y_one, _, y_other, _ = scan_pair(*one, *other, backend)
    return [y_one, y_other]
