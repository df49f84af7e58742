"""The official drawer scene and two of its states, from the installed metaworld package."""

import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import metaworld
import mujoco
import numpy as np

from rcjax.types import GeomPoses


class States(NamedTuple):
    """Two states of one episode: joint positions, and the poses of all geoms."""

    qpos: np.ndarray
    poses: GeomPoses  # [N=1 F=2 G]


def drawer_model() -> mujoco.MjModel:
    """Loads Metaworld's sawyer_drawer.xml."""
    assets = pathlib.Path(metaworld.__file__).parent / "assets"
    return mujoco.MjModel.from_xml_path(str(assets / "sawyer_xyz" / "sawyer_drawer.xml"))


def drawer_states() -> States:
    """The arm after it has followed its mocap target for one and for two seconds, with the drawer partly open."""
    model = drawer_model()
    data = mujoco.MjData(model)
    data.mocap_quat[0] = [1, 0, 1, 0]
    qpos, pos, mat = [], [], []
    for target, opening in (([0.0, 0.6, 0.2], 0.0), ([-0.1, 0.7, 0.15], -0.1)):
        data.mocap_pos[0] = target
        for _ in range(400):
            mujoco.mj_step(model, data)
        placed = data.qpos.copy()
        placed[-1] = opening
        qpos.append(placed)
        placed_data = mujoco.MjData(model)
        placed_data.qpos[:] = placed
        mujoco.mj_kinematics(model, placed_data)
        pos.append(placed_data.geom_xpos.copy())
        mat.append(placed_data.geom_xmat.reshape(-1, 3, 3).copy())
    as_array = (jnp.asarray(np.stack(rows)[None], jnp.float32) for rows in (pos, mat))
    return States(qpos=np.stack(qpos), poses=GeomPoses(**dict(zip(("pos", "mat"), as_array, strict=True))))
