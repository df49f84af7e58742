"""The initial state of gymnasium-robotics' FrankaKitchen, a second scene for the renderer.

The scene is read from the installed package without importing it, since version 1.4.2 does not run on MuJoCo 3.17. The
initial state and the view are copied from its `kitchen_env.py` and `franka_env.py`.
"""

import importlib.util
import pathlib
from collections.abc import Sequence
from typing import cast

import mujoco
import numpy as np

from rcjax.render import View
from rcjax.types import GeomPoses

CAMERA = "official"

_XML = "envs/assets/kitchen_franka/kitchen_assets/kitchen_env_model.xml"
_LOOK_AT, _DISTANCE, _AZIMUTH, _ELEVATION = np.array([-0.2, 0.5, 2.0]), 2.2, 70.0, -35.0  # metres, degrees
_ARM = [0.1484, -1.7685, 1.8439, -2.4769, 0.2603, 0.7125, 1.5952]  # radians
_FINGERS = [0.0479, 0.0371]  # metres
_KITCHEN = [-0.0003, -0.0001, 0, 0, 0, 0, 0.0001, 0, 0.0005, -0.0002, -0.0005, -0.0064, -0.0018, 0.0011]
_KETTLE = [-0.2694, 0.3504, 1.6194, 1.0062, 0.0041, -0.0066, -0.0003]  # metres, quaternion
_START = np.array([*_ARM, *_FINGERS, *_KITCHEN, *_KETTLE])


def kitchen_path() -> pathlib.Path | None:
    """Returns the path of the scene in the installed gymnasium-robotics, or None if it is not installed."""
    package = importlib.util.find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        return None
    return pathlib.Path(package.origin).parent / _XML


def kitchen_model(path: pathlib.Path) -> mujoco.MjModel:
    """Loads the scene, with its official view as a camera named `CAMERA`."""
    spec = mujoco.MjSpec.from_file(str(path))
    azimuth, elevation = np.radians([_AZIMUTH, _ELEVATION])
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(right, forward), -forward], axis=1).reshape(-1))
    spec.worldbody.add_camera(
        name=CAMERA,
        pos=cast(Sequence[float], _LOOK_AT - _DISTANCE * forward),
        quat=cast(Sequence[float], quat),
        fovy=float(spec.visual.global_.fovy),
    )
    return spec.compile()


def kitchen_view(size: int) -> View:
    """Returns RoboCLIP's whole 250x250 image as a view, drawn with `size` pixels on a side."""
    return View(camera=CAMERA, frame_height=250, frame_width=250, crop=250, size=size)


def start_poses(model: mujoco.MjModel) -> GeomPoses:
    """Returns the poses [1 G] of all geoms in the state from which an episode starts, as NumPy arrays."""
    data = mujoco.MjData(model)
    data.qpos[:] = _START
    mujoco.mj_forward(model, data)
    return GeomPoses.of_leaves(pos=data.geom_xpos[None].copy(), mat=data.geom_xmat.reshape(1, -1, 3, 3).copy())
