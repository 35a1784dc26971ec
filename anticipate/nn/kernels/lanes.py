"""A vector of float32 lanes for numba, with the few functions that the CPU scan needs.

LLVM turns it into whatever vector registers the processor has. Spelling vectors out, rather than
hoping that loops are vectorised, keeps the speed the same across versions of LLVM. NaN passes
through every function: no flag assumes finite numbers.
"""

import operator
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

_FLOAT, _BITS = ir.FloatType(), ir.VectorType(ir.IntType(32), LANES)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class VectorType(types.Type):
    """Numba's type of `LANES` float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = VectorType()
Vector = Any
"""A vector in the signature of a compiled function, which no type checker can see through."""


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _VECTOR)


def _broadcast(builder: Any, value: Any) -> Any:
    """Return a vector; numbers are repeated in every lane."""
    if value.type == _VECTOR:
        return value
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(_BITS, [0] * LANES))


def _register(operation: Any, instruction: str) -> None:
    """Teach numba one arithmetic operator between vectors and float32 numbers."""

    @type_callable(operation)
    def infer(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            operands = {left, right}
            known = vector in operands and operands <= {vector, types.float32}
            return vector if known else None

        return typer

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (_broadcast(builder, argument) for argument in arguments)
        # Only fused multiply-add is allowed: exp2 relies on the order of its additions.
        return getattr(builder, instruction)(left, right, flags=("contract",))

    for left, right in ((vector, vector), (vector, types.float32), (types.float32, vector)):
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


@intrinsic
def load(typing_context: Any, address: Any, index: Any) -> tuple[Signature, Any]:
    """Return the vector that starts at number `index` of the float32 numbers at `address`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, arguments, _VECTOR), align=4)

    return vector(types.intp, types.intp), generate


@intrinsic
def store(typing_context: Any, address: Any, index: Any, value: Any) -> tuple[Signature, Any]:
    """Write the vector that starts at number `index` of the float32 numbers at `address`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(builder, arguments[:2], _VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), generate


@intrinsic
def fill(typing_context: Any, value: Any) -> tuple[Signature, Any]:
    """Return a vector with `value` in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _broadcast(builder, arguments[0])

    return vector(types.float32), generate


@intrinsic
def lane_sum(typing_context: Any, value: Any) -> tuple[Signature, Any]:
    """Return the sum over the lanes of `value`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, width = arguments[0], LANES
        while width > 1:
            width //= 2
            turned = ir.Constant(_BITS, [(lane + width) % LANES for lane in range(LANES)])
            total = builder.fadd(total, builder.shuffle_vector(total, total, turned))
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(vector), generate


@intrinsic
def at_least(typing_context: Any, value: Any, bound: Any) -> tuple[Signature, Any]:
    """Return max(value, bound) in every lane; NaN in `value` stays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bound = _broadcast(builder, arguments[1])
        return builder.select(builder.fcmp_ordered("<", arguments[0], bound), bound, arguments[0])

    return vector(vector, bound), generate


@intrinsic
def at_most(typing_context: Any, value: Any, bound: Any) -> tuple[Signature, Any]:
    """Return min(value, bound) in every lane; NaN in `value` stays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bound = _broadcast(builder, arguments[1])
        return builder.select(builder.fcmp_ordered(">", arguments[0], bound), bound, arguments[0])

    return vector(vector, bound), generate


@intrinsic
def _shift_exponent(typing_context: Any, value: Any, power: Any) -> tuple[Signature, Any]:
    """Multiply `value` by two to the integer that `_ROUNDING` left in the low bits of `power`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, power = (builder.bitcast(argument, _BITS) for argument in arguments)
        shifted = builder.add(value, builder.shl(power, ir.Constant(_BITS, [23] * LANES)))
        return builder.bitcast(shifted, _VECTOR)

    return vector(vector, vector), generate


inline = njit(forceinline=True)


@inline
@no_type_check
def exp2(x: Vector) -> Vector:
    """Return 2**x to 2e-7; from 2**-126, which stands for zero, to infinity."""
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
