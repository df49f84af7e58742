"""Metaworld's own scenes, loaded from the installed package and edited so that MJX runs them fast.

Nothing is copied: the official XML is read with `mujoco.MjSpec` and edited in memory.

* Every official collision is off. Contacts come from explicit pairs between a few primitives, the proxies,
  chosen so that MJX and C MuJoCo agree on them (sphere-box, capsule-capsule, sphere-plane; not box-box, not
  capsule-box).
* Bodies that never move relative to their parent are fused into it (37 bodies become 14 in the drawer scene).
* Bodies that are placed anew at every reset become mocap bodies, so their pose is state and the model is
  constant.
* Visible sites (fingertip markers, the goal) get a visual geom each, as those are what a renderer of geoms
  can draw.
* Visual geoms, materials, lights and cameras stay as they are.
"""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import mujoco
import numpy as np

PROXY_GROUP = 4  # the official collision geoms' group; viewers and renderers hide it by default
FIRST_HIDDEN_GROUP = 3  # mujoco.MjvOption draws groups 0-2
PROXY_PREFIX = "proxy:"
MARKER_PREFIX = "marker:"

# Contact parameters: the official ones. The larger friction of two geoms counts; the finger pads' is 2.
HAND_FRICTION = 2.0
FRICTION = 1.0
SOLREF = (0.01, 1.0)
SOLIMP = (0.99, 0.995, 0.01, 0.5, 2.0)
MARGIN = 0.001  # metres, of the hand's pairs, as on the official fingers

# What the official code writes over each weld: no offset, hand turned half about x, torque scale 5.
OFFICIAL_WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)

_GEOM_TYPES = {
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "plane": mujoco.mjtGeom.mjGEOM_PLANE,
}

_DISAGREEING = ({"box"}, {"box", "capsule"})  # measured: MJX 3.17, whose contacts there break tasks

Role = Literal["object", "scenery", "internal"]


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A primitive that stands for a body in collisions. Metres, in the frame of `body`: "world", a body's name, or, of
    a body without one, its joint's.

    `role` says with which of its proxies the hand meets it: "object" with all of them, "scenery" with fewer,
    "internal" with none, as it is there for `extra_pairs` only.
    """

    name: str
    body: str  # a body's name, or one of its joints' where it has none
    shape: Literal["sphere", "capsule", "box", "plane"]
    size: tuple[float, ...]
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    role: Role = "object"


ALONG_X = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)  # quaternions that lay a proxy's own z there
ALONG_Y = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)  # along -y, to be exact
TABLE = Proxy("table", "world", "plane", (0.0, 0.0, 1.0), role="scenery")


def internal(proxy: Proxy) -> Proxy:
    """`proxy` for `extra_pairs` only."""
    return dataclasses.replace(proxy, role="internal")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two proxies of a scene that collide with one another. `friction` is that of sliding; `solref` and `solimp` say
    how soft the contact is."""

    name1: str
    name2: str
    condim: int = 3
    friction: float = FRICTION
    margin: float = 0.0  # metres at which contact begins; the hand's proxy is made larger by it
    torsion: float = 0.005  # metres, friction of turning on the spot; counts with condim 4
    solref: tuple[float, ...] = SOLREF
    solimp: tuple[float, ...] = SOLIMP


@dataclasses.dataclass(frozen=True)
class SceneSpec:
    """What is particular to a task's scene.

    `placed_bodies` are the top-level bodies that the official reset moves, and `goal_sites` the sites that it
    puts at the target. `extra_pairs` are collisions besides those of the hand with each proxy. `elliptic_cone` is the
    official friction cone, for scenes where an object slides between two others; MJX has it for pairs of condim 3 and
    more only. Light objects in a firm grip or wedged under the hand need more `solver_iterations`: where the solver
    stops short, they are flung away.
    """

    xml: str  # relative to metaworld's assets
    placed_bodies: tuple[str, ...]
    proxies: tuple[Proxy, ...]
    extra_pairs: tuple[Pair, ...] = ()
    goal_sites: tuple[str, ...] = ("goal",)
    elliptic_cone: bool = False
    solver_iterations: int = 4


def asset_path(xml: str) -> pathlib.Path:
    """Where the installed metaworld keeps `xml`, found without importing it and all of its environments."""
    package = importlib.util.find_spec("metaworld")
    if package is None or package.origin is None:
        raise ValueError("metaworld, whose scenes are needed, is not installed: pip install metaworld")
    return pathlib.Path(package.origin).parent / "assets" / xml


PairUp = Callable[[Proxy, Proxy], Pair]
"""(a proxy of the hand, one of the scene) -> how they collide"""


def _default_pair(hand: Proxy, other: Proxy) -> Pair:
    return Pair(hand.name, other.name, 3, HAND_FRICTION, MARGIN)


def build_model(
    scene: SceneSpec,
    hand_proxies: Mapping[str, Sequence[Proxy]],
    hand_bodies: Sequence[str] = (),
    tracked_bodies: Sequence[str] = (),
    pair_up: PairUp = _default_pair,
) -> mujoco.MjModel:
    """The edited scene, compiled.

    `hand_proxies` gives the hand's proxies by what they meet: an object's shape, "scenery", or a "table", which is
    scenery that is a plane; `pair_up` says how two of them touch. Proxies on `hand_bodies` are the hand's too.
    `tracked_bodies` are fused bodies whose positions are still wanted: each
    leaves a site of its name.

    Raises ValueError for a pair of shapes or a margin on which MJX's `jax` backend and C MuJoCo disagree.
    """
    spec = mujoco.MjSpec.from_file(str(asset_path(scene.xml)))
    _disable_collisions(spec)
    _place_by_mocap(spec, scene.placed_bodies)
    _mark_sites(spec, scene.goal_sites)
    for name in tracked_bodies:
        spec.body(name).add_site(name=name, rgba=np.zeros(4))
    _add_proxies(spec, *_collisions(scene, hand_proxies, pair_up), hand_bodies)
    _set_solver(spec, scene.elliptic_cone, scene.solver_iterations)
    spec.compiler.fusestatic = True
    model = spec.compile()
    set_official_weld(model)
    return model


def official_model(xml: str) -> mujoco.MjModel:
    """The scene as it is, but for what the official code writes over its welds."""
    model = mujoco.MjModel.from_xml_path(str(asset_path(xml)))
    set_official_weld(model)
    return model


def set_official_weld(model: mujoco.MjModel) -> None:
    """Only the numbers that the official code knows: newer versions of MuJoCo have more to a weld."""
    welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
    model.eq_data[welds, : len(OFFICIAL_WELD)] = OFFICIAL_WELD


def _disable_collisions(spec: mujoco.MjSpec) -> None:
    for geom in spec.geoms:
        geom.contype = 0
        geom.conaffinity = 0


def _place_by_mocap(spec: mujoco.MjSpec, names: Sequence[str]) -> None:
    for name in names:
        spec.body(name).mocap = True


def _mark_sites(spec: mujoco.MjSpec, goal_sites: Sequence[str]) -> None:
    """Give each site that a renderer would show a visual geom, a goal's on a mocap body of its own."""
    for site in spec.sites:
        if site.name not in goal_sites and (site.group >= FIRST_HIDDEN_GROUP or site.rgba[3] == 0):
            continue
        body, pos = site.parent, site.pos
        if site.name in goal_sites:
            body, pos = spec.worldbody.add_body(name=site.name, pos=site.pos, mocap=True), np.zeros(3)
        body.add_geom(
            name=MARKER_PREFIX + site.name,
            type=site.type,
            size=site.size,
            pos=pos,
            quat=site.quat,
            rgba=site.rgba,
            group=site.group,
            contype=0,
            conaffinity=0,
            mass=0,
        )


def _find_body(spec: mujoco.MjSpec, name: str) -> Any:
    if name == "world":
        return spec.worldbody
    return spec.body(name) or spec.joint(name).parent


def _add_geom(spec: mujoco.MjSpec, proxy: Proxy) -> None:
    body = _find_body(spec, proxy.body)
    size = np.zeros(3)
    size[: len(proxy.size)] = proxy.size
    body.add_geom(
        name=PROXY_PREFIX + proxy.name,
        type=_GEOM_TYPES[proxy.shape],
        size=size,
        pos=proxy.pos,
        quat=proxy.quat,
        group=PROXY_GROUP,
        contype=0,
        conaffinity=0,
        mass=0,
    )


def _add_pair(spec: mujoco.MjSpec, pair: Pair) -> None:
    names = (PROXY_PREFIX + pair.name1, PROXY_PREFIX + pair.name2)
    shapes = {str(spec.geom(name).type).rsplit("_", 1)[-1].lower() for name in names}
    if shapes in _DISAGREEING:
        raise ValueError(
            f"{pair.name1} and {pair.name2} collide as {' and '.join(sorted(shapes))}, where MJX's contacts are not "
            "C MuJoCo's. Use spheres against boxes, capsules or spheres against capsules, or a plane."
        )
    spec.add_pair(
        geomname1=names[0],
        geomname2=names[1],
        condim=pair.condim,
        friction=(pair.friction, pair.friction, pair.torsion, 0.0001, 0.0001),
        solref=pair.solref,
        solimp=pair.solimp,
        margin=0.0,
    )


def _add_proxies(
    spec: mujoco.MjSpec, proxies: Sequence[Proxy], pairs: Sequence[Pair], hand_bodies: Sequence[str]
) -> None:
    for proxy in _absorb_margins(proxies, pairs, hand_bodies):
        _add_geom(spec, proxy)
    for pair in pairs:
        _add_pair(spec, pair)


def _collisions(
    scene: SceneSpec, hand_proxies: Mapping[str, Sequence[Proxy]], pair_up: PairUp
) -> tuple[list[Proxy], list[Pair]]:
    """All proxies of the scene, those of the hand that can meet one among them, and all pairs."""
    proxies = {proxy.name: proxy for proxy in scene.proxies}
    pairs = []
    for proxy in scene.proxies:
        if proxy.role == "internal":
            continue
        for hand in hand_proxies[_partner(proxy)]:
            proxies.setdefault(hand.name, hand)
            pairs.append(pair_up(hand, proxy))
    return list(proxies.values()), [*pairs, *scene.extra_pairs]


def _partner(proxy: Proxy) -> str:
    """Which of the hand's proxies meet this one."""
    if proxy.role == "object":
        return proxy.shape
    return "table" if proxy.shape == "plane" else "scenery"


def _absorb_margins(proxies: Sequence[Proxy], pairs: Sequence[Pair], hand_bodies: Sequence[str]) -> list[Proxy]:
    """The proxies, those of the hand grown by the margin of their pairs, which then have none.

    MJX's `jax` backend drops contacts between a sphere and a box before they touch, whatever the margin. A proxy
    that is larger by the margin gives the same forces on every backend.

    Raises ValueError for a margin between two proxies of the scene, and for one of the hand with several margins.
    """
    on_hand = {proxy.name for proxy in proxies if proxy.body in hand_bodies}
    margins: dict[str, set[float]] = {name: set() for name in on_hand}
    for pair in pairs:
        grown = [name for name in (pair.name1, pair.name2) if name in on_hand]
        if pair.margin and not grown:
            raise ValueError(f"{pair.name1} and {pair.name2} have a margin, and neither is the hand's; enlarge one.")
        for name in grown:
            margins[name].add(pair.margin)
    mixed = [name for name, found in margins.items() if len(found) > 1]
    if mixed:
        raise ValueError(f"{mixed} have pairs of different margins {[sorted(margins[name]) for name in mixed]}.")
    return [_grown(proxy, max(margins.get(proxy.name, ()), default=0.0)) for proxy in proxies]


def _grown(proxy: Proxy, by: float) -> Proxy:
    """`proxy` with its surface moved outwards, metres."""
    wider = len(proxy.size) if proxy.shape == "box" else 1
    return dataclasses.replace(proxy, size=tuple(s + by * (i < wider) for i, s in enumerate(proxy.size)))


def _set_solver(spec: mujoco.MjSpec, elliptic_cone: bool, iterations: int) -> None:
    """Four iterations are mostly enough from a warm start, two are not. The time step stays at 0.0025 s."""
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC if elliptic_cone else mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.option.iterations = iterations
    spec.option.ls_iterations = iterations
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
