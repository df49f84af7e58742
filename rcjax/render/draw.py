"""Draws frames from poses on the device: three opaque layers, then their shadows, then transparent surfaces."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt8, UInt32

from rcjax.checks import require_one_of
from rcjax.precision import in_32_bits
from rcjax.render import blocks, lookup, raster, shade, shadows, textures
from rcjax.render.camera import Camera, place_camera
from rcjax.render.layers import Layer
from rcjax.render.scene import HasPoseGeoms, Scene, SceneStatic, require_poses
from rcjax.render.vectors import Vector, dot
from rcjax.types import GeomPoses

Shader = Callable[[raster.Fragments], tuple[list[Vector], Array]]
"""Returns the parts of the fragments' colour (see `shade.light_surface`) and their alpha."""

_NO_POSES = GeomPoses.of_leaves(pos=np.zeros((1, 0, 3), np.float32), mat=np.zeros((1, 0, 3, 3), np.float32))
_NO_KEY_LIMIT = np.int32(np.iinfo(np.int32).max)


def take_poses(scene: HasPoseGeoms, poses: GeomPoses) -> GeomPoses:
    """Selects, from the poses of all geoms of the model [.. G], those that `render_frames` needs [.. Gp]."""
    rows = np.asarray(scene.pose_geoms, np.int32)
    return GeomPoses(pos=poses.pos[..., rows, :], mat=poses.mat[..., rows, :, :])


@in_32_bits
def render_frames(scene: Scene, poses: GeomPoses) -> UInt8[Array, "N F H W 3"]:
    """Draws F frames of each of N episodes from the poses [N F Gp] of `scene.pose_geoms`.

    The poses of episode-fixed geoms are read from the first frame. Working memory is proportional to N F, so map over
    micro-batches of episodes. Under a sharded jit, call this function on each device's own episodes
    (`jax.shard_map`), since it sorts the tiles of all frames together.

    Raises:
        ValueError: The poses are not floating-point poses [N F Gp] of the scene's `pose_geoms`.
    """
    require_poses(scene, poses)
    frames = to_image(_draw_colours(scene, poses), scene.static)
    return frames.reshape(*poses.pos.shape[:2], scene.size, scene.size, 3)


@in_32_bits
def render_clips(scene: Scene, poses: GeomPoses, side: Literal[2, 4] = 2) -> UInt8[Array, "N F//2 h w C"]:
    """Draws the frames of `render_frames` in blocks of two frames, `side` rows and `side` columns.

    With a side of 2, this is S3D's space-to-depth layout [N F/2 H/2 W/2 24]. With a side of 4, it is [N F/2 ceil(H/4)
    ceil(W/4) 96], the four blocks of 2x2 pixels one after the other, and zeros beyond the frame; that is for TPUs. The
    frames themselves are never laid out in memory.

    Raises:
        ValueError: `side` is neither, the scene has several samples per pixel, F or the frames' size is odd, or the
            poses do not fit.
    """
    require_poses(scene, poses)
    require_one_of("side", side, (2, blocks.SIDE))
    if scene.static.samples_per_side != 1:
        raise ValueError(
            f"the scene has {scene.static.samples_per_side**2} samples per pixel, but render_clips draws only one; use "
            "render_frames and pass its frames to rcjax.encoders.s3d.space_to_depth."
        )
    if scene.size % 2 or poses.pos.shape[1] % 2:
        raise ValueError(
            f"{poses.pos.shape[1]} frames of {scene.size}x{scene.size} pixels; S3D's layout is made of 2x2x2 "
            "blocks, so the number of frames and their size must be even."
        )
    colour = _draw_colours(scene, poses)
    colour = colour.reshape(*poses.pos.shape[:2], *colour.shape[1:])
    if side == blocks.SIDE:
        return blocks.blocks_of_tiles(colour, scene.size)
    packed = raster.untile_blocks(colour, scene.size)
    return shade.unpack_colour(packed).reshape(*packed.shape[:-1], 24)


def _draw_colours(scene: Scene, poses: GeomPoses) -> UInt32[Array, "J tiles pixels"]:
    framebuffer, frame_poses = draw_opaque(scene, poses)
    colour = (
        _add_shadowed_light(scene, poses, framebuffer, frame_poses) if scene.shadow_maps else framebuffer.colour[..., 0]
    )
    return _blend_transparent(scene, frame_poses, framebuffer.depth_key, colour)


@in_32_bits
def render_depth(scene: Scene, poses: GeomPoses) -> Float[Array, "N F H W"]:
    """Returns the depth of the opaque surfaces in metres along the camera's axis.

    It is the far plane's depth where nothing is visible. With several samples per pixel, it is the depth of the first.
    """
    require_poses(scene, poses)
    k = scene.static.samples_per_side
    depth = raster.untile(1 / raster.inverse_depth_of(draw_opaque(scene, poses)[0].depth_key), k * scene.size)
    return depth[:, ::k, ::k].reshape(*poses.pos.shape[:2], scene.size, scene.size)


def draw_opaque(scene: Scene, poses: GeomPoses) -> tuple[raster.Framebuffer, GeomPoses]:
    """Returns N F framebuffers of the opaque surfaces, without shadows, and the poses of all geoms [(N F) G]."""
    n, f = poses.pos.shape[:2]
    episode_poses = join_fixed_poses(scene, jax.tree.map(lambda x: x[:, 0], poses))
    episode = _draw_layer(scene, scene.episode_layer, episode_poses, scene.backdrop, jnp.zeros(n, jnp.int32))
    frame_poses = join_fixed_poses(scene, jax.tree.map(lambda x: x.reshape(n * f, *x.shape[2:]), poses))
    return _draw_layer(scene, scene.frame_layer, frame_poses, episode, jnp.repeat(jnp.arange(n), f)), frame_poses


@in_32_bits
def draw_backdrop(scene: Scene, layer: Layer) -> Scene:
    """Returns the scene with `layer`, which never moves, drawn into its backdrop."""
    fixed_poses, at_vertices = join_fixed_poses(scene, _NO_POSES), scene.static.backdrop_lighting == "vertex"
    first = jnp.zeros(1, jnp.int32)
    return scene.replace(backdrop=_draw_layer(scene, layer, fixed_poses, scene.backdrop, first, at_vertices))


@in_32_bits
def draw_shadow_maps(scene: Scene, layer: Layer) -> Scene:
    """Returns the scene with `layer`, which never moves, drawn into its shadow maps."""
    fixed_poses, base_index = join_fixed_poses(scene, _NO_POSES), jnp.zeros(1, jnp.int32)
    maps = [
        m.replace(static_depth=_draw_shadow_layer(scene, m, layer, fixed_poses, m.static_depth, base_index))
        for m in scene.shadow_maps
    ]
    return scene.replace(shadow_maps=tuple(maps))


def join_fixed_poses(scene: Scene, poses: GeomPoses) -> GeomPoses:
    """Returns, for each of J images, the scene's fixed poses followed by the given ones [J Gp]: [J G]."""

    def join(fixed, given):
        return jnp.concatenate([jnp.broadcast_to(fixed, (given.shape[0], *fixed.shape)), given], axis=1)

    return jax.tree.map(join, scene.fixed_poses, poses)


def to_image(colour: UInt32[Array, "J tiles pixels"], static: SceneStatic) -> UInt8[Array, "J H W 3"]:
    """Converts packed colours in tile order to images, where each pixel is the mean of its samples."""
    k = static.samples_per_side
    image = shade.unpack_colour(raster.untile(colour, static.raster_size))
    if k == 1:
        return image
    total = image.reshape(-1, static.size, k, static.size, k, 3).sum(axis=(2, 4), dtype=jnp.int32)
    # The mean is rounded in integers: casting a float to uint8 would truncate it.
    return ((total + k * k // 2) // (k * k)).astype(jnp.uint8)


def view_camera(scene: Scene, poses: GeomPoses) -> Camera:
    """Returns the camera of each image [J]."""
    n, carrier = poses.pos.shape[0], scene.static.camera_geom
    if carrier < 0:
        return _repeat_camera(scene.camera, n)
    carrier_mat = poses.mat[:, carrier]
    pos = poses.pos[:, carrier] + (carrier_mat * scene.camera.pos).sum(-1)
    return place_camera(scene.camera, pos, _matmul(carrier_mat, scene.camera.mat))


def _repeat_camera(camera: Camera, n: int) -> Camera:
    pos, mat = (jnp.broadcast_to(a, (n, *a.shape)) for a in (camera.pos, camera.mat))
    return place_camera(camera, pos, mat)


def _draw_layer(
    scene: Scene,
    layer: Layer,
    poses: GeomPoses,
    base: raster.Framebuffer,
    base_index: Int[Array, " J"],
    at_vertices: bool = False,
) -> raster.Framebuffer:
    """Draws an opaque layer over framebuffers, with one packed colour for each part of `shade.light_surface`.

    `at_vertices` computes the light at the corners of triangles and interpolates it, as MuJoCo does.
    """
    if layer.is_empty:
        return jax.tree.map(lambda x: x[base_index], base)
    camera, static = view_camera(scene, poses), scene.static
    shade_fragments = _make_shader(scene, layer, camera, poses, static.shadow_lights, at_vertices)

    def pack(fragments: raster.Fragments):
        return jnp.stack([shade.pack_colour(part) for part in shade_fragments(fragments)[0]], axis=-1)

    setup = set_up_layer(scene, layer, camera, poses, cull=static.cull)
    return raster.draw(
        setup, base, pack, base_index=base_index, near=scene.camera.near, grid=static.grid, chunk=static.chunk,
        tile_loop=static.tile_loop,
    )  # fmt: skip


def _draw_shadow_layer(
    scene: Scene,
    shadow_map: shadows.ShadowMap,
    layer: Layer,
    poses: GeomPoses,
    base: raster.Framebuffer,
    base_index: Int[Array, " J"],
) -> raster.Framebuffer:
    """Draws a layer over a light's depth framebuffers. Back faces cast shadows too, as in MuJoCo."""
    if layer.is_empty:
        return jax.tree.map(lambda x: x[base_index], base)
    size, camera = scene.static.shadow_size, _repeat_camera(shadow_map.camera, poses.pos.shape[0])
    corners = shadows.project(shadow_map, _corners(layer, camera, poses))
    grid = raster.Grid(size)
    setup = raster.set_up_triangles(corners, camera, grid, cull=False, slope_scaled_bias=shadows.SLOPE_SCALED_BIAS)

    def no_colour(fragments: raster.Fragments):
        return jnp.zeros((*fragments.cluster.shape, 0), jnp.uint32)

    return raster.draw(
        setup, base, no_colour, base_index=base_index, near=camera.near, grid=grid, chunk=scene.static.chunk,
        tile_loop=scene.static.tile_loop,
    )  # fmt: skip


def set_up_layer(
    scene: Scene, layer: Layer, camera: Camera, poses: GeomPoses, *, cull: bool = True
) -> raster.TriangleSetup:
    """Sets up a layer's triangles for the rasteriser, in each image."""
    setup = raster.set_up_triangles(_corners(layer, camera, poses), camera, scene.static.grid, cull=cull)
    if scene.static.lookup == "index":
        return setup
    return setup.replace(varyings=lookup.varying_planes(layer, _to_camera_frame(camera, poses)[0], setup.edges))


def _corners(layer: Layer, camera: Camera, poses: GeomPoses) -> raster.Corners:
    """The layer's corners in the camera frame of each image."""
    mat, offset = _to_camera_frame(camera, poses)
    rotation, translation = mat[:, layer.geom, ..., None], offset[:, layer.geom, :, None]  # [J K 3 3 1], [J K 3 1]

    def camera_coordinate(corner: int, axis: int) -> Array:
        point = layer.corners[:, corner]
        return (
            dot([rotation[:, :, axis, k] for k in range(3)], [point[:, k] for k in range(3)]) + translation[:, :, axis]
        )

    first, second, third = (
        (camera_coordinate(corner, 0), camera_coordinate(corner, 1), camera_coordinate(corner, 2))
        for corner in range(3)
    )
    return first, second, third


def _make_shader(
    scene: Scene,
    layer: Layer,
    camera: Camera,
    poses: GeomPoses,
    shadow_lights: tuple[int, ...],
    at_vertices: bool = False,
) -> Shader:
    """Returns the function that shades the fragments of a layer."""
    mat, offset = _to_camera_frame(camera, poses)
    light_pos, light_direction = shade.lights_in_camera(scene.lights, camera)

    def shade_fragments(fragments: raster.Fragments) -> tuple[list[Vector], Array]:
        point = (
            lookup.by_index(layer, mat, fragments)
            if scene.static.lookup == "index"
            else lookup.by_varyings(layer, fragments)
        )
        surface, mapping = _surface_at(scene, layer, fragments)
        texture = _texture_colour(scene, point, mapping)

        def light(position: Vector, normal: Vector) -> list[Vector]:
            return shade.light_surface(
                position, normal, surface, scene.lights, light_pos[fragments.image, None],
                light_direction[fragments.image, None], scene.static.directional, shadow_lights,
            )  # fmt: skip

        if at_vertices:
            weights = [weight * point.depth for weight in lookup.corner_weights(fragments)]
            corners = [light(*corner) for corner in lookup.corners_by_index(layer, mat, offset, fragments)]
            lit = [
                tuple(dot(weights, channel) for channel in zip(*part, strict=True))
                for part in zip(*corners, strict=True)
            ]
        else:
            x = camera.x0 + camera.dx * fragments.pixel_column
            y = camera.y0 + camera.dy * fragments.pixel_row
            lit = light((x * point.depth, y * point.depth, -point.depth), point.normal)
        parts = [tuple(c * t for c, t in zip(part, texture, strict=True)) for part in lit]
        return parts, surface.rgba[..., 3]

    return shade_fragments


def _surface_at(
    scene: Scene, layer: Layer, fragments: raster.Fragments
) -> tuple[shade.Surface, textures.Mapping | None]:
    """The surface and the texture at each pixel, gathered or (with varyings) selected by comparison."""
    table = (layer.surface, layer.texture)
    if scene.static.lookup == "index":
        material = layer.material[jnp.maximum(fragments.cluster, 0)]
        return jax.tree.map(lambda a: a[material], table)
    material = lookup.material_from_varyings(fragments)

    def choose(rows: Array) -> Array:
        shape = (*material.shape, *[1] * (rows.ndim - 1))
        chosen = jnp.broadcast_to(rows[0], (*material.shape, *rows.shape[1:]))
        for row in range(1, rows.shape[0]):  # not a sum over an axis of rows, which would be laid out in memory
            chosen = jnp.where((material == row).reshape(shape), rows[row], chosen)
        return chosen

    return jax.tree.map(choose, table)


def _texture_colour(scene: Scene, point: lookup.SurfacePoint, mapping: textures.Mapping | None) -> Vector:
    """The colour of the texture at each fragment; white in a layer without textures."""
    if point.texture is None or mapping is None:
        return (jnp.ones_like(point.depth),) * 3
    coords, *along = point.texture
    k = scene.static.samples_per_side  # the change of the coordinates per pixel, not per sample
    along_x, along_y = (tuple(k * c for c in change) for change in along)
    return textures.sample(scene.atlas, mapping, coords, along_x, along_y)


def _add_shadowed_light(
    scene: Scene, poses: GeomPoses, framebuffer: raster.Framebuffer, frame_poses: GeomPoses
) -> UInt32[Array, "J tiles pixels"]:
    """Adds the light of each light that casts shadows, where it is not in shadow, and returns the colours."""
    n, f = poses.pos.shape[:2]
    episode_poses = join_fixed_poses(scene, jax.tree.map(lambda x: x[:, 0], poses))
    point = world_points(scene, frame_poses, framebuffer.depth_key)
    total = [c for c in shade.unpack_channels(framebuffer.colour[..., 0])[:3]]
    for index, shadow_map in enumerate(scene.shadow_maps):
        light_buffer = _draw_shadow_layer(
            scene, shadow_map, scene.episode_layer, episode_poses, shadow_map.static_depth, jnp.zeros(n, jnp.int32)
        )
        light_buffer = _draw_shadow_layer(
            scene, shadow_map, scene.frame_layer, frame_poses, light_buffer, jnp.repeat(jnp.arange(n), f)
        )
        light_buffer = _draw_shadow_layer(
            scene, shadow_map, scene.transparent_layer, frame_poses, light_buffer, jnp.arange(n * f)
        )
        lit = shadows.lit_fraction(shadow_map, light_buffer.depth_key, scene.static.shadow_size, point)
        added = shade.unpack_channels(framebuffer.colour[..., 1 + index])[:3]
        total = [jnp.minimum(a + lit * b, 255.0) for a, b in zip(total, added, strict=True)]
    return shade.pack_colour(tuple(c / 255 for c in total))


def world_points(scene: Scene, frame_poses: GeomPoses, depth_key: Int[Array, "J tiles pixels"]) -> Vector:
    """Returns the world coordinates of the opaque surface at each sample."""
    camera, depth = view_camera(scene, frame_poses), 1 / raster.inverse_depth_of(depth_key)
    column, row = raster.pixel_grid(scene.static.grid)
    local = ((camera.x0 + camera.dx * column) * depth, (camera.y0 + camera.dy * row) * depth, -depth)
    pos, mat = camera.pos[:, :, None, None], camera.mat[:, :, :, None, None]
    return tuple(pos[:, i] + dot([mat[:, i, axis] for axis in range(3)], local) for i in range(3))


def _blend_transparent(
    scene: Scene, poses: GeomPoses, depth_key: Int[Array, "J tiles pixels"], colour: UInt32[Array, "J tiles pixels"]
) -> UInt32[Array, "J tiles pixels"]:
    """Blends the transparent surfaces that are nearer than `depth_key` over the opaque colours.

    MuJoCo draws transparent geoms twice, front to back and then back to front, each time over what is there already.
    Here depth peeling finds the surfaces from front to back, and accumulates the sums of both orders on the way.
    """
    layer = scene.transparent_layer
    if layer.is_empty:
        return colour
    camera, static = view_camera(scene, poses), scene.static
    shade_fragments = _make_shader(scene, layer, camera, poses, ())
    setup = set_up_layer(scene, layer, camera, poses)
    behind = raster.Framebuffer(colour=jnp.zeros((*depth_key.shape, 1), jnp.uint32), depth_key=depth_key)

    def pack(fragments: raster.Fragments):
        (lit,), alpha = shade_fragments(fragments)
        return shade.pack_colour(lit, alpha)[..., None]

    def peel(state):
        _, key_limit, transmittance, front_to_back, back_to_front = state
        framebuffer = raster.draw(
            setup, behind, pack, base_index=jnp.arange(depth_key.shape[0]), near=scene.camera.near,
            grid=static.grid, chunk=static.chunk, tile_loop=static.tile_loop, key_limit=key_limit,
        )  # fmt: skip
        *rgb, alpha = shade.unpack_channels(framebuffer.colour[..., 0])
        alpha = alpha / 255
        front_to_back = [(1 - alpha) * sum_ + alpha * c for sum_, c in zip(front_to_back, rgb, strict=True)]
        back_to_front = [sum_ + transmittance * alpha * c for sum_, c in zip(back_to_front, rgb, strict=True)]
        found = framebuffer.depth_key != depth_key
        key_limit = jnp.where(found, framebuffer.depth_key, 0)
        return found.any(), key_limit, transmittance * (1 - alpha), front_to_back, back_to_front

    black = [jnp.zeros(depth_key.shape)] * 3
    start = (jnp.array(True), jnp.full(depth_key.shape, _NO_KEY_LIMIT), jnp.ones(depth_key.shape), black, black)
    *_, transmittance, front_to_back, back_to_front = jax.lax.while_loop(lambda state: state[0], peel, start)
    opaque = shade.unpack_channels(colour)[:3]
    after_first_pass = [transmittance * c + sum_ for c, sum_ in zip(opaque, front_to_back, strict=True)]
    after_second_pass = [transmittance * c + sum_ for c, sum_ in zip(after_first_pass, back_to_front, strict=True)]
    return shade.pack_colour(tuple(c / 255 for c in after_second_pass))


def _to_camera_frame(camera: Camera, poses: GeomPoses) -> tuple[Float[Array, "J G 3 3"], Float[Array, "J G 3"]]:
    """Rotations and positions of geoms in the camera frame of their image."""
    rotation = camera.mat.swapaxes(-1, -2)[:, None]
    return _matmul(rotation, poses.mat), (rotation * (poses.pos - camera.pos[:, None])[..., None, :]).sum(-1)


def _matmul(a: Array, b: Array) -> Array:
    """3x3 matrix products written out, so that no matrix unit computes them in a lower precision."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)
