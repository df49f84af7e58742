"""Bodies that lie free: where the official reset leaves them.

The official reset lets a free body fall from where the XML has it, for as long as it pulls the hand to its
start, and then moves it without touching its orientation. How it came to lie is thus part of the start, and the
official collision geoms settle it, not ours: so that fall happens in the official scene.
"""

import functools
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from rcjax.envs.metaworld.sawyer import HAND_DOWN, RESET_STEPS
from rcjax.envs.scenes import OFFICIAL_WELD, asset_path

QPOS = slice(9, 16)  # the free joint comes after the arm's seven joints and the fingers' two
QVEL = slice(9, 15)
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
SUBSTEPS = 5 * RESET_STEPS


def settled(
    xml: str, hand_init_pos: Sequence[float], placed: Mapping[str, np.ndarray] | None = None, substeps: int = SUBSTEPS
) -> np.ndarray:
    """Position and quaternion w x y z of the scene's free body after its fall in the official scene, where the
    bodies `placed` stand already where the episode has them."""
    model = _official_model(xml)
    for name, pos in (placed or {}).items():
        model.body(name).pos = pos
    data = mujoco.MjData(model)
    data.mocap_pos[0], data.mocap_quat[0], data.ctrl[:] = hand_init_pos, HAND_DOWN, [-1.0, 1.0]
    mujoco.mj_step(model, data, nstep=substeps)
    return data.qpos[QPOS].copy()


@functools.lru_cache(maxsize=4)
def settled_as_in_xml(xml: str, hand_init_pos: tuple[float, ...]) -> np.ndarray:
    """`settled` where no placed body is in the way, so that one run serves every episode."""
    return settled(xml, hand_init_pos)


@functools.lru_cache(maxsize=4)
def _official_model(xml: str) -> mujoco.MjModel:
    model = mujoco.MjModel.from_xml_path(str(asset_path(xml)))
    for i in range(model.neq):
        model.eq_data[i, : len(OFFICIAL_WELD)] = OFFICIAL_WELD
    return model


def place_free(data: mujoco.MjData, pos: np.ndarray, quat: np.ndarray) -> None:
    """Put the free body at `pos`, turned by `quat` (w x y z), at rest."""
    data.qpos[QPOS] = np.concatenate([pos, quat])
    data.qvel[QVEL] = 0.0
