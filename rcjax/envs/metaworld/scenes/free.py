"""Bodies with a free joint, and where the official reset leaves them.

The official reset lets a free body fall from where the XML has it, for as long as it pulls the hand to its initial
position, and then moves the body without changing its orientation. So the orientation in which it came to rest is part
of the initial state. The official collision geoms decide it, not ours, so the fall is simulated in the official scene.
"""

import functools
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from rcjax.envs.metaworld.sawyer import PULL_SUBSTEPS, pull_hand
from rcjax.envs.scenes import official_model

UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


def settled_pose(
    xml: str,
    hand_init_pos: Sequence[float],
    placed: Mapping[str, np.ndarray] | None = None,
    substeps: int = PULL_SUBSTEPS,
) -> np.ndarray:
    """Returns position and quaternion w x y z of the free body after its fall in the official scene `xml`.

    `placed` are positions of bodies, by name, that already stand where the episode has them during the fall.
    """
    model = _official_model(xml)
    for name, pos in (placed or {}).items():
        model.body(name).pos = pos
    return pull_hand(model, hand_init_pos, substeps).qpos[_free_joint(model)[0]].copy()


@functools.lru_cache(maxsize=4)
def settled_pose_as_in_xml(xml: str, hand_init_pos: tuple[float, ...]) -> np.ndarray:
    """`settled_pose` for scenes where no placed body is in the way, so that one simulation serves every episode."""
    return settled_pose(xml, hand_init_pos)


_official_model = functools.lru_cache(maxsize=4)(official_model)


def place_free(data: mujoco.MjData, pos: np.ndarray, quat: np.ndarray | None = None) -> None:
    """Puts the free body at `pos`, at rest, with the orientation `quat` (w x y z); None keeps its orientation."""
    qpos, qvel = _free_joint(data.model)
    data.qpos[qpos] = np.concatenate([pos, data.qpos[qpos][3:] if quat is None else quat])
    data.qvel[qvel] = 0.0


def _free_joint(model: mujoco.MjModel) -> tuple[slice, slice]:
    """Returns the slices of qpos and of qvel that belong to the scene's one free joint."""
    (joint,) = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    start, velocity = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
    return slice(start, start + 7), slice(velocity, velocity + 6)
