"""assembly: put the nut around the peg.

Source: metaworld 3.0.0, `sawyer_assembly_peg_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.pick_v1 import Lift, place_span, reach_reward
from rcjax.envs.metaworld.rewards import distance, funnel, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free, settled_pose_as_in_xml
from rcjax.envs.metaworld.scenes.nut import XML, NutScene, level_reward
from rcjax.envs.mjx_env import EnvState

ALIGNED_RADIUS = 0.02  # metres, horizontally between nut and peg
LIFT_BY = 0.1
OVER_PEG = 0.03  # along x and y
PEG_HEIGHT = 0.05  # from the peg's middle to its top


class Assembly(NutScene):
    """The nut lies in front of the peg; the goal is the peg's top."""

    task = "assembly"
    goal_low = (-0.1, 0.75, 0.1)
    goal_high = (0.1, 0.85, 0.1)
    random_low = (0.0, 0.6, 0.02, *goal_low)
    random_high = (0.0, 0.6, 0.02, *goal_high)
    prompt = "robot putting nut on peg"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        nut_pos, target_pos = np.split(random_vector, 2)
        place_free(data, nut_pos, settled_pose_as_in_xml(XML, tuple(self.hand_init_pos))[3:])
        self.place_peg(data, target_pos - np.array([0.0, 0.0, PEG_HEIGHT]))
        mujoco.mj_kinematics(self.mj_model, data)
        constants = {"handle_height": data.site("RoundNut-8").xpos[2]}
        return Placement(target_pos=target_pos, object_init_pos=nut_pos, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging the handle and placing the nut, scaled by how level that is; 10 once it is around the peg."""
        center = self.site_pos(state.physics.poses, "RoundNut")
        grasped = self.nut_grasp(state, obs, action, "medium")
        in_place, success = _place_reward(center, state.task.target_pos)
        level = level_reward(obs)
        return jnp.where(success, 10.0, (2.0 * grasped + 6.0 * in_place) * level), {
            "success": success,
            "near_object": level,
            "grasp_success": grasped >= 0.5,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": 0.0,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting and placing and, once the nut is over the peg, lowering it."""
        task, poses, handle = state.task, state.physics.poses, obs[4:7]
        tcp, nut, start = self.tcp(poses), self.body_pos(poses, "RoundNut"), task.constants["handle_height"]
        lift = Lift(height=nut[2], start=start, target=start + LIFT_BY)
        reach, to_peg, height = distance(handle, tcp), distance(nut[:2], task.target_pos[:2]), jnp.abs(nut[2] - start)
        over_peg = jnp.all(jnp.abs(nut - task.target_pos)[:2] < OVER_PEG)
        held = lift.completed & (reach < 0.03) & ~lift.dropped(to_peg, reach)
        place = v1_pull(place_span(task.object_init_pos, lift.target, task.target_pos), to_peg)
        down = lift.target - height + jnp.exp(-(height**2) / 0.003) + jnp.exp(-(height**2) / 0.0003)
        place = jnp.maximum(place + jnp.where(over_peg, 2000.0 * down, 0.0), 0.0)
        reward = reach_reward(handle, tcp, task.init_tcp, action, above=0.04, near=0.04)
        reward = reward + lift.reward(over_peg | held, reach < 0.04) + jnp.where(over_peg | held, place, 0.0)
        return reward, {
            "success": over_peg & (height <= 0.04),
            "near_object": 0.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": 0.0,
        }


def _place_reward(center: Float[Array, " 3"], target_pos: Float[Array, " 3"]) -> tuple[Array, Array]:
    """Returns how near the nut is to a funnel over the peg, and whether it is around the peg.

    The funnel's neck is wider once the nut is around the peg.
    """
    radius = jnp.linalg.norm(target_pos[:2] - center[:2])
    success = (radius < ALIGNED_RADIUS) & (target_pos[2] > center[2])
    neck = jnp.where(success, 0.02, 0.01)
    height = funnel(radius, neck, 0.02, 0.2)
    error = jnp.array([*(target_pos[:2] - center[:2]), 3.0 * (height - center[2])])
    lifted = (center[2] > 0.02) | (radius < neck)
    near = tolerance(jnp.linalg.norm(error), 0.0, 0.02, 0.4, "long_tail")
    return 0.1 * lifted + 0.9 * near, success
