"""Records images of the drawer scene by MuJoCo's own renderer, as tests/data/render_drawer.npz.

Run it once with `MUJOCO_GL=osmesa python -m tests.generators.render`. Sites are left out, since the package draws geoms
only. `colour` is drawn with MuJoCo's defaults, and `plain` without shadows. `flat` has textures at their mean colour,
and no shadows, reflections or multisampling.
"""

import pathlib
from typing import Any

import mujoco
import numpy as np

from tests.render.drawer import drawer_model, drawer_states

DATA = pathlib.Path(__file__).parents[1] / "data" / "render_drawer.npz"
CENTRE = (slice(115, 365), slice(195, 445))  # RoboCLIP's crop of 480 x 640 pixels


def flatten_textures(model: mujoco.MjModel) -> None:
    """Sets every texel of every texture except the sky to the texture's mean colour."""
    for i in range(model.ntex):
        if model.tex_type[i] == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            continue
        shape = (-1, int(model.tex_nchannel[i]))
        start = int(model.tex_adr[i])
        stop = start + int(model.tex_height[i]) * int(model.tex_width[i]) * shape[1]
        pixels = model.tex_data[start:stop].reshape(shape)
        model.tex_data[start:stop] = np.broadcast_to(np.round(pixels.mean(0)), pixels.shape).reshape(-1)


def _draw(renderer: mujoco.Renderer, data: mujoco.MjData, shadows: bool = True, reflections: bool = True) -> np.ndarray:
    """The centre square of the image without sites."""
    option = mujoco.MjvOption()
    option.sitegroup[:] = 0
    renderer.update_scene(data, camera="corner2", scene_option=option)
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = reflections
    return renderer.render()[CENTRE].copy()


def main() -> None:
    states = drawer_states()
    model = drawer_model()
    data = mujoco.MjData(model)
    rows = {"colour": [], "plain": [], "flat": [], "depth": [], "geom": []}
    with mujoco.Renderer(model, 480, 640) as renderer:
        for qpos in states.qpos:
            data.qpos[:] = qpos
            mujoco.mj_forward(model, data)
            rows["colour"].append(_draw(renderer, data))
            rows["plain"].append(_draw(renderer, data, shadows=False))
            renderer.enable_depth_rendering()
            rows["depth"].append(_draw(renderer, data).astype(np.float32)[::2, ::2])
            renderer.disable_depth_rendering()
            renderer.enable_segmentation_rendering()
            rows["geom"].append(_draw(renderer, data)[..., 0].astype(np.int8))
            renderer.disable_segmentation_rendering()
    flatten_textures(model)
    model.vis.quality.offsamples = 0
    with mujoco.Renderer(model, 480, 640) as renderer:
        for qpos in states.qpos:
            data.qpos[:] = qpos
            mujoco.mj_forward(model, data)
            rows["flat"].append(_draw(renderer, data, shadows=False, reflections=False))
    arrays: dict[str, Any] = {key: np.stack(value) for key, value in rows.items()}
    np.savez_compressed(DATA, **arrays)


if __name__ == "__main__":
    main()
