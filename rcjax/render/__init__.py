"""Frames from geom poses, in plain JAX.

`build_scene` turns a MuJoCo model and a `View` into a `Scene` on the host; `take_poses` keeps the geom poses it needs;
`render_frames` draws them. Nothing here jits but the one-time drawing of the backdrop.
"""

from rcjax.render.camera import View, camera_names
from rcjax.render.scene import Scene, build_scene, render_depth, render_frames, take_poses

__all__ = ["Scene", "View", "build_scene", "camera_names", "render_depth", "render_frames", "take_poses"]
