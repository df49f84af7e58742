"""Interpolates depth, normal and texture coordinates at each pixel, from the triangle that the rasteriser found.

There are two methods. `by_index` reads the triangle's attributes once the nearest triangle is known: nine or more
gathers per pixel, which CPUs and GPUs do well. `by_varyings` makes the rasteriser pass the attributes on as varyings,
selected among a cluster's triangles by a comparison: dense arithmetic, which suits a TPU.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from rcjax.render import raster
from rcjax.render.layers import Layer
from rcjax.render.vectors import Vector, dot


class TexturePoint(NamedTuple):
    """Texture coordinates, and their change from one sample to the next along x and y."""

    coords: Vector
    along_x: Vector
    along_y: Vector


class SurfacePoint(NamedTuple):
    """What is visible at each pixel of C tiles. `normal` is in the camera's frame and not normalised."""

    depth: Float[Array, "C pixels"]
    normal: Vector
    texture: TexturePoint | None  # None in a layer without textures


def corner_weights(fragments: raster.Fragments) -> list[Array]:
    """Returns the weights of the triangle's corners at each pixel, whose sum is the inverse depth."""
    planes = fragments.planes()
    column, row = fragments.pixel_column[..., None], fragments.pixel_row[..., None]
    values = planes[..., 0] * column + planes[..., 1] * row + planes[..., 2]
    # A triangle seen edge-on may not reach the pixel's centre.
    is_drawn = (fragments.cluster >= 0) & (values.sum(axis=-1) > 0)
    return [jnp.where(is_drawn, values[..., k], 1.0) for k in range(3)]


def corners_by_index(
    layer: Layer, mat: Float[Array, "J G 3 3"], offset: Float[Array, "J G 3"], fragments: raster.Fragments
) -> list[tuple[Vector, Vector]]:
    """Reads position and normal of each corner of the triangle at each pixel, in the camera frame of its image.

    `mat` and `offset` are the geoms' poses in that frame.
    """
    cluster = jnp.maximum(fragments.cluster, 0)
    triangle, image, geom = cluster * raster.CLUSTER + fragments.lane, fragments.image[:, None], layer.geom[cluster]
    positions = layer.corners.transpose(0, 3, 1, 2).reshape(-1, 9)[triangle]
    normals = layer.normals.reshape(-1, 9)[triangle]
    rotation, translation = mat[image, geom], offset[image, geom]

    def rotated(rows: Array, corner: int) -> Vector:
        local = [rows[..., 3 * corner + axis] for axis in range(3)]
        return tuple(dot([rotation[..., row, axis] for axis in range(3)], local) for row in range(3))

    def placed(corner: int) -> Vector:
        return tuple(a + translation[..., axis] for axis, a in enumerate(rotated(positions, corner)))

    return [(placed(corner), rotated(normals, corner)) for corner in range(3)]


def by_index(layer: Layer, mat: Float[Array, "J G 3 3"], fragments: raster.Fragments) -> SurfacePoint:
    """Reads the attributes of the triangle at each pixel. `mat` rotates geoms into the camera frame of their image."""
    cluster = jnp.maximum(fragments.cluster, 0)
    triangle = cluster * raster.CLUSTER + fragments.lane
    edges, planes = corner_weights(fragments), fragments.planes()
    local = _interpolate(edges, layer.normals.reshape(-1, 9)[triangle])
    rotation = mat[fragments.image[:, None], layer.geom[cluster]]
    normal = tuple(dot([rotation[..., row, axis] for axis in range(3)], local) for row in range(3))
    depth = 1 / (edges[0] + edges[1] + edges[2])
    if layer.coords is None:
        return SurfacePoint(depth, normal, None)
    corners = layer.coords.reshape(-1, 9)[triangle]
    slopes = [[planes[..., k, axis] for k in range(3)] for axis in (0, 1)]
    texture = _texture_point(
        depth,
        _interpolate(edges, corners),
        [_interpolate(s, corners) for s in slopes],
        [s[0] + s[1] + s[2] for s in slopes],
    )
    return SurfacePoint(depth, normal, texture)


def varying_planes(
    layer: Layer, mat: Float[Array, "J G 3 3"], edges: Float[Array, "J K 3 3 B"]
) -> Float[Array, "J K A B"]:
    """Returns the A varyings of each triangle that `by_varyings` and `material_from_varyings` evaluate.

    They are coefficients (of the pixel's column, of its row, constant): of the normal divided by the depth, and in a
    layer with textures also of the texture coordinates divided by the depth, and of the inverse depth. The last
    varying is the material's index.
    """
    rotation = mat[:, layer.geom, :, :, None]

    def interpolated(corner: list[Vector]) -> list[Array]:
        return [
            dot([edges[:, :, k, factor] for k in range(3)], [corner[k][axis] for k in range(3)])
            for axis in range(3)
            for factor in range(3)
        ]

    normals = [[layer.normals[:, :, k, axis] for axis in range(3)] for k in range(3)]
    camera_normals = [tuple(dot([rotation[:, :, row, a] for a in range(3)], n) for row in range(3)) for n in normals]
    rows = interpolated(camera_normals)
    if layer.coords is not None:
        rows += interpolated([tuple(layer.coords[:, :, k, axis] for axis in range(3)) for k in range(3)])
        rows += [edges[:, :, 0, f] + edges[:, :, 1, f] + edges[:, :, 2, f] for f in range(3)]
    material = jnp.broadcast_to(layer.material[:, None].astype(jnp.float32), rows[0].shape)
    return jnp.stack([*rows, material], axis=2)


def material_from_varyings(fragments: raster.Fragments) -> Int[Array, "C pixels"]:
    """Index of the material at each pixel, 0 where nothing was drawn."""
    assert fragments.varyings is not None
    return fragments.varyings[-1].astype(jnp.int32)


def by_varyings(layer: Layer, fragments: raster.Fragments) -> SurfacePoint:
    """Evaluates the varyings of `varying_planes` at each pixel."""
    assert fragments.varyings is not None
    varyings, is_drawn = fragments.varyings, fragments.cluster >= 0

    def vector(first: int) -> Vector:
        planes = [[varyings[first + 3 * axis + factor] for factor in range(3)] for axis in range(3)]
        values = (p[0] * fragments.pixel_column + p[1] * fragments.pixel_row + p[2] for p in planes)
        return tuple(jnp.where(is_drawn, a, 1.0) for a in values)

    depth = 1 / raster.inverse_depth_of(fragments.depth_key)
    if layer.coords is None:
        return SurfacePoint(depth, vector(0), None)
    slopes = [tuple(varyings[9 + 3 * axis + factor] for axis in range(3)) for factor in (0, 1)]
    texture = _texture_point(depth, vector(9), slopes, [varyings[18], varyings[19]])
    return SurfacePoint(depth, vector(0), texture)


def _texture_point(
    depth: Array, coords_over_depth: Vector, slopes: list[Vector], depth_slopes: list[Array]
) -> TexturePoint:
    """Applies the quotient rule to coordinates / depth and 1 / depth, which are both linear in the image."""
    coords = tuple(c * depth for c in coords_over_depth)
    along = [
        tuple((s - c * change) * depth for s, c in zip(slope, coords, strict=True))
        for slope, change in zip(slopes, depth_slopes, strict=True)
    ]
    return TexturePoint(coords, *along)


def _interpolate(weights: list[Array], corners: Float[Array, "*batch 9"]) -> Vector:
    """The weighted sum of the vectors at three corners."""
    return tuple(dot(weights, [corners[..., 3 * k + axis] for k in range(3)]) for axis in range(3))
