"""Shadow maps: they tell which surfaces are lit by a light that casts shadows.

A shadow map is the scene's depth seen from the light, drawn by the same rasteriser in the same three layers. MuJoCo's
covers the whole scene with 4096x4096 texels; here the map covers only what the camera sees, and is smaller.
"""

from typing import cast

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from rcjax.pytree import PyTree
from rcjax.render import raster, shade
from rcjax.render.camera import Camera
from rcjax.render.vectors import Vector

SLOPE_SCALED_BIAS = 1.5  # texels; a slope-scaled depth bias, so that surfaces do not shadow themselves; MuJoCo's value
_WIDEST_CONE = 160.0  # degrees; MuJoCo's value
_MARGIN = 0.02  # fraction of the window that is added around what the camera sees
# Relative error of inverse depths in float32, as they are sums over triangles of a texel or two.
_SPOT_TOLERANCE = 1e-4
_PARALLEL_TOLERANCE = 2e-4  # fraction of `reach`


class ShadowMap(PyTree):
    """One light's depth view of the scene; `camera` is at the light, and `static_depth` holds what never moves.

    `reach` is None for a light with a position. A directional light has a `reach` in metres: its rays are parallel,
    `camera` measures columns and rows in metres, and a depth key holds not the inverse depth but the remaining
    fraction of the reach, which is 1 at the light and 0 at the end.
    """

    camera: Camera
    reach: Float[Array, ""] | None
    static_depth: raster.Framebuffer


def empty_shadow_map(
    model: mujoco.MjModel,
    lights: shade.Lights,
    light: int,
    near: float,
    visible_points: Float[np.ndarray, "P 3"],
    caster_points: Float[np.ndarray, "Q 3"],
    size: int,
) -> ShadowMap:
    """Returns an empty shadow map over what the camera sees. Runs on the host, in NumPy.

    The map covers no more than MuJoCo's own does: `vis.map.shadowclip` extents around a directional light's axis,
    `vis.map.shadowscale` times a spot light's cone.

    Args:
        model: The model, for MuJoCo's limits.
        lights: The scene's lights.
        light: Index of the light.
        near: Distance in metres from the light at which shadows begin.
        visible_points: Points of the world that the camera sees, which the map covers.
        caster_points: Points that may cast shadows. A directional light reaches as far as the farthest of both kinds.
        size: Texels along the map's side.
    """
    direction, pos = np.asarray(lights.direction[light]), np.asarray(lights.pos[light])
    mat = _looking_along(direction / np.linalg.norm(direction))
    local = (visible_points - pos) @ mat
    if lights.directional[light]:
        reach = 1.1 * max(
            float(-((points - pos) @ mat)[:, 2].min(initial=-near)) for points in (visible_points, caster_points)
        )
        half_side_limit = model.vis.map.shadowclip * model.stat.extent
        low, high = _covered_window(local[:, :2], half_side_limit)
        near, far = 1 / (1 - near / reach), np.inf
    else:
        reach = None
        cutoff = np.degrees(np.arccos(lights.cutoff_cosine[light]))
        half_side_limit = cast(float, np.tan(np.radians(min(2 * cutoff * model.vis.map.shadowscale, _WIDEST_CONE)) / 2))
        ahead = local[local[:, 2] < -near]
        low, high = _covered_window(ahead[:, :2] / -ahead[:, 2:], half_side_limit)
        far = model.vis.map.zfar * model.stat.extent
    step = (high - low) / size
    rays = {
        "x0": low[0] + step[0] / 2, "dx": step[0], "y0": high[1] - step[1] / 2, "dy": -step[1], "near": near, "far": far
    }  # fmt: skip
    camera = Camera.of_leaves(
        pos=np.float32(pos), mat=np.float32(mat), **{name: np.float32(x) for name, x in rays.items()}
    )
    tiles = raster.tiles_per_side(size)
    depth_key = raster.empty_depth_key(camera, (1, tiles * tiles, raster.TILE**2))
    static_depth = raster.Framebuffer.of_leaves(colour=np.zeros((*depth_key.shape, 0), np.uint32), depth_key=depth_key)
    return ShadowMap.of_leaves(
        camera=camera, reach=None if reach is None else np.float32(reach), static_depth=static_depth
    )


def _covered_window(points: Float[np.ndarray, "P 2"], half_side_limit: float) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest corner of the window around points, within the limit."""
    if not len(points):
        return np.full(2, -half_side_limit), np.full(2, half_side_limit)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * (high - low) + 1e-6
    low, high = (
        np.clip(low - margin, -half_side_limit, half_side_limit),
        np.clip(high + margin, -half_side_limit, half_side_limit),
    )
    empty = high - low < 1e-9
    return np.where(empty, -half_side_limit, low), np.where(empty, half_side_limit, high)


def _looking_along(direction: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """A camera's right, up and backward axes as columns."""
    least_aligned_axis = np.eye(3)[np.abs(direction).argmin()]
    right = np.cross(direction, least_aligned_axis)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, direction), -direction], axis=1)


def project(shadow_map: ShadowMap, corners: raster.Corners) -> raster.Corners:
    """Moves corners in the light's frame so that a pinhole camera at the light draws them as the map needs them.

    For parallel rays, each corner is scaled so that its depth is the inverse of what its depth key has to hold. The
    pinhole camera then sees it at its own column and row.
    """
    reach = shadow_map.reach
    if reach is None:
        return corners

    def as_pinhole(x: Array, y: Array, z: Array) -> Vector:
        depth = 1 / jnp.maximum(1 + z / reach, 1e-3)
        return x * depth, y * depth, -depth

    first, second, third = (as_pinhole(*corner) for corner in corners)
    return first, second, third


def lit_fraction(
    shadow_map: ShadowMap, depth_key: Int[Array, "J tiles pixels"], size: int, point: Vector
) -> Float[Array, "J *pixels"]:
    """Returns which fraction of the light, from 0 to 1, reaches points of the world [J ..]; 1 outside the map.

    The point is compared with the four texels around it, and the results are interpolated (percentage-closer
    filtering). `depth_key` is the shadow map with everything drawn, `size` its side in texels.
    """
    camera = shadow_map.camera
    x, y, z = (sum(camera.mat[i, axis] * (point[i] - camera.pos[i]) for i in range(3)) for axis in range(3))
    if shadow_map.reach is None:
        depth = jnp.maximum(-z, camera.near)
        x, y, shadowed_above = x / depth, y / depth, (1 + _SPOT_TOLERANCE) / depth
    else:
        shadowed_above = 1 + z / shadow_map.reach + _PARALLEL_TOLERANCE
    u, v = (x - camera.x0) / camera.dx, (y - camera.y0) / camera.dy
    left, top = jnp.floor(u), jnp.floor(v)
    across, down = u - left, v - top
    texels = depth_key.reshape(depth_key.shape[0], -1)
    image = jnp.arange(depth_key.shape[0]).reshape(-1, *[1] * (u.ndim - 1))
    total = jnp.zeros_like(u)
    for column, row, weight in (
        (left, top, (1 - across) * (1 - down)),
        (left + 1, top, across * (1 - down)),
        (left, top + 1, (1 - across) * down),
        (left + 1, top + 1, across * down),
    ):
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        pixel = raster.pixel_index(jnp.clip(column, 0, size - 1), jnp.clip(row, 0, size - 1), size)
        nearest = raster.inverse_depth_of(texels[image, pixel])
        total += weight * jnp.where(inside & (nearest > shadowed_above), 0.0, 1.0)
    return total
