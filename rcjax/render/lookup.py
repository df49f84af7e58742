"""What is seen at a pixel: its depth, normal and texture coordinates, of the triangle that the rasteriser found.

Two ways to it. `by_index` reads the triangle's own numbers once the nearest is known: nine or more scattered reads a
pixel, which CPUs and GPUs do well. `by_factors` has the rasteriser carry along what is needed, chosen among a cluster's
triangles by a comparison: dense arithmetic, as a TPU wants it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from rcjax.render import raster
from rcjax.render.layers import Layer
from rcjax.render.vectors import Vector, dot


class TexturePoint(NamedTuple):
    """Texture coordinates, and what they change by from one sample to the next."""

    coords: Vector
    along_x: Vector
    along_y: Vector


class Point(NamedTuple):
    """At each pixel of C tiles. `normal` is in the camera's frame, of any length."""

    depth: Float[Array, "C pixels"]
    normal: Vector
    texture: TexturePoint | None  # None in a layer without textures


def by_index(layer: Layer, mat: Float[Array, "J G 3 3"], hits: raster.Hits) -> Point:
    """Reads the triangle at each pixel. `mat` rotates geoms into their picture's camera frame."""
    cluster, seen = jnp.maximum(hits.cluster, 0), hits.cluster >= 0
    triangle = cluster * raster.CLUSTER + hits.lane
    planes = hits.planes()
    column, row = hits.centre_column[..., None], hits.centre_row[..., None]
    at = planes[..., 0] * column + planes[..., 1] * row + planes[..., 2]
    seen &= at.sum(axis=-1) > 0  # a triangle seen edgeways may end before the pixel's centre
    edges = [jnp.where(seen, at[..., k], 1.0) for k in range(3)]
    local = _blend(edges, layer.normals.reshape(-1, 9)[triangle])
    turn = mat[hits.picture[:, None], layer.geom[cluster]]
    normal = tuple(dot([turn[..., row, axis] for axis in range(3)], local) for row in range(3))
    depth = 1 / (edges[0] + edges[1] + edges[2])
    if layer.coords is None:
        return Point(depth, normal, None)
    corners = layer.coords.reshape(-1, 9)[triangle]
    slopes = [[planes[..., k, axis] for k in range(3)] for axis in (0, 1)]
    texture = _texture_point(
        depth, _blend(edges, corners), [_blend(s, corners) for s in slopes], [s[0] + s[1] + s[2] for s in slopes]
    )
    return Point(depth, normal, texture)


def factors(layer: Layer, mat: Float[Array, "J G 3 3"], edges: Float[Array, "J K 3 3 B"]) -> Float[Array, "J K A B"]:
    """What `by_factors` and `carried_material` need carried along.

    Factors of a pixel's column, its row and one: of the normal over the depth, and in a layer with textures of their
    coordinates over the depth and of the inverse depth. Last, the material's number.
    """
    turn = mat[:, layer.geom, :, :, None]

    def blended(corner: list[Vector]) -> list[Array]:
        return [
            dot([edges[:, :, k, factor] for k in range(3)], [corner[k][axis] for k in range(3)])
            for axis in range(3)
            for factor in range(3)
        ]

    normals = [[layer.normals[:, :, k, axis] for axis in range(3)] for k in range(3)]
    turned = [tuple(dot([turn[:, :, row, a] for a in range(3)], n) for row in range(3)) for n in normals]
    rows = blended(turned)
    if layer.coords is not None:
        rows += blended([tuple(layer.coords[:, :, k, axis] for axis in range(3)) for k in range(3)])
        rows += [edges[:, :, 0, f] + edges[:, :, 1, f] + edges[:, :, 2, f] for f in range(3)]
    number = jnp.broadcast_to(layer.material[:, None].astype(jnp.float32), rows[0].shape)
    return jnp.stack([*rows, number], axis=2)


def carried_material(hits: raster.Hits) -> Int[Array, "C pixels"]:
    """The number of the material at each pixel, 0 where nothing was drawn."""
    assert hits.carried is not None
    return hits.carried[:, -1].astype(jnp.int32)


def by_factors(layer: Layer, hits: raster.Hits) -> Point:
    """Evaluates what `factors` had carried along."""
    assert hits.carried is not None
    carried, seen = hits.carried, hits.cluster >= 0

    def vector(first: int) -> Vector:
        planes = [[carried[:, first + 3 * axis + factor] for factor in range(3)] for axis in range(3)]
        at = (p[0] * hits.centre_column + p[1] * hits.centre_row + p[2] for p in planes)
        return tuple(jnp.where(seen, a, 1.0) for a in at)

    depth = 1 / raster.inverse_depth_of(hits.key)
    if layer.coords is None:
        return Point(depth, vector(0), None)
    slopes = [tuple(carried[:, 9 + 3 * axis + factor] for axis in range(3)) for factor in (0, 1)]
    texture = _texture_point(depth, vector(9), slopes, [carried[:, 18], carried[:, 19]])
    return Point(depth, vector(0), texture)


def _texture_point(depth: Array, over_depth: Vector, slopes: list[Vector], depth_slopes: list[Array]) -> TexturePoint:
    """By the quotient rule, from coordinates over the depth and the inverse depth, which are linear in the picture."""
    coords = tuple(c * depth for c in over_depth)
    along = [
        tuple((s - c * change) * depth for s, c in zip(slope, coords, strict=True))
        for slope, change in zip(slopes, depth_slopes, strict=True)
    ]
    return TexturePoint(coords, *along)


def _blend(weights: list[Array], corners: Float[Array, "*batch 9"]) -> Vector:
    """Vectors at three corners, weighted and added up."""
    return tuple(dot(weights, [corners[..., 3 * k + axis] for k in range(3)]) for axis in range(3))
