"""Maps and filters textures like MuJoCo's classic renderer.

On the host, every triangle gets texture coordinates at its corners, as MuJoCo 3.12 and later compute them
(`settexture` in render_gl3.c, display lists in render_context.c). All textures are stored with their mipmap levels in
one flat array of packed texels. On the device, `sample` filters them as section 8.14 of the OpenGL 4.6 specification
defines it: 2D textures repeat, cube maps are seamless, and there is no anisotropic filtering.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt8, UInt32

from rcjax.pytree import PyTree
from rcjax.render.vectors import Vector

Filter = Literal["trilinear", "bilinear", "nearest"]
"""Texels fetched per pixel: 4 in each of two levels, as in MuJoCo; 4 in the nearest level; 1 in the nearest level."""

NO_TEXTURE = -1

_GEOM = mujoco.mjtGeom
_2D = mujoco.mjtTexture.mjTEXTURE_2D
_FACES = 6
_SIDE_BITS = 13
_MAX_SIDE = 1 << _SIDE_BITS  # texels
_2D_KIND, _CUBE, _ONE_IMAGE_CUBE = 1, 2, 3  # kinds of mapping; the last shows one image on all faces
_WHITE_TEXELS = 9  # one texel and its border
_WEIGHT_BITS = 8  # of interpolation weights; a channel's weighted sum of texels must fit into 16 bits
_UNIT_WEIGHT = 1 << _WEIGHT_BITS
_CUBE_AXES = np.array(  # faces +x, -x, +y, -y, +z, -z: outward axis, axis of s, axis of t; OpenGL 4.6, table 8.19
    [
        [[1, 0, 0], [0, 0, -1], [0, -1, 0]],
        [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        [[0, -1, 0], [1, 0, 0], [0, 0, -1]],
        [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
        [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
    ],
    float,
)


class Atlas(PyTree):
    """All textures of a scene with all mipmap levels; the first one is white, for surfaces without a texture."""

    texels: UInt32[Array, " P"]  # r | g << 8 | b << 16


class Mapping(PyTree):
    """Which texture a surface has, in two words, since they are gathered at every pixel."""

    start: Int[Array, "*batch"]  # index of its first texel
    shape: Int[Array, "*batch"]  # of a face: width - 1 | (height - 1) << 13 | kind << 26; 0 without a texture


def geom_texture(model: mujoco.MjModel, geom: int) -> int:
    """Returns the id of the texture that MuJoCo's classic renderer shows on a geom, or `NO_TEXTURE`.

    That is its material's RGB texture with 3 or 4 channels. A mesh with its own texture coordinates shows no cube map.
    """
    material = int(model.geom_matid[geom])
    texture = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]) if material >= 0 else NO_TEXTURE
    if texture < 0 or model.tex_nchannel[texture] not in (3, 4):
        return NO_TEXTURE
    return NO_TEXTURE if model.tex_type[texture] != _2D and _has_own_coordinates(model, geom) else texture


def build_atlas(model: mujoco.MjModel, texture_ids: Iterable[int]) -> tuple[Atlas, dict[int, Mapping]]:
    """Stores textures in an atlas; returns it and the mapping of each texture by its id.

    The mappings always include `NO_TEXTURE`. Textures in sRGB are decoded to linear values, as in OpenGL; alpha is left
    out. All arrays are NumPy arrays.

    Raises:
        ValueError: A texture's side has more than 8192 texels.
    """
    pyramids, mappings = [np.full(_WHITE_TEXELS, 0xFFFFFF, np.uint32)], {NO_TEXTURE: no_texture()}
    for texture in sorted(set(texture_ids) - {NO_TEXTURE}):
        faces = _texture_faces(model, texture)
        height, width = faces.shape[1:3]
        if max(height, width) > _MAX_SIDE:
            name = model.tex(texture).name or texture
            raise ValueError(f"texture {name!r} is {width}x{height} texels; make its sides at most {_MAX_SIDE}.")
        kind = _2D_KIND if model.tex_type[texture] == _2D else _CUBE if len(faces) == _FACES else _ONE_IMAGE_CUBE
        mappings[texture] = Mapping.of_leaves(
            start=np.int32(sum(map(len, pyramids))),
            shape=np.int32((width - 1) | (height - 1) << _SIDE_BITS | kind << 2 * _SIDE_BITS),
        )
        pyramids.append(_pyramid(faces, periodic=kind == _2D_KIND))
    return Atlas.of_leaves(texels=np.concatenate(pyramids)), mappings


def no_texture() -> Mapping:
    """Returns the mapping of a surface without a texture, which samples to white."""
    return Mapping.of_leaves(start=np.int32(0), shape=np.int32(0))


def texture_coordinates(
    model: mujoco.MjModel, geom: int, unit: Float[np.ndarray, "K 3 3"], uv: Float[np.ndarray, "K 3 2"]
) -> Float[np.ndarray, "K 3 3"]:
    """Returns texture coordinates (s, t, r) at the corners of a geom's triangles, to be interpolated linearly.

    In a 2D texture, s runs from 0 to 1 to the right, t from 0 to 1 downwards, and r is 0. In a cube map, they are a
    direction. Without a texture, all are 0. A cube map on an infinite plane is mapped from the plane's centre, while
    MuJoCo's moves with the camera.

    Args:
        model: The model.
        geom: Id of the geom.
        unit: `Triangles.unit` of the geom.
        uv: `Triangles.uv` of the geom.
    """
    texture = geom_texture(model, geom)
    if texture == NO_TEXTURE:
        return np.zeros_like(unit)
    material, kind, size = int(model.geom_matid[geom]), _GEOM(model.geom_type[geom]), _drawn_size(model, geom)
    scale_xyz = np.where(size > 0, size, 1.0)
    if model.tex_type[texture] != _2D:
        metres = unit * scale_xyz if kind == _GEOM.mjGEOM_PLANE else unit  # MuJoCo draws planes in metres
        return metres * size if model.mat_texuniform[material] else metres
    repeat = model.mat_texrepeat[material].astype(float)
    scale = scale_xyz[:2] if model.mat_texuniform[material] else np.ones(2)
    if kind == _GEOM.mjGEOM_MESH and not _has_own_coordinates(model, geom):
        coords_2d = 0.5 * unit[..., :2] * [1, -1] * repeat * scale / scale_xyz[:2] - 0.5
    else:
        uv_once = uv if kind == _GEOM.mjGEOM_MESH else _unit_coordinates(model, geom, unit)
        coords_2d = uv_once * np.where(repeat > 0, repeat, 1.0) * scale
        if kind == _GEOM.mjGEOM_PLANE and (size[:2] <= 0).any():
            coords_2d = coords_2d - 0.5
    return np.concatenate([coords_2d, np.zeros_like(unit[..., :1])], axis=-1)


def _has_own_coordinates(model: mujoco.MjModel, geom: int) -> bool:
    """Whether the geom is a mesh with texture coordinates."""
    is_mesh = model.geom_type[geom] == _GEOM.mjGEOM_MESH
    return bool(is_mesh and model.mesh_texcoordadr[model.geom_dataid[geom]] >= 0)


def _drawn_size(model: mujoco.MjModel, geom: int) -> Float[np.ndarray, "3"]:
    """A geom's scale along x, y, z (`mjv_initGeom`)."""
    size, kind = model.geom_size[geom], _GEOM(model.geom_type[geom])
    if kind == _GEOM.mjGEOM_SPHERE:
        return size[[0, 0, 0]]
    return size[[0, 0, 1]] if kind in (_GEOM.mjGEOM_CAPSULE, _GEOM.mjGEOM_CYLINDER) else size


def _unit_coordinates(model: mujoco.MjModel, geom: int, unit: np.ndarray) -> Float[np.ndarray, "K 3 2"]:
    """s and t with which a primitive shows its texture once: on each side of a box, and once around a round shape."""
    kind, height = _GEOM(model.geom_type[geom]), unit[..., 2]
    if kind == _GEOM.mjGEOM_PLANE:
        return np.where(model.geom_size[geom, :2] > 0, 0.5, 0.0) + 0.5 * unit[..., :2] * [1, -1]
    if kind == _GEOM.mjGEOM_BOX:
        s_axis, t_axis = np.array([[1, 2], [0, 2], [0, 1]])[np.ptp(unit, axis=1).argmin(axis=1)].T
        s, t = (np.take_along_axis(unit, axis[:, None, None], axis=2)[..., 0] for axis in (s_axis, t_axis))
        return np.stack([0.5 + 0.5 * s, 0.5 - 0.5 * t], axis=-1)
    if kind == _GEOM.mjGEOM_CYLINDER:
        is_disc = np.ptp(height, axis=1) == 0
        wall = np.stack([_longitude(unit), 0.5 - 0.5 * height], axis=-1)
        return np.where(is_disc[:, None, None], 0.5 + 0.5 * unit[..., :2], wall)
    if kind == _GEOM.mjGEOM_CAPSULE:
        middle = height.mean(axis=1, keepdims=True)
        top, bottom = 1 - 2 * _latitude(height - 1), -2 * _latitude(height + 1)
        return np.stack(
            [_longitude(unit), np.where(middle > 1, top, np.where(middle < -1, bottom, 0.5 - 0.5 * height))], axis=-1
        )
    return np.stack([_longitude(unit), 0.5 - _latitude(height)], axis=-1)


def _longitude(unit: np.ndarray) -> Float[np.ndarray, "K 3"]:
    """Angle about z from 0 to 1, continuous within each triangle; on the axis, the angle of the triangle's middle."""
    middle = np.arctan2(*unit[..., 1::-1].mean(axis=1).T)[:, None]
    offset = (np.arctan2(unit[..., 1], unit[..., 0]) - middle + np.pi) % (2 * np.pi) - np.pi
    on_axis = np.hypot(unit[..., 0], unit[..., 1]) < 1e-9
    return (middle / (2 * np.pi)) % 1 + np.where(on_axis, 0.0, offset) / (2 * np.pi)


def _latitude(height: np.ndarray) -> np.ndarray:
    """Latitude of a point of the unit sphere, in half turns."""
    return np.arcsin(np.clip(height, -1, 1)) / np.pi


def _texture_faces(model: mujoco.MjModel, texture: int) -> UInt8[np.ndarray, "f h w 3"]:
    """A 2D texture's image, the six images of a cube map, or the one image of a cube map that repeats it."""
    height, width, channels = (int(size[texture]) for size in (model.tex_height, model.tex_width, model.tex_nchannel))
    start = int(model.tex_adr[texture])
    data = model.tex_data[start : start + height * width * channels].reshape(height, width, channels)[..., :3]
    if model.tex_colorspace[texture] == mujoco.mjtColorSpace.mjCOLORSPACE_SRGB:
        data = _SRGB_TO_LINEAR[data]
    is_image = model.tex_type[texture] == _2D
    return data[None] if is_image or height == width else data.reshape(_FACES, width, width, 3)


def _srgb_to_linear() -> UInt8[np.ndarray, "256"]:
    """The linear value of each sRGB value."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.round(255 * linear).astype(np.uint8)


_SRGB_TO_LINEAR = _srgb_to_linear()


def _pyramid(faces: UInt8[np.ndarray, "f h w 3"], periodic: bool) -> UInt32[np.ndarray, " p"]:
    """All mipmap levels of a texture, packed; each begins at `_level_start` and has a border of one texel."""
    n_faces, height, width = faces.shape[:3]
    n_levels = max(width, height).bit_length()
    starts = n_faces * _level_start(width, height, np.arange(n_levels + 1))
    packed = np.zeros(starts[-1], np.uint32)
    for start in starts[:-1]:
        texels = _pad_periodic(faces) if periodic else _pad_cube(faces)
        words = (texels.astype(np.uint32) << np.array([0, 8, 16], np.uint32)).sum(axis=-1, dtype=np.uint32)
        packed[start : start + words.size] = words.reshape(-1)
        for axis in (2, 1):  # rounded half up after each axis, as in Mesa
            faces = np.floor(_halve_side(faces, axis) + 0.5).astype(np.uint8)
    return packed


def _level_start(width, height, level):
    """Texels reserved for the levels before one, per face: each level gets half as many as the one before.

    Levels with their borders shrink faster than that, except the last ones, hence the constant per level.
    """
    total = 2 * (width + 2) * (height + 2)
    return total - (total >> level) + 16 * level


def _halve_side(faces: np.ndarray, axis: int) -> Float[np.ndarray, "f h w 3"]:
    """Halves the length along an axis, rounded down: averages pairs, or interpolates if the length is odd."""
    side = faces.shape[axis]
    half = max(side // 2, 1)
    position = (np.arange(half) + 0.5) * side / half - 0.5
    low = np.floor(position).astype(int)
    weight = (position - low).reshape(-1, *[1] * (faces.ndim - 1 - axis))
    a, b = (np.take(faces, np.minimum(i, side - 1), axis=axis) for i in (low, low + 1))
    return a * (1 - weight) + b * weight


def _pad_periodic(faces: UInt8[np.ndarray, "f h w 3"]) -> np.ndarray:
    """Images with a border of the texels at the opposite side."""
    return np.pad(faces, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")


def _pad_cube(faces: UInt8[np.ndarray, "f w w 3"]) -> np.ndarray:
    """Faces of a cube map with a border of the neighbouring faces' texels, so that there are no visible seams.

    A corner is the mean of the three texels that meet there. If one image is shown on all six faces, its border
    repeats its own edge, as the neighbours differ from face to face.
    """
    padded = np.pad(faces, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    if len(faces) == 1:
        return padded
    side = faces.shape[1]
    middle = (2 * np.arange(-1, side + 1) + 1) / side - 1
    s, t = middle[None, :, None], middle[:, None, None]
    for face, (major, along_s, along_t) in enumerate(_CUBE_AXES):
        projected = np.einsum("fak,hwk->hwfa", _CUBE_AXES, major + s * along_s + t * along_t)
        neighbour_face = projected[..., 0].argmax(axis=-1)
        depth, *st = np.take_along_axis(projected, neighbour_face[..., None, None], axis=2)[:, :, 0].transpose(2, 0, 1)
        column, row = (((p / depth + 1) / 2 * side).astype(int).clip(0, side - 1) for p in st)
        padded[face] = faces[neighbour_face, row, column]
        for y, x, in_y, in_x in ((0, 0, 1, 1), (0, -1, 1, -2), (-1, 0, -2, 1), (-1, -1, -2, -2)):
            meeting_texels = padded[face][[in_y, y, in_y], [in_x, in_x, x]]
            padded[face, y, x] = np.round(meeting_texels.mean(axis=0))
    return padded


class _Texture(NamedTuple):
    """An unpacked mapping, and the face and position at which the texture is sampled; all [..]."""

    start: Array
    n_faces: Array  # number of stored images
    face: Array
    width: Array
    height: Array
    s: Array
    t: Array


def sample(
    atlas: Atlas, mapping: Mapping, coords: Vector, along_x: Vector, along_y: Vector, *, filter: Filter = "trilinear"
) -> Vector:
    """Samples textures; returns red, green and blue in [0, 1], or white without a texture.

    Args:
        atlas: The textures.
        mapping: The texture of each point [..].
        coords: Texture coordinates (s, t, r) [..].
        along_x: Change of the coordinates from one pixel to the next along x; it selects the mipmap level.
        along_y: The same along y.
        filter: How many texels are fetched.
    """
    if atlas.texels.shape[0] == _WHITE_TEXELS:
        return (jnp.ones_like(coords[0]),) * 3
    texture, along_x, along_y = _locate(mapping, coords, along_x, along_y)
    squared_step = _squared_texels_per_pixel(texture, along_x, along_y)
    last_level = _floor_log2(jnp.maximum(texture.width, texture.height))
    if filter != "trilinear":
        level = jnp.clip(_floor_log2(2 * squared_step) >> 1, 0, last_level)
        return (_bilinear if filter == "bilinear" else _nearest)(atlas, texture, level)
    level_of_detail = jnp.clip(0.5 * jnp.log2(jnp.maximum(squared_step, 1.0)), 0.0, last_level)
    *levels, weight = _interpolation_neighbours((level_of_detail * _UNIT_WEIGHT).astype(jnp.int32))
    even, odd = (_bilinear(atlas, texture, jnp.minimum(level, last_level)) for level in levels)
    return tuple(a + weight * (1 / _UNIT_WEIGHT) * (b - a) for a, b in zip(even, odd, strict=True))


def sky_coordinates(ray: Vector) -> Vector:
    """Returns the sky's cube map coordinates in a direction of the world; MuJoCo rotates it by 90 degrees about x."""
    x, y, z = ray
    return x, z, -y


def _locate(mapping: Mapping, coords: Vector, along_x: Vector, along_y: Vector) -> tuple[_Texture, Vector, Vector]:
    """The face and position (s and t in [0, 1)) at which a texture is sampled, and the changes of s and t."""
    shape, kind = mapping.shape, mapping.shape >> 2 * _SIDE_BITS
    is_cube = kind >= _CUBE
    face, on_cube, cube_x, cube_y = _project(coords, along_x, along_y)

    def choose(cube, image):
        return jnp.where(is_cube, cube, image)

    texture = _Texture(
        start=mapping.start,
        n_faces=jnp.where(kind == _CUBE, _FACES, 1),
        face=jnp.where(kind == _CUBE, face, 0),
        width=(shape & (_MAX_SIDE - 1)) + 1,
        height=(shape >> _SIDE_BITS & (_MAX_SIDE - 1)) + 1,
        s=choose(on_cube[0], coords[0] - jnp.floor(coords[0])),
        t=choose(on_cube[1], coords[1] - jnp.floor(coords[1])),
    )
    along_x, along_y = (
        (choose(cube[0], along[0]), choose(cube[1], along[1])) for cube, along in ((cube_x, along_x), (cube_y, along_y))
    )
    return texture, along_x, along_y


def _project(direction: Vector, along_x: Vector, along_y: Vector) -> tuple[Array, Vector, Vector, Vector]:
    """The cube face (+x, -x, +y, -y, +z, -z) that a direction hits, s and t on it, and their changes.

    Source: OpenGL 4.6, table 8.19.
    """
    x, y, z = (jnp.abs(c) for c in direction)
    is_x = (x >= y) & (x >= z)
    is_y = ~is_x & (y >= z)

    def pick(if_x, if_y, if_z):
        return jnp.where(is_x, if_x, jnp.where(is_y, if_y, if_z))

    sign = jnp.where(pick(*direction) < 0, -1.0, 1.0)

    def to_face_axes(vector):
        x, y, z = vector
        return pick(-sign * z, x, sign * x), jnp.where(is_y, sign * z, -y), sign * pick(x, y, z)

    s, t, major = to_face_axes(direction)
    scale = 0.5 / major

    def change(vector):
        s_change, t_change, major_change = to_face_axes(vector)
        relative_change = major_change / major
        return (s_change - s * relative_change) * scale, (t_change - t * relative_change) * scale

    face = pick(0, 2, 4) + (sign < 0)
    return face, (0.5 + s * scale, 0.5 + t * scale), change(along_x), change(along_y)


def _squared_texels_per_pixel(texture: _Texture, along_x: Vector, along_y: Vector) -> Array:
    """The square of OpenGL's scale factor rho: the longer step, in texels, to a neighbouring pixel."""
    lengths = ((a[0] * texture.width) ** 2 + (a[1] * texture.height) ** 2 for a in (along_x, along_y))
    return jnp.maximum(*lengths)


def _nearest(atlas: Atlas, texture: _Texture, level: Array) -> Vector:
    start, width, height = _level_layout(texture, level)
    column, row = ((position * side).astype(jnp.int32) for position, side in ((texture.s, width), (texture.t, height)))
    word = _fetch(atlas, start + (row + 1) * (width + 2) + column + 1)
    return tuple((word >> shift & 255).astype(jnp.int32) * (1 / 255) for shift in (0, 8, 16))


def _bilinear(atlas: Atlas, texture: _Texture, level: Array) -> Vector:
    """The weighted mean of four texels, with weights in 1/256. Red and blue are summed in one word."""
    start, width, height = _level_layout(texture, level)
    x_position, y_position = texture.s * width + 0.5, texture.t * height + 0.5  # index 0 is the border
    even_column, odd_column, x = _interpolation_neighbours((x_position * _UNIT_WEIGHT).astype(jnp.int32))
    even, odd, y = _interpolation_neighbours((y_position * _UNIT_WEIGHT).astype(jnp.int32))
    even_row, odd_row = (start + row * (width + 2) for row in (even, odd))
    corner_weight = (x * y + _UNIT_WEIGHT // 2) >> _WEIGHT_BITS
    red_blue = green = jnp.uint32(0)
    for position, weight in (
        (even_row + even_column, _UNIT_WEIGHT - x - y + corner_weight),
        (even_row + odd_column, x - corner_weight),
        (odd_row + even_column, y - corner_weight),
        (odd_row + odd_column, corner_weight),
    ):
        word, weight = _fetch(atlas, position), weight.astype(jnp.uint32)
        red_blue += (word & 0xFF00FF) * weight
        green += (word >> 8 & 0xFF) * weight
    scale_to_unit = 1 / (255 * _UNIT_WEIGHT)
    return tuple(c.astype(jnp.int32) * scale_to_unit for c in (red_blue & 0xFFFF, green, red_blue >> 16))


def _interpolation_neighbours(position: Array) -> tuple[Array, Array, Array]:
    """The even and the odd integer next to a position given in 1/256, and the odd one's weight in 1/256.

    They are not the lower and the upper integer, because a compiler may compute the integers and the weights
    separately, with different rounding. Near an integer position, lower and upper would then be swapped in one and not
    in the other.
    """
    low = position >> _WEIGHT_BITS
    return (low + 1) & ~1, low | 1, _UNIT_WEIGHT - jnp.abs(_UNIT_WEIGHT - (position & (2 * _UNIT_WEIGHT - 1)))


def _level_layout(texture: _Texture, level: Array) -> tuple[Array, Array, Array]:
    """Index of the first texel of a level of the face, with its border, and the width and height without it."""
    width, height = (jnp.maximum(side >> level, 1) for side in (texture.width, texture.height))
    previous_levels = texture.n_faces * _level_start(texture.width, texture.height, level)
    return texture.start + previous_levels + texture.face * ((width + 2) * (height + 2)), width, height


def _floor_log2(value: Array) -> Array:
    """Floor of the base-2 logarithm of positive numbers: the exponent of the float."""
    return (jax.lax.bitcast_convert_type(value.astype(jnp.float32), jnp.int32) >> 23) - 127


def _fetch(atlas: Atlas, position: Array) -> UInt32[Array, "*batch"]:
    return atlas.texels.at[position].get(mode="clip")
