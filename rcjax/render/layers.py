"""Layers: the triangles of geoms in clusters, which the rasteriser draws one layer at a time. Host, NumPy."""

from collections.abc import Mapping

import jax
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from rcjax.pytree import PyTree
from rcjax.render import raster, shade, textures
from rcjax.render.meshes import Triangles


class Layer(PyTree):
    """K clusters of B triangles in their geom's frame; each cluster belongs to one geom.

    Corners are [.., corner, xyz, B], since the inner loops run over B. Normals and texture coordinates are
    [.., B, corner, 3], since they are gathered for single triangles. Geoms that look alike share one of the M
    materials. `coords` and `texture` are None if no geom has a texture.
    """

    corners: Float[Array, "K 3 3 B"]
    normals: Float[Array, "K B 3 3"]
    geom: Int[Array, " K"]  # row among the scene's fixed poses followed by the given poses
    material: Int[Array, " K"]  # row of `surface` and `texture`
    surface: shade.Surface  # of each of the M materials
    coords: Float[Array, "K B 3 3"] | None
    texture: textures.Mapping | None  # of each of the M materials

    @property
    def is_empty(self) -> bool:
        """Whether the layer has no triangles."""
        return self.geom.shape[0] == 0


def make_layer(
    model: mujoco.MjModel,
    parts: Mapping[int, Triangles],
    row: Mapping[int, int],
    mappings: Mapping[int, textures.Mapping],
) -> Layer:
    """Makes a layer of the triangles of some geoms.

    Args:
        model: The model.
        parts: The triangles of each geom, by its id.
        row: The row of each geom among the scene's fixed poses followed by the given poses.
        mappings: Where each texture lies in the atlas, by its id.
    """
    corners, normals, coords, geoms = [], [], [], []
    for geom, part in parts.items():
        texture_coords = textures.texture_coordinates(model, geom, part.unit, part.uv)
        for cluster in cluster_triangles(part.corners, raster.CLUSTER):
            corners.append(_padded_to_cluster(part.corners[cluster]).transpose(1, 2, 0))
            normals.append(_padded_to_cluster(part.normals[cluster]))
            coords.append(_padded_to_cluster(texture_coords[cluster]))
            geoms.append(geom)
    n_padding = -len(geoms) % raster.WORD
    padded = geoms + geoms[:1] * n_padding
    surface, texture, material_of = _materials(model, list(parts), mappings)
    textured = any(textures.geom_texture(model, g) != textures.NO_TEXTURE for g in parts)
    return Layer.of_leaves(
        corners=_stack(corners, (3, 3, raster.CLUSTER), n_padding),
        normals=_stack(normals, (raster.CLUSTER, 3, 3), n_padding),
        geom=np.array([row[g] for g in padded], np.int32),
        material=np.array([material_of[g] for g in padded], np.int32),
        surface=surface,
        coords=_stack(coords, (raster.CLUSTER, 3, 3), n_padding) if textured else None,
        texture=texture if textured else None,
    )


def _materials(
    model: mujoco.MjModel, geoms: list[int], mappings: Mapping[int, textures.Mapping]
) -> tuple[shade.Surface, textures.Mapping, dict[int, int]]:
    """The distinct materials of the geoms, and each geom's row among them."""
    materials = {g: (shade.geom_surface(model, g), mappings[textures.geom_texture(model, g)]) for g in geoms}
    row_of_bytes: dict[bytes, int] = {}
    rows, row_of = [], {}
    for geom, material in materials.items():
        as_bytes = b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(material))
        if as_bytes not in row_of_bytes:
            row_of_bytes[as_bytes] = len(rows)
            rows.append(material)
        row_of[geom] = row_of_bytes[as_bytes]
    no_material = (shade.geom_surface(model, 0), mappings[textures.NO_TEXTURE])
    surface, texture = jax.tree.map(lambda *x: np.stack(x), *(rows or [no_material]))
    return surface, texture, row_of


def cluster_triangles(corners: Float[np.ndarray, "K 3 3"], size: int) -> list[Int[np.ndarray, " c"]]:
    """Splits triangles into groups of at most `size` that are close together and face similar directions.

    All groups except the last are full. Returns the indices of each group's triangles.
    """
    centre = corners.mean(axis=1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    spread = np.ptp(centre, axis=0).max() or 1.0
    features = np.concatenate([centre / spread, 0.3 * normal], axis=-1)
    groups = []

    def split(members):
        if len(members) <= size:
            groups.append(members)
            return
        axis = np.ptp(features[members], axis=0).argmax()
        members = members[np.argsort(features[members, axis], kind="stable")]
        n_first = size * max(1, round(len(members) / 2 / size))
        split(members[:n_first])
        split(members[n_first:])

    split(np.arange(len(corners)))
    return groups


def _padded_to_cluster(rows: Float[np.ndarray, "c 3 3"]) -> Float[np.ndarray, "B 3 3"]:
    full = np.zeros((raster.CLUSTER, 3, 3))
    full[: len(rows)] = rows
    return full


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], n_padding: int) -> np.ndarray:
    return np.concatenate([np.reshape(rows, (-1, *shape)), np.zeros((n_padding, *shape))]).astype(np.float32)
