"""A MuJoCo model as three layers of triangles before one camera, and frames drawn from geom poses."""

import dataclasses
import enum
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt8

from rcjax.render import meshes, raster, shade
from rcjax.render.camera import Camera, View, find_camera, make_camera, place_camera
from rcjax.types import GeomPoses

_DRAWN_GROUPS = (0, 1, 2)  # what mujoco.Renderer draws by default
_MESH_DETAIL = 15.0  # triangles per pixel of a mesh's size; see `_mesh_budget`
_MIN_MESH_TRIANGLES = 64
_MERGED_PIXELS = 0.5  # vertices of a decimated mesh that lie in a cube of this side become one


class _Moves(enum.IntEnum):
    NEVER = 0
    PER_EPISODE = 1
    PER_FRAME = 2


@chex.dataclass(frozen=True)
class Layer:
    """K clusters of B triangles, each cluster of one geom: in the geom's frame.

    Corners are [.., corner, xyz, B], as the inner loops go over B; normals [.., B, corner, xyz], as single triangles
    are looked up."""

    corners: Float[Array, "K 3 3 B"]
    normals: Float[Array, "K B 3 3"]
    geom: Int[Array, " K"]  # row of the scene's fixed poses, then of the poses given
    surface: shade.Surface


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SceneStatic:
    """What shapes the program: part of the pytree's structure, not of its leaves."""

    size: int  # pixels on a side
    pose_geoms: tuple[int, ...]
    camera_geom: int  # row of the geom that carries the camera, in all poses; -1 for a camera that stands still
    chunk: int  # tiles drawn at a time


@chex.dataclass(frozen=True)
class Scene:
    """What `render_frames` draws. `backdrop` is everything that never moves, already drawn."""

    static: SceneStatic
    camera: Camera
    lights: shade.Lights
    backdrop: raster.Picture
    fixed_poses: GeomPoses
    episode_layer: Layer
    frame_layer: Layer

    @property
    def pose_geoms(self) -> tuple[int, ...]:
        """Ids of the geoms whose poses `render_frames` needs, in order."""
        return self.static.pose_geoms

    @property
    def size(self) -> int:
        """Pixels on a frame's side."""
        return self.static.size


def build_scene(
    model: mujoco.MjModel,
    *,
    view: View,
    episode_fixed_bodies: Sequence[str] = (),
    data: mujoco.MjData | None = None,
    layered: bool = True,
    mesh_detail: float = _MESH_DETAIL,
    chunk: int | None = None,
) -> Scene:
    """Tessellate what `mujoco.Renderer` draws of `model`, sort it into layers, and draw what never moves.

    Bodies named in `episode_fixed_bodies`, and what hangs on them without a joint, keep their place for an episode:
    their poses are read from its first frame. `data` places what never moves and the camera (default: the model's
    initial state). `layered=False` draws everything in every frame, as a check. A mesh keeps about `mesh_detail`
    triangles per pixel of its extent. Sites are not drawn, and half-transparent geoms are drawn opaque. ValueError
    for a camera, light or geom that cannot be drawn.
    """
    placed = _placed(model, data)
    camera = make_camera(model, placed, view)
    moves = body_moves(model, episode_fixed_bodies)
    camera_id = find_camera(model, view.camera)
    camera_body = int(model.cam_bodyid[camera_id]) if camera_id >= 0 else 0
    camera_moves = moves[camera_body] != _Moves.NEVER
    _refuse_moving_lights(model, moves)

    drawn = [g for g in range(model.ngeom) if _is_drawn(model, g)]
    moves_of = {g: moves[model.geom_bodyid[g]] for g in drawn}
    carrier = _camera_carrier(model, camera_body, view.camera) if camera_moves else -1
    pose_geoms = sorted({g for g in drawn if moves_of[g] != _Moves.NEVER} | ({carrier} if camera_moves else set()))
    fixed = [g for g in drawn if moves_of[g] == _Moves.NEVER]
    row = {g: i for i, g in enumerate([*fixed, *pose_geoms])}
    layer_of = {g: moves_of[g] if layered and not camera_moves else _Moves.PER_FRAME for g in drawn}

    parts = {g: _geom_part(model, placed, camera, g, mesh_detail) for g in drawn}
    layers = [make_layer(model, {g: parts[g] for g in drawn if layer_of[g] == kind}, row) for kind in _Moves]
    if camera_moves:
        camera = _relative_camera(camera, placed, carrier)
    static = SceneStatic(
        size=view.size,
        pose_geoms=tuple(pose_geoms),
        camera_geom=row[carrier] if camera_moves else -1,
        chunk=chunk or _default_chunk(),
    )
    scene = Scene(
        static=static,
        camera=camera,
        lights=shade.collect_lights(model, placed),
        backdrop=_sky(model, camera, view.size, camera_moves),
        fixed_poses=GeomPoses(
            pos=placed.geom_xpos[fixed].astype(np.float32),
            mat=placed.geom_xmat[fixed].reshape(-1, 3, 3).astype(np.float32),
        ),
        episode_layer=layers[_Moves.PER_EPISODE],
        frame_layer=layers[_Moves.PER_FRAME],
    )
    scene = jax.tree.map(jnp.asarray, scene)
    backdrop = jax.jit(_draw_backdrop)(scene, jax.tree.map(jnp.asarray, layers[_Moves.NEVER]))
    return dataclasses.replace(scene, backdrop=backdrop)


def take_poses(scene: Scene, poses: GeomPoses) -> GeomPoses:
    """Of the poses of all of the model's geoms [.. G], those that `render_frames` needs [.. Gp]."""
    rows = np.asarray(scene.pose_geoms, np.int32)
    return GeomPoses(pos=poses.pos[..., rows, :], mat=poses.mat[..., rows, :, :])


def render_frames(scene: Scene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """Draw F frames of each of N episodes from the poses [N F Gp] of `scene.pose_geoms`.

    Poses of episode-fixed geoms are read from the first frame. Working memory is in proportion to N F: map over
    micro-batches of episodes. Under a sharded jit, call it on each device's own episodes (`jax.shard_map`), since the
    tiles of all frames are sorted together.
    """
    return to_image(draw_frames(scene, poses).colour, poses.pos.shape[:2], scene.size)


def render_depth(scene: Scene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """Depth in metres along the camera's axis of what `render_frames` shows; the far plane's where nothing is."""
    key = draw_frames(scene, poses).key & ~(raster.CLUSTER - 1)
    depth = 1 / jax.lax.bitcast_convert_type(key, jnp.float32)
    return _untile(depth, scene.size).reshape(*poses.pos.shape[:2], scene.size, scene.size)


def draw_frames(scene: Scene, poses: GeomPoses) -> raster.Picture:
    """`render_frames` before it is put in pixel order: N F pictures of tiles, with depth."""
    n, f = poses.pos.shape[:2]
    first = _all_poses(scene, jax.tree.map(lambda x: x[:, 0], poses))
    episode = _draw_layer(scene, scene.episode_layer, first, scene.backdrop, jnp.zeros(n, jnp.int32))
    every = _all_poses(scene, jax.tree.map(lambda x: x.reshape(n * f, *x.shape[2:]), poses))
    return _draw_layer(scene, scene.frame_layer, every, episode, jnp.repeat(jnp.arange(n), f))


def body_moves(model: mujoco.MjModel, episode_fixed_bodies: Sequence[str] = ()) -> list[_Moves]:
    """For each body how often its pose changes: never, per episode, or per frame."""
    names = [model.body(b).name for b in range(model.nbody)]
    unknown = sorted(set(episode_fixed_bodies) - set(names))
    if unknown:
        known = ", ".join(filter(None, names))
        raise ValueError(f"episode_fixed_bodies {unknown} are not in the model; it has {known}.")
    moves = [_Moves.NEVER]
    for body in range(1, model.nbody):
        parent = moves[model.body_parentid[body]]
        if model.body_jntnum[body]:
            if names[body] in episode_fixed_bodies:
                raise ValueError(
                    f"body {names[body]!r} has a joint of its own, so it is not fixed in an episode; "
                    "name the body that carries it."
                )
            own = _Moves.PER_FRAME
        elif names[body] in episode_fixed_bodies:
            own = _Moves.PER_EPISODE
        else:
            own = _Moves.PER_FRAME if model.body_mocapid[body] >= 0 else _Moves.NEVER
        moves.append(max(parent, own))
    return moves


def make_layer(model: mujoco.MjModel, parts: dict[int, meshes.Triangles], row: dict[int, int]) -> Layer:
    """The triangles of some geoms in clusters; `row` is each geom's place among all poses."""
    corners, normals, geoms = [], [], []
    for geom, part in parts.items():
        for cluster in cluster_triangles(part.corners, raster.CLUSTER):
            corners.append(_padded(part.corners[cluster]))
            normals.append(_padded(part.normals[cluster]).transpose(2, 0, 1))
            geoms.append(geom)
    spare = -len(geoms) % raster.WORD
    surfaces = [shade.geom_surface(model, g) for g in geoms]
    if geoms:
        surfaces += [surfaces[0]] * spare
        surface = jax.tree.map(lambda *x: np.stack(x), *surfaces)
    else:
        surface = jax.tree.map(lambda x: np.zeros((0, *x.shape), x.dtype), shade.geom_surface(model, 0))
    return Layer(
        corners=_stack(corners, (3, 3, raster.CLUSTER), spare),
        normals=_stack(normals, (raster.CLUSTER, 3, 3), spare),
        geom=np.array([row[g] for g in geoms] + [0] * spare, np.int32),
        surface=surface,
    )


def cluster_triangles(corners: Float[np.ndarray, "K 3 3"], size: int) -> list[Int[np.ndarray, " c"]]:
    """Split triangles into groups of at most `size` that lie together and face alike; all but the last are full."""
    centre = corners.mean(axis=1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    spread = np.ptp(centre, axis=0).max() or 1.0
    features = np.concatenate([centre / spread, 0.3 * normal], axis=-1)
    groups = []

    def split(members):
        if len(members) <= size:
            groups.append(members)
            return
        axis = np.ptp(features[members], axis=0).argmax()
        members = members[np.argsort(features[members, axis], kind="stable")]
        middle = size * max(1, round(len(members) / 2 / size))
        split(members[:middle])
        split(members[middle:])

    split(np.arange(len(corners)))
    return groups


def _padded(rows: Float[np.ndarray, "c 3 3"]) -> Float[np.ndarray, "3 3 B"]:
    full = np.zeros((raster.CLUSTER, 3, 3))
    full[: len(rows)] = rows
    return full.transpose(1, 2, 0)


def _stack(rows: list[np.ndarray], shape: tuple[int, ...], spare: int) -> np.ndarray:
    return np.concatenate([np.reshape(rows, (-1, *shape)), np.zeros((spare, *shape))]).astype(np.float32)


def _placed(model: mujoco.MjModel, data: mujoco.MjData | None) -> mujoco.MjData:
    placed = mujoco.MjData(model)
    if data is not None:
        placed.qpos[:] = data.qpos
        placed.mocap_pos[:], placed.mocap_quat[:] = data.mocap_pos, data.mocap_quat
    mujoco.mj_kinematics(model, placed)
    mujoco.mj_comPos(model, placed)
    mujoco.mj_camlight(model, placed)
    return placed


def _is_drawn(model: mujoco.MjModel, geom: int) -> bool:
    return model.geom_group[geom] in _DRAWN_GROUPS and shade.geom_rgba(model, geom)[3] > 0


def _refuse_moving_lights(model: mujoco.MjModel, moves: list[_Moves]) -> None:
    for i in range(model.nlight):
        body = int(model.light_bodyid[i])
        if model.light_active[i] and moves[body] != _Moves.NEVER:
            raise ValueError(
                f"light {model.light(i).name or i!r} is on body {model.body(body).name!r}, which moves; "
                "only lights that stand still can be drawn."
            )


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


def _geom_part(model, data, camera: Camera, geom: int, detail: float) -> meshes.Triangles:
    distance = max(float(np.linalg.norm(data.geom_xpos[geom] - camera.pos)), float(camera.near), 0.1)
    per_metre = 1 / (abs(float(camera.dx)) * distance)  # pixels
    budget = 0
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        budget = _mesh_budget(meshes.mesh_area(model, model.geom_dataid[geom]), per_metre, detail)
    return meshes.geom_triangles(
        model,
        geom,
        segments=_segments(float(model.geom_size[geom].max()) * per_metre),
        mesh_budget=budget,
        mesh_cell=_MERGED_PIXELS / per_metre,
        plane_half_side=float(camera.far),
    )


def _mesh_budget(area: float, per_metre: float, detail: float) -> int:
    """Triangles for a mesh: the error of a mesh of K triangles falls as 1 / K, so K grows with the extent in pixels."""
    return max(_MIN_MESH_TRIANGLES, round(detail * area**0.5 * per_metre))


def _segments(radius: float) -> int:
    """Facets round a circle of some radius in pixels that keep within an eighth of a pixel; at most MuJoCo's 28."""
    return int(np.clip(4 * np.ceil(np.pi / np.sqrt(2 * 0.125 / max(radius, 0.5)) / 4), 8, 28))


def _default_chunk() -> int:
    return 64 if jax.default_backend() == "cpu" else 2048


def _sky(model: mujoco.MjModel, camera: Camera, size: int, camera_moves: bool) -> raster.Picture:
    """The empty picture: the first sky texture (its mean colour where the camera moves), black without one."""
    tiles = raster.tiles_per_side(size)
    side = tiles * raster.TILE
    skies = np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    colour = np.zeros((side, side, 3))
    if len(skies) and camera_moves:
        colour[:] = shade.mean_texture_colour(model, int(skies[0]))
    elif len(skies):
        index = np.arange(side)
        x, y = np.broadcast_arrays(camera.x0 + camera.dx * index, (camera.y0 + camera.dy * index)[:, None])
        rays = np.stack([x, y, -np.ones_like(x)], axis=-1) @ camera.mat.T
        colour = _cube_colour(shade.texture_pixels(model, int(skies[0])), rays)
    packed = np.asarray(shade.pack_colour(tuple(jnp.asarray(colour[..., c], jnp.float32) for c in range(3))))
    packed = packed.reshape(tiles, raster.TILE, tiles, raster.TILE).swapaxes(1, 2).reshape(1, tiles**2, -1)
    key = np.full(packed.shape, np.float32(1 / camera.far).view(np.int32) & ~(raster.CLUSTER - 1), np.int32)
    return raster.Picture(colour=packed, key=key)


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


def _all_poses(scene: Scene, poses: GeomPoses) -> GeomPoses:
    """The scene's fixed poses, then the given ones [J Gp], for each picture."""

    def join(fixed, given):
        return jnp.concatenate([jnp.broadcast_to(fixed, (given.shape[0], *fixed.shape)), given], axis=1)

    return jax.tree.map(join, scene.fixed_poses, poses)


def _draw_backdrop(scene: Scene, layer: Layer) -> raster.Picture:
    nothing = GeomPoses(pos=jnp.zeros((1, 0, 3)), mat=jnp.zeros((1, 0, 3, 3)))
    return _draw_layer(scene, layer, _all_poses(scene, nothing), scene.backdrop, jnp.zeros(1, jnp.int32))


def _draw_layer(
    scene: Scene, layer: Layer, poses: GeomPoses, base: raster.Picture, base_of: Int[Array, " J"]
) -> raster.Picture:
    if not layer.geom.shape[0]:
        return jax.tree.map(lambda x: x[base_of], base)
    camera = _place_camera(scene, poses)
    mat, offset = _in_camera(camera, poses)
    rotation, shift = mat[:, layer.geom], offset[:, layer.geom]  # [J K 3 3], [J K 3]
    corners = _rotate(rotation[:, :, None, :, :, None], layer.corners) + shift[:, :, None, :, None]
    tiles = raster.tiles_per_side(scene.size)
    setup = raster.set_up(corners, camera, tiles)
    light_pos, light_direction = shade.lights_in_camera(scene.lights, camera)

    def colour(hits: raster.Hits):
        cluster = jnp.maximum(hits.cluster, 0)
        seen = hits.cluster >= 0
        edges = [jnp.where(seen, hits.edges[..., k], 1.0) for k in range(3)]
        corner_normals = layer.normals.reshape(-1, 9)[cluster * raster.CLUSTER + hits.lane]
        local = [shade.dot(edges, [corner_normals[..., 3 * k + axis] for k in range(3)]) for axis in range(3)]
        turn = mat[hits.picture[:, None], layer.geom[cluster]]
        normal = tuple(shade.dot([turn[..., row, axis] for axis in range(3)], local) for row in range(3))
        depth = 1 / (edges[0] + edges[1] + edges[2])
        x = camera.x0 + camera.dx * hits.column
        y = camera.y0 + camera.dy * hits.row
        surface = jax.tree.map(lambda a: a[cluster], layer.surface)
        per_tile = (light_pos[hits.picture, None], light_direction[hits.picture, None])
        point = (x * depth, y * depth, -depth)
        return shade.pack_colour(shade.light_surface(point, normal, surface, scene.lights, *per_tile))

    return raster.draw(
        setup, base, colour, base_of=base_of, near=scene.camera.near, tiles=tiles, chunk=scene.static.chunk
    )


def _place_camera(scene: Scene, poses: GeomPoses) -> Camera:
    """The camera of each picture [J]."""
    n, carrier = poses.pos.shape[0], scene.static.camera_geom
    if carrier < 0:
        pos, mat = (jnp.broadcast_to(a, (n, *a.shape)) for a in (scene.camera.pos, scene.camera.mat))
    else:
        held = poses.mat[:, carrier]
        pos = poses.pos[:, carrier] + (held * scene.camera.pos).sum(-1)
        mat = _matmul(held, scene.camera.mat)
    return place_camera(scene.camera, pos, mat)


def _in_camera(camera: Camera, poses: GeomPoses) -> tuple[Float[Array, "J G 3 3"], Float[Array, "J G 3"]]:
    """Rotations and positions of geoms in their picture's camera frame."""
    turn = camera.mat.swapaxes(-1, -2)[:, None]
    return _matmul(turn, poses.mat), (turn * (poses.pos - camera.pos[:, None])[..., None, :]).sum(-1)


def _matmul(a, b):
    """3x3 products written out, so that no matrix unit rounds them."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def _rotate(rotation: Float[Array, "J K 1 3 3 1"], points: Float[Array, "K 3 3 B"]) -> Float[Array, "J K 3 3 B"]:
    return (rotation * points[:, :, None]).sum(axis=4)


def to_image(colour: Array, lead: tuple[int, ...], size: int) -> UInt8[Array, "*lead H W 3"]:
    """Packed colours in tile order to pictures."""
    return shade.unpack_colour(_untile(colour, size)).reshape(*lead, size, size, 3)


def _untile(tiled: Array, size: int) -> Array:
    """[J tiles pixels] to [J size size]."""
    tiles = raster.tiles_per_side(size)
    grid = tiled.reshape(-1, tiles, tiles, raster.TILE, raster.TILE).swapaxes(2, 3)
    return grid.reshape(-1, tiles * raster.TILE, tiles * raster.TILE)[:, :size, :size]
