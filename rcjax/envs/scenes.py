"""Metaworld's own scenes, loaded from the installed package and edited so that MJX runs them fast.

Nothing is copied: the official XML is read with `mujoco.MjSpec` and edited in memory.

* All official collisions are turned off. Contacts come from explicit pairs between a few primitives, the proxies,
  chosen so that MJX and C MuJoCo agree on them (sphere-box, capsule-capsule, sphere-plane; not box-box, not
  capsule-box).
* Bodies that never move relative to their parent are fused into it (37 bodies become 14 in the drawer scene).
* Bodies that every reset places become mocap bodies, so their pose is part of the state and the model is constant.
* Each visible site (fingertip markers, the goal) gets a visual geom, as the renderer draws geoms only.
* Visual geoms, materials, lights and cameras stay as they are.
"""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import mujoco
import numpy as np

PROXY_GROUP = 4  # the group of the official collision geoms; viewers and renderers hide it by default
FIRST_HIDDEN_GROUP = 3  # mujoco.MjvOption draws groups 0-2
PROXY_PREFIX = "proxy:"
MARKER_PREFIX = "marker:"

# The official contact parameters. Of two geoms, the larger friction counts; the finger pads have 2.
HAND_FRICTION = 2.0
FRICTION = 1.0
SOLREF = (0.01, 1.0)
SOLIMP = (0.99, 0.995, 0.01, 0.5, 2.0)
MARGIN = 0.001  # metres, of pairs with the hand, as on the official fingers

# What the official code writes into each weld: no offset, the hand turned by half a turn about x, torque scale 5.
OFFICIAL_WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)

_GEOM_TYPES = {
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "plane": mujoco.mjtGeom.mjGEOM_PLANE,
}

_DISAGREEING_SHAPES = ({"box"}, {"box", "capsule"})  # measured: their contacts in MJX 3.17 break tasks

Role = Literal["object", "scenery", "internal"]


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A primitive that stands for a body in collisions. Sizes and positions are metres, in the frame of `body`.

    `role` says which of the hand's proxies collide with it: for an "object" all of them, for "scenery" fewer, and for
    "internal" none, as such a proxy collides in `extra_pairs` only.
    """

    name: str
    body: str  # "world", the name of a body, or that of a joint of a body without a name
    shape: Literal["sphere", "capsule", "box", "plane"]
    size: tuple[float, ...]
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    role: Role = "object"


ALONG_X = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)  # the quaternion that turns a proxy's z axis to x
ALONG_Y = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)  # to -y
TABLE = Proxy("table", "world", "plane", (0.0, 0.0, 1.0), role="scenery")


def internal(proxy: Proxy) -> Proxy:
    """Returns `proxy` for use in `extra_pairs` only."""
    return dataclasses.replace(proxy, role="internal")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two proxies that collide, by name. `friction` is for sliding; `solref` and `solimp` determine the softness."""

    name1: str
    name2: str
    condim: int = 3
    friction: float = FRICTION
    margin: float = 0.0  # metres of distance at which contact begins; the hand's proxy is enlarged by it
    torsion: float = 0.005  # metres, torsional friction; counts with condim 4
    solref: tuple[float, ...] = SOLREF
    solimp: tuple[float, ...] = SOLIMP


@dataclasses.dataclass(frozen=True)
class SceneSpec:
    """What is particular to the scene of a task.

    `placed_bodies` are the top-level bodies that the official reset moves, and `goal_sites` the sites that it puts at
    the target. `extra_pairs` are collisions besides those of the hand with each proxy. `elliptic_cone` selects the
    official friction cone, for scenes where an object slides between two others; MJX supports it only for pairs of
    condim 3 and more. Light objects in a firm grip or wedged under the hand need more `solver_iterations`: if the
    solver stops too early, they are flung away.
    """

    xml: str  # relative to metaworld's assets
    placed_bodies: tuple[str, ...]
    proxies: tuple[Proxy, ...]
    extra_pairs: tuple[Pair, ...] = ()
    goal_sites: tuple[str, ...] = ("goal",)
    elliptic_cone: bool = False
    solver_iterations: int = 4


def asset_path(xml: str) -> pathlib.Path:
    """Returns the path of `xml` in the installed metaworld, without importing that and all of its environments.

    Raises ValueError if metaworld is not installed.
    """
    package = importlib.util.find_spec("metaworld")
    if package is None or package.origin is None:
        raise ValueError("metaworld is not installed, and its scenes are needed: pip install metaworld")
    return pathlib.Path(package.origin).parent / "assets" / xml


MakePair = Callable[[Proxy, Proxy], Pair]
"""Maps a proxy of the hand and one of the scene to how they collide"""


def _default_pair(hand: Proxy, other: Proxy) -> Pair:
    return Pair(hand.name, other.name, 3, HAND_FRICTION, MARGIN)


def build_model(
    scene: SceneSpec,
    hand_proxies: Mapping[str, Sequence[Proxy]],
    hand_bodies: Sequence[str] = (),
    tracked_bodies: Sequence[str] = (),
    make_pair: MakePair = _default_pair,
) -> mujoco.MjModel:
    """Returns the edited scene, compiled.

    Args:
        scene: what is particular to the task.
        hand_proxies: the hand's proxies by what they collide with: an object's shape, "scenery", or a "table", which is
            scenery that is a plane.
        hand_bodies: bodies whose proxies also belong to the hand.
        tracked_bodies: bodies that are fused although their positions are needed: each becomes a site of its name.
        make_pair: says how a proxy of the hand collides with another.

    Raises:
        ValueError: for a pair of shapes or a margin on which MJX's `jax` backend and C MuJoCo disagree.
    """
    spec = mujoco.MjSpec.from_file(str(asset_path(scene.xml)))
    disable_collisions(spec)
    _make_mocap_bodies(spec, scene.placed_bodies)
    mark_sites(spec, scene.goal_sites)
    for name in tracked_bodies:
        spec.body(name).add_site(name=name, rgba=np.zeros(4).tolist())
    add_proxies(spec, *_collisions(scene, hand_proxies, make_pair), hand_bodies)
    set_solver(spec, scene.elliptic_cone, scene.solver_iterations)
    spec.compiler.fusestatic = True
    model = spec.compile()
    set_official_weld(model)
    return model


def official_model(xml: str) -> mujoco.MjModel:
    """Returns the official scene unedited, with the welds as the official code sets them."""
    model = mujoco.MjModel.from_xml_path(str(asset_path(xml)))
    set_official_weld(model)
    return model


def set_official_weld(model: mujoco.MjModel) -> None:
    """Writes the official numbers into all welds. Newer versions of MuJoCo have further numbers, which stay."""
    welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
    model.eq_data[welds, : len(OFFICIAL_WELD)] = OFFICIAL_WELD


def disable_collisions(spec: mujoco.MjSpec) -> None:
    """Turns all collisions of the scene off that its geoms' bits define."""
    for geom in spec.geoms:
        geom.contype = 0
        geom.conaffinity = 0


def _make_mocap_bodies(spec: mujoco.MjSpec, names: Sequence[str]) -> None:
    for name in names:
        spec.body(name).mocap = True


def mark_sites(spec: mujoco.MjSpec, goal_sites: Sequence[str] = ()) -> None:
    """Gives each site that a renderer would show a visual geom, and a goal's a mocap body of its own."""
    for site in spec.sites:
        if site.name not in goal_sites and (site.group >= FIRST_HIDDEN_GROUP or site.rgba[3] == 0):
            continue
        body, pos = site.parent, site.pos
        if site.name in goal_sites:
            body, pos = spec.worldbody.add_body(name=site.name, pos=site.pos, mocap=True), np.zeros(3).tolist()
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


def _find_body(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """Returns the body that `Proxy.body` names."""
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
    if shapes in _DISAGREEING_SHAPES:
        raise ValueError(
            f"{pair.name1} and {pair.name2} collide as {' and '.join(sorted(shapes))}, for which MJX's contacts differ "
            "from C MuJoCo's. Use spheres against boxes, capsules or spheres against capsules, or a plane."
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


def add_proxies(
    spec: mujoco.MjSpec, proxies: Sequence[Proxy], pairs: Sequence[Pair], hand_bodies: Sequence[str]
) -> None:
    """Adds proxies and pairs to a scene; see `build_model` for `hand_bodies` and errors."""
    for proxy in _enlarge_by_margins(proxies, pairs, hand_bodies):
        _add_geom(spec, proxy)
    for pair in pairs:
        _add_pair(spec, pair)


def _collisions(
    scene: SceneSpec, hand_proxies: Mapping[str, Sequence[Proxy]], make_pair: MakePair
) -> tuple[list[Proxy], list[Pair]]:
    """Returns all proxies, including those of the hand that collide with one of the scene, and all pairs."""
    proxies = {proxy.name: proxy for proxy in scene.proxies}
    pairs = []
    for proxy in scene.proxies:
        if proxy.role == "internal":
            continue
        for hand in hand_proxies[_hand_proxies_key(proxy)]:
            proxies.setdefault(hand.name, hand)
            pairs.append(make_pair(hand, proxy))
    return list(proxies.values()), [*pairs, *scene.extra_pairs]


def _hand_proxies_key(proxy: Proxy) -> str:
    """Returns the key, in `hand_proxies`, of those that collide with this proxy."""
    if proxy.role == "object":
        return proxy.shape
    return "table" if proxy.shape == "plane" else "scenery"


def _enlarge_by_margins(proxies: Sequence[Proxy], pairs: Sequence[Pair], hand_bodies: Sequence[str]) -> list[Proxy]:
    """Returns the proxies, with those of the hand enlarged by the margin of their pairs, which then have none.

    MJX's `jax` backend drops contacts between a sphere and a box until they touch, whatever the margin. A proxy that is
    larger by the margin gives the same forces on every backend.

    Raises ValueError for a margin between two proxies of the scene, and for a proxy of the hand with several margins.
    """
    on_hand = {proxy.name for proxy in proxies if proxy.body in hand_bodies}
    margins: dict[str, set[float]] = {name: set() for name in on_hand}
    for pair in pairs:
        enlarged = [name for name in (pair.name1, pair.name2) if name in on_hand]
        if pair.margin and not enlarged:
            raise ValueError(f"{pair.name1} and {pair.name2} have a margin, and neither is the hand's; enlarge one.")
        for name in enlarged:
            margins[name].add(pair.margin)
    mixed = [name for name, found in margins.items() if len(found) > 1]
    if mixed:
        raise ValueError(f"{mixed} have pairs of different margins {[sorted(margins[name]) for name in mixed]}.")
    return [_enlarged(proxy, max(margins.get(proxy.name, ()), default=0.0)) for proxy in proxies]


def _enlarged(proxy: Proxy, by: float) -> Proxy:
    """Returns `proxy` with its surface moved outwards by `by` metres."""
    n_enlarged = len(proxy.size) if proxy.shape == "box" else 1
    return dataclasses.replace(proxy, size=tuple(s + by * (i < n_enlarged) for i, s in enumerate(proxy.size)))


def set_solver(
    spec: mujoco.MjSpec, elliptic_cone: bool = False, iterations: int = 4, line_search: int | None = None
) -> None:
    """Sets the solver's options. The time step stays as it is.

    From a warm start, four iterations are mostly enough, and two are not. `line_search` is the number of iterations of
    each line search, by default the same. Scenes whose joints have friction need more of them: with four, C MuJoCo let
    a cabinet's door swing on for ever.
    """
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC if elliptic_cone else mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.option.iterations = iterations
    spec.option.ls_iterations = line_search or iterations
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
