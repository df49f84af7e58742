"""Geoms' triangles in clusters: what the rasteriser draws, a layer at a time. Host, NumPy."""

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
    """K clusters of B triangles, each cluster of one geom: in the geom's frame.

    Corners are [.., corner, xyz, B], as the inner loops go over B; normals and texture coordinates [.., B, corner, 3],
    as single triangles are looked up. Geoms that look alike share one of the M materials. `coords` and `texture` are
    None where no geom has a texture.
    """

    corners: Float[Array, "K 3 3 B"]
    normals: Float[Array, "K B 3 3"]
    geom: Int[Array, " K"]  # row of the scene's fixed poses, then of the poses given
    material: Int[Array, " K"]
    surface: shade.Surface  # of each of M materials
    coords: Float[Array, "K B 3 3"] | None
    texture: textures.Mapping | None  # of each of M materials

    @property
    def is_empty(self) -> bool:
        return self.geom.shape[0] == 0


def make_layer(
    model: mujoco.MjModel,
    parts: Mapping[int, Triangles],
    row: Mapping[int, int],
    mappings: Mapping[int, textures.Mapping],
) -> Layer:
    """The triangles of some geoms; `row` is each geom's place among all poses, `mappings` are by texture id."""
    corners, normals, coords, geoms = [], [], [], []
    for geom, part in parts.items():
        mapped = textures.texture_coordinates(model, geom, part.unit, part.uv)
        for cluster in cluster_triangles(part.corners, raster.CLUSTER):
            corners.append(_padded(part.corners[cluster]).transpose(1, 2, 0))
            normals.append(_padded(part.normals[cluster]))
            coords.append(_padded(mapped[cluster]))
            geoms.append(geom)
    spare = -len(geoms) % raster.WORD
    padded = geoms + geoms[:1] * spare
    surface, texture, material_of = _materials(model, list(parts), mappings)
    textured = any(textures.geom_texture(model, g) != textures.NO_TEXTURE for g in parts)
    return Layer(
        corners=_stack(corners, (3, 3, raster.CLUSTER), spare),
        normals=_stack(normals, (raster.CLUSTER, 3, 3), spare),
        geom=np.array([row[g] for g in padded], np.int32),
        material=np.array([material_of[g] for g in padded], np.int32),
        surface=surface,
        coords=_stack(coords, (raster.CLUSTER, 3, 3), spare) if textured else None,
        texture=texture if textured else None,
    )


def _materials(
    model: mujoco.MjModel, geoms: list[int], mappings: Mapping[int, textures.Mapping]
) -> tuple[shade.Surface, textures.Mapping, dict[int, int]]:
    """The different looks among the geoms, and each geom's row in them."""
    looks = {g: (shade.geom_surface(model, g), mappings[textures.geom_texture(model, g)]) for g in geoms}
    known: dict[bytes, int] = {}
    rows, row_of = [], {}
    for geom, look in looks.items():
        name = b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(look))
        if name not in known:
            known[name] = len(rows)
            rows.append(look)
        row_of[geom] = known[name]
    nothing = (shade.geom_surface(model, 0), mappings[textures.NO_TEXTURE])
    surface, texture = jax.tree.map(lambda *x: np.stack(x), *(rows or [nothing]))
    return surface, texture, row_of


def cluster_triangles(corners: Float[np.ndarray, "K 3 3"], size: int) -> list[Int[np.ndarray, " c"]]:
    """Split triangles into groups of at most `size` that lie together and face alike; all but the last are full."""
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
        middle = size * max(1, round(len(members) / 2 / size))
        split(members[:middle])
        split(members[middle:])

    split(np.arange(len(corners)))
    return groups


def _padded(rows: Float[np.ndarray, "c 3 3"]) -> Float[np.ndarray, "B 3 3"]:
    full = np.zeros((raster.CLUSTER, 3, 3))
    full[: len(rows)] = rows
    return full


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], spare: int) -> np.ndarray:
    return np.concatenate([np.reshape(rows, (-1, *shape)), np.zeros((spare, *shape))]).astype(np.float32)
