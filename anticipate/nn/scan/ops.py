"""The scan as custom operators: autograd, autocast and torch.compile see one opaque node each.

Operators know tensors and plain values only, so arguments are flat here, absent gradients are
tensors without elements, and the backend is chosen inside the operator, where no compiler looks.
`scan` runs one scan, `scan_pair` both of a bidirectional layer, for which a GPU needs one launch.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor

from anticipate.nn.scan.backends import Backend, Together, UnusableError, give_up, load
from anticipate.nn.scan.inputs import CHUNK, ScanInputs, empty_sequence, empty_starts

ARGUMENTS = (
    "Tensor u{0}, Tensor delta{0}, Tensor A{0}, Tensor B{0}, Tensor C{0}, Tensor? D{0}, "
    "Tensor? z{0}, Tensor? delta_bias{0}, bool delta_softplus{0}, bool reverse{0}"
)
NUM_TENSORS, NUM_ARGUMENTS = 8, len(ScanInputs._fields)


def _define(name: str, count: int) -> Callable[..., Any]:
    """Define the operator of a number of scans, and that of its gradient."""
    arguments = ", ".join(map(ARGUMENTS.format, range(count))) + ", str backend"
    results = ", ".join(["Tensor"] * 2 * count)
    found = ", ".join(f"Tensor grad_y{i}, Tensor starts{i}" for i in range(count))

    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        return tuple(chain.from_iterable(_run(*_parsed(arguments))))

    def backward(*arguments: Any) -> list[Tensor]:
        return _run_backward(arguments[: 2 * count], *_parsed(arguments[2 * count :]))

    def differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return _differentiate(ctx, operator_backward, grads[::2])

    kinds = {"mutates_args": ()}
    operator = torch.library.custom_op(
        f"anticipate::{name}", forward, schema=f"({arguments}) -> ({results})", **kinds
    )
    operator_backward = torch.library.custom_op(
        f"anticipate::{name}_backward",
        backward,
        schema=f"({found}, {arguments}) -> Tensor[]",
        **kinds,
    )
    operator.register_fake(lambda *arguments: _fake(*_parsed(arguments)))
    operator_backward.register_fake(
        lambda *arguments: _empty_grads(_parsed(arguments[2 * count :])[0])
    )
    operator.register_autograd(differentiate, setup_context=_save)
    for device in ("cpu", "cuda"):
        operator.register_autocast(device, torch.float32)
    return operator


def _parsed(arguments: Sequence[Any]) -> tuple[list[ScanInputs], str]:
    """Return the scans and the backend of flat arguments."""
    *flat, backend = arguments
    starts = range(0, len(flat), NUM_ARGUMENTS)
    return [ScanInputs(*flat[i : i + NUM_ARGUMENTS]) for i in starts], backend


def _run(scans: list[ScanInputs], backend: str) -> list[tuple[Tensor, Tensor]]:
    """Return y and the states that backward starts from, for each scan."""
    first = scans[0]
    module = load(backend, first.u, first.A)
    try:
        return _forward(module, scans)
    except UnusableError as error:
        give_up(backend, module, error)
    return _forward(load(backend, first.u, first.A), scans)


def _forward(module: Backend, scans: list[ScanInputs]) -> list[tuple[Tensor, Tensor]]:
    if _together(module, scans):
        return cast(Together, module).forward_together(scans)
    return [module.forward(one) for one in scans]


def _run_backward(found: Sequence[Tensor], scans: list[ScanInputs], backend: str) -> list[Tensor]:
    """Return the gradients of all tensors; those of absent tensors have no elements."""
    module = load(backend, scans[0].u, scans[0].A)
    grads_y, starts = found[::2], found[1::2]
    if _together(module, scans):
        grads = cast(Together, module).backward_together(grads_y, starts, scans)
    else:
        grads = [module.backward(*one) for one in zip(grads_y, starts, scans, strict=True)]
    return [
        place if grad is None else grad if grad.stride() == place.stride() else place.copy_(grad)
        for grad, place in zip(chain.from_iterable(grads), _empty_grads(scans), strict=True)
    ]


def _together(module: Backend, scans: list[ScanInputs]) -> bool:
    return len(scans) > 1 and isinstance(module, Together) and module.can_go_together(*scans)


def _fake(scans: list[ScanInputs], backend: str) -> tuple[Tensor, ...]:
    chunk = getattr(load(backend, scans[0].u, scans[0].A), "CHUNK", CHUNK)
    pairs = ((empty_sequence(one.u), empty_starts(one, chunk)) for one in scans)
    return tuple(chain.from_iterable(pairs))


def _empty_grads(scans: list[ScanInputs]) -> list[Tensor]:
    """Return uninitialised gradients in the layout that compilers are told."""
    return [
        _empty_grad(one, name, tensor)
        for one in scans
        for name, tensor in zip(ScanInputs._fields, one.tensors(), strict=False)
    ]


def _empty_grad(inputs: ScanInputs, name: str, tensor: Tensor | None) -> Tensor:
    if tensor is None:
        return inputs.u.new_empty(0)
    if name in ("u", "delta", "B", "C", "z"):
        return empty_sequence(tensor)
    return tensor.new_empty(tensor.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    scans, backend = _parsed(inputs)
    tensors = chain.from_iterable(one.tensors() for one in scans)
    ctx.save_for_backward(*output[1::2], *tensors)
    ctx.settings, ctx.backend = [one[NUM_TENSORS:] for one in scans], backend
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, operator: Callable[..., list[Tensor]], grads_y: Sequence[Tensor | None]
) -> tuple[Any, ...]:
    count = len(grads_y)
    if all(grad_y is None for grad_y in grads_y):
        return (None,) * (count * NUM_ARGUMENTS + 1)
    starts, tensors = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
    scans = [
        ScanInputs(*tensors[i * NUM_TENSORS :][:NUM_TENSORS], *settings)
        for i, settings in enumerate(ctx.settings)
    ]
    known = [
        torch.zeros_like(one.u) if grad_y is None else grad_y
        for one, grad_y in zip(scans, grads_y, strict=True)
    ]
    found = chain.from_iterable(zip(known, starts, strict=True))
    grads = operator(*found, *chain.from_iterable(scans), ctx.backend)
    kept = [None if x is None else grad for x, grad in zip(tensors, grads, strict=True)]
    nothing = (None,) * (NUM_ARGUMENTS - NUM_TENSORS)
    per_scan = ((*kept[i * NUM_TENSORS :][:NUM_TENSORS], *nothing) for i in range(count))
    return (*chain.from_iterable(per_scan), None)


scan = _define("selective_scan", 1)
scan_pair = _define("selective_scan_pair", 2)
