"""`python -m experiments.kitchen_experts` searches for waypoints that solve a task of the Kitchen, in C MuJoCo.

The cross-entropy method: scripts are drawn around the mean of the best ones so far, which starts at the script that the
package has, or else at a guess. Each script is tried several times with noise in its actions, because what succeeds by
a hair in C MuJoCo does not in MJX. What the search found is in the package, `rcjax/envs/kitchen/found.json`.
"""

import dataclasses
import json
import sys

import numpy as np
from jaxtyping import Float
from tqdm import trange

from experiments.entry import run
from rcjax import envs
from rcjax.checks import require_one_of, require_range
from rcjax.envs.experts import PolicyRun, run_policy
from rcjax.envs.kitchen.elements import DONE_DISTANCE
from rcjax.envs.kitchen.env import KitchenEnv
from rcjax.envs.kitchen.experts import FOUND, WRITTEN, found_script
from rcjax.envs.kitchen.options import CONTROLS, Control
from rcjax.envs.kitchen.waypoints import follow
from rcjax.envs.mjx_env import Policy
from rcjax.files import write_atomically

GUESSES = {
    "kitchen-hinge": (
        (-0.60, 0.36, 2.30), (-0.62, 0.50, 2.45), (-0.60, 0.58, 2.52), (-0.50, 0.58, 2.53), (-0.42, 0.46, 2.53),
        (-0.26, 0.40, 2.53), (-0.14, 0.40, 2.53),
    ),
    "kitchen-microwave": (
        (-0.52, 0.25, 1.95), (-0.54, 0.40, 1.85), (-0.56, 0.48, 1.80), (-0.62, 0.47, 1.80), (-0.66, 0.32, 1.80),
        (-0.72, 0.20, 1.80), (-0.80, 0.10, 1.80),
    ),
    "kitchen-light": (
        (-0.35, 0.30, 2.28), (-0.29, 0.45, 2.28), (-0.29, 0.55, 2.28), (-0.32, 0.58, 2.28), (-0.38, 0.58, 2.28),
        (-0.45, 0.58, 2.28), (-0.50, 0.55, 2.28),
    ),
    "kitchen-bottom-burner": (
        (-0.36, 0.30, 2.26), (-0.34, 0.45, 2.26), (-0.32, 0.56, 2.26), (-0.29, 0.60, 2.26), (-0.25, 0.60, 2.26),
        (-0.22, 0.60, 2.25), (-0.22, 0.60, 2.24),
    ),
    "kitchen-top-burner": (
        (-0.36, 0.30, 2.36), (-0.34, 0.45, 2.37), (-0.32, 0.56, 2.37), (-0.29, 0.60, 2.37), (-0.25, 0.60, 2.37),
        (-0.22, 0.60, 2.36), (-0.22, 0.60, 2.35),
    ),
}  # fmt: skip
"""Where the search begins: waypoints in metres"""

N_WAYPOINTS = 7
SPREAD = np.array([0.06, 0.06, 0.06, 0.5, 0.5, 0.5, 3.0])  # of a waypoint's numbers, see `found_script`
LEAST_SPREAD = 0.1  # of `SPREAD`, which keeps the search from ending early
STEPS = 12.0  # control steps of a waypoint, at first
ELITE = 6  # scripts whose mean the next ones are drawn around
KEPT_SHARE = 0.3  # of the last mean and spread
EPISODE = 128  # control steps


@dataclasses.dataclass(frozen=True)
class Command:
    """Search for a script of a task, and add it to the package in place of the one that is there."""

    # Task of the Kitchen.
    task: str
    # Controls of the environment.
    control: Control = "ee"
    # Number of rounds, of scripts in a round, of episodes of each script, and seed of the search.
    rounds: int = 25
    scripts: int = 24
    episodes: int = 3
    seed: int = 0
    # Standard deviation of the noise that is added to actions.
    noise: float = 0.15


def search(command: Command) -> None:
    require_one_of("--task", command.task, tuple(GUESSES))
    require_one_of("--control", command.control, CONTROLS)
    if (command.task, command.control) in WRITTEN:
        raise ValueError(
            f"--task {command.task} --control {command.control} has a script that was written by hand, which would be "
            "used in the place of what is found; choose another task or other controls."
        )
    require_range("--scripts", command.scripts, ELITE)
    for name in ("rounds", "episodes"):
        require_range(f"--{name}", getattr(command, name), 1)
    env, params = envs.make(command.task, control=command.control, backend="c", seeds=range(1))
    assert isinstance(env, KitchenEnv)
    random = np.random.default_rng(command.seed)
    mean = found_rows(command.task, command.control)
    mean = first_guess(command.task) if mean is None else mean
    spread = np.tile(SPREAD, (N_WAYPOINTS, 1))
    best = Incumbent(rounded(mean), [])
    with trange(command.rounds, desc=f"{command.task}, {command.control}") as rounds:
        for _ in rounds:
            drawn = mean + spread * random.standard_normal((command.scripts, *mean.shape))
            drawn[0] = best.rows
            drawn = rounded(drawn)
            scripts = [found_script(rows.tolist(), command.control) for rows in drawn for _ in range(command.episodes)]
            policy = with_noise(follow(scripts, command.control), command.noise, random)
            episodes = run_policy(env, params, policy, [0] * len(scripts), EPISODE)
            scores = score(env, episodes).reshape(command.scripts, command.episodes)
            best = best.challenged(drawn, scores)
            elite = drawn[np.argsort(-scores.mean(1))[:ELITE]]
            mean = KEPT_SHARE * mean + (1 - KEPT_SHARE) * elite.mean(0)
            spread = KEPT_SHARE * spread + (1 - KEPT_SHARE) * elite.std(0) + LEAST_SPREAD * SPREAD
            rounds.set_postfix(best=f"{best.mean:.2f}", solved=f"{episodes.success.any(0).mean():.0%}")
    if best.solved < SOLVED_SHARE:
        raise ValueError(
            f"the best script solved {command.task} in {best.solved:.0%} of its episodes, and at least "
            f"{SOLVED_SHARE:.0%} are asked for; try another --seed or more --rounds than {command.rounds}."
        )
    write(command, best.rows)


@dataclasses.dataclass(frozen=True)
class Incumbent:
    """The best script so far, which every round tries again, and the scores of all of its episodes."""

    rows: Float[np.ndarray, "K 7"]
    scores: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def solved(self) -> float:
        """The share of its episodes that solved the task."""
        return float(np.mean([score >= SOLVED for score in self.scores]))

    def challenged(self, drawn: Float[np.ndarray, "n K 7"], scores: Float[np.ndarray, "n episodes"]) -> "Incumbent":
        """Returns the best one after a round, whose first script is this one.

        Another script takes its place if its mean is above that of all episodes of this one.
        """
        tried = Incumbent(self.rows, [*self.scores, *scores[0].tolist()])
        rival = 1 + int(np.argmax(scores[1:].mean(1)))
        found = Incumbent(drawn[rival], scores[rival].tolist())
        return found if found.mean > tried.mean else tried


def found_rows(task: str, control: Control) -> Float[np.ndarray, "K 7"] | None:
    """Returns the rows of the script that the package has, or None."""
    rows = json.loads(FOUND.read_text()).get(task, {}).get(control)
    return None if rows is None else np.array(rows)


def with_noise(policy: Policy, noise: float, random: np.random.Generator) -> Policy:
    """Returns the policy with white noise of this standard deviation added to its actions."""

    def act(obs: np.ndarray) -> np.ndarray:
        action = policy(obs)
        return action + noise * random.standard_normal(action.shape)

    return act


def first_guess(task: str) -> Float[np.ndarray, "K 7"]:
    """Returns the rows that the search of a task starts from, see `found_script`."""
    rows = np.zeros((N_WAYPOINTS, 7))
    rows[:, :3], rows[:, 6] = GUESSES[task], STEPS
    return rows


def rounded(rows: Float[np.ndarray, "*batch 7"]) -> Float[np.ndarray, "*batch 7"]:
    """Returns rows as they are written: millimetres, thousandths, and whole control steps."""
    rows = np.round(rows, 3)
    rows[..., 6] = np.clip(np.round(rows[..., 6]), 3, 40)
    return rows


SOLVED = 1.0
SOLVED_SHARE = 0.5  # of the episodes with noise that a script has to solve


def score(env: KitchenEnv, episodes: PolicyRun) -> Float[np.ndarray, " n"]:
    """Returns how good each episode is, `SOLVED` or more if it solves the task.

    Of two that solve it, one that is solved at its end is better, and then the earlier one. Of two that do not, the one
    that came nearer to the goal; and as long as nothing moves, the one whose fingers came nearer to what they must
    touch.
    """
    distance = env.element_distance(episodes.obs)
    moved = np.clip(1 - distance.min(0) / distance[0], 0, 1)
    near = env.reaching_distance(episodes.poses).min(0)
    solved, at_end = episodes.success.any(0), distance[-1] < DONE_DISTANCE
    late = episodes.success.argmax(0) / EPISODE
    return np.where(solved, SOLVED + 2.0 * at_end + 1 - late, 0.9 * moved - 0.5 * near * (moved < 0.05))


def write(command: Command, rows: Float[np.ndarray, "K 7"]) -> None:
    """Adds a script to the package's file."""
    found = json.loads(FOUND.read_text())
    found.setdefault(command.task, {})[command.control] = rows.tolist()
    lines = [
        f' "{task}": {{\n' + ",\n".join(f'  "{c}": {json.dumps(found[task][c])}' for c in sorted(found[task])) + "\n }"
        for task in sorted(found)
    ]
    write_atomically(FOUND, lambda path: path.write_text("{\n" + ",\n".join(lines) + "\n}\n"))


if __name__ == "__main__":
    sys.exit(run("kitchen_experts", Command, search, __doc__))
