"""The behaviours whose episodes are the encoder's first training data: from the expert's to random motion."""

import dataclasses

import numpy as np

from rcjax.envs.experts import expert_policy

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

SHARES = {
    "expert": 0.08,  # as it is
    "noisy": 0.12,  # with white noise, as an exploring policy has it
    "faster": 0.05,  # larger actions
    "blended": 0.20,  # a mean of the expert's action and a drifting one
    "breaking off": 0.12,  # the expert, then drifting
    "sibling": 0.07,  # the expert of the sibling task
    "random": 0.04,  # white noise, as an untrained policy has it
    "biased": 0.09,  # white noise around one constant action, as an early policy has it
    "drifting": 0.07,  # slowly varying motion
    "hovering": 0.16,  # with white noise to a few places and staying there, half of them near the object or the goal
}
"""How the episodes of a task are shared out among the kinds of behaviour"""

DRIFT_MEMORY = 0.92  # of a drifting action from step to step; its standard deviation is 1
DRIFT_GAIN = 1.5

WORKSPACE = np.array([[-0.4, 0.4, 0.05], [0.4, 0.9, 0.4]])  # metres: the lowest and highest places to hover at
NEAR = 0.1  # metres: standard deviation of the distance, along each axis, to an object or goal
PLACES = 3  # of an episode
GAIN = 10.0  # action per metre of distance, as Metaworld's experts have it


@dataclasses.dataclass
class Behaviours:
    """A policy that acts differently in each of N environments, as `kinds` says. It keeps count of the steps."""

    task: str
    kinds: np.ndarray
    random: np.random.Generator

    def __post_init__(self):
        n = len(self.kinds)
        self._expert = expert_policy(self.task)
        self._sibling = expert_policy(SIBLINGS[self.task]) if self.task in SIBLINGS else None
        self._share = self.random.uniform(0, 1, (n, 1))
        self._noise = self.random.uniform(0.1, 1.2, (n, 1))
        self._last_expert_step = self.random.integers(8, 110, n)
        self._gain = self.random.uniform(1, 3, (n, 1))
        self._bias = self.random.uniform(-1, 1, (n, 4))
        self._drift = self.random.standard_normal((n, 4))
        self._hovering = Hovering(n, self.random)
        self._time = 0

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        white = self.random.standard_normal(self._drift.shape)
        self._drift = DRIFT_MEMORY * self._drift + np.sqrt(1 - DRIFT_MEMORY**2) * self.random.standard_normal(
            white.shape
        )
        drifting, expert = DRIFT_GAIN * self._drift, self._expert(obs)
        actions = {
            "expert": expert,
            "noisy": expert + self._noise * white,
            "faster": np.concatenate([expert[:, :3] * self._gain, expert[:, 3:]], axis=1) + 0.2 * white,
            "blended": self._share * expert + (1 - self._share) * drifting,
            "breaking off": np.where((self._time < self._last_expert_step)[:, None], expert, drifting),
            "sibling": (self._sibling or self._expert)(obs) + 0.2 * white,
            "random": white,
            "biased": self._bias + white,
            "drifting": drifting,
            "hovering": self._hovering(obs, self._time) + self._noise * white,
        }
        self._time += 1
        return np.stack([actions[kind][i] for i, kind in enumerate(self.kinds)])


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
        hand, thing, goal = obs[:, :3], obs[:, 4:7], obs[:, 36:39]
        near = np.where(self._near == "object", thing, goal) + self._offset
        places = np.where(self._near == "nothing", self._anywhere, near)
        place = places[(time >= self._leaves).sum(axis=0), np.arange(len(obs))]
        return np.concatenate([GAIN * (place - hand), self._gripper], axis=1)


def draw_kinds(task: str, n: int, random: np.random.Generator) -> np.ndarray:
    """Returns the kinds of `n` episodes; the first two are the expert's. A task without a sibling drifts instead."""
    kinds = random.choice(list(SHARES), size=n, p=np.array(list(SHARES.values())) / sum(SHARES.values()))
    kinds[:2] = "expert"
    return kinds if task in SIBLINGS else np.where(kinds == "sibling", "drifting", kinds)
