"""Small models of one camera and a few primitives, and a slow ray-caster for them in NumPy."""

import mujoco
import numpy as np

CAMERA = '<camera name="eye" pos="0 -3 0.4" xyaxes="1 0 0 0 0.15 1" fovy="40"/>'


def model_of(geoms: str, world: str = "") -> mujoco.MjModel:
    """A model with `geoms` on a free body, `world` beside it, and one camera that looks along y."""
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><statistic extent="4"/><worldbody>{CAMERA}{world}'
        f'<body name="thing"><freejoint/>{geoms}</body></worldbody></mujoco>'
    )


def all_poses(model: mujoco.MjModel):
    """Poses [1 1 G] of the model's initial state."""
    from rcjax.types import GeomPoses

    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return GeomPoses(
        pos=data.geom_xpos[None, None].astype(np.float32),
        mat=data.geom_xmat.reshape(1, 1, -1, 3, 3).astype(np.float32),
    )


def cast_depth(model: mujoco.MjModel, camera, size: int) -> np.ndarray:
    """Depth along the camera's axis by casting one ray per pixel with mj_ray; inf where nothing is hit."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    depth = np.full((size, size), np.inf)
    geom = np.zeros(1, np.int32)
    for row in range(size):
        for column in range(size):
            ray = np.array([camera.x0 + camera.dx * column, camera.y0 + camera.dy * row, -1.0])
            direction = (camera.mat.astype(float) @ ray)[:, None]
            hit = mujoco.mj_ray(model, data, camera.pos.astype(float)[:, None], direction, None, 1, -1, geom, None)
            if hit >= 0:
                depth[row, column] = hit  # direction has unit depth, so this is the depth
    return depth
