"""Euler angles z-y-z of quaternions (w x y z), in which the release turns the hand.

A rotation is one by gamma about z, then by beta about y, then by alpha about z, of fixed axes.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def euler_of(quat: Float[Array, " 4"]) -> Float[Array, " 3"]:
    """Returns alpha, beta and gamma in radians, with beta from 0 to pi; the quaternion need not be of length 1."""
    w, x, y, z = quat
    half_sum, half_difference = jnp.arctan2(z, w), jnp.arctan2(-x, y)
    beta = 2 * jnp.arctan2(jnp.hypot(x, y), jnp.hypot(w, z))
    return jnp.stack([half_sum + half_difference, beta, half_sum - half_difference])


def quat_of(euler: Float[Array, " 3"]) -> Float[Array, " 4"]:
    """Returns the quaternion of length 1 with these angles. `quat_of(euler_of(quat))` has the sign of `quat`."""
    alpha, beta, gamma = euler
    cos, sin = jnp.cos(beta / 2), jnp.sin(beta / 2)
    half_sum, half_difference = (alpha + gamma) / 2, (alpha - gamma) / 2
    return jnp.stack(
        [
            cos * jnp.cos(half_sum),
            -sin * jnp.sin(half_difference),
            sin * jnp.cos(half_difference),
            cos * jnp.sin(half_sum),
        ]
    )
