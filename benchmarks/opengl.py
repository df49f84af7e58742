"""Reference pictures: the same geom poses drawn by MuJoCo's own OpenGL renderer, in the square that a `View` names.

`mujoco.Renderer` needs an OpenGL context: set MUJOCO_GL=osmesa (software) or MUJOCO_GL=egl (a GPU) before Python
starts.
"""

import copy

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from rcjax.render import View
from rcjax.render.camera import find_camera
from rcjax.types import GeomPoses


class OpenGL:
    """A `mujoco.Renderer` before one view; use it in a `with` statement.

    At `view.size == view.crop` the full picture is drawn and its centre square cut out, as RoboCLIP does; other sizes
    draw that square alone, with the vertical field of view that just covers it. `mujoco.Renderer`'s defaults otherwise,
    but that sites are left out: `rcjax.render` draws geoms only, and `rcjax.envs` puts a geom where a site is visible.
    `samples` (per pixel, 0 or 1 for none) is a request that OpenGL may round: `samples` of the object is what came.
    """

    def __init__(
        self, model: mujoco.MjModel, view: View, *, shadows: bool = False, samples: int = 4, reflections: bool = True
    ):
        """Raises ValueError for a camera that is unknown or on a body that moves."""
        self.view = view
        self._model = copy.copy(model)
        self._camera = find_camera(model, view.camera)
        if self._camera >= 0 and model.body_weldid[model.cam_bodyid[self._camera]]:
            raise ValueError(
                f"camera {view.camera!r} is on a body that moves, so geom poses do not tell where it stands; "
                "take a camera of the world."
            )
        height, width = self._prepare(samples)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._turned = bool(view.upright and self._camera >= 0 and self._data.cam_xmat[self._camera][7] < 0)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._renderer = mujoco.Renderer(self._model, height, width)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = reflections

    def _prepare(self, samples: int) -> tuple[int, int]:
        """Set the copied model's field of view and buffers; the picture's height and width."""
        view, quality = self.view, self._model.vis
        height, width = view.frame_height, view.frame_width
        if view.size != view.crop:
            self._narrow(view.crop / view.frame_height)
            height = width = view.size
        quality.global_.offheight, quality.global_.offwidth = height, width
        quality.quality.offsamples = 0 if samples < 2 else samples
        return height, width

    def _narrow(self, part: float) -> None:
        def fovy(degrees: float) -> float:
            return float(np.degrees(2 * np.arctan(part * np.tan(np.radians(degrees) / 2))))

        if self._camera < 0:
            self._model.vis.global_.fovy = fovy(self._model.vis.global_.fovy)
        else:
            self._model.cam_fovy[self._camera] = fovy(self._model.cam_fovy[self._camera])

    @property
    def samples(self) -> int:
        """Samples per pixel that the context has; 0 without multisampling."""
        return int(self._renderer._mjr_context.offSamples)  # pyright: ignore[reportOptionalMemberAccess]

    def draw(self, poses: GeomPoses) -> UInt8[np.ndarray, "F H W 3"]:
        """Pictures of the poses `[F G]` of all of the model's geoms, upright and mirrored as the view says."""
        return np.stack([self.picture(pos, mat) for pos, mat in zip(poses.pos, poses.mat, strict=True)])

    def picture(self, pos: Float[np.ndarray, "G 3"], mat: Float[np.ndarray, "G 3 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """One picture of geoms at these poses, whatever the joint positions."""
        self._data.geom_xpos[:] = pos
        self._data.geom_xmat[:] = np.reshape(mat, (-1, 9))
        self._renderer.update_scene(self._data, camera=self._camera, scene_option=self._option)
        return self._as_viewed(self._renderer.render())

    def _as_viewed(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        view = self.view
        if view.size == view.crop:
            top, left = (view.frame_height - view.crop) // 2, (view.frame_width - view.crop) // 2
            picture = picture[top : top + view.crop, left : left + view.crop]
        if self._turned:
            picture = picture[::-1, ::-1]
        return (picture[:, ::-1] if view.mirror else picture).copy()

    def close(self) -> None:
        self._renderer.close()

    def __enter__(self) -> "OpenGL":
        return self

    def __exit__(self, *_) -> None:
        self.close()
