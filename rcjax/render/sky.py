"""The background behind all geoms: the sky's texture, or black. Runs on the host."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rcjax.render import raster, shade, textures
from rcjax.render.camera import Camera
from rcjax.render.scene import SceneStatic
from rcjax.render.vectors import Vector, dot


def sky_framebuffer(
    model: mujoco.MjModel, camera: Camera, static: SceneStatic, camera_moves: bool
) -> raster.Framebuffer:
    """Returns the empty framebuffer: the first sky texture (its mean colour if the camera moves), or black."""
    column, row = raster.pixel_grid(static.grid)
    skies = np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    colour: Vector = (jnp.zeros_like(column),) * 3
    if len(skies):
        atlas, mappings = textures.build_atlas(model, [int(skies[0])])
        x, y = camera.x0 + camera.dx * column, camera.y0 + camera.dy * row
        mat = np.asarray(camera.mat)

        def sky_direction(*ray) -> Vector:
            return textures.sky_coordinates(tuple(dot(list(mat[axis]), ray) for axis in range(3)))

        zero, k = jnp.zeros_like(x), static.samples_per_side
        along_x, along_y = (
            sky_direction(zero + k * camera.dx, zero, zero),
            sky_direction(zero, zero + k * camera.dy, zero),
        )
        colour = jax.jit(textures.sample)(
            atlas, mappings[int(skies[0])], sky_direction(x, y, zero - 1), along_x, along_y
        )
    if camera_moves:
        colour = tuple(jnp.full_like(c, c.mean()) for c in colour)
    packed = np.zeros((1, *column.shape, 1 + len(static.shadow_lights)), np.uint32)
    packed[0, ..., 0] = shade.pack_colour(colour)
    return raster.Framebuffer.of_leaves(colour=packed, depth_key=raster.empty_depth_key(camera, (1, *column.shape)))
