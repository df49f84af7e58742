"""The terms that Metaworld's rewards are made of.

Definitions: `tolerance` is dm_control's (Tassa et al. 2018, arXiv:1801.00690), with Metaworld's value of 0.1
at the margin; the Hamacher product is the t-norm that Metaworld (arXiv:1910.10897) joins terms with. Where
the official functions raise on a value out of range, these return a number: nothing can raise inside a
compiled program.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Scalar = Float[Array, "*batch"]
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
