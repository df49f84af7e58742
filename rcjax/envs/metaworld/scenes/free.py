"""Bodies that lie free: where the official reset leaves them.

The official reset lets a free body fall from where the XML has it, for as long as it pulls the hand to its
start, and then moves it without touching its orientation. How it came to lie is thus part of the start, and the
official collision geoms settle it, not ours: so that fall happens in the official scene.
"""

import functools
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from rcjax.envs.metaworld.sawyer import PULL_SUBSTEPS, pull_hand
from rcjax.envs.scenes import official_model

UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


def settled(
    xml: str,
    hand_init_pos: Sequence[float],
    placed: Mapping[str, np.ndarray] | None = None,
    substeps: int = PULL_SUBSTEPS,
) -> np.ndarray:
    """Position and quaternion w x y z of the scene's free body after its fall in the official scene, where the
    bodies `placed` stand already where the episode has them."""
    model = _official_model(xml)
    for name, pos in (placed or {}).items():
        model.body(name).pos = pos
    return pull_hand(model, hand_init_pos, substeps).qpos[_free_joint(model)[0]].copy()


@functools.lru_cache(maxsize=4)
def settled_as_in_xml(xml: str, hand_init_pos: tuple[float, ...]) -> np.ndarray:
    """`settled` where no placed body is in the way, so that one run serves every episode."""
    return settled(xml, hand_init_pos)


_official_model = functools.lru_cache(maxsize=4)(official_model)


def place_free(data: mujoco.MjData, pos: np.ndarray, quat: np.ndarray | None = None) -> None:
    """Put the free body at `pos`, turned by `quat` (w x y z; None: as it lies), at rest."""
    qpos, qvel = _free_joint(data.model)
    data.qpos[qpos] = np.concatenate([pos, data.qpos[qpos][3:] if quat is None else quat])
    data.qvel[qvel] = 0.0


def _free_joint(model: mujoco.MjModel) -> tuple[slice, slice]:
    """Where the scene's one free joint is in qpos and qvel."""
    (joint,) = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    start, velocity = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
    return slice(start, start + 7), slice(velocity, velocity + 6)
