"""Draws reference images with MuJoCo's own OpenGL renderer, from geom poses and in the square of a `View`.

`mujoco.Renderer` needs an OpenGL context: set MUJOCO_GL=osmesa (software) or MUJOCO_GL=egl (a GPU) before Python
starts.
"""

import copy
from typing import Any, cast

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from rcjax.render import View
from rcjax.render.camera import find_camera
from rcjax.types import GeomPoses


class OpenGL:
    """A `mujoco.Renderer` for one view, to be used in a `with` statement.

    If `view.size == view.crop`, the full image is drawn and its centre square is cut out, as in RoboCLIP. For other
    sizes only that square is drawn, with the vertical field of view that just covers it. The rest is as in
    `mujoco.Renderer` by default, except that sites are left out: `rcjax.render` draws geoms only, and `rcjax.envs` adds
    a geom for each visible site.

    Args:
        model: The model.
        view: The camera, the square of its image, and the size of the frames.
        shadows: Whether shadows are drawn.
        samples: Requested samples per pixel, 0 or 1 for no multisampling. OpenGL may round the number; the property
            `samples` is what it chose.
        reflections: Whether reflections are drawn.
        cull: Whether surfaces are left out where they are seen from behind.

    Raises:
        ValueError: The camera is unknown or on a body that moves.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        view: View,
        *,
        shadows: bool = False,
        samples: int = 4,
        reflections: bool = True,
        cull: bool = True,
    ):
        self.view = view
        self._model = copy.copy(model)
        self._camera = find_camera(model, view.camera)
        if self._camera >= 0 and model.body_weldid[model.cam_bodyid[self._camera]]:
            raise ValueError(
                f"camera {view.camera!r} is on a body that moves, so geom poses do not determine its pose; "
                "use a camera with a fixed pose."
            )
        height, width = self._prepare(samples)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._is_upside_down = bool(view.upright and self._camera >= 0 and self._data.cam_xmat[self._camera][7] < 0)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._renderer = mujoco.Renderer(self._model, height, width)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = reflections
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = cull

    def _prepare(self, samples: int) -> tuple[int, int]:
        """Sets the copied model's field of view and buffers; returns the image's height and width."""
        view, quality = self.view, self._model.vis
        height, width = view.frame_height, view.frame_width
        if view.size != view.crop:
            self._narrow(view.crop / view.frame_height)
            height = width = view.size
        quality.global_.offheight, quality.global_.offwidth = height, width
        quality.quality.offsamples = 0 if samples < 2 else samples
        return height, width

    def _narrow(self, fraction: float) -> None:
        """Narrows the field of view to a fraction of the image's height."""

        def fovy(degrees: float) -> float:
            return float(np.degrees(2 * np.arctan(fraction * np.tan(np.radians(degrees) / 2))))

        if self._camera < 0:
            self._model.vis.global_.fovy = fovy(self._model.vis.global_.fovy)
        else:
            self._model.cam_fovy[self._camera] = fovy(self._model.cam_fovy[self._camera])

    @property
    def samples(self) -> int:
        """Samples per pixel of the OpenGL context; 0 without multisampling."""
        return int(cast(Any, self._renderer)._mjr_context.offSamples)

    def draw(self, poses: GeomPoses) -> UInt8[np.ndarray, "F H W 3"]:
        """Draws the poses `[F G]` of all geoms of the model; upright and mirrored as the view requires."""
        return np.stack([self.draw_frame(pos, mat) for pos, mat in zip(poses.pos, poses.mat, strict=True)])

    def draw_frame(self, pos: Float[np.ndarray, "G 3"], mat: Float[np.ndarray, "G 3 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """Draws one image of all geoms at the given poses, whatever the joint positions."""
        self._data.geom_xpos[:] = pos
        self._data.geom_xmat[:] = np.reshape(mat, (-1, 9))
        self._renderer.update_scene(self._data, camera=self._camera, scene_option=self._option)
        return self._as_viewed(self._renderer.render())

    def _as_viewed(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        view = self.view
        if view.size == view.crop:
            top, left = (view.frame_height - view.crop) // 2, (view.frame_width - view.crop) // 2
            image = image[top : top + view.crop, left : left + view.crop]
        if self._is_upside_down:
            image = image[::-1, ::-1]
        return (image[:, ::-1] if view.mirror else image).copy()

    def close(self) -> None:
        """Frees the OpenGL context."""
        self._renderer.close()

    def __enter__(self) -> "OpenGL":
        return self

    def __exit__(self, *_) -> None:
        self.close()
