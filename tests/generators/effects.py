"""Records transparency and shadows as MuJoCo's own renderer draws them, as tests/data/render_effects.npz.

Run it once with `MUJOCO_GL=osmesa python -m tests.generators.effects`. There is one sample per pixel and there are no
reflections. Flat sides have many vertices, since MuJoCo lights vertices. MuJoCo sorts transparent geoms by their
distance minus their radius, which gives their true order in these scenes.
"""

import pathlib
from typing import Any

import mujoco
import numpy as np

DATA = pathlib.Path(__file__).parents[1] / "data" / "render_effects.npz"
SIZE = 96

_SCENE = """
<mujoco>
  <statistic extent="3" center="0 0 .4"/>
  <visual>
    <headlight ambient=".2 .2 .2" diffuse=".3 .3 .3" specular=".2 .2 .2"/>
    <global offwidth="96" offheight="96"/>
    <quality offsamples="0" numquads="40"/>
  </visual>
  <worldbody>
    <camera name="eye" pos="0 -3 1.6" xyaxes="1 0 0 0 .4 1" fovy="40"/>
    {light}
    <geom name="floor" type="box" size="1.5 1.5 .1" pos="0 0 -.1" rgba=".7 .7 .6 1"/>
    <body pos="-.2 .1 .5"><freejoint/><geom name="ball" type="sphere" size=".3" rgba=".8 .2 .2 1"/></body>
    <body pos=".5 .3 .35" quat=".9 .2 .1 .3"><freejoint/>
      <geom name="brick" type="box" size=".25 .2 .3" rgba=".2 .4 .8 1"/></body>
    {glass}
  </worldbody>
</mujoco>
"""
_GLASS = """
    <body pos="-.1 -.6 .5"><freejoint/><geom type="box" size=".5 .02 .3" rgba=".1 .8 .3 .4"/></body>
    <body pos=".1 -1.5 .8"><freejoint/><geom type="sphere" size=".2" rgba=".9 .8 .1 .6"/></body>
"""
_LIGHT = '<light pos=".6 -.8 2.5" dir="-.3 .4 -1" {} diffuse=".6 .6 .6" specular=".3 .3 .3" castshadow="true"/>'
_SUN, _LAMP = _LIGHT.format('type="directional"'), _LIGHT.format('type="spot" cutoff="35" exponent="5"')

SCENES: dict[str, tuple[str, bool]] = {  # the model, and whether shadows are drawn
    "glass": (_SCENE.format(light="", glass=_GLASS), False),
    "sun": (_SCENE.format(light=_SUN, glass=""), True),
    "lamp": (_SCENE.format(light=_LAMP, glass=""), True),
    "lamp_without_shadows": (_SCENE.format(light=_LAMP, glass=""), False),
    "glass_in_the_sun": (_SCENE.format(light=_SUN, glass=_GLASS), True),
}


def main() -> None:
    images: dict[str, Any] = {}
    for name, (xml, shadows) in SCENES.items():
        model = mujoco.MjModel.from_xml_string(xml)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        with mujoco.Renderer(model, SIZE, SIZE) as renderer:
            renderer.update_scene(data, camera="eye")
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
            images[name] = renderer.render().copy()
    np.savez_compressed(DATA, **images)


if __name__ == "__main__":
    main()
