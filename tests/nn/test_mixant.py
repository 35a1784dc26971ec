"""The denoiser: published sizes, and what must never leak from padding or the future."""

import pytest
import torch

from anticipate.errors import ConfigError
from anticipate.nn import MixANT

SMALL = {
    "num_classes": 5,
    "feature_dim": 7,
    "d_model": 8,
    "num_layers": 3,
    "num_static_layers": 1,
    "d_state": 4,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def small(**settings):
    torch.manual_seed(0)
    network = MixANT(**{**SMALL, "expert_init": "spread", **settings}).double()
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):  # 1e-4 would hide every effect below
            torch.nn.init.ones_(parameter)
    return network


def inputs(batch=3, tokens=12, observed=5):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(batch, observed, 7, generator=generator, dtype=torch.float64)
    x_t = torch.randn(batch, tokens, 5, generator=generator, dtype=torch.float64)
    mask = torch.zeros(batch, tokens, dtype=torch.bool)
    mask[:, :observed] = True
    return features, x_t, torch.tensor([3, 500, 999])[:batch], mask, torch.ones_like(mask)


def run(network, features, x_t, t, observed, valid, self_cond=None):
    return network(x_t, t, network.encode(features, observed), observed, valid, self_cond)


# Table 3 of the paper gives 1.6 M and MANTA's public code 1,388,272; the counts for other data sets
# follow from C and F.
@pytest.mark.parametrize(
    ("num_classes", "num_experts", "expected"),
    [
        (48, 5, 1_588_720),
        (48, 1, 1_388_272),
        (19, 1, 1_382_675),
        (19, 5, 1_583_123),
        (202, 1, 1_417_994),
        (202, 5, 1_618_442),
    ],
)
def test_parameter_counts(num_classes, num_experts, expected):
    assert count(MixANT(num_classes, 2048, num_experts=num_experts)) == expected


# Tab. 3 gives 8.0 M and 2.3 M; the exact counts are those of the layouts in nn/mixant.py.
@pytest.mark.parametrize(
    ("forget_gate", "published", "expected"),
    [("mlp", 8.0e6, 8_023_792), ("query_key", 2.3e6, 2_273_008)],
)
def test_parameter_counts_of_the_alternatives(forget_gate, published, expected):
    network = MixANT(48, 2048, forget_gate=forget_gate)
    assert count(network) == expected == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({}, "MixANT"),
        ({"num_experts": 1}, "MANTA"),
        ({"num_static_layers": 3}, "MANTA"),
        ({"forget_gate": "mlp", "num_static_layers": 3}, "MANTA"),
        ({"forget_gate": "mlp", "num_experts": 1}, "Large MLP"),
        ({"forget_gate": "query_key"}, "Query-Key"),
    ],
)
def test_a_network_has_the_name_of_what_it_computes(settings, method):
    assert small(**settings).method == method


@pytest.mark.parametrize("forget_gate", ["mlp", "query_key"])
def test_alternatives_have_neither_routers_nor_gamma(forget_gate):
    output = run(small(forget_gate=forget_gate, router="independent"), *inputs())
    assert output.gamma.shape == (0, 1, 3, 1)


def test_without_self_conditioning_is_smaller_by_its_input():
    assert count(MixANT(48, 2048, num_experts=1, self_conditioning=False)) == 1_385_200


def test_one_expert_equals_static_blocks_bit_for_bit():
    manta = small(num_static_layers=3)
    mixture = small(num_experts=1, num_static_layers=0)
    mixture.load_state_dict(manta.state_dict())
    assert torch.equal(run(mixture, *inputs()).x_0, run(manta, *inputs()).x_0)


@pytest.mark.parametrize("block", ["manta", "prenorm2"])
@pytest.mark.parametrize(
    "settings",
    [
        {"selection": "straight_through"},
        {"selection": "literal"},
        {"selection": "soft"},
        {"forget_gate": "mlp"},
        {"forget_gate": "query_key"},
    ],
    ids=str,
)
def test_padding_changes_no_valid_output(block, settings):
    network = small(block=block, **settings)
    features, x_t, t, observed, valid = inputs()
    plain = run(network, features, x_t, t, observed, valid)
    pad = torch.nn.functional.pad
    padded = run(
        network,
        pad(features, (0, 0, 0, 9), value=3.0),
        pad(x_t, (0, 0, 0, 9), value=7.0),
        t,
        pad(observed, (0, 9)),
        pad(valid, (0, 9)),
    )
    torch.testing.assert_close(padded.x_0[:, :12], plain.x_0, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.gamma, plain.gamma, rtol=0, atol=1e-12)
    assert not padded.x_0[:, 12:].any()


def test_future_features_reach_nothing():
    network = small()
    features, x_t, t, observed, valid = inputs()
    longer = torch.cat([features, torch.full_like(features, 100.0)], dim=1)
    expected = run(network, features, x_t, t, observed, valid).x_0
    actual = run(network, longer, x_t, t, observed, valid).x_0
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("context", ["observed", "full"])
def test_first_router_sees_future_tokens_only_with_full_context(context):
    network = small(num_static_layers=0, num_layers=1, routing_context=context)
    features, x_t, t, observed, valid = inputs()
    other = torch.where(observed.unsqueeze(-1), x_t, x_t + torch.randn_like(x_t))
    before = run(network, features, x_t, t, observed, valid).gamma
    after = run(network, features, other, t, observed, valid).gamma
    assert torch.equal(before, after) == (context == "observed")


@pytest.mark.parametrize(("router", "rows"), [("unified", 1), ("independent", 2)])
def test_routers_per_block(router, rows):
    gamma = run(small(router=router), *inputs()).gamma
    assert gamma.shape == (2, rows, 3, 5)
    torch.testing.assert_close(gamma.sum(-1), torch.ones_like(gamma.sum(-1)))


@pytest.mark.parametrize(
    ("selection", "learns"), [("straight_through", True), ("soft", True), ("literal", False)]
)
def test_reconstruction_teaches_the_router_unless_literal(selection, learns):
    network = small(selection=selection)
    run(network, *inputs()).x_0.square().sum().backward()
    gradients = [p.grad for n, p in network.named_parameters() if "routers" in n]
    assert len(gradients) == 2
    assert all((g is not None and bool(g.abs().sum() > 0)) == learns for g in gradients)


def test_unchosen_experts_get_no_gradient():
    network = small(num_static_layers=2)
    output = run(network, *inputs())
    output.x_0.square().sum().backward()
    chosen = set(output.gamma.argmax(-1).flatten().tolist())
    for direction in network.blocks[-1].mixer.directions:
        touched = direction.bank.A_log.grad.abs().sum(dim=(1, 2)) > 0
        assert {i for i, flag in enumerate(touched.tolist()) if flag} == chosen


def test_self_conditioning_is_an_input():
    network = small()
    arguments = inputs()
    hint = torch.ones_like(arguments[1])
    assert not torch.equal(
        run(network, *arguments, self_cond=hint).x_0, run(network, *arguments).x_0
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_static_layers": 4}, "num_static_layers must lie between 0 and num_layers"),
        ({"num_experts": 0}, "num_experts must be at least 1"),
        ({"d_model": 7}, "d_model must be even"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        MixANT(**{**SMALL, **settings})
