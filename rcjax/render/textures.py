"""Textures as MuJoCo's classic renderer maps and filters them.

On the host every triangle gets texture coordinates at its corners, as MuJoCo 3.12 and later make them
(`settexture` in render_gl3.c, display lists in render_context.c), and all textures go, with their smaller levels, into
one flat array of packed texels. On the device `sample` looks colours up in it, as section 8.14 of the OpenGL 4.6
specification has it: pictures repeat, cubes have no seams, no anisotropy.
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
"""Texels fetched for a pixel: 4 in each of two levels, as MuJoCo; 4 in the nearest level; 1 in the nearest level."""

NO_TEXTURE = -1

_GEOM = mujoco.mjtGeom
_2D = mujoco.mjtTexture.mjTEXTURE_2D
_FACES = 6
_SIDE_BITS = 13
_MAX_SIDE = 1 << _SIDE_BITS  # texels
_PICTURE, _CUBE, _CUBE_OF_ONE = 1, 2, 3  # kinds of mapping; the last repeats one picture on all faces
_WHITE_TEXELS = 9  # one and its border
_WEIGHT_BITS = 8  # of weights; a channel's sum of weighted texels must fit 16 bits
_ONE = 1 << _WEIGHT_BITS
_CUBE_AXES = np.array(  # of a face, +x, -x, +y, -y, +z, -z: outwards, along s, along t; OpenGL 4.6, table 8.19
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
    """All textures of a scene with all their levels, r | g << 8 | b << 16, after a white one for what has none."""

    texels: UInt32[Array, " P"]


class Mapping(PyTree):
    """Which texture a surface has, in two words, as they are gathered at every pixel."""

    start: Int[Array, "*batch"]  # its first texel
    shape: Int[Array, "*batch"]  # of a face: width - 1 | (height - 1) << 13 | kind << 26; 0 without a texture


def geom_texture(model: mujoco.MjModel, geom: int) -> int:
    """Id of the texture that MuJoCo's classic renderer shows on a geom, `NO_TEXTURE` for none.

    That is its material's RGB texture, of 3 or 4 channels; a mesh with texture coordinates of its own shows no cube.
    """
    material = int(model.geom_matid[geom])
    texture = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]) if material >= 0 else NO_TEXTURE
    if texture < 0 or model.tex_nchannel[texture] not in (3, 4):
        return NO_TEXTURE
    return NO_TEXTURE if model.tex_type[texture] != _2D and _has_own_coordinates(model, geom) else texture


def build_atlas(model: mujoco.MjModel, texture_ids: Iterable[int]) -> tuple[Atlas, dict[int, Mapping]]:
    """The textures, and how to find each; `NO_TEXTURE` is always among them.

    Textures in sRGB are decoded, as OpenGL does it; alpha is left out. ValueError for a texture that is too large.
    """
    blocks, mappings = [np.full(_WHITE_TEXELS, 0xFFFFFF, np.uint32)], {NO_TEXTURE: no_texture()}
    for texture in sorted(set(texture_ids) - {NO_TEXTURE}):
        faces = _texture_faces(model, texture)
        height, width = faces.shape[1:3]
        if max(height, width) > _MAX_SIDE:
            name = model.tex(texture).name or texture
            raise ValueError(f"texture {name!r} is {width}x{height} texels; make its sides at most {_MAX_SIDE}.")
        kind = _PICTURE if model.tex_type[texture] == _2D else _CUBE if len(faces) == _FACES else _CUBE_OF_ONE
        mappings[texture] = Mapping(
            start=np.int32(sum(map(len, blocks))),
            shape=np.int32((width - 1) | (height - 1) << _SIDE_BITS | kind << 2 * _SIDE_BITS),
        )
        blocks.append(_pyramid(faces, wraps=kind == _PICTURE))
    return Atlas(texels=np.concatenate(blocks)), mappings


def no_texture() -> Mapping:
    """What a surface without a texture has; it samples to white."""
    return Mapping(start=np.int32(0), shape=np.int32(0))


def texture_coordinates(
    model: mujoco.MjModel, geom: int, unit: Float[np.ndarray, "K 3 3"], uv: Float[np.ndarray, "K 3 2"]
) -> Float[np.ndarray, "K 3 3"]:
    """s, t, r at the corners of a geom's triangles, linear over each; `unit` and `uv` are those of `Triangles`.

    On a picture s runs from 0 to 1 to the right, t downwards, r is 0; in a cube they are a direction. All are 0
    without a texture. An infinite plane under a cube is mapped from the plane's centre, where MuJoCo's moves along
    with the camera.
    """
    texture = geom_texture(model, geom)
    if texture == NO_TEXTURE:
        return np.zeros_like(unit)
    material, kind, size = int(model.geom_matid[geom]), _GEOM(model.geom_type[geom]), _drawn_size(model, geom)
    given = np.where(size > 0, size, 1.0)
    if model.tex_type[texture] != _2D:
        metres = unit * given if kind == _GEOM.mjGEOM_PLANE else unit  # planes are listed in metres
        return metres * size if model.mat_texuniform[material] else metres
    repeat = model.mat_texrepeat[material].astype(float)
    scale = given[:2] if model.mat_texuniform[material] else np.ones(2)
    if kind == _GEOM.mjGEOM_MESH and not _has_own_coordinates(model, geom):
        on_picture = 0.5 * unit[..., :2] * [1, -1] * repeat * scale / given[:2] - 0.5
    else:
        once = uv if kind == _GEOM.mjGEOM_MESH else _spread_once(model, geom, unit)
        on_picture = once * np.where(repeat > 0, repeat, 1.0) * scale
        if kind == _GEOM.mjGEOM_PLANE and (size[:2] <= 0).any():
            on_picture = on_picture - 0.5
    return np.concatenate([on_picture, np.zeros_like(unit[..., :1])], axis=-1)


def _has_own_coordinates(model: mujoco.MjModel, geom: int) -> bool:
    is_mesh = model.geom_type[geom] == _GEOM.mjGEOM_MESH
    return bool(is_mesh and model.mesh_texcoordadr[model.geom_dataid[geom]] >= 0)


def _drawn_size(model: mujoco.MjModel, geom: int) -> Float[np.ndarray, "3"]:
    """A geom's scale along x, y, z (`mjv_initGeom`)."""
    size, kind = model.geom_size[geom], _GEOM(model.geom_type[geom])
    if kind == _GEOM.mjGEOM_SPHERE:
        return size[[0, 0, 0]]
    return size[[0, 0, 1]] if kind in (_GEOM.mjGEOM_CAPSULE, _GEOM.mjGEOM_CYLINDER) else size


def _spread_once(model: mujoco.MjModel, geom: int, unit: np.ndarray) -> Float[np.ndarray, "K 3 2"]:
    """s and t where a primitive shows its picture once: on each side of a box, wound round what is round."""
    kind, height = _GEOM(model.geom_type[geom]), unit[..., 2]
    if kind == _GEOM.mjGEOM_PLANE:
        return np.where(model.geom_size[geom, :2] > 0, 0.5, 0.0) + 0.5 * unit[..., :2] * [1, -1]
    if kind == _GEOM.mjGEOM_BOX:
        s_axis, t_axis = np.array([[1, 2], [0, 2], [0, 1]])[np.ptp(unit, axis=1).argmin(axis=1)].T
        s, t = (np.take_along_axis(unit, axis[:, None, None], axis=2)[..., 0] for axis in (s_axis, t_axis))
        return np.stack([0.5 + 0.5 * s, 0.5 - 0.5 * t], axis=-1)
    if kind == _GEOM.mjGEOM_CYLINDER:
        is_disc = np.ptp(height, axis=1) == 0
        wall = np.stack([_turns(unit), 0.5 - 0.5 * height], axis=-1)
        return np.where(is_disc[:, None, None], 0.5 + 0.5 * unit[..., :2], wall)
    if kind == _GEOM.mjGEOM_CAPSULE:
        middle = height.mean(axis=1, keepdims=True)
        top, bottom = 1 - 2 * _latitude(height - 1), -2 * _latitude(height + 1)
        return np.stack(
            [_turns(unit), np.where(middle > 1, top, np.where(middle < -1, bottom, 0.5 - 0.5 * height))], axis=-1
        )
    return np.stack([_turns(unit), 0.5 - _latitude(height)], axis=-1)


def _turns(unit: np.ndarray) -> Float[np.ndarray, "K 3"]:
    """Angle about z in turns, from 0 to 1, without a jump inside a triangle; on the axis, that of the middle."""
    middle = np.arctan2(*unit[..., 1::-1].mean(axis=1).T)[:, None]
    offset = (np.arctan2(unit[..., 1], unit[..., 0]) - middle + np.pi) % (2 * np.pi) - np.pi
    on_axis = np.hypot(unit[..., 0], unit[..., 1]) < 1e-9
    return (middle / (2 * np.pi)) % 1 + np.where(on_axis, 0.0, offset) / (2 * np.pi)


def _latitude(height: np.ndarray) -> np.ndarray:
    """Of a point of the unit sphere, in half turns."""
    return np.arcsin(np.clip(height, -1, 1)) / np.pi


def _texture_faces(model: mujoco.MjModel, texture: int) -> UInt8[np.ndarray, "f h w 3"]:
    """A texture's picture, or the six of a cube, or the one of a cube that shows it on all faces."""
    height, width, channels = (int(size[texture]) for size in (model.tex_height, model.tex_width, model.tex_nchannel))
    start = int(model.tex_adr[texture])
    data = model.tex_data[start : start + height * width * channels].reshape(height, width, channels)[..., :3]
    if model.tex_colorspace[texture] == mujoco.mjtColorSpace.mjCOLORSPACE_SRGB:
        data = _SRGB_TO_LINEAR[data]
    is_picture = model.tex_type[texture] == _2D
    return data[None] if is_picture or height == width else data.reshape(_FACES, width, width, 3)


def _srgb_to_linear() -> UInt8[np.ndarray, "256"]:
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.round(255 * linear).astype(np.uint8)


_SRGB_TO_LINEAR = _srgb_to_linear()


def _pyramid(faces: UInt8[np.ndarray, "f h w 3"], wraps: bool) -> UInt32[np.ndarray, " p"]:
    """All levels of a texture, packed; each begins at `_level_start` and has a border one texel wide."""
    n_faces, height, width = faces.shape[:3]
    n_levels = max(width, height).bit_length()
    starts = n_faces * _level_start(width, height, np.arange(n_levels + 1))
    packed = np.zeros(starts[-1], np.uint32)
    for start in starts[:-1]:
        texels = _wrapped(faces) if wraps else _sewn(faces)
        words = (texels.astype(np.uint32) << np.array([0, 8, 16], np.uint32)).sum(axis=-1, dtype=np.uint32)
        packed[start : start + words.size] = words.reshape(-1)
        for axis in (2, 1):  # rounded half up after each, as Mesa does
            faces = np.floor(_halve(faces, axis) + 0.5).astype(np.uint8)
    return packed


def _level_start(width, height, level):
    """Room for the levels before one, of one face: each but the first is given half as much as the one before.

    Levels and their borders shrink faster, but for the last ones, hence the constant.
    """
    whole = 2 * (width + 2) * (height + 2)
    return whole - (whole >> level) + 16 * level


def _halve(faces: np.ndarray, axis: int) -> Float[np.ndarray, "f h w 3"]:
    """Half as long along an axis, rounded down: pairs averaged, or interpolated where the length is odd."""
    side = faces.shape[axis]
    half = max(side // 2, 1)
    place = (np.arange(half) + 0.5) * side / half - 0.5
    low = np.floor(place).astype(int)
    weight = (place - low).reshape(-1, *[1] * (faces.ndim - 1 - axis))
    a, b = (np.take(faces, np.minimum(i, side - 1), axis=axis) for i in (low, low + 1))
    return a * (1 - weight) + b * weight


def _wrapped(faces: UInt8[np.ndarray, "f h w 3"]) -> np.ndarray:
    return np.pad(faces, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")


def _sewn(faces: UInt8[np.ndarray, "f w w 3"]) -> np.ndarray:
    """Faces with the neighbouring faces' texels around them, as seams are not to be seen.

    A corner is the mean of the three texels that meet. One picture for all six keeps its own, as neighbours differ
    from face to face.
    """
    padded = np.pad(faces, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    if len(faces) == 1:
        return padded
    side = faces.shape[1]
    middle = (2 * np.arange(-1, side + 1) + 1) / side - 1
    s, t = middle[None, :, None], middle[:, None, None]
    for face, (major, along_s, along_t) in enumerate(_CUBE_AXES):
        seen = np.einsum("fak,hwk->hwfa", _CUBE_AXES, major + s * along_s + t * along_t)
        which = seen[..., 0].argmax(axis=-1)
        depth, *place = np.take_along_axis(seen, which[..., None, None], axis=2)[:, :, 0].transpose(2, 0, 1)
        column, row = (((p / depth + 1) / 2 * side).astype(int).clip(0, side - 1) for p in place)
        padded[face] = faces[which, row, column]
        for y, x, in_y, in_x in ((0, 0, 1, 1), (0, -1, 1, -2), (-1, 0, -2, 1), (-1, -1, -2, -2)):
            meeting = padded[face][[in_y, y, in_y], [in_x, in_x, x]]
            padded[face, y, x] = np.round(meeting.mean(axis=0))
    return padded


class _Texture(NamedTuple):
    """A mapping spelt out, and where on which face it is looked up; all [..]."""

    start: Array
    n_faces: Array  # stored
    face: Array
    width: Array
    height: Array
    s: Array
    t: Array


def sample(
    atlas: Atlas, mapping: Mapping, coords: Vector, along_x: Vector, along_y: Vector, *, filter: Filter = "trilinear"
) -> Vector:
    """Red, green and blue in [0, 1] at texture coordinates [..]; white without a texture.

    `along_x` and `along_y` are what the coordinates change by from a pixel to the next; they choose the level.
    """
    if atlas.texels.shape[0] == _WHITE_TEXELS:
        return (jnp.ones_like(coords[0]),) * 3
    texture, along_x, along_y = _locate(mapping, coords, along_x, along_y)
    step = _squared_texels_per_pixel(texture, along_x, along_y)
    largest = _floor_log2(jnp.maximum(texture.width, texture.height))
    if filter != "trilinear":
        level = jnp.clip(_floor_log2(2 * step) >> 1, 0, largest)
        return (_bilinear if filter == "bilinear" else _nearest)(atlas, texture, level)
    detail = jnp.clip(0.5 * jnp.log2(jnp.maximum(step, 1.0)), 0.0, largest)
    *levels, weight = _between((detail * _ONE).astype(jnp.int32))
    even, odd = (_bilinear(atlas, texture, jnp.minimum(level, largest)) for level in levels)
    return tuple(a + weight * (1 / _ONE) * (b - a) for a, b in zip(even, odd, strict=True))


def sky_coordinates(ray: Vector) -> Vector:
    """Where a sky texture is looked up in a direction of the world: MuJoCo turns it by 90 degrees about x."""
    x, y, z = ray
    return x, z, -y


def _locate(mapping: Mapping, coords: Vector, along_x: Vector, along_y: Vector) -> tuple[_Texture, Vector, Vector]:
    """Where on which face a texture is looked up, s and t in [0, 1), and their changes [s t]."""
    shape, kind = mapping.shape, mapping.shape >> 2 * _SIDE_BITS
    is_cube = kind >= _CUBE
    face, on_cube, cube_x, cube_y = _project(coords, along_x, along_y)

    def choose(cube, picture):
        return jnp.where(is_cube, cube, picture)

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
    """Face of a cube (+x, -x, +y, -y, +z, -z) that a direction meets, s and t on it, and their changes.

    Source: OpenGL 4.6, table 8.19.
    """
    x, y, z = (jnp.abs(c) for c in direction)
    is_x = (x >= y) & (x >= z)
    is_y = ~is_x & (y >= z)

    def pick(if_x, if_y, if_z):
        return jnp.where(is_x, if_x, jnp.where(is_y, if_y, if_z))

    sign = jnp.where(pick(*direction) < 0, -1.0, 1.0)

    def turn(vector):
        x, y, z = vector
        return pick(-sign * z, x, sign * x), jnp.where(is_y, sign * z, -y), sign * pick(x, y, z)

    s, t, major = turn(direction)
    scale = 0.5 / major

    def change(vector):
        s_change, t_change, major_change = turn(vector)
        shrink = major_change / major
        return (s_change - s * shrink) * scale, (t_change - t * shrink) * scale

    face = pick(0, 2, 4) + (sign < 0)
    return face, (0.5 + s * scale, 0.5 + t * scale), change(along_x), change(along_y)


def _squared_texels_per_pixel(texture: _Texture, along_x: Vector, along_y: Vector) -> Array:
    """OpenGL's scale factor rho, squared: the longer of the steps that two neighbouring pixels take."""
    lengths = ((a[0] * texture.width) ** 2 + (a[1] * texture.height) ** 2 for a in (along_x, along_y))
    return jnp.maximum(*lengths)


def _nearest(atlas: Atlas, texture: _Texture, level: Array) -> Vector:
    start, width, height = _level(texture, level)
    column, row = ((place * side).astype(jnp.int32) for place, side in ((texture.s, width), (texture.t, height)))
    word = _fetch(atlas, start + (row + 1) * (width + 2) + column + 1)
    return tuple((word >> shift & 255).astype(jnp.int32) * (1 / 255) for shift in (0, 8, 16))


def _bilinear(atlas: Atlas, texture: _Texture, level: Array) -> Vector:
    """The four texels around a place, weighted in 1/256. Red and blue are added up in one word."""
    start, width, height = _level(texture, level)
    along_row, along_column = texture.s * width + 0.5, texture.t * height + 0.5  # the border's texels are number 0
    even_column, odd_column, x = _between((along_row * _ONE).astype(jnp.int32))
    even, odd, y = _between((along_column * _ONE).astype(jnp.int32))
    even_row, odd_row = (start + row * (width + 2) for row in (even, odd))
    both = (x * y + _ONE // 2) >> _WEIGHT_BITS
    red_blue = green = jnp.uint32(0)
    for place, weight in (
        (even_row + even_column, _ONE - x - y + both),
        (even_row + odd_column, x - both),
        (odd_row + even_column, y - both),
        (odd_row + odd_column, both),
    ):
        word, weight = _fetch(atlas, place), weight.astype(jnp.uint32)
        red_blue += (word & 0xFF00FF) * weight
        green += (word >> 8 & 0xFF) * weight
    whole = 1 / (255 * _ONE)
    return tuple(c.astype(jnp.int32) * whole for c in (red_blue & 0xFFFF, green, red_blue >> 16))


def _between(place: Array) -> tuple[Array, Array, Array]:
    """The even and the odd number next to a place given in 1/256, and the odd one's weight in 1/256.

    Not the lower and the upper: a compiler may work out the numbers apart from the weights and round otherwise there,
    and where the place is nearly whole, lower and upper would be exchanged in one and not in the other.
    """
    low = place >> _WEIGHT_BITS
    return (low + 1) & ~1, low | 1, _ONE - jnp.abs(_ONE - (place & (2 * _ONE - 1)))


def _level(texture: _Texture, level: Array) -> tuple[Array, Array, Array]:
    """First texel of a level of the face with its border, and its width and height without."""
    width, height = (jnp.maximum(side >> level, 1) for side in (texture.width, texture.height))
    above = texture.n_faces * _level_start(texture.width, texture.height, level)
    return texture.start + above + texture.face * ((width + 2) * (height + 2)), width, height


def _floor_log2(value: Array) -> Array:
    """Exponent of a positive number."""
    return (jax.lax.bitcast_convert_type(value.astype(jnp.float32), jnp.int32) >> 23) - 127


def _fetch(atlas: Atlas, place: Array) -> UInt32[Array, "*batch"]:
    return atlas.texels.at[place].get(mode="clip")
