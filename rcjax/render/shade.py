"""Computes the colours of visible points under MuJoCo's lights, by OpenGL's fixed-function lighting (Blinn-Phong).

MuJoCo's classic renderer lights vertices and interpolates the colours. Here normals are interpolated and each pixel is
lit, which gives the same on fine meshes and stays smooth on decimated ones; the backdrop may be lit as MuJoCo does.
With shadows, each light that casts them is added in a pass of its own, and each pass is clipped before it is multiplied
by the texture, as in MuJoCo. Reflections and fog are left out.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, UInt32

from rcjax.pytree import PyTree
from rcjax.render.camera import Camera
from rcjax.render.vectors import Vector, dot

_LIGHT = mujoco.mjtLightType
_NO_LIGHT_AMBIENT = 0.3  # MuJoCo's ambient light in a scene without any light


class Lights(PyTree):
    """L lights, in the world; those with `on_camera` are in the camera's frame. `direction` is where they shine."""

    pos: Float[Array, "L 3"]
    direction: Float[Array, "L 3"]
    ambient: Float[Array, "L 3"]
    diffuse: Float[Array, "L 3"]
    specular: Float[Array, "L 3"]
    attenuation: Float[Array, "L 3"]  # constant, linear (1 / metre) and quadratic (1 / metre^2)
    cutoff_cosine: Float[Array, " L"]  # cosine of half the cone's angle; -1 if there is no cone
    exponent: Float[Array, " L"]  # of a spot light's falloff with the angle
    directional: Bool[Array, " L"]
    on_camera: Bool[Array, " L"]
    casts_shadow: Bool[Array, " L"]


class Surface(PyTree):
    """How a surface reflects light, without its texture."""

    rgba: Float[Array, "*batch 4"]
    emission: Float[Array, "*batch"]
    specular: Float[Array, "*batch"]
    shininess: Float[Array, "*batch"]


def collect_lights(model: mujoco.MjModel, data: mujoco.MjData) -> Lights:
    """Returns the headlight and the model's active lights at their poses in `data`. NumPy arrays.

    A point light shines in all directions with its attenuation, although MuJoCo's classic renderer leaves it out.

    Raises:
        ValueError: An active light is an image light.
    """
    rows = []
    head = model.vis.headlight
    if head.active:
        rows.append(_light_row(head, direction=[0, 0, -1], directional=True, on_camera=True))
    rows += [_model_light(model, data, i) for i in range(model.nlight) if model.light_active[i]]
    if not rows:
        dark = {"ambient": [_NO_LIGHT_AMBIENT] * 3, "diffuse": [0] * 3, "specular": [0] * 3}
        rows.append(_light_row(dark, directional=True))
    return Lights.of_leaves(**{key: np.stack([row[key] for row in rows]) for key in rows[0]})


def _model_light(model: mujoco.MjModel, data: mujoco.MjData, i: int) -> dict[str, np.ndarray]:
    light, kind = model.light(i), _LIGHT(model.light_type[i])
    if kind == _LIGHT.mjLIGHT_IMAGE:
        raise ValueError(f"light {light.name or i!r} is an image light; make it directional, a spot or a point.")
    pose = {"pos": data.light_xpos[i], "direction": data.light_xdir[i], "casts_shadow": light.castshadow[0]}
    if kind == _LIGHT.mjLIGHT_DIRECTIONAL:
        return _light_row(light, directional=True, **pose)
    cone = {"cutoff_cosine": np.cos(np.radians(light.cutoff[0])), "exponent": light.exponent[0]}
    if kind == _LIGHT.mjLIGHT_POINT:
        cone, pose["casts_shadow"] = {}, False
    return _light_row(light, attenuation=light.attenuation, **pose, **cone)


def _light_row(light: Any, **values: Any) -> dict[str, np.ndarray]:
    """One row of `Lights`: colours of MuJoCo's light (or a dict), `values`, and defaults for the rest."""
    colours = {
        key: light[key] if isinstance(light, dict) else getattr(light, key)
        for key in ("ambient", "diffuse", "specular")
    }
    row = {
        "pos": [0.0] * 3,
        "direction": [0.0, 0.0, -1.0],
        "attenuation": [1.0, 0.0, 0.0],
        "cutoff_cosine": -1.0,
        "exponent": 0.0,
        "directional": False,
        "on_camera": False,
        "casts_shadow": False,
    }
    row |= colours | values
    flags = ("directional", "on_camera", "casts_shadow")
    return {key: np.asarray(value, bool if key in flags else np.float32) for key, value in row.items()}


def geom_surface(model: mujoco.MjModel, geom: int) -> Surface:
    """Returns the surface of a geom: that of its material, or MuJoCo's defaults with the geom's own colour."""
    material = int(model.geom_matid[geom])
    emission, specular, shininess = 0.0, 0.5, 0.5
    if material >= 0:
        emission = model.mat_emission[material]
        specular, shininess = model.mat_specular[material], model.mat_shininess[material]
    values = {"emission": emission, "specular": specular, "shininess": shininess}
    return Surface.of_leaves(
        rgba=geom_rgba(model, geom).astype(np.float32), **{key: np.float32(value) for key, value in values.items()}
    )


def geom_rgba(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Returns the colour with which MuJoCo draws a geom: its own if it was set, else its material's."""
    material, default = int(model.geom_matid[geom]), np.array([0.5, 0.5, 0.5, 1.0], np.float32)
    geom_colour = model.geom_rgba[geom]
    return model.mat_rgba[material] if material >= 0 and np.array_equal(geom_colour, default) else geom_colour


def lights_in_camera(lights: Lights, camera: Camera) -> tuple[Float[Array, "J L 3"], Float[Array, "J L 3"]]:
    """Returns positions and directions of the lights in the frame of each of J cameras."""

    def rotate(vector):  # written out, so that no matrix unit computes it in a lower precision
        return (camera.mat[:, None] * vector[..., None]).sum(axis=-2)

    on_camera = lights.on_camera[:, None]
    pos = jnp.where(on_camera, lights.pos, rotate(lights.pos - camera.pos[:, None]))
    return pos, jnp.where(on_camera, lights.direction, rotate(jnp.broadcast_to(lights.direction, pos.shape)))


def light_surface(
    point: Vector,
    normal: Vector,
    surface: Surface,
    lights: Lights,
    light_pos: Array,
    light_direction: Array,
    directional: Sequence[bool],
    shadow_lights: Sequence[int] = (),
) -> list[Vector]:
    """Returns colours in [0, 1] of points seen from the origin, which a texture is multiplied by: one part without
    shadows, and one per shadow light.

    The first part is the light of all lights except the `shadow_lights`; the others are what each of these adds
    where no shadow falls. Everything is in the camera's frame, and all leading axes [..] must broadcast. Vectors are
    three arrays each, so that XLA fuses everything into one elementwise loop over pixels.

    Args:
        point: The points [..] in metres.
        normal: Their normals, of any length.
        surface: Their surfaces [..].
        lights: The lights.
        light_pos: Positions of the lights [.. L 3].
        light_direction: Directions of the lights [.. L 3].
        directional: Whether each light's rays are parallel.
        shadow_lights: Indices of the lights whose shadows are drawn.
    """
    to_eye, normal = _unit(tuple(-p for p in point)), _unit(normal)
    rgb = _channels(surface.rgba)
    parts = [[surface.emission * c for c in rgb]] + [[jnp.zeros_like(c) for c in rgb] for _ in shadow_lights]
    for i in range(lights.ambient.shape[0]):
        colour = parts[1 + list(shadow_lights).index(i) if i in shadow_lights else 0]
        pos, direction = _channels(light_pos[..., i, :]), _channels(light_direction[..., i, :])
        if directional[i]:
            to_light, strength = _unit(tuple(-d for d in direction)), 1.0
        else:
            to_light, strength = _light_at_point(lights, i, point, pos, direction)
        cosine = dot(normal, to_light)
        half_vector_cosine = dot(normal, _unit(tuple(a + b for a, b in zip(to_light, to_eye, strict=True))))
        specular = jnp.where(cosine > 0, _power(half_vector_cosine, 128 * surface.shininess) * surface.specular, 0.0)
        cosine = jnp.maximum(cosine, 0.0)
        for c in range(3):
            diffuse = rgb[c] * (lights.ambient[i, c] + cosine * lights.diffuse[i, c])
            colour[c] += strength * (diffuse + specular * lights.specular[i, c])
    return [tuple(jnp.minimum(c, 1.0) for c in part) for part in parts]


def _light_at_point(lights: Lights, i: int, point: Vector, pos: Vector, direction: Vector) -> tuple[Vector, Array]:
    """Unit vector from the point to light i, which has a position, and the light's strength at the point."""
    offset = tuple(p - q for p, q in zip(pos, point, strict=True))
    distance = jnp.sqrt(dot(offset, offset))
    to_light = _unit(offset)
    cosine = -dot(to_light, direction)
    spot = jnp.where(cosine >= lights.cutoff_cosine[i], _power(cosine, lights.exponent[i]), 0.0)
    constant, linear, quadratic = _channels(lights.attenuation[i])
    return to_light, spot / (constant + linear * distance + quadratic * distance * distance)


def _power(base: Array, exponent: Array) -> Array:
    """max(base, 0) ** exponent, with 0 ** 0 = 1."""
    return jnp.exp2(exponent * jnp.log2(jnp.maximum(base, 1e-20)))


def _channels(array: Array) -> Vector:
    return array[..., 0], array[..., 1], array[..., 2]


def _unit(vector: Vector) -> Vector:
    scale = jax.lax.rsqrt(jnp.maximum(dot(vector, vector), 1e-20))
    return vector[0] * scale, vector[1] * scale, vector[2] * scale


def pack_colour(channels: Vector, alpha: Array | float = 0.0) -> UInt32[Array, "*batch"]:
    """Packs red, green, blue and alpha in [0, 1] into one word of 8 bits per channel."""
    red, green, blue = (_to_bits(c) for c in channels)
    packed = red | (green << 8) | (blue << 16)
    return packed | (_to_bits(jnp.asarray(alpha)) << 24)


def _to_bits(channel: Array) -> Array:
    return (channel * 255 + 0.5).astype(jnp.uint32)


def unpack_colour(packed: UInt32[Array, "*batch"]) -> Array:
    """Unpacks red, green and blue as uint8 [.. 3]."""
    return ((packed[..., None] >> jnp.array([0, 8, 16], jnp.uint32)) & 255).astype(jnp.uint8)


def unpack_channels(packed: UInt32[Array, "*batch"]) -> tuple[Array, Array, Array, Array]:
    """Unpacks red, green, blue and alpha as float32 in [0, 255]."""
    red, green, blue, alpha = (((packed >> shift) & 255).astype(jnp.float32) for shift in (0, 8, 16, 24))
    return red, green, blue, alpha
