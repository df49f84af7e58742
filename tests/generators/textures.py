"""Records textures as MuJoCo's own renderer draws them, as tests/data/render_textures.npz.

Run it once with `MUJOCO_GL=osmesa python -m tests.generators.textures`. There is only ambient light, and no shadows,
reflections or multisampling, so that a pixel is its texture times its material.
"""

import dataclasses
import io
import pathlib
from typing import Any

import mujoco
import numpy as np
import PIL.Image

DATA = pathlib.Path(__file__).parents[1] / "data" / "render_textures.npz"
CELL = 48  # pixels
_SPACING = 1.7  # metres between the geoms of a sheet

_PRISM = (
    'vertex="-.6 -.5 -.4  .6 -.5 -.4  .7 .5 -.4  -.7 .4 -.4  -.3 0 .6  .5 .1 .5"'
    ' face="0 2 1  0 3 2  0 1 5  0 5 4  1 2 5  2 3 4  2 4 5  3 0 4"'
)
_OWN = 'texcoord="0 0  1.5 .1  1.4 1.2  .1 .9  .4 .3  .9 .4"'
SHAPES = {
    "plane": 'type="plane" size=".7 .5 .1"',
    "box": 'type="box" size=".5 .35 .45"',
    "cylinder": 'type="cylinder" size=".4 .5"',
    "mesh": 'type="mesh" mesh="prism"',
    "mesh_own": 'type="mesh" mesh="prism_own"',  # with texture coordinates
    "sphere": 'type="sphere" size=".65"',
    "ellipsoid": 'type="ellipsoid" size=".75 .4 .6"',
    "capsule": 'type="capsule" size=".35 .35"',
    "plain": 'type="box" size=".5 .35 .45"',  # without a texture
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One image: of `geom` if it is given, else of all `SHAPES`, three in a row."""

    geom: str = ""
    kind: str = "2d"  # as in MJCF
    faces: int = 1
    width: int = 32  # texels
    height: int = 32
    repeat: str = "1 1"
    uniform: str = "false"
    colour_space: str = "auto"
    colour: str = "1 1 1"
    distance: float = 2.2

    @property
    def size(self) -> int:
        """Pixels along the image's side."""
        return CELL if self.geom else 3 * CELL


CASES = {
    "once": Case(),
    "repeated": Case(repeat="2 3"),
    "uniform": Case(repeat="2 3", uniform="true"),
    "cube": Case(kind="cube", faces=6),
    "cube_uniform": Case(kind="cube", faces=6, uniform="true"),
    "floor": Case('type="plane" size="0 0 .1"', repeat="2 3", uniform="true"),
    "half_floor": Case('type="plane" size="0 .7 .1"', repeat="2 3", uniform="true"),
    "near": Case(SHAPES["box"], distance=1.2, colour=".9 .6 .3"),
    "far": Case(SHAPES["box"], width=64, height=64, distance=5.0),
    "uneven": Case(SHAPES["box"], width=52, height=75),
    "one_face": Case(SHAPES["box"], kind="cube", width=64, height=64),
    "srgb": Case(SHAPES["box"], colour_space="sRGB"),
    "sky": Case('type="sphere" size=".01" pos="0 0 9"', kind="skybox", faces=6),
}


def case_model(case: Case) -> mujoco.MjModel:
    """The model of a case, with a camera "eye"."""
    images = _face_images(case)
    if case.kind == "cube" and case.faces == 1:  # a builtin texture would have six faces
        texture, files = f'type="{case.kind}" file="t.png"', {"t.png": _png(images[0])}
    else:
        texture, files = f'type="{case.kind}" builtin="flat" width="{case.width}" height="{case.height}"', {}
    model = mujoco.MjModel.from_xml_string(
        f"""
        <mujoco>
          <statistic extent="4" center="0 0 0"/>
          <visual>
            <headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/>
            <quality offsamples="0"/>
          </visual>
          <asset>
            <texture name="t" {texture} colorspace="{case.colour_space}"/>
            <material name="m" texture="t" texrepeat="{case.repeat}" texuniform="{case.uniform}"/>
            <mesh name="prism" inertia="shell" {_PRISM}/>
            <mesh name="prism_own" inertia="shell" {_PRISM} {_OWN}/>
          </asset>
          <worldbody>{_single(case) if case.geom else _sheet()}</worldbody>
        </mujoco>""",
        files,
    )
    model.tex_data[: images.size] = images.reshape(-1)
    return model


def _single(case: Case) -> str:
    turn = "" if "plane" in case.geom else 'euler="25 35 50"'
    material = "" if case.kind == "skybox" else 'material="m"'
    eye = " ".join(f"{case.distance * axis:.4f}" for axis in (0.3, -0.75, 0.6))
    return (
        f'<camera name="eye" pos="{eye}" xyaxes=".75 .3 0  -.18 .45 .6525" fovy="45"/>'
        f'<geom {turn} {material} rgba="{case.colour} 1" {case.geom}/>'
    )


def _sheet() -> str:
    fovy = np.degrees(2 * np.arctan(1.5 * _SPACING / 12))
    geoms = [f'<camera name="eye" pos="0 0 12" fovy="{fovy:.4f}"/>']
    for i, (name, geom) in enumerate(SHAPES.items()):
        place = f'pos="{_SPACING * (i % 3 - 1)} {_SPACING * (1 - i // 3)} 0" euler="25 35 50"'
        material = "" if name == "plain" else 'material="m"'
        geoms.append(f'<geom name="{name}" {place} {geom} {material}/>')
    return "".join(geoms)


def _face_images(case: Case) -> np.ndarray:
    """Images that any flip or rotation changes: four fading colours, two bars, some noise; [f h w 3] uint8."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: case.height, : case.width] / np.array([case.height, case.width])[:, None, None]
    faces = []
    for face in range(case.faces):
        colours = np.array([[[220, 40, 40], [40, 200, 60]], [[50, 70, 220], [220, 210, 60]]])
        image = np.roll(colours, face, axis=2)[(y > 0.5).astype(int), (x > 0.6).astype(int)]
        image = image * (1 - 0.12 * face) * (0.5 + 0.5 * x[..., None])
        image[(np.abs(y - 0.3) < 0.06) & (x < 0.45)] = 250
        image[(np.abs(x - 0.2) < 0.06) & (y < 0.75)] = 20
        noise = random.integers(-40, 40, (case.height // 4, case.width // 4, 3)).repeat(4, 0).repeat(4, 1)
        image[: noise.shape[0], : noise.shape[1]] += noise
        faces.append(image.clip(0, 255).round().astype(np.uint8))
    return np.stack(faces)


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def main() -> None:
    images: dict[str, Any] = {}
    for name, case in CASES.items():
        model = case_model(case)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        with mujoco.Renderer(model, case.size, case.size) as renderer:
            renderer.update_scene(data, camera="eye")
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = False
            images[name] = renderer.render().copy()
    np.savez_compressed(DATA, **images)


if __name__ == "__main__":
    main()
