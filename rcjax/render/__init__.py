"""Frames from geom poses, in plain JAX.

`build_scene` turns a MuJoCo model and a `View` into a `Scene` on the host; `take_poses` keeps the geom poses it needs;
`render_frames` draws them, `render_clips` straight into S3D's layout. Nothing here jits but the one-time drawing of the
backdrop. `build_warp_scene` makes a `WarpScene` for the same functions but `render_clips`, drawn by MJX-Warp instead.
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
    """Of the poses of all of the model's geoms [.. G], those that `render_frames` needs [.. Gp]."""
    return _draw.take_poses(scene, poses)  # pyright: ignore[reportArgumentType] (it reads pose_geoms alone)


def render_frames(scene: Scene | WarpScene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """Draw F frames of each of N episodes from the poses [N F Gp] of `scene.pose_geoms`.

    A `Scene`'s working memory is in proportion to N F: map over micro-batches of episodes. A `WarpScene` draws at
    most its `n_pictures`.
    """
    return _warp.warp_frames(scene, poses) if isinstance(scene, WarpScene) else _draw.render_frames(scene, poses)


def render_depth(scene: Scene | WarpScene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """Depth in metres along the camera's axis of what `render_frames` shows; the far plane's where nothing is."""
    return _warp.warp_depth(scene, poses) if isinstance(scene, WarpScene) else _draw.render_depth(scene, poses)
