"""The scene that `render_frames` draws: a model's triangles in layers, its lights and textures, and one camera."""

import dataclasses
from typing import Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from rcjax.pytree import PyTree
from rcjax.render import raster, shade, textures
from rcjax.render.camera import Camera
from rcjax.render.layers import Layer
from rcjax.render.shadows import ShadowMap
from rcjax.types import GeomPoses


@runtime_checkable
class HasPoseGeoms(Protocol):
    """A scene of either renderer, as far as `take_poses` and `require_poses` need to know it."""

    @property
    def pose_geoms(self) -> tuple[int, ...]: ...


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SceneStatic:
    """What a program is compiled for. It belongs to the pytree's structure, not to its leaves."""

    size: int  # pixels along a frame's side
    samples_per_side: int  # samples along a pixel's side
    mirror: bool  # whether left and right are swapped, and with them the samples within a pixel
    pose_geoms: tuple[int, ...]  # ids of the geoms whose poses are given
    camera_geom: int  # row, among all poses, of the geom that carries the camera; -1 for a fixed camera
    directional: tuple[bool, ...]  # whether each light's rays are parallel
    shadow_lights: tuple[int, ...]  # the lights whose shadows are drawn
    shadow_size: int  # texels along a shadow map's side
    cull: bool  # whether opaque surfaces are left out where they are seen from behind
    chunk: int  # tiles drawn at a time
    tile_loop: raster.TileLoop  # what draws them
    backdrop_lighting: Literal["pixel", "vertex"]  # where the light on what never moves is computed
    lookup: Literal["index", "varyings"]  # how `rcjax.render.lookup` interpolates attributes

    @property
    def raster_size(self) -> int:
        """Samples along a frame's side."""
        return self.size * self.samples_per_side

    @property
    def grid(self) -> raster.Grid:
        """Where the samples lie."""
        return raster.Grid(self.raster_size, self.samples_per_side, self.mirror)


class Scene(PyTree):
    """The scene that `render_frames` draws. `backdrop` holds everything opaque that never moves, already drawn.

    Geoms with an alpha below 1 are in the `transparent_layer`, however often they move.
    """

    static: SceneStatic
    camera: Camera
    lights: shade.Lights
    atlas: textures.Atlas
    backdrop: raster.Framebuffer
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
        """Pixels along a frame's side."""
        return self.static.size


def require_poses(scene: HasPoseGeoms, poses: GeomPoses) -> None:
    """Raises ValueError unless these are floating-point poses [N F Gp] of the scene's `pose_geoms`."""
    n_geoms = len(scene.pose_geoms)
    pos, mat = jnp.shape(poses.pos), jnp.shape(poses.mat)
    real = all(jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in (poses.pos, poses.mat))
    if len(pos) != 4 or pos[2:] != (n_geoms, 3) or mat != (*pos, 3) or 0 in pos[:2] or not real:
        raise ValueError(
            f"poses of shapes {list(pos)} and {list(mat)}, {poses.pos.dtype} and {poses.mat.dtype}; expected floating-"
            f"point [N F {n_geoms} 3] and [N F {n_geoms} 3 3] for N episodes of F frames: take_poses selects the "
            "scene's geoms among all."
        )
