"""A MuJoCo model as three layers of triangles before one camera: host, NumPy, but for drawing what never moves."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Float

from rcjax.render import meshes, raster, shade, textures
from rcjax.render.camera import Camera, View, find_camera, make_camera, place_camera
from rcjax.render.draw import all_poses, draw_backdrop, draw_shadow_maps, take_poses, view_camera, world_points
from rcjax.render.layers import Layer, make_layer
from rcjax.render.motion import Moves, body_moves, placed_data, refuse_moving_lights
from rcjax.render.primitives import Triangles
from rcjax.render.scene import Scene, SceneStatic
from rcjax.render.shadows import empty_map
from rcjax.render.sky import sky_picture
from rcjax.types import GeomPoses

DRAWN_GROUPS = (0, 1, 2)  # what mujoco.Renderer draws by default
_ERROR_PIXELS = 0.5
ACCELERATOR_CHUNK = 2048  # tiles drawn at a time by default; on a CPU 64
_OPAQUE = 0.995  # alpha from which MuJoCo draws a geom as opaque


def build_scene(
    model: mujoco.MjModel,
    *,
    view: View,
    episode_fixed_bodies: Sequence[str] = (),
    data: mujoco.MjData | None = None,
    geom_groups: Sequence[int] = DRAWN_GROUPS,
    samples: int = 1,
    shadows: bool = False,
    shadow_size: int = 1024,
    layered: bool = True,
    error_pixels: float = _ERROR_PIXELS,
    chunk: int | None = None,
    lookup: Literal["index", "factors"] | None = None,
) -> Scene:
    """Tessellate what `mujoco.Renderer` draws of `model`, sort it into layers, and draw what never moves.

    Bodies named in `episode_fixed_bodies`, and what hangs on them without a joint, keep their place for an episode:
    their poses are read from its first frame. `data` places what never moves and the camera (default: the model's
    initial state). `samples` a pixel (1, 4, 9 or 16) are averaged; MuJoCo's default is 4. `shadows` lets the lights
    that cast them do so, by maps of `shadow_size` texels a side. `layered=False` draws everything in every frame, as a
    check. A decimated mesh is off the model's own by at most `error_pixels` of the picture, at its distance in the
    initial state (0: every triangle is kept). `chunk` (tiles drawn at a time) and `lookup` (see `rcjax.render.lookup`)
    change speed and are chosen by the default backend.

    Sites, reflections, fog and haze are not drawn. ValueError for a camera, light or geom that cannot be drawn, skins
    and flexes among them.
    """
    per_side = _samples_per_side(samples)
    _refuse_deformables(model)
    placed = placed_data(model, data)
    camera = make_camera(model, placed, dataclasses.replace(view, size=view.size * per_side))
    geoms = _sort_geoms(model, view, body_moves(model, episode_fixed_bodies), geom_groups, layered)
    textures_shown = {textures.geom_texture(model, g) for g in geoms.drawn} - {textures.NO_TEXTURE}
    atlas, mappings = textures.build_atlas(model, sorted(textures_shown))
    parts = {g: _geom_part(model, placed, camera, g, error_pixels * per_side) for g in geoms.drawn}

    def layer(members: Sequence[int]) -> Layer:
        return make_layer(model, {g: parts[g] for g in members}, geoms.row, mappings)

    camera_moves = geoms.carrier >= 0
    if camera_moves:
        camera = _relative_camera(camera, placed, geoms.carrier)
    lights = shade.collect_lights(model, placed)
    static = SceneStatic(
        size=view.size,
        samples_per_side=per_side,
        mirror=view.mirror,
        pose_geoms=tuple(geoms.posed),
        camera_geom=geoms.row[geoms.carrier] if camera_moves else -1,
        directional=tuple(np.asarray(lights.directional).tolist()),
        shadow_lights=tuple(np.flatnonzero(lights.casts_shadow).tolist()) if shadows else (),
        shadow_size=shadow_size,
        chunk=chunk or _default_chunk(),
        lookup=lookup or ("factors" if jax.default_backend() == "tpu" else "index"),
    )
    scene = Scene(
        static=static,
        camera=camera,
        lights=lights,
        atlas=atlas,
        backdrop=sky_picture(model, camera, static, camera_moves),
        shadow_maps=(),
        fixed_poses=GeomPoses(
            pos=placed.geom_xpos[geoms.fixed].astype(np.float32),
            mat=placed.geom_xmat[geoms.fixed].reshape(-1, 3, 3).astype(np.float32),
        ),
        episode_layer=layer(geoms.opaque[Moves.PER_EPISODE]),
        frame_layer=layer(geoms.opaque[Moves.PER_FRAME]),
        transparent_layer=layer(geoms.transparent),
    )
    scene, never = jax.tree.map(jnp.asarray, (scene, layer(geoms.opaque[Moves.NEVER])))
    scene = jax.jit(draw_backdrop)(scene, never)
    return _with_shadow_maps(model, placed, scene, never, parts) if static.shadow_lights else scene


class _Geoms(NamedTuple):
    """Ids of the geoms that are drawn, sorted by how they are."""

    drawn: list[int]
    fixed: list[int]  # never move
    posed: list[int]  # the others, and what carries a camera that moves
    row: dict[int, int]  # of each among the fixed ones' poses, then the others'
    opaque: dict[Moves, list[int]]  # by layer
    transparent: list[int]
    carrier: int  # the geom that tells the camera's pose; -1 for a camera that stands still


def _sort_geoms(
    model: mujoco.MjModel, view: View, moves: Sequence[Moves], geom_groups: Sequence[int], layered: bool
) -> _Geoms:
    refuse_moving_lights(model, moves)
    camera_id = find_camera(model, view.camera)
    camera_body = int(model.cam_bodyid[camera_id]) if camera_id >= 0 else 0
    camera_moves = moves[camera_body] != Moves.NEVER
    carrier = _camera_carrier(model, camera_body, view.camera) if camera_moves else -1
    drawn = [g for g in range(model.ngeom) if model.geom_group[g] in geom_groups and shade.geom_rgba(model, g)[3] > 0]
    moves_of = {g: moves[model.geom_bodyid[g]] for g in drawn}
    fixed = [g for g in drawn if moves_of[g] == Moves.NEVER]
    posed = sorted((set(drawn) - set(fixed)) | ({carrier} if camera_moves else set()))
    opaque: dict[Moves, list[int]] = {kind: [] for kind in Moves}
    transparent = []
    for geom in drawn:
        kind = moves_of[geom] if layered and not camera_moves else Moves.PER_FRAME
        (opaque[kind] if shade.geom_rgba(model, geom)[3] >= _OPAQUE else transparent).append(geom)
    row = {g: i for i, g in enumerate([*fixed, *posed])}
    return _Geoms(drawn, fixed, posed, row, opaque, transparent, carrier)


def _with_shadow_maps(
    model: mujoco.MjModel, placed: mujoco.MjData, scene: Scene, never: Layer, parts: dict[int, Triangles]
) -> Scene:
    """The scene with maps for its shadow lights, in which what never moves is drawn."""
    seen, casting = _visible_points(scene, placed), _casting_points(placed, parts)
    near, size = float(scene.camera.near), scene.static.shadow_size
    maps = [empty_map(model, scene.lights, i, near, seen, casting, size) for i in scene.static.shadow_lights]
    scene = scene.replace(shadow_maps=jax.tree.map(jnp.asarray, tuple(maps)))
    return jax.jit(draw_shadow_maps)(scene, never)


def _camera_carrier(model: mujoco.MjModel, body: int, camera: str) -> int:
    """A geom whose pose tells the camera's, as poses are kept for geoms only."""
    if not model.body_geomnum[body]:
        raise ValueError(
            f"camera {camera!r} is on body {model.body(body).name!r}, which moves and has no geom to tell its pose."
        )
    return int(model.body_geomadr[body])


def _relative_camera(camera: Camera, data: mujoco.MjData, geom: int) -> Camera:
    mat = data.geom_xmat[geom].reshape(3, 3)
    pos = mat.T @ (camera.pos - data.geom_xpos[geom])
    return place_camera(camera, pos.astype(np.float32), (mat.T @ camera.mat).astype(np.float32))


def _geom_part(model, data, camera: Camera, geom: int, error_pixels: float) -> Triangles:
    distance = max(float(np.linalg.norm(data.geom_xpos[geom] - camera.pos)), float(camera.near), 0.1)
    per_metre = 1 / (abs(float(camera.dx)) * distance)  # pixels
    return meshes.geom_triangles(
        model,
        geom,
        segments=_segments(float(model.geom_size[geom].max()) * per_metre),
        max_error=error_pixels / per_metre,
        plane_half_side=float(camera.far),
    )


def _segments(radius: float) -> int:
    """Facets round a circle of some radius in pixels that keep within an eighth of a pixel; at most MuJoCo's 28."""
    return int(np.clip(4 * np.ceil(np.pi / np.sqrt(2 * 0.125 / max(radius, 0.5)) / 4), 8, 28))


def _default_chunk() -> int:
    return 64 if jax.default_backend() == "cpu" else ACCELERATOR_CHUNK


def _visible_points(scene: Scene, placed: mujoco.MjData) -> Float[np.ndarray, "P 3"]:
    """Points of the world that the camera sees in the initial state, and some on the way to them."""
    poses = GeomPoses(pos=placed.geom_xpos[None], mat=placed.geom_xmat.reshape(1, -1, 3, 3))
    every = all_poses(scene, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), take_poses(scene, poses)))
    key = scene.backdrop.key
    points = np.stack([np.asarray(p) for p in world_points(scene, every, key)], axis=-1)
    near = np.asarray(raster.inverse_depth_of(key)) > 1.01 / float(scene.camera.far)
    eye = np.asarray(view_camera(scene, every).pos)[0]
    seen = points[near]
    return np.concatenate([eye + part * (seen - eye) for part in (0.5, 0.75, 1.0)])


def _casting_points(placed: mujoco.MjData, parts: dict[int, Triangles]) -> Float[np.ndarray, "Q 3"]:
    """The corners of all triangles as they stand."""
    turned = [
        part.corners.reshape(-1, 3) @ placed.geom_xmat[g].reshape(3, 3).T + placed.geom_xpos[g]
        for g, part in parts.items()
    ]
    return np.concatenate(turned) if turned else np.zeros((0, 3))


def _samples_per_side(samples: int) -> int:
    if samples not in (1, 4, 9, 16):
        raise ValueError(f"samples={samples}; a pixel is drawn with 1, 4, 9 or 16 samples.")
    return round(samples**0.5)


def _refuse_deformables(model: mujoco.MjModel) -> None:
    for kind, count in (("skin", model.nskin), ("flex", model.nflex)):
        if count:
            raise ValueError(
                f"the model has {count} {kind}(s), which cannot be drawn; only geoms can. "
                f"Delete them from the MjSpec if the picture does without."
            )
