"""What tests need of an official environment."""

import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from benchmarks.official import make_official, reset_to

__all__ = ["joint_values", "make_official", "reset_to"]


def joint_values(env: SawyerXYZEnv, names: list[str]) -> np.ndarray:
    """Returns the qpos of hinge and slide joints, by name."""
    return np.array([env.data.joint(name).qpos[0] for name in names])
