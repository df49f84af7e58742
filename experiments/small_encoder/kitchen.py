"""What the arm's end does in the Kitchen, led as in RoboCLIP's release, and how far its episodes come."""

import numpy as np
from jaxtyping import Bool, Float

from experiments.small_encoder.behaviours import Motions
from experiments.small_encoder.progress import approach, progress
from rcjax.envs.experts import PolicyRun
from rcjax.envs.kitchen.elements import DONE_DISTANCE
from rcjax.envs.kitchen.env import KitchenEnv
from rcjax.envs.kitchen.experts import expert_script, solved_tasks
from rcjax.envs.kitchen.waypoints import Script, Waypoint, follow

HIDDEN = slice(0)  # of the observations, from a policy that learns: nothing, as in a run
WORKSPACE = np.array([[-0.8, 0.1, 1.7], [0.1, 0.62, 2.75]])  # metres: the lowest and highest places to hover at
NEAR = 0.12  # metres: standard deviation of the distance, along each axis, to what the task is about
NEAR_SHARE = 0.5  # of the places
PLACES = 3  # of an episode
SHORTEST, LONGEST = 10, 60  # control steps at a place
TOUCHING = 0.15  # metres between a finger's tip and the middle of what it touches, which is up to 25 cm large


def has_sibling(env: KitchenEnv) -> bool:
    """Returns whether the expert of another task can act in the same scene: in the Kitchen any can."""
    return True


def make_motions(env: KitchenEnv, n: int, random: np.random.Generator) -> Motions:
    """Returns the expert of a task, in each episode that of any other task, and hovering."""
    others = [task for task in solved_tasks("ee") if task != env.task]
    sibling = follow([expert_script(str(random.choice(others)), "ee") for _ in range(n)], "ee")
    target = env.initial_data().geom_xpos[env.handle_geom]
    hovering = follow([hovering_script(target, random) for _ in range(n)], "ee")
    return Motions(env.expert(), sibling, lambda obs, _: hovering(obs))


def hovering_script(target: Float[np.ndarray, " 3"], random: np.random.Generator) -> Script:
    """Returns a script that goes to a few places, some of which are near the target."""
    waypoints = []
    for _ in range(PLACES):
        is_near = random.random() < NEAR_SHARE
        place = target + NEAR * random.standard_normal(3) if is_near else random.uniform(*WORKSPACE)
        x, y, z = place.tolist()
        a, b, c = random.uniform(-1, 1, 3).tolist()
        steps = int(random.integers(SHORTEST, LONGEST))
        waypoints.append(Waypoint((x, y, z), 0.0, steps, grip=float(random.uniform(-1, 1)), spin=(a, b, c)))
    return Script(tuple(waypoints))


def progress_of(env: KitchenEnv, run: PolicyRun, success: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns how far each episode came, see `progress`: a finger's tip to the handle, and the element to its goal."""
    reached = approach(env.reaching_distance(run.poses), TOUCHING)
    return progress(reached, approach(env.element_distance(run.obs), DONE_DISTANCE), success)
