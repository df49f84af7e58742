"""disassemble: lift the nut off the peg.

Source: metaworld 3.0.0, `sawyer_disassemble_peg_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.pick_v1 import LIFT_SCALE, Lift, place_span, reach_reward
from rcjax.envs.metaworld.rewards import Terms, distance, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free, settled_pose
from rcjax.envs.metaworld.scenes.nut import XML, NutScene, level_reward
from rcjax.envs.mjx_env import EnvState

RAISE_BY = 0.15  # metres from the nut's start to the goal
LIFT_BY = 0.05
OFF_PEG = 0.05  # metres along x or y
PEG_MIDDLE = (0.0, 0.0, 0.03)  # from the nut


class Disassemble(NutScene):
    """The nut lies around the peg; the goal is 15 cm above."""

    task = "disassemble"
    hand_init_pos = (0.0, 0.4, 0.2)
    goal_low = (-0.1, 0.6, 0.1749)
    goal_high = (0.1, 0.75, 0.1751)
    random_low = (0.0, 0.6, 0.025, -0.1, 0.6, 0.1699)
    random_high = (0.1, 0.75, 0.02501, 0.1, 0.75, 0.1701)
    prompt = "robot lifting nut off peg"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        """Places the peg and the nut around it. The peg turns the official nut as it is put through it."""
        nut_pos = random_vector[:3]
        peg_pos = nut_pos + np.array(PEG_MIDDLE)
        place_free(data, nut_pos, settled_pose(XML, self.hand_init_pos, {"peg": peg_pos})[3:])
        self.place_peg(data, peg_pos)
        return Placement(target_pos=nut_pos + np.array([0.0, 0.0, RAISE_BY]), object_init_pos=nut_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging the handle and the height of the nut, scaled by how level it is; 10 above the goal."""
        task, center = state.task, self.site_pos(state.physics.poses, "RoundNut")
        grasped, level = self.nut_grasp(state, obs, action, "high"), level_reward(obs)
        error = distance(task.target_pos + jnp.array([0.0, 0.0, 0.1]), center)
        in_place = 0.1 * (center[2] > 0.02) + 0.9 * tolerance(error, 0.0, 0.02, 0.2, "long_tail")
        success = obs[6] > task.target_pos[2]
        reward = (2.0 * grasped + 6.0 * in_place) * level
        return jnp.where(success, 10.0, reward), _terms(success, level, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting and placing.

        Once the nut is off to a side of the peg, the reward of a full lift replaces those of reaching and lifting.
        """
        task, poses, handle = state.task, state.physics.poses, obs[4:7]
        tcp, start = self.tcp(poses), task.object_init_pos[2]
        lift = Lift(height=handle[2], start=start, target=start + LIFT_BY)
        reach, to_target = distance(handle, tcp), distance(handle, task.target_pos)
        held = lift.completed & (reach < 0.04) & ~lift.dropped(to_target, reach)
        span = place_span(task.object_init_pos, lift.target, task.target_pos)
        place = jnp.where(held & (reach < 0.03), v1_pull(span, to_target), 0.0)
        reach_lift = reach_reward(handle, tcp, task.init_tcp, action, above=0.04, near=0.04, height_weight=2.0)
        reach_lift = reach_lift + lift.reward(held, reach < 0.04)
        off_peg = jnp.any(jnp.abs(self.body_pos(poses, "RoundNut") - self.body_pos(poses, "peg"))[:2] > OFF_PEG)
        reward = jnp.where(off_peg, LIFT_SCALE * lift.target, reach_lift) + place
        return reward, _terms(obs[6] > task.target_pos[2], 0.0, 0.0, 0.0)


def _terms(success: Array, level: Array | float, grasped: Array | float, in_place: Array | float) -> Terms:
    return {
        "success": success,
        "near_object": level,
        "grasp_success": jnp.asarray(grasped) >= 0.5,
        "grasp_reward": grasped,
        "in_place_reward": in_place,
        "obj_to_target": 0.0,
    }
