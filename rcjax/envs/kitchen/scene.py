"""The scene of Franka Kitchen, loaded from the installed gymnasium-robotics and edited so that MJX runs it fast.

As for Metaworld (see `rcjax.envs.scenes`), nothing is copied: all official collisions are turned off, and a few
primitives take their place, in explicit pairs. There are 240 geoms, of which 124 collide, in the official scene; here a
step has at most `MAX_CONTACTS` contacts. What a task is about collides in detail, and everything else coarsely.
"""

import importlib.util
import itertools
from pathlib import Path

import mujoco
import numpy as np

from rcjax.envs import scenes
from rcjax.envs.kitchen.options import Control
from rcjax.envs.scenes import ALONG_X, ALONG_Y, Pair, Proxy

MAX_CONTACTS = 40
# Seconds; the official one is 0.002. The integrator is the official one, Euler's, with implicit damping of the joints.
# "implicitfast" would be the same in MJX, but C MuJoCo adds the derivatives of the kettle's gyroscopic forces.
TIMESTEP = 0.01
ITERATIONS = 8  # of the solver at most; with 4, C MuJoCo and MJX left a pushed kettle 4 cm apart, with 6 within 0.1 mm
LINE_SEARCH = 16  # iterations at most; with 8, results of C MuJoCo still differ from those with 50
FRAME_SKIP = 8  # physics steps in a control step of 0.08 s; 40 of the official ones
MAX_VELOCITY = 2.0  # radians (fingers: metres) per second that an action of 1 asks a joint for
CAMERA = "release"
OVEN_TOP = 1.6184  # height of the stove in metres, on which the kettle stands
END_BODY = "panda0_link7"  # the body that the mocap body leads
MOCAP = "mocap"
FINGERS = ("panda0_leftfinger", "panda0_rightfinger")

# How pairs collide: the mean of both geoms' official parameters. In the official scene time constants of fingers are
# 0.01 s, for which a step of 0.01 s is too long; MuJoCo makes them 0.02 s.
FINGER_ON_DOOR = {"solref": (0.02, 1.0), "solimp": (0.8, 0.9, 0.0055, 0.5, 2.0)}
FINGER_ON_STOVE = {"solref": (0.02, 1.0), "solimp": (0.85, 0.925, 0.001, 0.5, 2.0)}
KETTLE_ON_STOVE = {"solref": (0.02, 1.0), "solimp": (0.85, 0.925, 0.0055, 0.5, 2.0), "condim": 4}
FINGER_TORSION = 0.5  # metres, the official fingers' torsional friction: what they push does not turn about them
MARGIN = 0.001  # metres, of every official pair; the finger's and the hand's proxies are larger by it


def asset_path() -> Path:
    """Returns the path of the official scene, without importing gymnasium-robotics.

    Raises ValueError if gymnasium-robotics is not installed.
    """
    package = importlib.util.find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise ValueError(
            "gymnasium-robotics is not installed, and the Kitchen's scene is needed: pip install 'rcjax[kitchen]'"
        )
    folder = Path(package.origin).parent / "envs" / "assets" / "kitchen_franka" / "kitchen_assets"
    return folder / "kitchen_env_model.xml"


def official_model() -> mujoco.MjModel:
    """Returns the official scene unedited."""
    return mujoco.MjModel.from_xml_path(str(asset_path()))


def _finger(body: str, side: float) -> tuple[Proxy, ...]:
    """Returns a finger's proxies: a capsule along it, and a sphere at its tip, which collides with boxes.

    Its pad is the inner side, where the fingers meet, at y = 0.
    """
    name, y = body.removeprefix("panda0_"), side * 0.0105
    return (
        Proxy(name, body, "capsule", (0.0105, 0.027), (0.0, y, 0.0565)),
        Proxy(f"{name} tip", body, "sphere", (0.0105,), (0.0, y, 0.0835)),
    )


HAND = (
    *_finger(FINGERS[0], 1.0),
    *_finger(FINGERS[1], -1.0),
    *(Proxy(f"hand {i}", END_BODY, "sphere", (0.035,), (0.0495 * i, 0.0495 * i, 0.137)) for i in (-1, 0, 1)),
)
CAPSULES = ("leftfinger", "rightfinger")
TIPS = ("leftfinger tip", "rightfinger tip")
PALM = ("hand -1", "hand 0", "hand 1")

SWITCH_TURN = (0.693, -0.6927, -0.1405, -0.1404)  # the official Euler angles -1.57, -0.4, 0
_FEET = [(x, y) for x in (-0.112, 0.112) for y in (-0.112, 0.112)]
OBJECTS = (
    Proxy("stove", "world", "plane", (0.0, 0.0, 1.0), (0.0, 0.0, OVEN_TOP)),
    *(Proxy(f"foot {i}", "kettleroot", "sphere", (0.01,), (x, y, 0.01)) for i, (x, y) in enumerate(_FEET)),
    *(Proxy(f"side {i}", "kettleroot", "sphere", (0.03,), (-0.092, y, 0.058)) for i, y in enumerate((-0.092, 0.092))),
    Proxy("kettle", "kettleroot", "box", (0.122, 0.122, 0.058), (0.0, 0.0, 0.058)),
    Proxy("kettle handle", "kettleroot", "capsule", (0.032, 0.1), (0.0, 0.0, 0.259), ALONG_X),
    Proxy("kettle left", "kettleroot", "capsule", (0.023, 0.06), (-0.092, 0.0, 0.18)),
    Proxy("kettle right", "kettleroot", "capsule", (0.023, 0.06), (0.092, 0.0, 0.18)),
    Proxy("slide door", "slidelink", "box", (0.225, 0.03, 0.195), (0.0, -0.02, 0.0)),
    Proxy("slide handle", "slidelink", "capsule", (0.022, 0.137), (-0.183, -0.123, 0.0)),
    Proxy("slide upper", "slidelink", "capsule", (0.019, 0.034), (-0.183, -0.06, 0.114), ALONG_Y),
    Proxy("slide lower", "slidelink", "capsule", (0.019, 0.034), (-0.183, -0.06, -0.114), ALONG_Y),
    Proxy("right door", "hingerightdoor", "box", (0.193, 0.03, 0.2), (-0.185, -0.015, 0.0)),
    Proxy("right handle", "hingerightdoor", "capsule", (0.022, 0.138), (-0.302, -0.128, 0.0)),
    Proxy("right upper", "hingerightdoor", "capsule", (0.019, 0.034), (-0.302, -0.061, 0.114), ALONG_Y),
    Proxy("right lower", "hingerightdoor", "capsule", (0.019, 0.034), (-0.302, -0.061, -0.114), ALONG_Y),
    Proxy("left handle", "hingeleftdoor", "capsule", (0.022, 0.138), (0.302, -0.128, 0.0)),
    Proxy("microwave", "microroot", "box", (0.109, 0.199, 0.187), (0.236, 0.023, 0.187)),
    Proxy("microwave door", "microdoorroot", "box", (0.259, 0.024, 0.185), (0.259, -0.026, 0.0)),
    Proxy("microwave handle", "microdoorroot", "capsule", (0.02, 0.13), (0.475, -0.108, 0.0)),
    *(Proxy(f"knob {i}", f"knob {i}", "capsule", (0.016, 0.046), (0.0, 0.01, 0.038), ALONG_Y) for i in (1, 2, 3, 4)),
    Proxy("switch", "lightswitchroot", "capsule", (0.021, 0.03), (0.0263, -0.065, 0.0), SWITCH_TURN),
    Proxy("hood", "hoodroot", "box", (0.502, 0.336, 0.12), (0.0, 0.073, -0.046)),
)  # fmt: skip


def _pairs(firsts, seconds, **how) -> list[Pair]:
    return [Pair(a, b, **{"friction": 1.0, **how}) for a, b in itertools.product(firsts, seconds)]


def _touch(firsts, seconds) -> list[Pair]:
    """Returns pairs of parts of the hand with doors, handles, knobs and the kettle."""
    return _pairs(firsts, seconds, margin=MARGIN, condim=4, torsion=FINGER_TORSION, **FINGER_ON_DOOR)


def common_pairs() -> list[Pair]:
    """What collides in every task: the kettle stands on the stove, and fingers and palm reach everything coarsely."""
    return [
        *_pairs([f"foot {i}" for i in range(4)], ["stove"], torsion=0.005, **KETTLE_ON_STOVE),
        *_pairs((*TIPS, "hand -1", "hand 1"), ["stove"], margin=MARGIN, **FINGER_ON_STOVE),
        *_touch(TIPS, ["kettle", "slide door"]),
        *_touch(CAPSULES, ["kettle handle", "slide handle", "right handle", "left handle", "microwave handle"]),
    ]


DETAILS = {
    "kettle": [
        *_touch(PALM, ["kettle"]),
        *_touch(CAPSULES, ["kettle left", "kettle right"]),
        *_touch(["hand 0"], ["kettle handle"]),
        *_pairs(["side 0", "side 1"], ["microwave"], **FINGER_ON_DOOR),
    ],
    "slide": [*_touch(CAPSULES, ["slide upper", "slide lower"]), *_touch(PALM, ["slide handle", "slide door"])],
    "hinge": [
        *_touch(TIPS, ["right door"]),
        *_touch(CAPSULES, ["right upper", "right lower"]),
        *_touch(PALM, ["right handle"]),
        *_touch(["hand 1"], ["right door"]),
    ],
    "microwave": [*_touch(TIPS, ["microwave door"]), *_touch(PALM, ["microwave handle", "microwave door"])],
    "burner": [*_touch(CAPSULES, [f"knob {i}" for i in (1, 2, 3, 4)]), *_touch(TIPS, ["hood"])],
    "light": [*_touch(CAPSULES, ["switch"]), *_touch(PALM, ["switch"]), *_touch(TIPS, ["hood"])],
}
"""What collides besides, by the part of the kitchen that a task is about"""


def build_model(part: str, control: Control) -> mujoco.MjModel:
    """Returns the edited scene, compiled.

    Args:
        part: a key of `DETAILS`: what collides in detail.
        control: with "ee", a mocap body is welded to the arm's last link.
    """
    pairs = [*common_pairs(), *DETAILS[part]]
    assert len(pairs) <= MAX_CONTACTS, len(pairs)
    used = {name for pair in pairs for name in (pair.name1, pair.name2)}
    proxies = [proxy for proxy in (*HAND, *OBJECTS) if proxy.name in used]
    spec = mujoco.MjSpec.from_file(str(asset_path()))
    scenes.disable_collisions(spec)
    scenes.mark_sites(spec)
    scenes.add_proxies(spec, proxies, pairs, (*FINGERS, END_BODY))
    _add_camera(spec)
    if control == "ee":
        _add_mocap(spec)
    spec.option.timestep = TIMESTEP
    scenes.set_solver(spec, iterations=ITERATIONS, line_search=LINE_SEARCH)
    spec.compiler.fusestatic = True
    model = spec.compile()
    if control == "ee":
        model.eq_data[model.equality("lead").id, :11] = WELD
    return model


WELD_SOLREF = (0.02, 1.0)
WELD_SOLIMP = (0.9, 0.95, 0.001, 0.5, 2.0)  # over a millimetre, the impedance is 0.95
WELD_STIFFNESS = 1 / (WELD_SOLIMP[1] * (WELD_SOLREF[0] * WELD_SOLREF[1]) ** 2)
"""The acceleration that the weld asks for, for a distance of 1 metre, in 1/s^2: MuJoCo's k times the impedance"""
WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)  # no offset, the identity, torque scale 1


def _add_mocap(spec: mujoco.MjSpec) -> None:
    """Adds the body that leads the arm's last link, and the release's weld between them."""
    spec.worldbody.add_body(name=MOCAP, mocap=True)
    spec.add_equality(
        name="lead", type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY, name1=MOCAP, name2=END_BODY,
        solref=WELD_SOLREF, solimp=WELD_SOLIMP,
    )  # fmt: skip


LOOK_AT, DISTANCE, AZIMUTH, ELEVATION, FOVY = (-0.2, 0.5, 2.0), 2.2, 70.0, -35.0, 45.0
"""MuJoCo's free camera in the official environment and in the release: metres and degrees"""


def _add_camera(spec: mujoco.MjSpec) -> None:
    """Adds a fixed camera where the official free camera is."""
    azimuth, elevation = np.radians([AZIMUTH, ELEVATION])
    ahead = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    axes = np.stack([right, np.cross(right, ahead), -ahead], axis=1)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    pos = np.array(LOOK_AT) - DISTANCE * ahead
    spec.worldbody.add_camera(name=CAMERA, pos=pos.tolist(), quat=quat.tolist(), fovy=FOVY)
