"""The options of the Kitchen's environments, which `KitchenEnv` explains."""

from typing import Literal, get_args

Control = Literal["ee", "joint"]
Goal = Literal["task", "release"]
RewardKind = Literal["dense", "sparse"]
CONTROLS = get_args(Control)
GOALS = get_args(Goal)
REWARDS = get_args(RewardKind)
