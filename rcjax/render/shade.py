"""Colours of visible points under MuJoCo's lights: OpenGL's fixed-function model, evaluated at every pixel.

MuJoCo's classic renderer lights vertices and interpolates; here normals are interpolated and pixels are lit, which
comes to the same on fine meshes and stays smooth on decimated ones. A texture counts by its mean colour. As there,
lights that cast shadows are added in a pass of their own, and each pass is clipped before the texture multiplies it.
No shadows, reflections or fog.
"""

import chex
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, UInt32

from rcjax.render.camera import Camera

_LIGHT = mujoco.mjtLightType
_NO_LIGHT_AMBIENT = 0.3  # MuJoCo's, where a scene has no light at all


@chex.dataclass(frozen=True)
class Lights:
    """L lights; `direction` is where they shine. A light `on_camera` is given in the camera's frame."""

    pos: Float[Array, "L 3"]
    direction: Float[Array, "L 3"]
    ambient: Float[Array, "L 3"]
    diffuse: Float[Array, "L 3"]
    specular: Float[Array, "L 3"]
    attenuation: Float[Array, "L 3"]  # constant, per metre, per square metre
    cutoff_cosine: Float[Array, " L"]  # of half the cone's angle; -1 for a directional light
    exponent: Float[Array, " L"]
    directional: Bool[Array, " L"]
    on_camera: Bool[Array, " L"]
    casts_shadow: Bool[Array, " L"]


@chex.dataclass(frozen=True)
class Surface:
    """How a surface answers light; `texture` is the mean colour of its texture, white without one."""

    rgb: Float[Array, "*batch 3"]
    texture: Float[Array, "*batch 3"]
    emission: Float[Array, "*batch"]
    specular: Float[Array, "*batch"]
    shininess: Float[Array, "*batch"]


def collect_lights(model: mujoco.MjModel, data: mujoco.MjData) -> Lights:
    """The headlight and the model's active lights as they stand in `data`."""
    rows = []
    head = model.vis.headlight
    if head.active:
        rows.append(_light_row(head, direction=[0, 0, -1], directional=True, on_camera=True))
    for i in range(model.nlight):
        light = model.light(i)
        if not model.light_active[i]:
            continue
        kind = _LIGHT(model.light_type[i])
        if kind == _LIGHT.mjLIGHT_SPOT:
            rows.append(
                _light_row(
                    light,
                    pos=data.light_xpos[i],
                    direction=data.light_xdir[i],
                    attenuation=light.attenuation,
                    cutoff_cosine=np.cos(np.radians(light.cutoff[0])),
                    exponent=light.exponent[0],
                    casts_shadow=light.castshadow[0],
                )
            )
        elif kind == _LIGHT.mjLIGHT_DIRECTIONAL:
            rows.append(
                _light_row(
                    light, direction=data.light_xdir[i], directional=True, casts_shadow=light.castshadow[0]
                )
            )
        else:
            raise ValueError(
                f"light {light.name or i!r} is of type {kind.name}, which MuJoCo's own renderer does not place; "
                "make it directional or a spot."
            )
    if not rows:
        dark = {"ambient": [_NO_LIGHT_AMBIENT] * 3, "diffuse": [0] * 3, "specular": [0] * 3}
        rows.append(_light_row(dark, directional=True))
    return Lights(**{key: np.stack([row[key] for row in rows]) for key in rows[0]})


def _light_row(light, **given) -> dict[str, np.ndarray]:
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
    row |= colours | given
    flags = ("directional", "on_camera", "casts_shadow")
    return {key: np.asarray(value, bool if key in flags else np.float32) for key, value in row.items()}


def geom_surface(model: mujoco.MjModel, geom: int) -> Surface:
    """The surface of a geom: its material's, or MuJoCo's defaults with the geom's own colour."""
    material = int(model.geom_matid[geom])
    rgba, texture = geom_rgba(model, geom), np.ones(3)
    emission, specular, shininess = 0.0, 0.5, 0.5
    if material >= 0:
        emission = model.mat_emission[material]
        specular, shininess = model.mat_specular[material], model.mat_shininess[material]
        texture_id = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB])
        if texture_id >= 0:
            texture = mean_texture_colour(model, texture_id)
    values = {"emission": emission, "specular": specular, "shininess": shininess}
    return Surface(
        rgb=rgba[:3].astype(np.float32),
        texture=texture.astype(np.float32),
        **{key: np.float32(value) for key, value in values.items()},
    )


def geom_rgba(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """The colour MuJoCo draws a geom with: its own if it was set, else its material's."""
    material, default = int(model.geom_matid[geom]), np.array([0.5, 0.5, 0.5, 1.0], np.float32)
    own = model.geom_rgba[geom]
    return model.mat_rgba[material] if material >= 0 and np.array_equal(own, default) else own


def texture_pixels(model: mujoco.MjModel, texture: int) -> Float[np.ndarray, "h w c"]:
    """A texture's picture in [0, 1]; cube and sky textures have their six faces below each other."""
    height, width, channels = (
        int(size[texture]) for size in (model.tex_height, model.tex_width, model.tex_nchannel)
    )
    start = int(model.tex_adr[texture])
    data = model.tex_data[start : start + height * width * channels]
    return data.reshape(height, width, channels) / 255.0


def mean_texture_colour(model: mujoco.MjModel, texture: int) -> Float[np.ndarray, "3"]:
    """The mean over all of a texture, in [0, 1]."""
    mean = texture_pixels(model, texture).reshape(-1, model.tex_nchannel[texture]).mean(0)
    return np.resize(mean, 3) if len(mean) < 3 else mean[:3]


def lights_in_camera(lights: Lights, camera: Camera) -> tuple[Float[Array, "J L 3"], Float[Array, "J L 3"]]:
    """Positions and directions of the lights in the frame of each of J cameras."""

    def rotate(vector):  # written out, so that no matrix unit rounds it
        return (camera.mat[:, None] * vector[..., None]).sum(axis=-2)

    here = lights.on_camera[:, None]
    pos = jnp.where(here, lights.pos, rotate(lights.pos - camera.pos[:, None]))
    return pos, jnp.where(here, lights.direction, rotate(jnp.broadcast_to(lights.direction, pos.shape)))


def light_surface(
    point: Float[Array, "*batch 3"],
    normal: Float[Array, "*batch 3"],
    surface: Surface,
    lights: Lights,
    light_pos: Float[Array, "*batch L 3"],
    light_direction: Float[Array, "*batch L 3"],
) -> Float[Array, "*batch 3"]:
    """Colours in [0, 1] of points seen from the origin. Positions and directions are in the camera's frame."""
    to_eye, normal = _unit(-point), _unit(normal)
    passes = [surface.emission[..., None] * surface.rgb, jnp.zeros_like(surface.rgb)]
    for i in range(lights.ambient.shape[0]):
        to_light, strength = _incoming(lights, i, point, light_pos[..., i, :], light_direction[..., i, :])
        facing = (normal * to_light).sum(-1)
        half = (normal * _unit(to_light + to_eye)).sum(-1)
        shine = jnp.where(facing > 0, _power(half, 128 * surface.shininess) * surface.specular, 0.0)
        colour = (
            surface.rgb * (lights.ambient[i] + jnp.maximum(facing, 0.0)[..., None] * lights.diffuse[i])
            + shine[..., None] * lights.specular[i]
        ) * strength[..., None]
        shadowed = lights.casts_shadow[i]
        passes = [passes[0] + jnp.where(shadowed, 0.0, colour), passes[1] + jnp.where(shadowed, colour, 0.0)]
    return jnp.minimum(sum(jnp.minimum(p, 1.0) for p in passes) * surface.texture, 1.0)


def _incoming(lights: Lights, i: int, point, pos, direction):
    """Unit vector towards light i, and its strength at the point."""
    towards = jnp.where(lights.directional[i], -direction, pos - point)
    distance = jnp.sqrt((towards * towards).sum(-1))
    towards = _unit(towards)
    cosine = -(towards * direction).sum(-1)
    spot = jnp.where(cosine >= lights.cutoff_cosine[i], _power(cosine, lights.exponent[i]), 0.0)
    a = lights.attenuation[i]
    strength = spot / (a[0] + a[1] * distance + a[2] * distance * distance)
    return towards, jnp.where(lights.directional[i], 1.0, strength)


def _power(base, exponent):
    """max(base, 0) ** exponent, with 0 ** 0 = 1."""
    return jnp.exp2(exponent * jnp.log2(jnp.maximum(base, 1e-20)))


def _unit(vector):
    return vector / jnp.sqrt(jnp.maximum((vector * vector).sum(-1, keepdims=True), 1e-20))


def pack_colour(colour: Float[Array, "*batch 3"]) -> UInt32[Array, "*batch"]:
    """[0, 1] colours to 8 bits a channel, in one word."""
    levels = (colour * 255 + 0.5).astype(jnp.uint32)
    return levels[..., 0] | (levels[..., 1] << 8) | (levels[..., 2] << 16)


def unpack_colour(packed: UInt32[Array, "*batch"]) -> Array:
    """Packed colours to uint8 [.. 3]."""
    return ((packed[..., None] >> jnp.array([0, 8, 16], jnp.uint32)) & 255).astype(jnp.uint8)
