"""What is behind everything: the sky's texture, or black. Host, NumPy."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Float

from rcjax.render import raster, shade
from rcjax.render.camera import Camera
from rcjax.render.scene import SceneStatic


def sky_picture(model: mujoco.MjModel, camera: Camera, static: SceneStatic, camera_moves: bool) -> raster.Picture:
    """The empty picture: the first sky texture (its mean colour where the camera moves), black without one."""
    tiles = raster.tiles_per_side(static.raster_size)
    side = tiles * raster.TILE
    skies = np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    colour = np.zeros((side, side, 3))
    if len(skies) and camera_moves:
        colour[:] = _texels(model, int(skies[0])).mean((0, 1))
    elif len(skies):
        index = np.arange(side)
        x, y = np.broadcast_arrays(camera.x0 + camera.dx * index, (camera.y0 + camera.dy * index)[:, None])
        rays = np.stack([x, y, -np.ones_like(x)], axis=-1) @ camera.mat.T
        colour = _cube_colour(_texels(model, int(skies[0])), rays)
    packed = np.asarray(shade.pack_colour(tuple(jnp.asarray(colour[..., c], jnp.float32) for c in range(3))))
    packed = packed.reshape(tiles, raster.TILE, tiles, raster.TILE).swapaxes(1, 2).reshape(1, tiles**2, -1)
    parts = np.zeros((*packed.shape, 1 + len(static.shadow_lights)), np.uint32)
    parts[..., 0] = packed
    return raster.Picture(colour=parts, key=raster.empty_key(camera, packed.shape))


def _cube_colour(texture: Float[np.ndarray, "h w c"], rays: Float[np.ndarray, "H W 3"]) -> np.ndarray:
    """Nearest texel of a sky in some directions, by OpenGL's rule for cube maps; MuJoCo turns it to z up."""
    faces = texture.reshape(6, texture.shape[1], texture.shape[1], -1)
    x, y, z = rays[..., 0], rays[..., 2], -rays[..., 1]
    axis = np.abs(np.stack([x, y, z])).argmax(axis=0)
    major = np.choose(axis, [x, y, z])
    positive = major > 0
    s = np.choose(axis, [np.where(positive, -z, z), x, np.where(positive, x, -x)])
    t = np.choose(axis, [-y, np.where(positive, z, -z), -y])
    texel = ((np.stack([s, t]) / np.abs(major) + 1) / 2 * faces.shape[1]).astype(int).clip(0, faces.shape[1] - 1)
    return faces[2 * axis + ~positive, texel[1], texel[0], :3]


def _texels(model: mujoco.MjModel, texture: int) -> Float[np.ndarray, "h w 3"]:
    """A texture's picture in [0, 1]; cube and sky textures have their six faces below each other."""
    height, width, channels = (int(size[texture]) for size in (model.tex_height, model.tex_width, model.tex_nchannel))
    start = int(model.tex_adr[texture])
    data = model.tex_data[start : start + height * width * channels]
    return data.reshape(height, width, channels)[..., :3] / 255.0
