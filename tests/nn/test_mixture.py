"""The mixture of forget matrices and its load balancing loss."""

import math

import torch

from anticipate.nn.mixant import ForgetGateBank, Router, expert_usage, load_balancing_loss


def bank(selection):
    torch.manual_seed(0)
    return ForgetGateBank(
        d_inner=3, d_state=2, num_experts=4, selection=selection, start="spread"
    ).double()


TOKENS = torch.zeros(5, 1, 3, dtype=torch.float64)
"""What the scan reads, which no bank looks at."""


def gamma(batch=5):
    logits = torch.randn(batch, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return logits.softmax(-1).requires_grad_()


def test_hard_choice_is_the_chosen_expert_to_the_bit():
    for selection in ("straight_through", "literal"):
        weights, gate = gamma(), bank(selection)
        expected = -gate.A_log[weights.argmax(-1)].exp()
        assert torch.equal(gate(TOKENS, weights), expected)


def test_soft_choice_averages_the_matrices_not_their_logarithms():
    weights, gate = gamma(), bank("soft")
    expected = sum(weights[:, e, None, None] * -gate.A_log[e].exp() for e in range(4))
    torch.testing.assert_close(gate(TOKENS, weights), expected)


def test_straight_through_gradient_is_the_inner_product_with_each_expert():
    weights, gate = gamma(), bank("straight_through")
    upstream = torch.randn(5, 3, 2, dtype=torch.float64)
    gate(TOKENS, weights).backward(upstream)
    expected = torch.einsum("bdn,edn->be", upstream, -gate.A_log.detach().exp())
    torch.testing.assert_close(weights.grad, expected)


def test_router_ignores_tokens_outside_the_context():
    router, u = Router(4, 3), torch.randn(2, 6, 4)
    context = torch.tensor([[True] * 3 + [False] * 3, [True] * 2 + [False] * 4])
    changed = torch.where(context.unsqueeze(-1), u, u + 10)
    assert torch.equal(router(u, context), router(changed, context))
    by_hand = router.proj(u[1, :2].mean(0)).softmax(-1)
    torch.testing.assert_close(router(u, context)[1], by_hand)


def test_router_survives_an_empty_context():
    assert torch.isfinite(
        Router(4, 3)(torch.randn(1, 6, 4), torch.zeros(1, 6, dtype=torch.bool))
    ).all()


def test_load_balancing_is_zero_when_uniform_and_log_experts_per_block_when_collapsed():
    uniform = torch.full((12, 1, 8, 5), 0.2)
    assert abs(load_balancing_loss(uniform).item()) < 1e-5
    collapsed = torch.zeros(12, 1, 8, 5)
    collapsed[..., 2] = 1
    assert math.isclose(load_balancing_loss(collapsed).item(), 12 * math.log(5), rel_tol=1e-6)


def test_load_balancing_sums_over_blocks_and_averages_independent_routers():
    one = torch.rand(1, 1, 8, 5, dtype=torch.float64).softmax(-1)
    assert math.isclose(
        load_balancing_loss(one.repeat(3, 2, 1, 1)).item(), 3 * load_balancing_loss(one).item()
    )
    assert load_balancing_loss(torch.zeros(0, 1, 8, 1)).item() == 0


def test_usage_counts_hard_choices():
    chosen = torch.nn.functional.one_hot(torch.tensor([[[0, 0, 1, 3]]]), 4).float()
    assert expert_usage(chosen).tolist() == [[[0.5, 0.25, 0.0, 0.25]]]


def test_the_router_learns_from_the_start_only_where_experts_differ():
    """Identical experts get one matrix for any gamma, whose softmax then passes no gradient on."""
    for start, learns in (("identical", False), ("spread", True)):
        torch.manual_seed(0)
        gate = ForgetGateBank(3, 2, num_experts=4, start=start).double()
        logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
        upstream = torch.randn(5, 3, 2, dtype=torch.float64)
        gate(TOKENS, logits.softmax(-1)).backward(upstream)
        assert bool(logits.grad.abs().max() > 1e-6) is learns


def test_experts_are_spread_evenly_around_the_start_of_mamba():
    shifts = ForgetGateBank(3, 2, num_experts=5, start="spread").A_log - ForgetGateBank(3, 2).A_log
    torch.testing.assert_close(shifts[:, 0, 0], torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert torch.equal(shifts, shifts[:, :1, :1].expand_as(shifts))
    single = ForgetGateBank(3, 2, num_experts=1, start="spread").A_log
    assert torch.equal(single, ForgetGateBank(3, 2).A_log)


def test_a_shift_moves_the_balanced_usage_and_has_the_gradient_of_the_batch():
    weights = gamma().detach()[None, None].requires_grad_()
    other = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    shift = other - weights.detach().mean(dim=2)
    loss = load_balancing_loss(weights, shift)
    expected = (other * (4 * other).log()).sum()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    slope = (other.log() + 1 + math.log(4)) / 5
    torch.testing.assert_close(weights.grad[0, 0], slope.expand(5, 4))
