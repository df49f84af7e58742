"""Products of small matrices as multiplications and sums, for MJX on TPUs.

XLA gives every matrix product to the matrix unit, and lays its operands out with their last axis along the 128 lanes.
MJX's products have 3 to some 60 numbers a side, in each of thousands of environments, so that most lanes are empty, and
much of the time goes into copies between that layout and others. Multiplied and summed, the environments lie along the
lanes. Sums are float32, too, where the matrix unit takes a product of float32 apart into several of bfloat16.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import core

from rcjax import target

Result = TypeVar("Result")
LARGEST = 128  # of the sizes of a product's axes, for which it counts as small


def are_needed() -> bool:
    """Whether programs of this process should have sums: only those for a TPU."""
    return target.platform() == "tpu"


def with_sums(function: Callable[..., Result]) -> Callable[..., Result]:
    """Returns a function with the same results, up to rounding, whose small products of float32 are sums.

    It traces `function`, and computes what was traced with other products. Loops, branches and functions that are
    called are gone through, too. Derivatives that a function called inside defines for itself are lost.
    """

    @functools.wraps(function)
    def with_other_products(*arguments: Any) -> Result:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _compute(traced, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return with_other_products


def multiply_and_sum(lhs: Array, rhs: Array, dimension_numbers: Any) -> Array:
    """Returns `jax.lax.dot_general(lhs, rhs, dimension_numbers)` as a product of arrays that is summed."""
    (of_lhs, of_rhs), (batch_lhs, batch_rhs) = dimension_numbers
    free_lhs = [i for i in range(lhs.ndim) if i not in (*of_lhs, *batch_lhs)]
    free_rhs = [i for i in range(rhs.ndim) if i not in (*of_rhs, *batch_rhs)]
    n_batch, n_lhs, n_rhs = len(batch_lhs), len(free_lhs), len(free_rhs)
    lhs = lax.transpose(lhs, (*batch_lhs, *free_lhs, *of_lhs))
    rhs = lax.transpose(rhs, (*batch_rhs, *free_rhs, *of_rhs))
    lhs = jnp.expand_dims(lhs, tuple(range(n_batch + n_lhs, n_batch + n_lhs + n_rhs)))
    rhs = jnp.expand_dims(rhs, tuple(range(n_batch, n_batch + n_lhs)))
    return (lhs * rhs).sum(tuple(range(n_batch + n_lhs + n_rhs, lhs.ndim)))


def _compute(traced: core.ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
    """Computes what was traced, operation by operation."""
    jaxpr, values = traced.jaxpr, {}
    values.update(zip((*jaxpr.constvars, *jaxpr.invars), (*traced.consts, *arguments), strict=True))
    for equation in jaxpr.eqns:
        inputs = [each.val if isinstance(each, core.Literal) else values[each] for each in equation.invars]
        compute = _OPERATIONS.get(equation.primitive.name, _as_it_is)
        values.update(zip(equation.outvars, compute(equation, inputs), strict=True))
    return [each.val if isinstance(each, core.Literal) else values[each] for each in jaxpr.outvars]


def _as_it_is(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    results = equation.primitive.bind(*inputs, **equation.params)
    return results if equation.primitive.multiple_results else [results]


def _product(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    lhs, rhs = (jnp.asarray(each) for each in inputs)
    is_small = max((*lhs.shape, *rhs.shape), default=1) <= LARGEST
    if not is_small or jnp.promote_types(lhs.dtype, rhs.dtype) != jnp.float32:  # MJX has products with integers, too
        return _as_it_is(equation, inputs)
    return [multiply_and_sum(lhs, rhs, equation.params["dimension_numbers"])]


def _call(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    traced = next(equation.params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in equation.params)
    return _compute(traced, inputs)


def _while(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    params = equation.params
    of_condition, of_body = params["cond_nconsts"], params["body_nconsts"]
    condition, body, carry = (
        list(inputs[:of_condition]), list(inputs[of_condition : of_condition + of_body]),
        list(inputs[of_condition + of_body :]),
    )  # fmt: skip
    return lax.while_loop(
        lambda carry: _compute(params["cond_jaxpr"], [*condition, *carry])[0],
        lambda carry: _compute(params["body_jaxpr"], [*body, *carry]),
        carry,
    )


def _scan(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    params = equation.params
    n_consts, n_carry = params["num_consts"], params["num_carry"]
    consts, carry, over = (
        inputs[:n_consts], list(inputs[n_consts : n_consts + n_carry]), list(inputs[n_consts + n_carry :]),
    )  # fmt: skip

    def turn(carry: list[Any], each: list[Any]) -> tuple[list[Any], list[Any]]:
        results = _compute(params["jaxpr"], [*consts, *carry, *each])
        return results[:n_carry], results[n_carry:]

    carry, collected = lax.scan(
        turn, carry, over, length=params["length"], reverse=params["reverse"], unroll=params["unroll"]
    )
    return [*carry, *collected]


def _branch(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    index, *operands = inputs
    branches = [functools.partial(_compute, branch) for branch in equation.params["branches"]]
    return lax.switch(index, branches, operands)


_OPERATIONS: dict[str, Callable[[core.JaxprEqn, Sequence[Any]], Sequence[Any]]] = {
    "dot_general": _product, "jit": _call, "pjit": _call, "closed_call": _call, "core_call": _call,
    "custom_jvp_call": _call, "custom_vjp_call": _call, "while": _while, "scan": _scan, "cond": _branch,
}  # fmt: skip
