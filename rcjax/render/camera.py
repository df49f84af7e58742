"""Cameras: which square of a MuJoCo camera's image is drawn, and the ray through each of its pixels."""

import dataclasses

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.pytree import PyTree

FREE = "free"


@dataclasses.dataclass(frozen=True)
class View:
    """The centre square of a camera's image, and the number of pixels it is drawn with.

    RoboCLIP renders 640x480 pixels and cuts out the centre `crop` x `crop` (section 3 of arXiv:2310.07899 and its
    release). The same square is drawn here with `size` x `size` pixels.

    Raises ValueError if a side is below 1 or the crop is larger than the frame.
    """

    camera: str = "corner2"  # a camera of the model, or "free" for the viewer's default
    frame_height: int = 480  # pixels of the full image
    frame_width: int = 640
    crop: int = 250  # side of the centre square, in pixels of the full image
    size: int = 250  # side of the square, in pixels drawn
    mirror: bool = False  # swap left and right, as in the release's frames
    upright: bool = True  # rotate by 180 degrees if the camera's up vector points down

    def __post_init__(self):
        if min(self.frame_height, self.frame_width, self.crop, self.size) < 1:
            raise ValueError(f"{self} has a side below 1; every side is a number of pixels.")
        if self.crop > min(self.frame_height, self.frame_width):
            raise ValueError(
                f"crop={self.crop} does not fit a frame of {self.frame_width}x{self.frame_height}; "
                f"give at most {min(self.frame_height, self.frame_width)}."
            )


class Camera(PyTree):
    """A pinhole camera. The ray of pixel (row, column) is (x0 + dx column, y0 + dy row, -1) in its frame.

    The columns of `mat` are the camera's right, up and backward axes in the world. Lengths are in metres.
    """

    pos: Float[Array, "*batch 3"]
    mat: Float[Array, "*batch 3 3"]
    x0: Float[Array, ""]
    dx: Float[Array, ""]
    y0: Float[Array, ""]
    dy: Float[Array, ""]
    near: Float[Array, ""]
    far: Float[Array, ""]


def camera_names(model: mujoco.MjModel) -> list[str]:
    """Returns the camera names that a `View` may have: the model's in their order, then "free"."""
    return [model.camera(i).name for i in range(model.ncam)] + [FREE]


def find_camera(model: mujoco.MjModel, name: str) -> int:
    """Returns the index of a named camera, -1 for "free".

    Raises:
        ValueError: The camera is unknown, given by its sensor size, or orthographic.
    """
    names = camera_names(model)
    if name not in names:
        raise ValueError(f"camera {name!r} is not in the model; it has {', '.join(names)}.")
    cam = -1 if name == FREE else names.index(name)
    if cam >= 0 and model.cam_sensorsize[cam].any():
        raise ValueError(f"camera {name!r} is given by its sensor size; only cameras given by fovy can be drawn.")
    if cam >= 0 and _is_orthographic(model, cam):
        raise ValueError(f"camera {name!r} is orthographic; only perspective cameras can be drawn.")
    return cam


def make_camera(model: mujoco.MjModel, data: mujoco.MjData, view: View) -> Camera:
    """Returns the view's camera at its pose in `data`, whose kinematics must be up to date. NumPy arrays."""
    cam = find_camera(model, view.camera)
    if cam < 0:
        pos, mat = _free_camera_pose(model)
        fovy = float(model.vis.global_.fovy)
    else:
        pos, mat = data.cam_xpos[cam], data.cam_xmat[cam].reshape(3, 3)
        fovy = float(model.cam_fovy[cam])
    x0, dx, y0, dy = _pixel_rays(view, fovy, turned=view.upright and mat[2, 1] < 0)
    extent = model.stat.extent
    return Camera.of_leaves(
        pos=np.asarray(pos, np.float32),
        mat=np.asarray(mat, np.float32),
        x0=np.float32(x0),
        dx=np.float32(dx),
        y0=np.float32(y0),
        dy=np.float32(dy),
        near=np.float32(model.vis.map.znear * extent),
        far=np.float32(model.vis.map.zfar * extent),
    )


def place_camera(camera: Camera, pos: Float[Array, "*batch 3"], mat: Float[Array, "*batch 3 3"]) -> Camera:
    """Returns the camera moved to another position and orientation."""
    return camera.replace(pos=pos, mat=mat)


def _pixel_rays(view: View, fovy: float, turned: bool) -> tuple[float, float, float, float]:
    """x0, dx, y0, dy of a `Camera`; `fovy` in degrees spans the height of the full image."""
    per_pixel = 2 * np.tan(np.radians(fovy) / 2) / view.frame_height
    left, top = (view.frame_width - view.crop) // 2, (view.frame_height - view.crop) // 2
    step = view.crop / view.size
    x0 = (left + step / 2 - view.frame_width / 2) * per_pixel
    y0 = (view.frame_height / 2 - top - step / 2) * per_pixel
    dx, dy = step * per_pixel, -step * per_pixel
    last = view.size - 1
    if turned:
        y0, dy = y0 + last * dy, -dy
    if turned != view.mirror:
        x0, dx = x0 + last * dx, -dx
    return x0, dx, y0, dy


def _free_camera_pose(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Position and axes of the camera that MuJoCo's viewer starts with."""
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    mat = np.stack([right, np.cross(right, forward), -forward], axis=1)
    return camera.lookat - camera.distance * forward, mat


def _is_orthographic(model: mujoco.MjModel, cam: int) -> bool:
    if hasattr(model, "cam_projection"):
        return int(model.cam_projection[cam]) != int(mujoco.mjtProjection.mjPROJ_PERSPECTIVE)
    return bool(getattr(model, "cam_orthographic")[cam])  # noqa: B009 (older releases of MuJoCo)
