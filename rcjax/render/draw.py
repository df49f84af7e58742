"""Poses to frames, on the device: three layers of opaque surfaces, their shadows, what is transparent, pixels."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt8, UInt32

from rcjax.render import raster, shade, shadows, textures
from rcjax.render.camera import Camera, place_camera
from rcjax.render.layers import Layer
from rcjax.render.scene import Scene
from rcjax.types import GeomPoses

_NO_POSES = GeomPoses(pos=np.zeros((1, 0, 3), np.float32), mat=np.zeros((1, 0, 3, 3), np.float32))
_NO_CEILING = np.int32(np.iinfo(np.int32).max)


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
    lead = poses.pos.shape[:2]
    picture, every = draw_opaque(scene, poses)
    colour = _add_shadowed_light(scene, poses, picture, every) if scene.shadow_maps else picture.colour[..., 0]
    colour = _blend_transparent(scene, every, picture.key, colour)
    return to_image(colour, scene.static).reshape(*lead, scene.size, scene.size, 3)


def render_depth(scene: Scene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """Depth in metres along the camera's axis of the opaque surfaces; the far plane's where nothing is.

    With `samples`, that of the sample nearest to the pixel's upper left corner.
    """
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


def draw_backdrop(scene: Scene, layer: Layer) -> Scene:
    """The scene with what never moves, `layer`, drawn into its backdrop."""
    still = all_poses(scene, _NO_POSES)
    return scene.replace(backdrop=_draw_colours(scene, layer, still, scene.backdrop, jnp.zeros(1, jnp.int32)))


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
    samples = picture.reshape(-1, static.size, k, static.size, k, 3).astype(jnp.float32)
    return (samples.mean(axis=(2, 4)) + 0.5).astype(jnp.uint8)


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

    setup = _project(layer, camera, poses, static.raster_size)
    return raster.draw(
        setup, base, pack, base_of=base_of, near=scene.camera.near, size=static.raster_size, chunk=static.chunk
    )


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
    setup = raster.set_up(corners, camera, raster.tiles_per_side(size), cull=False, push=shadows.PUSH)

    def colourless(hits: raster.Hits):
        return jnp.zeros((*hits.cluster.shape, 0), jnp.uint32)

    return raster.draw(setup, base, colourless, base_of=base_of, near=camera.near, size=size, chunk=scene.static.chunk)


def _project(layer: Layer, camera: Camera, poses: GeomPoses, size: int) -> raster.Setup:
    return raster.set_up(_corners(layer, camera, poses), camera, raster.tiles_per_side(size))


def _corners(layer: Layer, camera: Camera, poses: GeomPoses) -> Float[Array, "J K 3 3 B"]:
    """The layer's corners in each picture's camera frame."""
    mat, offset = _in_camera(camera, poses)
    rotation, shift = mat[:, layer.geom], offset[:, layer.geom]  # [J K 3 3], [J K 3]
    return _rotate(rotation[:, :, None, :, :, None], layer.corners) + shift[:, :, None, :, None]


def _shader(scene: Scene, layer: Layer, camera: Camera, poses: GeomPoses, shadow_lights: tuple[int, ...]):
    """A function from hits to the parts of their colour (see `shade.light_surface`) and their alpha."""
    mat, _ = _in_camera(camera, poses)
    light_pos, light_direction = shade.lights_in_camera(scene.lights, camera)

    def shaded(hits: raster.Hits) -> tuple[list[shade.Vector], Array]:
        cluster, seen = jnp.maximum(hits.cluster, 0), hits.cluster >= 0
        triangle = cluster * raster.CLUSTER + hits.lane
        edges = [jnp.where(seen, hits.edges[..., k], 1.0) for k in range(3)]
        local = _blend(edges, layer.normals.reshape(-1, 9)[triangle])
        turn = mat[hits.picture[:, None], layer.geom[cluster]]
        normal = tuple(shade.dot([turn[..., row, axis] for axis in range(3)], local) for row in range(3))
        depth = 1 / (edges[0] + edges[1] + edges[2])
        x = camera.x0 + camera.dx * hits.column
        y = camera.y0 + camera.dy * hits.row
        surface = jax.tree.map(lambda a: a[cluster], layer.surface)
        parts = shade.light_surface(
            (x * depth, y * depth, -depth), normal, surface, _texture_colour(scene, layer, hits, edges, triangle),
            scene.lights, light_pos[hits.picture, None], light_direction[hits.picture, None], shadow_lights,
        )  # fmt: skip
        return parts, surface.rgba[..., 3]

    return shaded


def _texture_colour(scene: Scene, layer: Layer, hits: raster.Hits, edges: list[Array], triangle: Array) -> shade.Vector:
    """The texture at the hits; white in a layer without textures."""
    if layer.coords is None:
        return (jnp.ones_like(edges[0]),) * 3
    corners = layer.coords.reshape(-1, 9)[triangle]
    depth = 1 / (edges[0] + edges[1] + edges[2])
    coords = tuple(c * depth for c in _blend(edges, corners))

    def along(axis: int) -> shade.Vector:
        """What the coordinates change by from one pixel to the next; a sample is a part of a pixel."""
        slopes = [hits.planes[..., k, axis] for k in range(3)]
        scale = depth * scene.static.samples_per_side
        change = slopes[0] + slopes[1] + slopes[2]
        return tuple((s - c * change) * scale for s, c in zip(_blend(slopes, corners), coords, strict=True))

    mapping = jax.tree.map(lambda a: a[hits.cluster], layer.texture)
    return textures.sample(scene.atlas, mapping, coords, along(0), along(1))


def _blend(weights: list[Array], corners: Float[Array, "*batch 9"]) -> shade.Vector:
    """Vectors at three corners, weighted and added up."""
    return tuple(shade.dot(weights, [corners[..., 3 * k + axis] for k in range(3)]) for axis in range(3))


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


def world_points(scene: Scene, every: GeomPoses, key: Int[Array, "J tiles pixels"]) -> shade.Vector:
    camera, depth = view_camera(scene, every), 1 / raster.inverse_depth_of(key)
    column, row = raster.pixel_grid(scene.static.raster_size)
    local = ((camera.x0 + camera.dx * column) * depth, (camera.y0 + camera.dy * row) * depth, -depth)
    pos, mat = camera.pos[:, :, None, None], camera.mat[:, :, :, None, None]
    return tuple(pos[:, i] + shade.dot([mat[:, i, axis] for axis in range(3)], local) for i in range(3))


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
    setup = _project(layer, camera, poses, static.raster_size)
    behind = raster.Picture(colour=jnp.zeros((*key.shape, 1), jnp.uint32), key=key)

    def pack(hits: raster.Hits):
        (lit,), alpha = shaded(hits)
        return shade.pack_colour(lit, alpha)[..., None]

    def peel(state):
        _, ceiling, through, front_first, back_first = state
        picture = raster.draw(
            setup, behind, pack, base_of=jnp.arange(key.shape[0]), near=scene.camera.near,
            size=static.raster_size, chunk=static.chunk, below=ceiling,
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


def _rotate(rotation: Float[Array, "J K 1 3 3 1"], points: Float[Array, "K 3 3 B"]) -> Float[Array, "J K 3 3 B"]:
    return (rotation * points[:, :, None]).sum(axis=4)
