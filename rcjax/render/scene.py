"""What `render_frames` draws: a model's layers of triangles, its lights and textures, and one camera."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from rcjax.pytree import PyTree
from rcjax.render import raster, shade, textures
from rcjax.render.camera import Camera
from rcjax.render.layers import Layer
from rcjax.render.shadows import ShadowMap
from rcjax.types import GeomPoses


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SceneStatic:
    """What shapes the program: part of the pytree's structure, not of its leaves."""

    size: int  # pixels on a side
    samples_per_side: int  # of a pixel
    mirror: bool  # whether left and right are swapped, and with them the places of a pixel's samples
    pose_geoms: tuple[int, ...]
    camera_geom: int  # row of the geom that carries the camera, in all poses; -1 for a camera that stands still
    directional: tuple[bool, ...]  # whether each light's rays are parallel
    shadow_lights: tuple[int, ...]  # the lights whose shadows are drawn
    shadow_size: int  # texels on a shadow map's side
    chunk: int  # tiles drawn at a time
    lookup: Literal["index", "factors"]  # how `rcjax.render.lookup` gets at what is seen

    @property
    def raster_size(self) -> int:
        """Samples on a picture's side."""
        return self.size * self.samples_per_side

    @property
    def grid(self) -> raster.Grid:
        """Where those samples lie."""
        return raster.Grid(self.raster_size, self.samples_per_side, self.mirror)


class Scene(PyTree):
    """What `render_frames` draws. `backdrop` is everything opaque that never moves, already drawn.

    Geoms that let light through are in the `transparent_layer`, however they move.
    """

    static: SceneStatic
    camera: Camera
    lights: shade.Lights
    atlas: textures.Atlas
    backdrop: raster.Picture
    shadow_maps: tuple[ShadowMap, ...]
    fixed_poses: GeomPoses
    episode_layer: Layer
    frame_layer: Layer
    transparent_layer: Layer

    @property
    def pose_geoms(self) -> tuple[int, ...]:
        """Ids of the geoms whose poses `render_frames` needs, in order."""
        return self.static.pose_geoms

    @property
    def size(self) -> int:
        """Pixels on a frame's side."""
        return self.static.size


def require_poses(scene: Any, poses: GeomPoses) -> None:
    """Raises ValueError unless these are floating-point poses [N F Gp] of the scene's `pose_geoms`."""
    n_geoms = len(scene.pose_geoms)
    pos, mat = jnp.shape(poses.pos), jnp.shape(poses.mat)
    real = all(jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in (poses.pos, poses.mat))
    if len(pos) != 4 or pos[2:] != (n_geoms, 3) or mat != (*pos, 3) or 0 in pos[:2] or not real:
        raise ValueError(
            f"poses of shapes {list(pos)} and {list(mat)}, {poses.pos.dtype} and {poses.mat.dtype}; expected floating-"
            f"point [N F {n_geoms} 3] and [N F {n_geoms} 3 3] of N episodes of F frames: take_poses picks the scene's "
            "geoms out of all."
        )
