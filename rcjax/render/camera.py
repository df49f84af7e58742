"""Cameras: which square of which MuJoCo camera's picture is drawn, and the ray through each of its pixels."""

import dataclasses

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.pytree import PyTree

FREE = "free"


@dataclasses.dataclass(frozen=True)
class View:
    """The square of a camera's picture that is drawn, and how many pixels it is drawn with.

    RoboCLIP's picture is 640x480 with the centre `crop` x `crop` taken (section 3 of arXiv:2310.07899 and its
    release). `size` draws that same square with `size` x `size` pixels.
    """

    camera: str = "corner2"  # a camera of the model, or "free" for the viewer's default
    frame_height: int = 480  # pixels of the full picture
    frame_width: int = 640
    crop: int = 250  # side of the centre square, in pixels of the full picture
    size: int = 250  # side of the square in pixels drawn
    mirror: bool = False  # swap left and right, as the release's frames were
    upright: bool = True  # turn by 180 degrees where the camera's up vector points down

    def __post_init__(self):
        if min(self.frame_height, self.frame_width, self.crop, self.size) < 1:
            raise ValueError(f"{self} has a side below 1; every side is a number of pixels.")
        if self.crop > min(self.frame_height, self.frame_width):
            raise ValueError(
                f"crop={self.crop} does not fit a picture of {self.frame_width}x{self.frame_height}; "
                f"take at most {min(self.frame_height, self.frame_width)}."
            )


class Camera(PyTree):
    """A pinhole camera. The ray of pixel (row, column) is (x0 + dx column, y0 + dy row, -1) in its frame.

    `mat`'s columns are the camera's right, up and backward axes; lengths are metres.
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
    """The names a `View` may give, in the model's order, then "free"."""
    return [model.camera(i).name for i in range(model.ncam)] + [FREE]


def find_camera(model: mujoco.MjModel, name: str) -> int:
    """Index of a named camera, -1 for "free"; ValueError for one that is unknown or cannot be drawn."""
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
    """The view's camera as it stands in `data` (whose kinematics must be up to date)."""
    cam = find_camera(model, view.camera)
    if cam < 0:
        pos, mat = _free_camera_pose(model)
        fovy = float(model.vis.global_.fovy)
    else:
        pos, mat = data.cam_xpos[cam], data.cam_xmat[cam].reshape(3, 3)
        fovy = float(model.cam_fovy[cam])
    x0, dx, y0, dy = _pixel_rays(view, fovy, turned=view.upright and mat[2, 1] < 0)
    extent = model.stat.extent
    return Camera(
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
    """The same camera elsewhere."""
    return camera.replace(pos=pos, mat=mat)  # pyright: ignore[reportAttributeAccessIssue]


def _pixel_rays(view: View, fovy: float, turned: bool) -> tuple[float, float, float, float]:
    """x0, dx, y0, dy of `Camera`; `fovy` (degrees) spans the full picture's height."""
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
    return bool(model.cam_orthographic[cam])
