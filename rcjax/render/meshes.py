"""Triangles of MuJoCo geoms in the geom's own frame: primitives tessellated, meshes decimated. Host, NumPy."""

import contextlib
import hashlib
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int

from rcjax.files import cache_folder, write_atomically
from rcjax.render import decimate, primitives, textures
from rcjax.render.primitives import Triangles, normalise
from rcjax.render.surface import Surface, areas, runs, unit_normals

_GEOM = mujoco.mjtGeom
_CREASE_COSINE = 0.8  # faces that differ by more are not averaged; MuJoCo draws such corners with the face's normal
_ALIKE_COSINE = 0.5  # what faces farther away from a triangle than this says nothing about its shading
_STIFF = 0.02  # how much a field is held to its mean, where few points tell about it
_SPREAD = np.array([[i + 1 / 3, j + 1 / 3, 4 - i - j + 1 / 3] for i in range(5) for j in range(5 - i)]) / 5  # [15 3]
_VERSION = 2  # of what is kept on disk; to be raised by a change of decimation or of shading


def geom_triangles(
    model: mujoco.MjModel, geom: int, *, segments: int, max_error: float, plane_half_side: float
) -> Triangles:
    """The triangles that stand for one geom.

    `segments` is the number of facets round a full circle, `max_error` (metres) bounds a mesh's deviation (0: every
    triangle), `plane_half_side` (metres) is where an infinite plane is cut off. A mesh whose own texture coordinates
    show keeps every triangle. ValueError for a type that has no triangles here.
    """
    kind, size = _GEOM(model.geom_type[geom]), model.geom_size[geom]
    if kind == _GEOM.mjGEOM_PLANE:
        return primitives.plane(size[:2], plane_half_side)
    if kind == _GEOM.mjGEOM_BOX:
        return primitives.box(size)
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
        return whole_mesh(model, mesh) if textured else mesh_triangles(model, mesh, max_error)
    name = repr(model.geom(geom).name) if model.geom(geom).name else f"number {geom}"
    raise ValueError(
        f"geom {name} is a {kind.name[7:].lower()}, which cannot be drawn; "
        "use a plane, box, sphere, capsule, cylinder, ellipsoid or mesh, or move it to a geom group above 2."
    )


def whole_mesh(model: mujoco.MjModel, mesh: int) -> Triangles:
    """Every triangle of a mesh, shaded as MuJoCo draws it, with its own texture coordinates if it has them.

    Without texture coordinates a corner whose normal is off its face's by more than the crease angle is drawn with
    the face's (`mjr_uploadMesh`).
    """
    faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
    corners = _rows(model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_vertnum[mesh])[model.mesh_face[faces]]
    normals = _rows(model.mesh_normal, model.mesh_normaladr[mesh], model.mesh_normalnum[mesh])
    normals = normals[model.mesh_facenormal[faces]].astype(np.float64)
    corners = corners.astype(np.float64)
    if model.mesh_texcoordnum[mesh]:
        uv = _rows(model.mesh_texcoord, model.mesh_texcoordadr[mesh], model.mesh_texcoordnum[mesh])
        return _in_metres(corners, normals, uv[model.mesh_facetexcoord[faces]].astype(np.float64))
    flat = unit_normals(corners)[:, None]
    creased = (normals * flat).sum(-1, keepdims=True) < _CREASE_COSINE
    return _in_metres(corners, np.where(creased, flat, normals))


def mesh_triangles(model: mujoco.MjModel, mesh: int, max_error: float) -> Triangles:
    """A mesh with few triangles, off the original by `max_error` metres at most, and shaded as the original.

    0 keeps every triangle. The bound is rounded down to two digits. Results are kept in `cache_folder() / "meshes"`.
    """
    whole = whole_mesh(model, mesh)
    if max_error <= 0 or len(whole.corners) <= _FEW:
        return whole
    max_error = _two_digits(max_error)
    path = cache_folder() / "meshes" / f"{_fingerprint(whole, max_error)}.npz"
    stored = _load(path)
    if stored is None:
        stored = _decimated(whole, max_error)
        with contextlib.suppress(OSError):  # a folder that cannot be written costs time, no more
            write_atomically(path, lambda part: _save(part, *stored))
    return _in_metres(*(array.astype(np.float64) for array in stored))


_FEW = 32  # triangles: not worth it


def _decimated(whole: Triangles, max_error: float) -> tuple[Float[np.ndarray, "K 3 3"], Float[np.ndarray, "K 3 3"]]:
    """Corners and normals in float32, as they are kept."""
    vertices = whole.corners.reshape(-1, 3)
    points, faces = decimate.decimate(vertices, np.arange(len(vertices)).reshape(-1, 3), max_error)
    corners = points[faces]
    normals = shade_like(corners, faces, whole, max_error)
    return corners.astype(np.float32), normals.astype(np.float32)


def shade_like(
    corners: Float[np.ndarray, "K 3 3"], faces: Int[np.ndarray, "K 3"], whole: Triangles, max_error: float
) -> Float[np.ndarray, "K 3 3"]:
    """Normals at the corners of a decimated mesh that shade it as the original is.

    Each triangle takes those of the original at points spread over it, and the linear field that fits them best, so
    that what is smaller than the triangle does not shade all of it. Fields that agree at a vertex are averaged there.
    """
    flat = unit_normals(corners)
    points = _SPREAD @ corners  # [K S 3]
    directions = np.broadcast_to(flat[:, None], points.shape)
    near = Surface(whole.corners / max_error).nearest(points.reshape(-1, 3) / max_error, directions.reshape(-1, 3))[1]
    share = _barycentric(points.reshape(-1, 3), whole.corners[near])
    seen = (share[..., None] * whole.normals[near]).sum(axis=1).reshape(points.shape)
    alike = ((seen * flat[:, None]).sum(axis=-1) >= _ALIKE_COSINE).astype(float)
    mean = (alike[..., None] * seen).sum(axis=1) + 1e-3 * flat
    mean = normalise(mean)
    stiff = _STIFF * alike.sum(axis=1) + 1e-3
    matrix = np.einsum("ks,si,sj->kij", alike, _SPREAD, _SPREAD) + stiff[:, None, None] * np.eye(3)
    fitted = np.einsum("ks,si,ksx->kix", alike, _SPREAD, seen) + stiff[:, None, None] * mean[:, None]
    return smooth_normals(normalise(np.linalg.solve(matrix, fitted)), areas(corners), faces)


def smooth_normals(
    normals: Float[np.ndarray, "K 3 3"], weight: Float[np.ndarray, " K"], faces: Int[np.ndarray, "K 3"]
) -> Float[np.ndarray, "K 3 3"]:
    """At each corner the mean of the normals at that vertex which lie within the crease angle of its own."""
    vertex, normal = faces.reshape(-1), normals.reshape(-1, 3)
    order = np.argsort(vertex, kind="stable")
    count = np.bincount(vertex)
    start = np.cumsum(count) - count
    here, number = runs(count[vertex])
    other = order[start[vertex[here]] + number]
    near = (normal[here] * normal[other]).sum(axis=-1) >= _CREASE_COSINE
    total = np.zeros_like(normal)
    np.add.at(total, here[near], weight[other[near] // 3, None] * normal[other[near]])
    return normalise(total).reshape(normals.shape)


def _barycentric(points: Float[np.ndarray, "P 3"], corners: Float[np.ndarray, "P 3 3"]) -> Float[np.ndarray, "P 3"]:
    """Coordinates of points' feet on their triangles' planes, brought into the triangles."""
    edges = np.roll(corners, -1, axis=1) - corners  # the k-th starts at corner k
    normal = np.cross(edges[:, 0], edges[:, 1])
    part = np.einsum("pkx,px->pk", np.cross(edges, points[:, None] - corners), normal)
    share = np.maximum(np.roll(part, -1, axis=1), 0)  # corner k is opposite of the edge from k + 1
    total = share.sum(axis=1, keepdims=True)
    return np.where(total > 0, share / np.where(total > 0, total, 1), 1 / 3)


def _two_digits(value: float) -> float:
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.floor(value / unit * (1 + 1e-12)) * unit)


def _fingerprint(whole: Triangles, max_error: float) -> str:
    """Names all that a decimated mesh depends on."""
    digest = hashlib.sha256(f"{_VERSION} {version('numpy')} {version('scipy')} {max_error:.6g}".encode())
    for array in (whole.corners, whole.normals):
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def _load(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Corners and normals, None if they are missing or spoilt."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            corners, normals = stored["corners"], stored["normals"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    right = corners.ndim == 3 and corners.shape[1:] == (3, 3) and corners.shape == normals.shape
    return (corners, normals) if right and len(corners) else None


def _save(path: Path, corners: np.ndarray, normals: np.ndarray) -> None:
    with path.open("wb") as file:  # savez appends .npz to a name without it
        np.savez_compressed(file, corners=corners, normals=normals)


def _in_metres(corners: np.ndarray, normals: np.ndarray, uv: np.ndarray | None = None) -> Triangles:
    uv = np.zeros((len(corners), 3, 2)) if uv is None else uv
    return Triangles(corners=corners, normals=normals, unit=corners, uv=uv)


def _rows(array: np.ndarray, start: int, count: int) -> np.ndarray:
    return array[start : start + count]
