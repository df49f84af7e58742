"""Small models with one camera and a few primitives, and a slow ray caster for them in NumPy."""

import mujoco
import numpy as np

from rcjax.render.build import DRAWN_GROUPS
from rcjax.render.camera import Camera
from rcjax.types import GeomPoses

CAMERA = '<camera name="eye" pos="0 -3 0.4" xyaxes="1 0 0 0 0.15 1" fovy="40"/>'


def model_of(geoms: str, world: str = "") -> mujoco.MjModel:
    """A model with `geoms` on a free body, `world` as further elements, and one camera that looks along y."""
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><statistic extent="4"/><worldbody>{CAMERA}{world}'
        f'<body name="thing"><freejoint/>{geoms}</body></worldbody></mujoco>'
    )


def initial_poses(model: mujoco.MjModel) -> GeomPoses:
    """Poses [1 1 G] of all geoms in the model's initial state, as NumPy arrays."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return GeomPoses.of_leaves(
        pos=data.geom_xpos[None, None].astype(np.float32),
        mat=data.geom_xmat.reshape(1, 1, -1, 3, 3).astype(np.float32),
    )


def cast_depth(model: mujoco.MjModel, camera: Camera, size: int, qpos: np.ndarray | None = None) -> np.ndarray:
    """Depth along the camera's axis by casting one ray per pixel with mj_ray; inf where nothing is hit.

    The rays hit the geoms of the groups that are drawn, and triangles of meshes from either side.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = data.qpos if qpos is None else qpos
    mujoco.mj_kinematics(model, data)
    groups = np.isin(np.arange(mujoco.mjNGROUP), DRAWN_GROUPS).astype(np.uint8)[:, None]
    pos, mat = np.asarray(camera.pos, float), np.asarray(camera.mat, float)
    depth = np.full((size, size), np.inf)
    geom = np.zeros(1, np.int32)
    for row in range(size):
        for column in range(size):
            ray = np.array([camera.x0 + camera.dx * column, camera.y0 + camera.dy * row, -1.0])
            direction = (mat @ ray)[:, None]
            hit = mujoco.mj_ray(model, data, pos[:, None], direction, groups, True, -1, geom, None)
            if hit >= 0:
                depth[row, column] = hit  # the direction has a depth of 1, so its multiple is the depth
    return depth
