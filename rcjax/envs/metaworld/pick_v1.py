"""What Metaworld's rewards of version "v1" for picking and placing have in common: reach, lift, place."""

import dataclasses

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance

LIFT_SCALE = 100.0
DROP_HEIGHT = 0.005  # metres above its initial height up to which an object counts as lying


def reach_reward(
    object_pos: Float[Array, " 3"],
    tcp: Float[Array, " 3"],
    init_tcp: Float[Array, " 3"],
    action: Float[Array, " 4"],
    *,
    above: float = 0.05,
    near: float = 0.05,
    height_weight: float = 1.0,
) -> Float[Array, ""]:
    """Minus the distance to the object, and a little for closing the gripper once it is within `near`.

    Until the fingertips are horizontally within `above` metres of the object, it is minus the horizontal distance and
    minus `height_weight` times how far the fingertips are from their initial height.
    """
    apart, apart_xy = distance(object_pos, tcp), distance(object_pos[:2], tcp[:2])
    from_afar = -apart_xy - height_weight * jnp.abs(tcp[2] - init_tcp[2])
    reach = jnp.where(apart_xy < above, -apart, from_afar)
    return jnp.where(apart < near, -apart + jnp.maximum(action[3], 0.0) / 50.0, reach)


@dataclasses.dataclass(frozen=True)
class Lift:
    """How far an object is picked up. `height` is its present height, `start` its initial height, and `target` the
    height to lift it to, metres."""

    height: Float[Array, ""]
    start: Float[Array, ""] | float
    target: Float[Array, ""] | float

    @property
    def completed(self) -> Array:
        return self.height >= self.target - 0.01

    def dropped(self, place_distance: Float[Array, ""], reach_distance: Float[Array, ""]) -> Array:
        """Whether it lies away from both its goal and the fingertips."""
        return (self.height < self.start + DROP_HEIGHT) & (place_distance > 0.02) & (reach_distance > 0.02)

    def reward(self, held: Array, in_reach: Array, zero: Float[Array, ""] | float = 0.0) -> Float[Array, ""]:
        """The full height of the lift where `held`, the present one where only `in_reach`; centimetres above `zero`."""
        rising = in_reach & (self.height > self.start + DROP_HEIGHT)
        partial = jnp.where(rising, LIFT_SCALE * (jnp.minimum(self.target, self.height) - zero), 0.0)
        return jnp.where(held, LIFT_SCALE * (self.target - zero), partial)


def place_span(pos: Array, lift_height: Array | float, target_pos: Array) -> Array:
    """Length of the way from the point at `lift_height` above `pos` to the target, plus `lift_height`, metres."""
    raised = jnp.concatenate([jnp.asarray(pos)[:2], jnp.asarray(lift_height)[None]])
    return distance(raised, jnp.asarray(target_pos)) + lift_height
