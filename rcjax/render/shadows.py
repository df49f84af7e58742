"""Shadow maps: which surfaces a light that casts shadows reaches.

A map is the scene's depth seen from the light, drawn by the same rasteriser in the same three layers. MuJoCo draws
4096x4096 over the whole scene; here the map is laid over what the camera sees, and is smaller.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from rcjax.pytree import PyTree
from rcjax.render import raster, shade
from rcjax.render.camera import Camera
from rcjax.render.vectors import Vector

PUSH = 1.5  # texels by which surfaces seen at a slant are pushed from the light, so that none shades itself: MuJoCo's
_WIDEST_CONE = 160.0  # degrees; MuJoCo's
_MARGIN = 0.02  # of the window, round what the camera sees
# Float32 gives inverse depths to about this much of themselves, as they are sums over triangles of a texel or two.
_SPOT_TOLERANCE = 1e-4
_PARALLEL_TOLERANCE = 2e-4  # of `reach`


class ShadowMap(PyTree):
    """One light's view of what never moves; `camera` stands in the world, at the light.

    A directional light has a `reach`, in metres: its rays are parallel, `camera` counts columns and rows in metres, and
    what a depth key holds is not the inverse depth but what is left of the reach, 1 at the light and 0 at its end.
    """

    camera: Camera
    reach: Float[Array, ""] | None
    still: raster.Picture


def empty_map(
    model: mujoco.MjModel,
    lights: shade.Lights,
    light: int,
    near: float,
    seen: Float[np.ndarray, "P 3"],
    casting: Float[np.ndarray, "Q 3"],
    size: int,
) -> ShadowMap:
    """A light's map of `size` texels a side over the points that are `seen`, with nothing in it.

    It covers no more than MuJoCo's own map does: `vis.map.shadowclip` extents round a directional light's axis,
    `vis.map.shadowscale` of a spot's cone. A directional light reaches to the farthest of the points `seen` and
    `casting`. Host.
    """
    direction, pos = np.asarray(lights.direction[light]), np.asarray(lights.pos[light])
    mat = _looking_along(direction / np.linalg.norm(direction))
    local = (seen - pos) @ mat
    if lights.directional[light]:
        reach = 1.1 * max(float(-((points - pos) @ mat)[:, 2].min(initial=-near)) for points in (seen, casting))
        widest = model.vis.map.shadowclip * model.stat.extent
        low, high = _window(local[:, :2], widest)
        near, far = 1 / (1 - near / reach), np.inf
    else:
        reach = None
        cutoff = np.degrees(np.arccos(lights.cutoff_cosine[light]))
        widest = np.tan(np.radians(min(2 * cutoff * model.vis.map.shadowscale, _WIDEST_CONE)) / 2)
        ahead = local[local[:, 2] < -near]
        low, high = _window(ahead[:, :2] / -ahead[:, 2:], widest)
        far = model.vis.map.zfar * model.stat.extent
    step = (high - low) / size
    numbers = {
        "x0": low[0] + step[0] / 2, "dx": step[0], "y0": high[1] - step[1] / 2, "dy": -step[1], "near": near, "far": far
    }  # fmt: skip
    camera = Camera(pos=np.float32(pos), mat=np.float32(mat), **{key: np.float32(x) for key, x in numbers.items()})
    tiles = raster.tiles_per_side(size)
    key = raster.empty_key(camera, (1, tiles * tiles, raster.TILE**2))
    still = raster.Picture(colour=np.zeros((*key.shape, 0), np.uint32), key=key)
    return ShadowMap(camera=camera, reach=None if reach is None else np.float32(reach), still=still)


def _window(points: Float[np.ndarray, "P 2"], widest: float) -> tuple[np.ndarray, np.ndarray]:
    if not len(points):
        return np.full(2, -widest), np.full(2, widest)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * (high - low) + 1e-6
    low, high = np.clip(low - margin, -widest, widest), np.clip(high + margin, -widest, widest)
    empty = high - low < 1e-9
    return np.where(empty, -widest, low), np.where(empty, widest, high)


def _looking_along(direction: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """A camera's right, up and backward axes as columns."""
    aside = np.eye(3)[np.abs(direction).argmin()]
    right = np.cross(direction, aside)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, direction), -direction], axis=1)


def project(shadow_map: ShadowMap, corners: raster.Corners) -> raster.Corners:
    """Corners in the light's frame to where a pinhole at the light sees them as they are to be drawn.

    Parallel rays meet a pinhole's picture if each corner is moved along its ray to the inverse of what a depth key
    is to hold there.
    """
    reach = shadow_map.reach
    if reach is None:
        return corners

    def moved(x: Array, y: Array, z: Array) -> Vector:
        depth = 1 / jnp.maximum(1 + z / reach, 1e-3)
        return x * depth, y * depth, -depth

    first, second, third = (moved(*corner) for corner in corners)
    return first, second, third


def lit(
    shadow_map: ShadowMap, key: Int[Array, "J tiles pixels"], size: int, point: Vector
) -> Float[Array, "J *pixels"]:
    """The part of the light, 0 to 1, that reaches points of the world [J ..]: 1 outside the map.

    The four texels round a point are compared with it, and their answers blended. `key` is the map with all that moves.
    """
    camera = shadow_map.camera
    x, y, z = (sum(camera.mat[i, axis] * (point[i] - camera.pos[i]) for i in range(3)) for axis in range(3))
    if shadow_map.reach is None:
        depth = jnp.maximum(-z, camera.near)
        x, y, hidden_beyond = x / depth, y / depth, (1 + _SPOT_TOLERANCE) / depth
    else:
        hidden_beyond = 1 + z / shadow_map.reach + _PARALLEL_TOLERANCE
    u, v = (x - camera.x0) / camera.dx, (y - camera.y0) / camera.dy
    left, top = jnp.floor(u), jnp.floor(v)
    across, down = u - left, v - top
    texels = key.reshape(key.shape[0], -1)
    picture = jnp.arange(key.shape[0]).reshape(-1, *[1] * (u.ndim - 1))
    total = jnp.zeros_like(u)
    for column, row, weight in (
        (left, top, (1 - across) * (1 - down)),
        (left + 1, top, across * (1 - down)),
        (left, top + 1, (1 - across) * down),
        (left + 1, top + 1, across * down),
    ):
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        at = raster.pixel_index(jnp.clip(column, 0, size - 1), jnp.clip(row, 0, size - 1), size)
        nearest = raster.inverse_depth_of(texels[picture, at])
        total += weight * jnp.where(inside & (nearest > hidden_beyond), 0.0, 1.0)
    return total
