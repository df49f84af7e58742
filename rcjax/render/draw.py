"""Poses to frames, on the device: three layers of opaque surfaces, their shadows, what is transparent, pixels."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt8, UInt32

from rcjax.precision import in_32_bits
from rcjax.render import lookup, raster, shade, shadows, textures
from rcjax.render.camera import Camera, place_camera
from rcjax.render.layers import Layer
from rcjax.render.scene import Scene, require_poses
from rcjax.render.vectors import Vector, dot
from rcjax.types import GeomPoses

_NO_POSES = GeomPoses(pos=np.zeros((1, 0, 3), np.float32), mat=np.zeros((1, 0, 3, 3), np.float32))
_NO_CEILING = np.int32(np.iinfo(np.int32).max)


def take_poses(scene: Scene, poses: GeomPoses) -> GeomPoses:
    """Of the poses of all of the model's geoms [.. G], those that `render_frames` needs [.. Gp]."""
    rows = np.asarray(scene.pose_geoms, np.int32)
    return GeomPoses(pos=poses.pos[..., rows, :], mat=poses.mat[..., rows, :, :])


@in_32_bits
def render_frames(scene: Scene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """Draw F frames of each of N episodes from the poses [N F Gp] of `scene.pose_geoms`.

    Poses of episode-fixed geoms are read from the first frame. Working memory is in proportion to N F: map over
    micro-batches of episodes. Under a sharded jit, call it on each device's own episodes (`jax.shard_map`), since the
    tiles of all frames are sorted together.

    Raises ValueError for poses of other geoms, another layout or another kind of numbers.
    """
    require_poses(scene, poses)
    frames = to_image(_draw_everything(scene, poses), scene.static)
    return frames.reshape(*poses.pos.shape[:2], scene.size, scene.size, 3)


@in_32_bits
def render_clips(scene: Scene, poses: GeomPoses) -> UInt8[Array, "N F//2 H//2 W//2 24"]:
    """`render_frames` in S3D's space-to-depth layout, of a scene with one sample a pixel.

    F and the frames' size are even. The frames themselves are never laid out: tiles become blocks at once.
    """
    require_poses(scene, poses)
    if scene.static.samples_per_side != 1:
        raise ValueError(
            f"a scene with {scene.static.samples_per_side**2} samples a pixel; render_clips draws one: draw it with "
            "render_frames, and give the frames to rcjax.s3d.space_to_depth."
        )
    if scene.size % 2 or poses.pos.shape[1] % 2:
        raise ValueError(
            f"{poses.pos.shape[1]} frames of {scene.size}x{scene.size} pixels; S3D's layout takes blocks of 2x2x2, so "
            "give an even number of frames of an even size."
        )
    colour = _draw_everything(scene, poses)
    blocks = raster.untile_blocks(colour.reshape(*poses.pos.shape[:2], *colour.shape[1:]), scene.size)
    return shade.unpack_colour(blocks).reshape(*blocks.shape[:-1], 24)


def _draw_everything(scene: Scene, poses: GeomPoses) -> UInt32[Array, "J tiles pixels"]:
    picture, every = draw_opaque(scene, poses)
    colour = _add_shadowed_light(scene, poses, picture, every) if scene.shadow_maps else picture.colour[..., 0]
    return _blend_transparent(scene, every, picture.key, colour)


@in_32_bits
def render_depth(scene: Scene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """Depth in metres along the camera's axis of the opaque surfaces; the far plane's where nothing is.

    With several samples, that of a pixel's first.
    """
    require_poses(scene, poses)
    k = scene.static.samples_per_side
    depth = raster.untile(1 / raster.inverse_depth_of(draw_opaque(scene, poses)[0].key), k * scene.size)
    return depth[:, ::k, ::k].reshape(*poses.pos.shape[:2], scene.size, scene.size)


def draw_opaque(scene: Scene, poses: GeomPoses) -> tuple[raster.Picture, GeomPoses]:
    """The N F pictures of what is opaque, before shadows, and the poses of all geoms [N F G] in them."""
    n, f = poses.pos.shape[:2]
    first = all_poses(scene, jax.tree.map(lambda x: x[:, 0], poses))
    episode = _draw_colours(scene, scene.episode_layer, first, scene.backdrop, jnp.zeros(n, jnp.int32))
    every = all_poses(scene, jax.tree.map(lambda x: x.reshape(n * f, *x.shape[2:]), poses))
    return _draw_colours(scene, scene.frame_layer, every, episode, jnp.repeat(jnp.arange(n), f)), every


@in_32_bits
def draw_backdrop(scene: Scene, layer: Layer) -> Scene:
    """The scene with what never moves, `layer`, drawn into its backdrop."""
    still = all_poses(scene, _NO_POSES)
    return scene.replace(backdrop=_draw_colours(scene, layer, still, scene.backdrop, jnp.zeros(1, jnp.int32)))


@in_32_bits
def draw_shadow_maps(scene: Scene, layer: Layer) -> Scene:
    """The scene with what never moves, `layer`, drawn into its shadow maps."""
    still, only = all_poses(scene, _NO_POSES), jnp.zeros(1, jnp.int32)
    maps = [m.replace(still=_draw_map(scene, m, layer, still, m.still, only)) for m in scene.shadow_maps]
    return scene.replace(shadow_maps=tuple(maps))


def all_poses(scene: Scene, poses: GeomPoses) -> GeomPoses:
    """The scene's fixed poses, then the given ones [J Gp], for each picture."""

    def join(fixed, given):
        return jnp.concatenate([jnp.broadcast_to(fixed, (given.shape[0], *fixed.shape)), given], axis=1)

    return jax.tree.map(join, scene.fixed_poses, poses)


def to_image(colour: UInt32[Array, "J tiles pixels"], static) -> UInt8[Array, "J H W 3"]:
    """Packed colours in tile order to pictures, each pixel the mean of its samples."""
    k = static.samples_per_side
    picture = shade.unpack_colour(raster.untile(colour, static.raster_size))
    if k == 1:
        return picture
    total = picture.reshape(-1, static.size, k, static.size, k, 3).sum(axis=(2, 4), dtype=jnp.int32)
    return ((total + k * k // 2) // (k * k)).astype(jnp.uint8)  # in integers: XLA's casts round where C's cut off


def view_camera(scene: Scene, poses: GeomPoses) -> Camera:
    """The camera of each picture [J]."""
    n, carrier = poses.pos.shape[0], scene.static.camera_geom
    if carrier < 0:
        return _for_each(scene.camera, n)
    held = poses.mat[:, carrier]
    pos = poses.pos[:, carrier] + (held * scene.camera.pos).sum(-1)
    return place_camera(scene.camera, pos, _matmul(held, scene.camera.mat))


def _for_each(camera: Camera, n: int) -> Camera:
    pos, mat = (jnp.broadcast_to(a, (n, *a.shape)) for a in (camera.pos, camera.mat))
    return place_camera(camera, pos, mat)


def _draw_colours(
    scene: Scene, layer: Layer, poses: GeomPoses, base: raster.Picture, base_of: Int[Array, " J"]
) -> raster.Picture:
    """An opaque layer over pictures, one packed colour for each part of the light that shadows tell apart."""
    if layer.is_empty:
        return jax.tree.map(lambda x: x[base_of], base)
    camera, static = view_camera(scene, poses), scene.static
    shaded = _shader(scene, layer, camera, poses, static.shadow_lights)

    def pack(hits: raster.Hits):
        return jnp.stack([shade.pack_colour(part) for part in shaded(hits)[0]], axis=-1)

    setup = project(scene, layer, camera, poses)
    return raster.draw(setup, base, pack, base_of=base_of, near=scene.camera.near, grid=static.grid, chunk=static.chunk)


def _draw_map(
    scene: Scene,
    light: shadows.ShadowMap,
    layer: Layer,
    poses: GeomPoses,
    base: raster.Picture,
    base_of: Int[Array, " J"],
) -> raster.Picture:
    """A layer over a light's depth pictures. All faces cast shadows, as in MuJoCo."""
    if layer.is_empty:
        return jax.tree.map(lambda x: x[base_of], base)
    size, camera = scene.static.shadow_size, _for_each(light.camera, poses.pos.shape[0])
    corners = shadows.project(light, _corners(layer, camera, poses))
    grid = raster.Grid(size)
    setup = raster.set_up(corners, camera, grid, cull=False, push=shadows.PUSH)

    def colourless(hits: raster.Hits):
        return jnp.zeros((*hits.cluster.shape, 0), jnp.uint32)

    return raster.draw(setup, base, colourless, base_of=base_of, near=camera.near, grid=grid, chunk=scene.static.chunk)


def project(scene: Scene, layer: Layer, camera: Camera, poses: GeomPoses) -> raster.Setup:
    """A layer's triangles as the rasteriser takes them, in each picture."""
    setup = raster.set_up(_corners(layer, camera, poses), camera, scene.static.grid)
    if scene.static.lookup == "index":
        return setup
    return setup.replace(carried=lookup.factors(layer, _in_camera(camera, poses)[0], setup.edges))


def _corners(layer: Layer, camera: Camera, poses: GeomPoses) -> raster.Corners:
    """The layer's corners in each picture's camera frame."""
    mat, offset = _in_camera(camera, poses)
    turn, shift = mat[:, layer.geom, ..., None], offset[:, layer.geom, :, None]  # [J K 3 3 1], [J K 3 1]

    def moved(corner: int, axis: int) -> Array:
        point = layer.corners[:, corner]
        return dot([turn[:, :, axis, k] for k in range(3)], [point[:, k] for k in range(3)]) + shift[:, :, axis]

    first, second, third = ((moved(corner, 0), moved(corner, 1), moved(corner, 2)) for corner in range(3))
    return first, second, third


def _shader(scene: Scene, layer: Layer, camera: Camera, poses: GeomPoses, shadow_lights: tuple[int, ...]):
    """A function from hits to the parts of their colour (see `shade.light_surface`) and their alpha."""
    mat, _ = _in_camera(camera, poses)
    light_pos, light_direction = shade.lights_in_camera(scene.lights, camera)

    def shaded(hits: raster.Hits) -> tuple[list[Vector], Array]:
        point = lookup.by_index(layer, mat, hits) if scene.static.lookup == "index" else lookup.by_factors(layer, hits)
        surface, mapping = _at_materials(scene, layer, hits)
        x = camera.x0 + camera.dx * hits.centre_column
        y = camera.y0 + camera.dy * hits.centre_row
        parts = shade.light_surface(
            (x * point.depth, y * point.depth, -point.depth), point.normal, surface,
            _texture_colour(scene, point, mapping), scene.lights, light_pos[hits.picture, None],
            light_direction[hits.picture, None], scene.static.directional, shadow_lights,
        )  # fmt: skip
        return parts, surface.rgba[..., 3]

    return shaded


def _at_materials(scene: Scene, layer: Layer, hits: raster.Hits) -> tuple[shade.Surface, textures.Mapping | None]:
    """The surface and the texture at each pixel, read or (with carried numbers) chosen by comparison."""
    table = (layer.surface, layer.texture)
    if scene.static.lookup == "index":
        material = layer.material[jnp.maximum(hits.cluster, 0)]
        return jax.tree.map(lambda a: a[material], table)
    material = lookup.carried_material(hits)

    def choose(rows: Array) -> Array:
        is_row = material[..., None] == jnp.arange(rows.shape[0])
        is_row = is_row.reshape(*is_row.shape, *[1] * (rows.ndim - 1))
        return jnp.where(is_row, rows, jnp.zeros((), rows.dtype)).sum(axis=2, dtype=rows.dtype)

    return jax.tree.map(choose, table)


def _texture_colour(scene: Scene, point: lookup.Point, mapping: textures.Mapping | None) -> Vector:
    """The texture at the hits; white in a layer without textures."""
    if point.texture is None or mapping is None:
        return (jnp.ones_like(point.depth),) * 3
    coords, *along = point.texture
    k = scene.static.samples_per_side  # what the coordinates change by in a pixel, not in one of its samples
    along_x, along_y = (tuple(k * c for c in change) for change in along)
    return textures.sample(scene.atlas, mapping, coords, along_x, along_y)


def _add_shadowed_light(
    scene: Scene, poses: GeomPoses, picture: raster.Picture, every: GeomPoses
) -> UInt32[Array, "J tiles pixels"]:
    """Colours with what each light that casts shadows adds where it shines."""
    n, f = poses.pos.shape[:2]
    first = all_poses(scene, jax.tree.map(lambda x: x[:, 0], poses))
    point = world_points(scene, every, picture.key)
    total = [c for c in shade.unpack_channels(picture.colour[..., 0])[:3]]
    for number, light in enumerate(scene.shadow_maps):
        seen = _draw_map(scene, light, scene.episode_layer, first, light.still, jnp.zeros(n, jnp.int32))
        seen = _draw_map(scene, light, scene.frame_layer, every, seen, jnp.repeat(jnp.arange(n), f))
        seen = _draw_map(scene, light, scene.transparent_layer, every, seen, jnp.arange(n * f))
        lit = shadows.lit(light, seen.key, scene.static.shadow_size, point)
        added = shade.unpack_channels(picture.colour[..., 1 + number])[:3]
        total = [jnp.minimum(a + lit * b, 255.0) for a, b in zip(total, added, strict=True)]
    return shade.pack_colour(tuple(c / 255 for c in total))


def world_points(scene: Scene, every: GeomPoses, key: Int[Array, "J tiles pixels"]) -> Vector:
    camera, depth = view_camera(scene, every), 1 / raster.inverse_depth_of(key)
    column, row = raster.pixel_grid(scene.static.grid)
    local = ((camera.x0 + camera.dx * column) * depth, (camera.y0 + camera.dy * row) * depth, -depth)
    pos, mat = camera.pos[:, :, None, None], camera.mat[:, :, :, None, None]
    return tuple(pos[:, i] + dot([mat[:, i, axis] for axis in range(3)], local) for i in range(3))


def _blend_transparent(
    scene: Scene, poses: GeomPoses, key: Int[Array, "J tiles pixels"], colour: UInt32[Array, "J tiles pixels"]
) -> UInt32[Array, "J tiles pixels"]:
    """Colours behind the transparent surfaces before `key`.

    MuJoCo draws transparent geoms twice, front to back and then back to front, each over what is there. Surfaces are
    found from front to back, and both orders' sums are kept on the way.
    """
    layer = scene.transparent_layer
    if layer.is_empty:
        return colour
    camera, static = view_camera(scene, poses), scene.static
    shaded = _shader(scene, layer, camera, poses, ())
    setup = project(scene, layer, camera, poses)
    behind = raster.Picture(colour=jnp.zeros((*key.shape, 1), jnp.uint32), key=key)

    def pack(hits: raster.Hits):
        (lit,), alpha = shaded(hits)
        return shade.pack_colour(lit, alpha)[..., None]

    def peel(state):
        _, ceiling, through, front_first, back_first = state
        picture = raster.draw(
            setup, behind, pack, base_of=jnp.arange(key.shape[0]), near=scene.camera.near,
            grid=static.grid, chunk=static.chunk, below=ceiling,
        )  # fmt: skip
        *rgb, alpha = shade.unpack_channels(picture.colour[..., 0])
        alpha = alpha / 255
        front_first = [(1 - alpha) * sum_ + alpha * c for sum_, c in zip(front_first, rgb, strict=True)]
        back_first = [sum_ + through * alpha * c for sum_, c in zip(back_first, rgb, strict=True)]
        found = picture.key != key
        ceiling = jnp.where(found, picture.key, 0)
        return found.any(), ceiling, through * (1 - alpha), front_first, back_first

    none = [jnp.zeros(key.shape)] * 3
    start = (jnp.array(True), jnp.full(key.shape, _NO_CEILING), jnp.ones(key.shape), none, none)
    *_, through, front_first, back_first = jax.lax.while_loop(lambda state: state[0], peel, start)
    opaque = shade.unpack_channels(colour)[:3]
    once = [through * c + sum_ for c, sum_ in zip(opaque, front_first, strict=True)]
    twice = [through * c + sum_ for c, sum_ in zip(once, back_first, strict=True)]
    return shade.pack_colour(tuple(c / 255 for c in twice))


def _in_camera(camera: Camera, poses: GeomPoses) -> tuple[Float[Array, "J G 3 3"], Float[Array, "J G 3"]]:
    """Rotations and positions of geoms in their picture's camera frame."""
    turn = camera.mat.swapaxes(-1, -2)[:, None]
    return _matmul(turn, poses.mat), (turn * (poses.pos - camera.pos[:, None])[..., None, :]).sum(-1)


def _matmul(a, b):
    """3x3 products written out, so that no matrix unit rounds them."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)
