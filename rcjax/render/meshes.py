"""Triangles of MuJoCo geoms in the geom's own frame: tessellated primitives and decimated meshes. Host, NumPy."""

import contextlib
import hashlib
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int

from rcjax.files import cache_folder, write_arrays
from rcjax.render import decimate, prepared, primitives, textures
from rcjax.render.primitives import Triangles, normalise
from rcjax.render.surface import Surface, areas, expand_counts, unit_normals

_GEOM = mujoco.mjtGeom
_CREASE_COSINE = 0.8  # normals are averaged only within this angle; MuJoCo draws sharper corners with the face's normal
_SIMILAR_COSINE = 0.5  # original normals farther from the triangle's are ignored when it is shaded
_RIDGE = 0.02  # ridge regularisation of a triangle's normals towards their mean, for triangles with few samples
_SAMPLE_WEIGHTS = (
    np.array([[i + 1 / 3, j + 1 / 3, 4 - i - j + 1 / 3] for i in range(5) for j in range(5 - i)]) / 5
)  # barycentric [15 3]
VERSION = 2  # of the cached files and the prepared ones; raise it with every change of decimation or shading


def geom_triangles(
    model: mujoco.MjModel, geom: int, *, segments: int, max_error: float, plane_half_side: float, quads: int = 1
) -> Triangles:
    """Returns the triangles that represent one geom.

    A mesh that shows a texture by its own texture coordinates keeps every triangle.

    Args:
        model: The model.
        geom: Id of the geom.
        segments: Number of facets around a full circle.
        max_error: Bound on a decimated mesh's deviation in metres; 0 keeps every triangle.
        plane_half_side: Distance in metres at which an infinite plane is cut off.
        quads: Number of quads along each side of a box's faces.

    Raises:
        ValueError: Geoms of this type cannot be drawn.
    """
    kind, size = _GEOM(model.geom_type[geom]), model.geom_size[geom]
    if kind == _GEOM.mjGEOM_PLANE:
        return primitives.plane(size[:2], plane_half_side)
    if kind == _GEOM.mjGEOM_BOX:
        return primitives.box(size, quads)
    if kind == _GEOM.mjGEOM_SPHERE:
        return primitives.ellipsoid(np.full(3, size[0]), segments)
    if kind == _GEOM.mjGEOM_ELLIPSOID:
        return primitives.ellipsoid(size, segments)
    if kind == _GEOM.mjGEOM_CYLINDER:
        return primitives.cylinder(size[0], size[1], segments)
    if kind == _GEOM.mjGEOM_CAPSULE:
        return primitives.capsule(size[0], size[1], segments)
    if kind == _GEOM.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        textured = model.mesh_texcoordnum[mesh] > 0 and textures.geom_texture(model, geom) != textures.NO_TEXTURE
        return full_mesh(model, mesh) if textured else mesh_triangles(model, mesh, max_error)
    name = repr(model.geom(geom).name) if model.geom(geom).name else f"number {geom}"
    raise ValueError(
        f"geom {name} is a {kind.name[7:].lower()}, which cannot be drawn; "
        "use a plane, box, sphere, capsule, cylinder, ellipsoid or mesh, or move it to a geom group above 2."
    )


def full_mesh(model: mujoco.MjModel, mesh: int) -> Triangles:
    """Returns every triangle of a mesh with MuJoCo's normals, and the mesh's own texture coordinates if it has them.

    In a mesh without texture coordinates, a corner whose normal differs from its face's by more than the crease angle
    gets the face's normal (`mjr_uploadMesh`).
    """
    faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
    corners = _rows(model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_vertnum[mesh])[model.mesh_face[faces]]
    normals = _rows(model.mesh_normal, model.mesh_normaladr[mesh], model.mesh_normalnum[mesh])
    normals = normals[model.mesh_facenormal[faces]].astype(np.float64)
    corners = corners.astype(np.float64)
    if model.mesh_texcoordnum[mesh]:
        uv = _rows(model.mesh_texcoord, model.mesh_texcoordadr[mesh], model.mesh_texcoordnum[mesh])
        return _in_metres(corners, normals, uv[model.mesh_facetexcoord[faces]].astype(np.float64))
    face_normals = unit_normals(corners)[:, None]
    creased = (normals * face_normals).sum(-1, keepdims=True) < _CREASE_COSINE
    return _in_metres(corners, np.where(creased, face_normals, normals))


def mesh_triangles(model: mujoco.MjModel, mesh: int, max_error: float) -> Triangles:
    """Returns a decimated mesh that deviates by at most `max_error` metres and is shaded like the original.

    A `max_error` of 0 keeps every triangle. The bound is rounded down to two significant digits. Meshes that do not
    come with the package (`prepared`) are cached in `cache_folder() / "meshes"`.
    """
    original = full_mesh(model, mesh)
    if max_error <= 0 or len(original.corners) <= _FEW_TRIANGLES:
        return original
    max_error = _round_down_to_two_digits(max_error)
    decimated = prepared.find(original, max_error, VERSION) or decimated_mesh(original, max_error)
    return _in_metres(*(array.astype(np.float64) for array in decimated))


def decimated_mesh(original: Triangles, max_error: float) -> prepared.Decimated:
    """Returns corners and normals of the decimated mesh from the cache, or decimates it and writes it there."""
    path = cache_folder() / "meshes" / f"{_fingerprint(original, max_error)}.npz"
    cached = _load(path)
    if cached is None:
        cached = _decimate(original, max_error)
        with contextlib.suppress(OSError):  # without a writable cache the mesh is decimated again next time
            write_arrays(path, dict(zip(("corners", "normals"), cached, strict=True)))
    return cached


_FEW_TRIANGLES = 32  # too few for decimation to be worthwhile


def _decimate(original: Triangles, max_error: float) -> prepared.Decimated:
    vertices = original.corners.reshape(-1, 3)
    points, faces = decimate.decimate(vertices, np.arange(len(vertices)).reshape(-1, 3), max_error)
    corners = points[faces]
    normals = shade_like(corners, faces, original, max_error)
    return corners.astype(np.float32), normals.astype(np.float32)


def shade_like(
    corners: Float[np.ndarray, "K 3 3"], faces: Int[np.ndarray, "K 3"], original: Triangles, max_error: float
) -> Float[np.ndarray, "K 3 3"]:
    """Returns normals at the corners of a decimated mesh with which it is shaded like the original.

    For each triangle, the original's normals are sampled at points spread over it, and a linear field is fitted to
    them by least squares, so that details smaller than the triangle do not determine the shading of all of it. Fields
    that agree at a vertex are averaged there.

    Args:
        corners: Corners of the decimated mesh, in metres.
        faces: Its vertex indices.
        original: The original mesh.
        max_error: The bound in metres with which it was decimated.
    """
    face_normals = unit_normals(corners)
    points = _SAMPLE_WEIGHTS @ corners  # [K S 3]
    directions = np.broadcast_to(face_normals[:, None], points.shape)
    nearest = Surface(original.corners / max_error).nearest(
        points.reshape(-1, 3) / max_error, directions.reshape(-1, 3)
    )[1]
    weights = _barycentric(points.reshape(-1, 3), original.corners[nearest])
    original_normals = (weights[..., None] * original.normals[nearest]).sum(axis=1).reshape(points.shape)
    is_similar = ((original_normals * face_normals[:, None]).sum(axis=-1) >= _SIMILAR_COSINE).astype(float)
    mean = (is_similar[..., None] * original_normals).sum(axis=1) + 1e-3 * face_normals
    mean = normalise(mean)
    ridge = _RIDGE * is_similar.sum(axis=1) + 1e-3
    matrix = np.einsum("ks,si,sj->kij", is_similar, _SAMPLE_WEIGHTS, _SAMPLE_WEIGHTS) + ridge[:, None, None] * np.eye(3)
    rhs = (
        np.einsum("ks,si,ksx->kix", is_similar, _SAMPLE_WEIGHTS, original_normals)
        + ridge[:, None, None] * mean[:, None]
    )
    return smooth_normals(normalise(np.linalg.solve(matrix, rhs)), areas(corners), faces)


def smooth_normals(
    normals: Float[np.ndarray, "K 3 3"], weight: Float[np.ndarray, " K"], faces: Int[np.ndarray, "K 3"]
) -> Float[np.ndarray, "K 3 3"]:
    """Averages, at each corner, the normals at its vertex that are within the crease angle of its own."""
    vertex, normal = faces.reshape(-1), normals.reshape(-1, 3)
    order = np.argsort(vertex, kind="stable")
    count = np.bincount(vertex)
    start = np.cumsum(count) - count
    corner, number = expand_counts(count[vertex])
    neighbour = order[start[vertex[corner]] + number]
    is_similar = (normal[corner] * normal[neighbour]).sum(axis=-1) >= _CREASE_COSINE
    total = np.zeros_like(normal)
    np.add.at(total, corner[is_similar], weight[neighbour[is_similar] // 3, None] * normal[neighbour[is_similar]])
    return normalise(total).reshape(normals.shape)


def _barycentric(points: Float[np.ndarray, "P 3"], corners: Float[np.ndarray, "P 3 3"]) -> Float[np.ndarray, "P 3"]:
    """Barycentric coordinates of points projected onto their triangles' planes, clamped into the triangles."""
    edges = np.roll(corners, -1, axis=1) - corners  # edge k starts at corner k
    normal = np.cross(edges[:, 0], edges[:, 1])
    opposite = np.einsum("pkx,px->pk", np.cross(edges, points[:, None] - corners), normal)
    weights = np.maximum(np.roll(opposite, -1, axis=1), 0)  # corner k is opposite the edge from k + 1
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / 3)


def _round_down_to_two_digits(value: float) -> float:
    """The value rounded down to two significant digits."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.floor(value / unit * (1 + 1e-12)) * unit)


def _fingerprint(original: Triangles, max_error: float) -> str:
    """A hash of everything that a decimated mesh depends on."""
    digest = hashlib.sha256(f"{VERSION} {version('numpy')} {version('scipy')} {max_error:.6g}".encode())
    for array in (original.corners, original.normals):
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def _load(path: Path) -> prepared.Decimated | None:
    """The cached corners and normals, or None if the file is missing or corrupt."""
    try:
        with np.load(path, allow_pickle=False) as cached:
            corners, normals = cached["corners"], cached["normals"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    is_valid = corners.ndim == 3 and corners.shape[1:] == (3, 3) and corners.shape == normals.shape
    return (corners, normals) if is_valid and len(corners) else None


def _in_metres(corners: np.ndarray, normals: np.ndarray, uv: np.ndarray | None = None) -> Triangles:
    uv = np.zeros((len(corners), 3, 2)) if uv is None else uv
    return Triangles(corners=corners, normals=normals, unit=corners, uv=uv)


def _rows(array: np.ndarray, start: int, count: int) -> np.ndarray:
    return array[start : start + count]
