"""A renderer of MuJoCo scenes in plain JAX: draws frames from geom poses.

`build_scene` turns a MuJoCo model and a `View` into a `Scene` on the host. `take_poses` selects the geom poses that the
scene needs, `render_frames` draws them, and `render_clips` draws them directly in S3D's layout. These functions are to
be called inside a jitted program; only `build_scene` jits for itself, to draw the backdrop once. `build_warp_scene`
makes a `WarpScene`, which MJX-Warp draws; all of these functions except `render_clips` take it, too.

Example:
    scene = build_scene(model, view=View(camera="corner2", size=64))
    frames = jax.jit(render_frames)(scene, take_poses(scene, poses))
"""

from jax import Array
from jaxtyping import Float, UInt8

from rcjax.render import draw as _draw
from rcjax.render import warp as _warp
from rcjax.render.build import build_scene
from rcjax.render.camera import View, camera_names
from rcjax.render.draw import render_clips
from rcjax.render.scene import Scene
from rcjax.render.warp import WarpScene, build_warp_scene
from rcjax.types import GeomPoses

__all__ = [
    "Scene",
    "View",
    "WarpScene",
    "build_scene",
    "build_warp_scene",
    "camera_names",
    "render_clips",
    "render_depth",
    "render_frames",
    "take_poses",
]


def take_poses(scene: Scene | WarpScene, poses: GeomPoses) -> GeomPoses:
    """Selects, from the poses of all geoms of the model [.. G], those that `render_frames` needs [.. Gp]."""
    return _draw.take_poses(scene, poses)


def render_frames(scene: Scene | WarpScene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """Draws F frames of each of N episodes.

    Args:
        scene: The scene. Drawing a `Scene` takes working memory in proportion to N F, so map over micro-batches of
            episodes. A `WarpScene` draws at most its `max_frames`.
        poses: The poses [N F Gp] of `scene.pose_geoms`, in metres.

    Returns:
        Frames as 8-bit RGB.

    Raises:
        ValueError: The poses are of other geoms or another layout, or more than a `WarpScene` draws.
    """
    return _warp.warp_frames(scene, poses) if isinstance(scene, WarpScene) else _draw.render_frames(scene, poses)


def render_depth(scene: Scene | WarpScene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """Returns the depth, in metres along the camera's axis, of what `render_frames` shows.

    It is the far plane's depth where nothing is visible. A `Scene`'s transparent surfaces are left out.
    """
    return _warp.warp_depth(scene, poses) if isinstance(scene, WarpScene) else _draw.render_depth(scene, poses)
