"""A vector of float32 lanes for numba, with the few functions that the CPU scan needs.

LLVM turns it into whatever vector registers the processor has. Spelling vectors out, rather than
hoping that loops are vectorised, keeps the speed the same across versions of LLVM. NaN passes
through every function: no flag assumes finite numbers.
"""

import operator
from collections.abc import Iterable
from typing import Any, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16
LOG2_E, LN_2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
_ROUNDING = np.float32(1.5 * 2**23)
"""Adding it leaves the nearest integer in the low bits of a float32."""
_LOWEST, _HIGHEST = np.float32(-126), np.float32(128)
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
# Coefficients of least relative error (Lawson's iteration): 9e-8 for 2**r on [-0.5, 0.5] with the
# constant term fixed at 1, 5e-9 for atanh(s) / s in powers of s * s on [0, 1 / 3].
_E1, _E2, _E3, _E4, _E5 = map(
    np.float32, (0.69314698, 0.24022242, 0.05550734, 0.00967151, 0.00132647)
)
_L1, _L2, _L3, _L4 = map(np.float32, (0.33333208, 0.20010764, 0.14000902, 0.14005994))

STATES = 4
"""States that a wide vector has lanes for, channels of one state side by side."""
_FLOAT, _INTEGER = ir.FloatType(), ir.IntType(32)


class VectorType(types.Type):
    """Numba's type of so many float32 numbers."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"float32x{lanes}")


vector, wide = VectorType(LANES), VectorType(STATES * LANES)
Vector = Any
"""A vector in the signature of a compiled function, which no type checker can see through."""


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: VectorType) -> None:
        super().__init__(manager, frontend_type, ir.VectorType(_FLOAT, frontend_type.lanes))


def _shuffled(builder: Any, value: Any, lanes: Iterable[int]) -> Any:
    """Return a vector of the named lanes of `value`."""
    mask = [*lanes]
    return builder.shuffle_vector(value, value, ir.Constant(_bits(len(mask)), mask))


def _bits(lanes: int) -> Any:
    return ir.VectorType(_INTEGER, lanes)


def _broadcast(builder: Any, value: Any, kind: VectorType) -> Any:
    """Return a vector; numbers are repeated in every lane."""
    if value.type != _FLOAT:
        return value
    undefined = ir.Constant(ir.VectorType(_FLOAT, kind.lanes), ir.Undefined)
    return _shuffled(
        builder, builder.insert_element(undefined, value, _INTEGER(0)), [0] * kind.lanes
    )


def _register(operation: Any, instruction: str) -> None:
    """Teach numba one arithmetic operator between vectors and float32 numbers."""

    @type_callable(operation)
    def infer(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            kinds = {left, right} - {types.float32}
            known = len(kinds) == 1 and kinds <= {vector, wide}
            return kinds.pop() if known else None

        return typer

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.return_type
        left, right = (_broadcast(builder, argument, kind) for argument in arguments)
        # Only fused multiply-add is allowed: exp2 relies on the order of its additions.
        return getattr(builder, instruction)(left, right, flags=("contract",))

    for kind in (vector, wide):
        for left, right in ((kind, kind), (kind, types.float32), (types.float32, kind)):
            lower_builtin(operation, left, right)(generate)


_register(operator.add, "fadd")
_register(operator.sub, "fsub")
_register(operator.mul, "fmul")
_register(operator.truediv, "fdiv")


def _pointer(builder: Any, arguments: Any, kind: Any) -> Any:
    """Return a pointer to one of the float32 numbers at an address."""
    address, index = arguments
    first = builder.inttoptr(address, _FLOAT.as_pointer())
    return builder.bitcast(builder.gep(first, [index]), kind.as_pointer())


@intrinsic
def get(typing_context: Any, address: Any, index: Any) -> tuple[Signature, Any]:
    """Return number `index` of the float32 numbers at `address`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, arguments, _FLOAT), align=4)

    return types.float32(types.intp, types.intp), generate


@intrinsic
def put(typing_context: Any, address: Any, index: Any, value: Any) -> tuple[Signature, Any]:
    """Write number `index` of the float32 numbers at `address`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(builder, arguments[:2], _FLOAT), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.float32), generate


def _loader(kind: VectorType) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any, index: Any) -> tuple[Signature, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_pointer(builder, arguments, context.get_value_type(kind)), align=4)

        return kind(types.intp, types.intp), generate

    return load


load, load_wide = _loader(vector), _loader(wide)
"""Return the (wide) vector that starts at number `index` of the float32 numbers at `address`."""


@intrinsic
def store(typing_context: Any, address: Any, index: Any, value: Any) -> tuple[Signature, Any]:
    """Write the vector that starts at number `index` of the float32 numbers at `address`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[2].type
        builder.store(arguments[2], _pointer(builder, arguments[:2], kind), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value), generate


def _filler(kind: VectorType) -> Any:
    @intrinsic
    def fill(typing_context: Any, value: Any) -> tuple[Signature, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _broadcast(builder, arguments[0], kind)

        return kind(types.float32), generate

    return fill


fill, fill_wide = _filler(vector), _filler(wide)
"""Return a (wide) vector with `value` in every lane."""


@intrinsic
def repeat(typing_context: Any, value: Any) -> tuple[Signature, Any]:
    """Return a wide vector that has `value` for each state."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _shuffled(builder, arguments[0], [*range(LANES)] * STATES)

    return wide(vector), generate


@intrinsic
def spread(typing_context: Any, address: Any, index: Any) -> tuple[Signature, Any]:
    """Return a wide vector with number `index` + n at `address` in all lanes of state n."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(builder, arguments, ir.VectorType(_FLOAT, STATES))
        numbers = builder.load(pointer, align=4)
        return _shuffled(builder, numbers, [n for n in range(STATES) for _ in range(LANES)])

    return wide(types.intp, types.intp), generate


@intrinsic
def add_states(typing_context: Any, total: Any, left: Any, right: Any) -> tuple[Signature, Any]:
    """Return the vector `total` plus the sum over states of the products of two wide vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, *factors = arguments
        for n in range(STATES):
            lanes = range(n * LANES, (n + 1) * LANES)
            a, b = (_shuffled(builder, factor, lanes) for factor in factors)
            product = builder.fmul(a, b, flags=("contract",))
            total = builder.fadd(total, product, flags=("contract",))
        return total

    return vector(vector, wide, wide), generate


@intrinsic
def put_lane_sums(
    typing_context: Any, address: Any, index: Any, value: Any
) -> tuple[Signature, Any]:
    """Write the sum over the lanes of each state of a wide vector, one number after the other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, width = arguments[2], LANES
        while width > 1:
            width //= 2
            low, high = (
                _shuffled(
                    builder,
                    total,
                    [(2 * n + half) * width + k for n in range(STATES) for k in range(width)],
                )
                for half in (0, 1)
            )
            total = builder.fadd(low, high)
        builder.store(total, _pointer(builder, arguments[:2], total.type), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, wide), generate


def _bounded(comparison: str) -> Any:
    @intrinsic
    def bounded(typing_context: Any, value: Any, bound: Any) -> tuple[Signature, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            bound = _broadcast(builder, arguments[1], value)
            beyond = builder.fcmp_ordered(comparison, arguments[0], bound)
            return builder.select(beyond, bound, arguments[0])

        return value(value, bound), generate

    return bounded


at_least, at_most = _bounded("<"), _bounded(">")
"""Return max(value, bound) or min(value, bound) in every lane; NaN in `value` stays."""


@intrinsic
def _shift_exponent(typing_context: Any, value: Any, power: Any) -> tuple[Signature, Any]:
    """Multiply `value` by two to the integer that `_ROUNDING` left in the low bits of `power`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = _bits(value.lanes)
        mantissa, shift = (builder.bitcast(argument, bits) for argument in arguments)
        shift = builder.shl(shift, ir.Constant(bits, [23] * value.lanes))
        return builder.bitcast(builder.add(mantissa, shift), context.get_value_type(value))

    return value(value, power), generate


# No forms for Python and C call these functions; numba knows the options, its types do not.
inline = njit(  # type: ignore[call-overload]
    forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)
"""For what several places call: compiled by itself and then put into its callers."""
inline_once = njit(inline="always")
"""For what one place calls: put into its caller first, so that it is compiled once, not twice."""


@inline
@no_type_check
def exp2(x: Vector) -> Vector:
    """Return 2**x to 2e-7; from 2**-126, which represents zero, to infinity."""
    x = at_most(at_least(x, _LOWEST), _HIGHEST)
    rounded = x + _ROUNDING
    r = x - (rounded - _ROUNDING)
    power = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + ONE
    return _shift_exponent(power, rounded)


@inline
@no_type_check
def softplus(x: Vector) -> Vector:
    """Return log(1 + exp(x)) as max(x, 0) + 2 atanh(e / (2 + e)) with e = exp(-|x|)."""
    e = exp2(at_most(x, ZERO - x) * LOG2_E)
    s = e / (TWO + e)
    q = s * s
    return at_least(x, ZERO) + TWO * s * ((((_L4 * q + _L3) * q + _L2) * q + _L1) * q + ONE)


@inline
@no_type_check
def sigmoid(x: Vector) -> Vector:
    """Return 1 / (1 + exp(-x))."""
    return ONE / (ONE + exp2((ZERO - x) * LOG2_E))
