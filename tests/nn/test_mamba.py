"""The bidirectional layer against a plain per-token reference and its own mirror image."""

import numpy as np
import torch

from anticipate.nn.mixant import BidirectionalMamba


def reference_direction(direction, x):
    """One direction of Eq. 7-8, token by token in numpy, on one video (tokens, d_inner)."""
    get = {name: p.detach().numpy() for name, p in direction.named_parameters()}
    if direction.reverse:
        x = x[::-1]
    taps = get["conv_weight"].shape[1]
    padded = np.vstack([np.zeros((taps - 1, x.shape[1])), x])
    conv = np.stack(
        [
            (padded[i : i + taps].T * get["conv_weight"]).sum(1) + get["conv_bias"]
            for i in range(len(x))
        ]
    )
    x = conv / (1 + np.exp(-conv))
    rank, d_state, _ = direction.sizes
    A = -np.exp(get["bank.A_log"][0])
    h, rows = np.zeros_like(A), []
    for token in x:
        dt, B, C = np.split(get["x_proj.weight"] @ token, [rank, rank + d_state])
        delta = np.log1p(np.exp(get["dt_proj.weight"] @ dt + get["dt_proj.bias"]))
        h = np.exp(delta[:, None] * A) * h + delta[:, None] * B[None] * token[:, None]
        rows.append(h @ C + get["D"] * token)
    y = np.stack(rows)
    return y[::-1] if direction.reverse else y


def test_layer_equals_the_token_by_token_reference():
    torch.manual_seed(0)
    layer = BidirectionalMamba(8, d_state=4, d_conv=3).double()
    u = torch.randn(1, 9, 8, dtype=torch.float64)
    x, z = layer.in_proj(u)[0].detach().numpy().reshape(9, 2, 16).transpose(1, 0, 2)
    y = sum(reference_direction(direction, x) for direction in layer.directions)
    expected = (y * (z / (1 + np.exp(-z)))) @ layer.out_proj.weight.detach().numpy().T
    actual = layer(u, torch.ones(1, 9, dtype=torch.bool))[0].detach().numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_swapping_directions_mirrors_time():
    torch.manual_seed(0)
    layer = BidirectionalMamba(8, d_state=4).double()
    mirror = BidirectionalMamba(8, d_state=4).double()
    state = layer.state_dict()
    swap = {"directions.0": "directions.1", "directions.1": "directions.0"}
    mirror.load_state_dict({swap.get(k[:12], k[:12]) + k[12:]: v for k, v in state.items()})
    u, valid = torch.randn(2, 11, 8, dtype=torch.float64), torch.ones(2, 11, dtype=torch.bool)
    torch.testing.assert_close(
        mirror(u.flip(1), valid).flip(1), layer(u, valid), rtol=0, atol=1e-12
    )


def test_step_sizes_start_between_a_thousandth_and_a_tenth():
    layer = BidirectionalMamba(64)
    for direction in layer.directions:
        delta = torch.nn.functional.softplus(direction.dt_proj.bias)
        assert delta.min() >= 1e-4
        assert delta.max() <= 0.1001
