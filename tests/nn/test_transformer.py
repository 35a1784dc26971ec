"""The Transformer denoiser: published sizes, padding, reach, and its layer in plain numpy."""

import numpy as np
import pytest
import torch

from anticipate.errors import ConfigError
from anticipate.nn import Transformer
from anticipate.nn.transformer import ConvAttention


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def silu(x):
    return x / (1 + np.exp(-x))


def reference_conv_attention(layer, u, dilation):
    """One video (tokens, d_model), token by token and head by head."""
    get = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    tokens, d_model = u.shape
    padded = np.zeros((tokens + 2 * dilation, d_model))
    padded[dilation:-dilation] = u
    taps = np.stack([padded[tap * dilation : tap * dilation + tokens] for tap in range(3)])
    x = silu(np.einsum("kti,oik->to", taps, get["conv.weight"]) + get["conv.bias"])
    q, k, v = np.split(x @ get["in_proj.weight"].T, 3, axis=1)
    attended = np.zeros_like(x)
    for head in np.split(np.arange(d_model), layer.num_heads):
        scores = q[:, head] @ k[:, head].T / np.sqrt(len(head))
        weights = np.exp(scores - scores.max(1, keepdims=True))
        attended[:, head] = weights / weights.sum(1, keepdims=True) @ v[:, head]
    return (x + attended) @ get["out_proj.weight"].T


# Tab. 3 gives 1.2 M and 1.4 M; the exact counts are those of the layout in nn/transformer.py.
@pytest.mark.parametrize(
    ("num_layers", "published", "expected"), [(15, 1.2e6, 1_212_592), (18, 1.4e6, 1_410_544)]
)
def test_parameter_counts(num_layers, published, expected):
    network = Transformer(48, 2048, num_layers=num_layers)
    assert count(network) == expected == pytest.approx(published, rel=0.05)
    assert network.method == f"Transformer ({num_layers})"


def test_layer_equals_the_reference():
    torch.manual_seed(0)
    layer = ConvAttention(8, num_heads=2, dilation=2).double()
    u = torch.randn(1, 7, 8, dtype=torch.float64)
    actual = layer(u, torch.ones(1, 7, dtype=torch.bool))[0].detach().numpy()
    expected = reference_conv_attention(layer, u[0].numpy(), 2)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def tiny(num_layers=2):
    torch.manual_seed(0)
    network = Transformer(5, 7, d_model=8, num_layers=num_layers, num_heads=2).double()
    for block in network.blocks:  # 1e-4 would hide every effect below
        torch.nn.init.ones_(block.layer_scale)
    return network


def inputs(tokens=12, observed=5):
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(2, tokens, 5, generator=generator, dtype=torch.float64)
    features = torch.randn(2, observed, 7, generator=generator, dtype=torch.float64)
    mask = torch.arange(tokens).expand(2, -1) < observed
    return features, x_t, torch.tensor([3, 999]), mask, torch.ones_like(mask)


def run(network, features, x_t, t, observed, valid):
    return network(x_t, t, network.encode(features, observed), observed, valid)


def test_padding_changes_no_valid_output():
    network, pad = tiny(), torch.nn.functional.pad
    features, x_t, t, observed, valid = inputs()
    padded = run(
        network,
        features,
        pad(x_t, (0, 0, 0, 9), value=7.0),
        t,
        pad(observed, (0, 9)),
        pad(valid, (0, 9)),
    )
    expected = run(network, features, x_t, t, observed, valid)
    torch.testing.assert_close(padded.x_0[:, :12], expected.x_0, rtol=0, atol=1e-12)
    assert not padded.x_0[:, 12:].any()
    assert padded.gamma.shape == (0, 1, 2, 1)


def test_every_token_reaches_every_other():
    network = tiny(num_layers=1)
    features, x_t, t, observed, valid = inputs()
    x_t.requires_grad_()
    run(network, features, x_t, t, observed, valid).x_0[0, 0].sum().backward()
    reached = x_t.grad.abs().sum(-1) > 0
    assert reached[0].all()
    assert not reached[1].any()


def test_dilation_doubles_and_starts_again():
    network = Transformer(5, 7, d_model=8, num_layers=11)
    dilations = [block.mixer.conv.dilation[0] for block in network.blocks]
    assert dilations == [1, 2, 4, 8, 16, 32, 64, 128, 256, 1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, "d_model must be a multiple of num_heads, got 8 and 3"),
        ({"num_heads": 0}, "d_model must be a multiple of num_heads, got 8 and 0"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Transformer(5, 7, **{"d_model": 8, **settings})
