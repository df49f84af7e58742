"""The terms that Metaworld's rewards are made of.

Definitions: `tolerance` is dm_control's (Tassa et al. 2018, arXiv:1801.00690), with Metaworld's value of 0.1 at the
margin; the Hamacher product is the t-norm with which Metaworld (arXiv:1910.10897) joins terms. Where the official
functions raise an error for a value out of range, these return a number, as compiled programs cannot raise errors.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Scalar = Float[Array, "*batch"]
Terms = Mapping[str, Array | float]
"""The terms of a reward by Metaworld's names: scalars, "success" among them"""
VALUE_AT_MARGIN = 0.1

_FALL_OFF: dict[str, Callable[[Array], Array]] = {
    "gaussian": lambda d: jnp.exp(jnp.log(VALUE_AT_MARGIN) * d**2),
    "long_tail": lambda d: 1.0 / (1.0 + (1.0 / VALUE_AT_MARGIN - 1.0) * d**2),
}


def tolerance(
    x: Scalar,
    lower: float | Scalar,
    upper: float | Scalar,
    margin: float | Scalar,
    fall_off: Literal["gaussian", "long_tail"],
) -> Scalar:
    """1 where x is in [lower, upper]; outside it falls with the distance d in margins, to 0.1 at d = 1.

    gaussian: 0.1 ** (d ** 2); long_tail: 1 / (1 + 9 d ** 2). A margin of 0 gives 0 outside.
    """
    inside = (lower <= x) & (x <= upper)
    outside_by = jnp.where(x < lower, lower - x, x - upper)
    margin = jnp.asarray(margin)
    has_margin = margin > 0
    value = _FALL_OFF[fall_off](outside_by / jnp.where(has_margin, margin, 1.0))
    return jnp.where(inside, 1.0, jnp.where(has_margin, value, 0.0))


def hamacher_product(a: Scalar, b: Scalar) -> Scalar:
    """a b / (a + b - a b), for a and b in [0, 1]; 0 where both are 0."""
    denominator = a + b - a * b
    positive = denominator > 0
    return jnp.where(positive, a * b / jnp.where(positive, denominator, 1.0), 0.0)


def distance(a: Float[Array, "*batch n"], b: Float[Array, "*batch n"]) -> Scalar:
    """Euclidean distance along the last axis."""
    return jnp.linalg.norm(a - b, axis=-1)


def inside_prism_product(
    point: Float[Array, " 3"], zero: Float[Array, " 3"], one: Float[Array, " 3"]
) -> Float[Array, ""]:
    """The product of the fractions of the way from `zero` to `one` along each axis; 1 for a point outside their box.

    `zero` and `one` are opposite corners of an axis-aligned box.
    """
    low, high = jnp.minimum(zero, one), jnp.maximum(zero, one)
    inside = jnp.all((low <= point) & (point <= high))
    return jnp.where(inside, jnp.prod((point - zero) / (one - zero)), 1.0)


def caging_reward(
    action: Float[Array, " 4"],
    object_pos: Float[Array, " 3"],
    object_init_pos: Float[Array, " 3"],
    tcp: Float[Array, " 3"],
    init_tcp: Float[Array, " 3"],
    pads: tuple[Float[Array, " 3"], Float[Array, " 3"]],
    *,
    obj_radius: float,
    pad_success_thresh: float,
    object_reach_radius: float,
    xz_thresh: float,
    desired_gripper_effort: float = 1.0,
    density: Literal["low", "medium", "high"] = "low",
) -> Float[Array, ""]:
    """How well the gripper holds the object, in [0, 1].

    It rewards a pad on each side of the object, the fingertips at its x and z, and the gripper closing. The density
    "medium" averages that with the reach of the object, "high" with the caging alone. Thresholds are metres and are
    named as in Metaworld's `_gripper_caging_reward`.
    """
    pad_y = jnp.stack([pad[1] for pad in pads])
    to_object, to_start = jnp.abs(pad_y - object_pos[1]), jnp.abs(pad_y - object_init_pos[1])
    margin = jnp.abs(to_start - pad_success_thresh)
    beside = tolerance(to_object, obj_radius, pad_success_thresh, margin, "long_tail")
    xz = jnp.array([0, 2])
    xz_margin = jnp.linalg.norm(object_init_pos[xz] - init_tcp[xz]) - xz_thresh
    above = tolerance(jnp.linalg.norm(tcp[xz] - object_pos[xz]), 0.0, xz_thresh, xz_margin, "long_tail")
    caging = hamacher_product(hamacher_product(beside[0], beside[1]), above)

    closing = jnp.clip(action[3], 0.0, desired_gripper_effort) / desired_gripper_effort
    held = hamacher_product(caging, jnp.where(caging > 0.97, closing, 0.0))
    if density == "high":
        return (held + caging) / 2
    if density == "medium":
        reach_margin = jnp.abs(distance(object_init_pos, init_tcp) - object_reach_radius)
        reach = tolerance(distance(object_pos, tcp), 0.0, object_reach_radius, reach_margin, "long_tail")
        return (held + reach) / 2
    return held


def funnel(radius: Scalar, neck: float | Scalar, slope: float, height: float) -> Scalar:
    """Height of a funnel-shaped floor at `radius` metres from its middle.

    slope ln(radius - neck) + height outside of the funnel's neck, 0 within.
    """
    outside = radius > neck
    return jnp.where(outside, slope * jnp.log(jnp.where(outside, radius - neck, 1.0)) + height, 0.0)


def above_floor(height: Scalar, floor: Scalar, margin: float | Scalar) -> Scalar:
    """1 for heights down to a centimetre below the floor, falling below that."""
    below = tolerance(jnp.maximum(floor - height, 0.0), 0.0, 0.01, margin, "long_tail")
    return jnp.where(height >= floor, 1.0, below)


def v1_slope(max_distance: Scalar | float, distance: Scalar) -> Scalar:
    """1000 (max - d) + 1000 (exp(-d^2 / 0.01) + exp(-d^2 / 0.001)).

    This is the term for the way to the goal in Metaworld's version "v1" rewards.
    """
    return 1000.0 * (max_distance - distance + jnp.exp(-(distance**2) / 0.01) + jnp.exp(-(distance**2) / 0.001))


def v1_pull(max_distance: Scalar | float, distance: Scalar) -> Scalar:
    """`v1_slope`, but at least 0."""
    return jnp.maximum(v1_slope(max_distance, distance), 0.0)


def v1_reach_and_pull(reach_distance: Scalar, max_distance: Scalar | float, distance: Scalar) -> Scalar:
    """Minus the distance of the fingertips and, once they are within 5 cm, plus the pull."""
    return jnp.where(reach_distance < 0.05, v1_pull(max_distance, distance), 0.0) - reach_distance


def v1_terms(to_target: Scalar, success_distance: float, grasp_success: float | None = 0.0) -> Terms:
    """The terms that most version "v1" rewards report; without `grasp_success` where that is None."""
    grasp = {} if grasp_success is None else {"grasp_success": grasp_success}
    return {
        "success": to_target <= success_distance,
        "near_object": 1.0,
        **grasp,
        "grasp_reward": 0.0,
        "in_place_reward": 0.0,
        "obj_to_target": to_target,
    }
