"""The behaviours whose episodes are the encoder's first training data: from the expert's to random motion."""

import dataclasses
from collections.abc import Callable

import numpy as np

from rcjax.envs.mjx_env import Policy

SHARES = {
    "expert": 0.08,  # as it is
    "noisy": 0.12,  # with white noise, as an exploring policy has it
    "faster": 0.05,  # larger actions
    "blended": 0.20,  # a mean of the expert's action and a drifting one
    "breaking off": 0.12,  # the expert, then drifting
    "sibling": 0.07,  # the expert of a sibling task
    "random": 0.04,  # white noise, as an untrained policy has it
    "biased": 0.09,  # white noise around one constant action, as an early policy has it
    "drifting": 0.07,  # slowly varying motion
    "hovering": 0.16,  # with white noise to a few places and staying there, half of them near the object or the goal
}
"""How the episodes of a task are shared out among the kinds of behaviour"""

DRIFT_MEMORY = 0.92  # of a drifting action from step to step; its standard deviation is 1
DRIFT_GAIN = 1.5


@dataclasses.dataclass(frozen=True)
class Motions:
    """Purposeful motion in N episodes of a task: policies from observations [N O] to actions [N A].

    Args:
        expert: The task's expert.
        sibling: The expert of another task in the same scene; if there is none, the task's own.
        hovering: Brings the hand to a few places, one after another. It is also given the number of the step.
    """

    expert: Policy
    sibling: Policy
    hovering: Callable[[np.ndarray, int], np.ndarray]


MakeMotions = Callable[[int, np.random.Generator], Motions]
"""Makes the motions of so many new episodes"""


@dataclasses.dataclass
class Behaviours:
    """A policy that acts differently in each of N environments, as `kinds` says. It keeps count of the steps.

    `make_motions` is called once with the number of environments and `random`, after the other draws.
    """

    kinds: np.ndarray
    random: np.random.Generator
    n_actions: int
    make_motions: MakeMotions

    def __post_init__(self):
        n = len(self.kinds)
        self._share = self.random.uniform(0, 1, (n, 1))
        self._noise = self.random.uniform(0.1, 1.2, (n, 1))
        self._last_expert_step = self.random.integers(8, 110, n)
        self._gain = self.random.uniform(1, 3, (n, 1))
        self._bias = self.random.uniform(-1, 1, (n, self.n_actions))
        self._drift = self.random.standard_normal((n, self.n_actions))
        self._motions = self.make_motions(n, self.random)
        self._time = 0

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        white = self.random.standard_normal(self._drift.shape)
        self._drift = DRIFT_MEMORY * self._drift + np.sqrt(1 - DRIFT_MEMORY**2) * self.random.standard_normal(
            white.shape
        )
        drifting, expert = DRIFT_GAIN * self._drift, self._motions.expert(obs)
        actions = {
            "expert": expert,
            "noisy": expert + self._noise * white,
            "faster": np.concatenate([expert[:, :3] * self._gain, expert[:, 3:]], axis=1) + 0.2 * white,
            "blended": self._share * expert + (1 - self._share) * drifting,
            "breaking off": np.where((self._time < self._last_expert_step)[:, None], expert, drifting),
            "sibling": self._motions.sibling(obs) + 0.2 * white,
            "random": white,
            "biased": self._bias + white,
            "drifting": drifting,
            "hovering": self._motions.hovering(obs, self._time) + self._noise * white,
        }
        self._time += 1
        return np.stack([actions[kind][i] for i, kind in enumerate(self.kinds)])


def draw_kinds(n: int, random: np.random.Generator, has_sibling: bool) -> np.ndarray:
    """Returns the kinds of `n` episodes; the first two are the expert's. A task without a sibling drifts instead."""
    kinds = random.choice(list(SHARES), size=n, p=np.array(list(SHARES.values())) / sum(SHARES.values()))
    kinds[:2] = "expert"
    return kinds if has_sibling else np.where(kinds == "sibling", "drifting", kinds)
