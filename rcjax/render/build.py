"""Builds a `Scene` from a MuJoCo model. Runs on the host, in NumPy, except for drawing the backdrop."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Float

from rcjax import target
from rcjax.render import meshes, raster, shade, textures
from rcjax.render.camera import Camera, View, find_camera, make_camera, place_camera
from rcjax.render.draw import draw_backdrop, draw_shadow_maps, join_fixed_poses, take_poses, view_camera, world_points
from rcjax.render.layers import Layer, make_layer
from rcjax.render.motion import PoseUpdates, body_pose_updates, placed_data, refuse_moving_lights
from rcjax.render.primitives import Triangles
from rcjax.render.scene import Scene, SceneStatic
from rcjax.render.shadows import empty_shadow_map
from rcjax.render.sky import sky_framebuffer
from rcjax.types import GeomPoses

DRAWN_GROUPS = (0, 1, 2)  # geom groups that mujoco.Renderer draws by default
_ERROR_PIXELS = 0.5  # of a decimated mesh
TPU_CHUNK = 2048  # tiles drawn at a time by default on a TPU
_CHUNKS = {"cpu": 64, "tpu": TPU_CHUNK, "gpu": 1 << 15}
_OPAQUE = 0.995  # MuJoCo draws geoms with at least this alpha as opaque


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
    cull: bool = True,
    layered: bool = True,
    backdrop_lighting: Literal["pixel", "vertex"] = "pixel",
    error_pixels: float = _ERROR_PIXELS,
    chunk: int | None = None,
    lookup: Literal["index", "varyings"] | None = None,
    tile_loop: raster.TileLoop | None = None,
) -> Scene:
    """Tessellates what `mujoco.Renderer` draws of `model`, sorts it into layers, and draws what never moves.

    Sites, reflections, fog and haze are not drawn.

    Args:
        model: The model.
        view: The camera, the square of its image, and the size of the frames.
        episode_fixed_bodies: Names of bodies that keep their pose during an episode, as do bodies attached to them
            without a joint. Their poses are read from the episode's first frame.
        data: The state that gives the poses of the camera and of everything that never moves; by default the model's
            initial state.
        geom_groups: The geom groups that are drawn.
        samples: Samples per pixel that are averaged: 1, 4 (MuJoCo's default), 9 or 16.
        shadows: Whether the lights with `castshadow` cast shadows.
        shadow_size: Texels along a shadow map's side.
        cull: Whether opaque surfaces are left out where they are seen from behind, as in MuJoCo. Meshes with gaps, of
            which Metaworld's arm has many, then show what is behind them in every gap. False draws their insides, as
            MuJoCo does without its flag `mjRND_CULL_FACE`. Transparent surfaces are always culled.
        layered: Whether layers that do not change are drawn once. False draws everything in every frame, as a check.
        backdrop_lighting: Where the light on what never moves is computed: at every pixel, or at the corners of every
            triangle of the model, as MuJoCo does. That differs where triangles are large and a light is near. Only
            building the scene takes longer.
        error_pixels: How far a decimated mesh may deviate from the model's, in pixels of the frame at the mesh's
            distance in the initial state. 0 keeps every triangle.
        chunk: Tiles drawn at a time; it changes the speed only. The default depends on the platform.
        lookup: How attributes are interpolated, see `rcjax.render.lookup`; it changes the speed only. The default
            depends on the platform.
        tile_loop: What draws the tiles, see `rcjax.render.raster`; by default the kernels on a GPU and on a TPU, XLA
            elsewhere. It changes the speed, and pictures by rounding alone.

    Returns:
        The scene, on the default device.

    Raises:
        ValueError: A camera, light or geom cannot be drawn, the model has skins or flexes, a body in
            `episode_fixed_bodies` is unknown or has a joint, or `samples` is another number.
    """
    samples_per_side = _samples_per_side(samples)
    _refuse_deformables(model)
    placed = placed_data(model, data)
    camera = make_camera(model, placed, dataclasses.replace(view, size=view.size * samples_per_side))
    geoms = _sort_geoms(model, view, body_pose_updates(model, episode_fixed_bodies), geom_groups, layered)
    textures_shown = {textures.geom_texture(model, g) for g in geoms.drawn} - {textures.NO_TEXTURE}
    atlas, mappings = textures.build_atlas(model, sorted(textures_shown))
    lit_at_vertices = geoms.opaque[PoseUpdates.NEVER] if backdrop_lighting == "vertex" else []
    triangles_of = {
        g: _geom_triangles(model, placed, camera, g, 0, int(model.vis.quality.numquads))
        if g in lit_at_vertices
        else _geom_triangles(model, placed, camera, g, error_pixels * samples_per_side)
        for g in geoms.drawn
    }

    def layer(members: Sequence[int]) -> Layer:
        return make_layer(model, {g: triangles_of[g] for g in members}, geoms.row, mappings)

    camera_moves = geoms.camera_geom >= 0
    if camera_moves:
        camera = _relative_camera(camera, placed, geoms.camera_geom)
    lights = shade.collect_lights(model, placed)
    static = SceneStatic(
        size=view.size,
        samples_per_side=samples_per_side,
        mirror=view.mirror,
        pose_geoms=tuple(geoms.moving),
        camera_geom=geoms.row[geoms.camera_geom] if camera_moves else -1,
        directional=tuple(np.asarray(lights.directional).tolist()),
        shadow_lights=tuple(np.flatnonzero(lights.casts_shadow).tolist()) if shadows else (),
        shadow_size=shadow_size,
        cull=cull,
        chunk=chunk or _default_chunk(),
        tile_loop=tile_loop or _tile_loop(target.platform()),
        backdrop_lighting=backdrop_lighting,
        lookup=lookup or ("varyings" if target.platform() == "tpu" else "index"),
    )
    scene = Scene.of_leaves(
        static=static,
        camera=camera,
        lights=lights,
        atlas=atlas,
        backdrop=sky_framebuffer(model, camera, static, camera_moves),
        shadow_maps=(),
        fixed_poses=GeomPoses.of_leaves(
            pos=placed.geom_xpos[geoms.fixed].astype(np.float32),
            mat=placed.geom_xmat[geoms.fixed].reshape(-1, 3, 3).astype(np.float32),
        ),
        episode_layer=layer(geoms.opaque[PoseUpdates.PER_EPISODE]),
        frame_layer=layer(geoms.opaque[PoseUpdates.PER_FRAME]),
        transparent_layer=layer(geoms.transparent),
    )
    scene, backdrop_layer = jax.tree.map(jnp.asarray, (scene, layer(geoms.opaque[PoseUpdates.NEVER])))
    # The scene may be for another platform, but what never moves is drawn on this one.
    drawable = scene.replace(
        static=dataclasses.replace(
            static,
            tile_loop=tile_loop or _tile_loop(jax.default_backend()),
            lookup="index" if backdrop_lighting == "vertex" else static.lookup,
        )
    )
    drawn = jax.jit(draw_backdrop)(drawable, backdrop_layer)
    if static.shadow_lights:
        drawn = _with_shadow_maps(model, placed, drawn, backdrop_layer, triangles_of)
    return drawn.replace(static=static)


class _SortedGeoms(NamedTuple):
    """Ids of the geoms that are drawn, sorted by how often they move and whether they are opaque."""

    drawn: list[int]
    fixed: list[int]  # those that never move
    moving: list[int]  # the others, and the geom that carries a moving camera
    row: dict[int, int]  # row of each geom among the fixed poses followed by the others'
    opaque: dict[PoseUpdates, list[int]]  # by layer
    transparent: list[int]
    camera_geom: int  # the geom whose pose determines a moving camera's; -1 for a fixed camera


def _sort_geoms(
    model: mujoco.MjModel, view: View, pose_updates: Sequence[PoseUpdates], geom_groups: Sequence[int], layered: bool
) -> _SortedGeoms:
    refuse_moving_lights(model, pose_updates)
    camera_id = find_camera(model, view.camera)
    camera_body = int(model.cam_bodyid[camera_id]) if camera_id >= 0 else 0
    camera_moves = pose_updates[camera_body] != PoseUpdates.NEVER
    camera_geom = _camera_geom(model, camera_body, view.camera) if camera_moves else -1
    drawn = [g for g in range(model.ngeom) if model.geom_group[g] in geom_groups and shade.geom_rgba(model, g)[3] > 0]
    updates_of_geom = {g: pose_updates[model.geom_bodyid[g]] for g in drawn}
    fixed = [g for g in drawn if updates_of_geom[g] == PoseUpdates.NEVER]
    moving = sorted((set(drawn) - set(fixed)) | ({camera_geom} if camera_moves else set()))
    opaque: dict[PoseUpdates, list[int]] = {kind: [] for kind in PoseUpdates}
    transparent = []
    for geom in drawn:
        kind = updates_of_geom[geom] if layered and not camera_moves else PoseUpdates.PER_FRAME
        (opaque[kind] if shade.geom_rgba(model, geom)[3] >= _OPAQUE else transparent).append(geom)
    row = {g: i for i, g in enumerate([*fixed, *moving])}
    return _SortedGeoms(drawn, fixed, moving, row, opaque, transparent, camera_geom)


def _with_shadow_maps(
    model: mujoco.MjModel,
    placed: mujoco.MjData,
    scene: Scene,
    backdrop_layer: Layer,
    triangles_of: dict[int, Triangles],
) -> Scene:
    """The scene with a shadow map for each of its shadow lights, in which what never moves is drawn."""
    visible, casters = _visible_points(scene, placed), _shadow_caster_points(placed, triangles_of)
    near, size = float(scene.camera.near), scene.static.shadow_size
    maps = [empty_shadow_map(model, scene.lights, i, near, visible, casters, size) for i in scene.static.shadow_lights]
    scene = scene.replace(shadow_maps=jax.tree.map(jnp.asarray, tuple(maps)))
    return jax.jit(draw_shadow_maps)(scene, backdrop_layer)


def _camera_geom(model: mujoco.MjModel, body: int, camera: str) -> int:
    """A geom of the camera's body. Only poses of geoms are given, so the camera's pose is computed from this geom's."""
    if not model.body_geomnum[body]:
        raise ValueError(
            f"camera {camera!r} is on body {model.body(body).name!r}, which moves and has no geom, "
            "so its pose is not known from the poses of geoms."
        )
    return int(model.body_geomadr[body])


def _relative_camera(camera: Camera, data: mujoco.MjData, geom: int) -> Camera:
    """The camera in the frame of a geom."""
    mat = data.geom_xmat[geom].reshape(3, 3)
    pos = mat.T @ (camera.pos - data.geom_xpos[geom])
    return place_camera(camera, pos.astype(np.float32), (mat.T @ camera.mat).astype(np.float32))


def _geom_triangles(
    model: mujoco.MjModel, data: mujoco.MjData, camera: Camera, geom: int, error_pixels: float, quads: int = 1
) -> Triangles:
    """The triangles of a geom, as fine as its distance from the camera needs them."""
    distance = max(float(np.linalg.norm(data.geom_xpos[geom] - camera.pos)), float(camera.near), 0.1)
    pixels_per_metre = 1 / (abs(float(camera.dx)) * distance)  # at the geom
    return meshes.geom_triangles(
        model,
        geom,
        segments=_segments(float(model.geom_size[geom].max()) * pixels_per_metre),
        max_error=error_pixels / pixels_per_metre,
        plane_half_side=float(camera.far),
        quads=quads,
    )


def _segments(radius: float) -> int:
    """Facets around a circle, given its radius in pixels, that deviate by at most 1/8 pixel; MuJoCo's 28 at most."""
    return int(np.clip(4 * np.ceil(np.pi / np.sqrt(2 * 0.125 / max(radius, 0.5)) / 4), 8, 28))


def _tile_loop(platform: str) -> raster.TileLoop:
    kernels: dict[str, raster.TileLoop] = {"gpu": "triton", "tpu": "mosaic"}
    return kernels.get(platform, "xla")


def _default_chunk() -> int:
    return _CHUNKS.get(target.platform(), TPU_CHUNK)


def _visible_points(scene: Scene, placed: mujoco.MjData) -> Float[np.ndarray, "P 3"]:
    """Points of the world that the camera sees in the initial state, and points between the camera and them."""
    poses = GeomPoses.of_leaves(pos=placed.geom_xpos[None], mat=placed.geom_xmat.reshape(1, -1, 3, 3))
    geom_poses = join_fixed_poses(scene, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), take_poses(scene, poses)))
    depth_key = scene.backdrop.depth_key
    points = np.stack([np.asarray(p) for p in world_points(scene, geom_poses, depth_key)], axis=-1)
    is_drawn = np.asarray(raster.inverse_depth_of(depth_key)) > 1.01 / float(scene.camera.far)
    eye = np.asarray(view_camera(scene, geom_poses).pos)[0]
    visible = points[is_drawn]
    return np.concatenate([eye + fraction * (visible - eye) for fraction in (0.5, 0.75, 1.0)])


def _shadow_caster_points(placed: mujoco.MjData, triangles_of: dict[int, Triangles]) -> Float[np.ndarray, "Q 3"]:
    """The corners of all triangles in the world."""
    corners = [
        triangles.corners.reshape(-1, 3) @ placed.geom_xmat[g].reshape(3, 3).T + placed.geom_xpos[g]
        for g, triangles in triangles_of.items()
    ]
    return np.concatenate(corners) if corners else np.zeros((0, 3))


def _samples_per_side(samples: int) -> int:
    if samples not in (1, 4, 9, 16):
        raise ValueError(f"samples={samples}; a pixel is drawn with 1, 4, 9 or 16 samples.")
    return round(samples**0.5)


def _refuse_deformables(model: mujoco.MjModel) -> None:
    for kind, count in (("skin", model.nskin), ("flex", model.nflex)):
        if count:
            raise ValueError(
                f"the model has {count} {kind}(s), which cannot be drawn; only geoms can. "
                f"Delete them from the MjSpec if the frames do not need them."
            )
