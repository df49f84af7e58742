"""What the hand does in Metaworld's scenes, and how far its episodes come."""

import numpy as np
from jaxtyping import Bool, Float

from experiments.small_encoder.behaviours import Motions
from experiments.small_encoder.progress import approach, progress
from rcjax.envs.experts import PolicyRun, expert_policy
from rcjax.envs.mjx_env import MjxEnv

SIBLINGS = {
    "assembly": "disassemble", "coffee-pull": "coffee-push", "coffee-push": "coffee-pull",
    "disassemble": "assembly", "door-close": "door-open", "door-lock": "door-unlock", "door-open": "door-close",
    "door-unlock": "door-lock", "drawer-close": "drawer-open", "drawer-open": "drawer-close",
    "faucet-close": "faucet-open", "faucet-open": "faucet-close", "handle-press": "handle-pull",
    "handle-press-side": "handle-pull-side", "handle-pull": "handle-press", "handle-pull-side": "handle-press-side",
    "pick-place": "push", "plate-slide": "plate-slide-back", "plate-slide-back": "plate-slide",
    "push": "pick-place", "stick-pull": "stick-push", "stick-push": "stick-pull", "window-close": "window-open",
    "window-open": "window-close",
}  # fmt: skip
"""The task whose expert can act in the same scene, because the observation has the same layout"""

GOAL = slice(36, 39)  # of the observations
HIDDEN = GOAL  # from a policy that learns, as in a run
WORKSPACE = np.array([[-0.4, 0.4, 0.05], [0.4, 0.9, 0.4]])  # metres: the lowest and highest places to hover at
NEAR = 0.1  # metres: standard deviation of the distance, along each axis, to an object or goal
PLACES = 3  # of an episode
GAIN = 10.0  # action per metre of distance, as Metaworld's experts have it
HAND_TASKS = ("reach", "reach-wall")  # whose goal is for the hand, and no object
HAND_SIZE = 0.06  # metres between the hand's and an object's reference points where they touch


def has_sibling(env: MjxEnv) -> bool:
    """Returns whether the expert of another task can act in the same scene."""
    return env.name in SIBLINGS


def make_motions(env: MjxEnv, n: int, random: np.random.Generator) -> Motions:
    """Returns the experts of a task and of its sibling, and hovering."""
    return Motions(expert_policy(env.name), expert_policy(SIBLINGS.get(env.name, env.name)), Hovering(n, random))


class Hovering:
    """A policy that moves the hand of each of N environments to a few places, one after another, and stays there."""

    def __init__(self, n: int, random: np.random.Generator):
        lowest, highest = WORKSPACE
        self._anywhere = random.uniform(lowest, highest, (PLACES, n, 3))
        self._offset = NEAR * random.standard_normal((PLACES, n, 3))
        self._near = random.choice(["nothing", "object", "goal"], (PLACES, n, 1), p=(0.5, 0.25, 0.25))
        self._leaves = np.sort(random.integers(10, 120, (PLACES - 1, n)), axis=0)  # the step at which it goes on
        self._gripper = random.uniform(-1, 1, (n, 1))

    def __call__(self, obs: np.ndarray, time: int) -> np.ndarray:
        hand, thing, goal = obs[:, :3], obs[:, 4:7], obs[:, GOAL]
        near = np.where(self._near == "object", thing, goal) + self._offset
        places = np.where(self._near == "nothing", self._anywhere, near)
        place = places[(time >= self._leaves).sum(axis=0), np.arange(len(obs))]
        return np.concatenate([GAIN * (place - hand), self._gripper], axis=1)


def progress_of(env: MjxEnv, run: PolicyRun, success: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns how far each episode came, see `progress`. The run's observations show the goal."""
    hand, thing, goal = run.obs[..., :3], run.obs[..., 4:7], run.obs[..., GOAL]
    if env.name in HAND_TASKS:
        return progress(None, approach(np.linalg.norm(hand - goal, axis=-1), 0.0), success)
    reached = approach(np.linalg.norm(hand - thing, axis=-1), HAND_SIZE)
    return progress(reached, approach(np.linalg.norm(thing - goal, axis=-1), 0.0), success)
