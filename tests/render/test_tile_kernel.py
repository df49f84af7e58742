"""Tests that the kernels that draw tiles on a GPU and on a TPU, interpreted here, draw what XLA's rounds draw."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rcjax.render import View, build_scene, mosaic_kernel, raster, render_frames, take_poses
from rcjax.render.camera import Camera
from tests.generators.effects import SCENES
from tests.render.primitives import initial_poses

SIZE = 20  # pixels, so that the last tiles are not full
CLUSTERS = 2 * raster.WORD
IMAGES = 2
# XLA's own optimisations, which tests switch off (see conftest.py): with them, both round alike.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}


def _camera() -> Camera:
    """A camera whose frame is the world's, for images of SIZE x SIZE samples with a field of view of 90 degrees."""
    step = 2 / SIZE
    return Camera.of_leaves(
        pos=jnp.zeros((1, 3)), mat=jnp.eye(3)[None], x0=-1 + step / 2, y0=1 - step / 2, dx=step, dy=-step,
        near=jnp.float32(0.1), far=jnp.float32(10.0),
    )  # fmt: skip


def _corners(seed: int, clusters: int = CLUSTERS) -> raster.Corners:
    """Random small triangles, of which some reach behind the camera; groups of them lie close together."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-2, -2, -3], [2, 2, 0], (IMAGES, clusters, 1, 1, 3))
    points = (centre + rng.normal(0, 0.4, (IMAGES, clusters, raster.CLUSTER, 3, 3))).astype(np.float32)
    first, second, third = ([jnp.asarray(points[..., k, axis]) for axis in range(3)] for k in range(3))
    return tuple(first), tuple(second), tuple(third)


def _draw(
    tile_loop: raster.TileLoop, grid: raster.Grid, bias: float, limited: bool, clusters: int = CLUSTERS
) -> raster.Framebuffer:
    camera = _camera()
    setup = raster.set_up_triangles(_corners(3, clusters), camera, grid, cull=False, slope_scaled_bias=bias)
    shape = (1, grid.tiles**2, raster.TILE**2)
    far = jnp.asarray(raster.empty_depth_key(camera, shape))
    base = raster.Framebuffer(colour=jnp.zeros((*shape, 1), jnp.uint32), depth_key=far)

    def shade(fragments: raster.Fragments):
        return fragments.cluster[..., None].astype(jnp.uint32)

    limit = jnp.full((IMAGES, *shape[1:]), np.float32(0.9).view(np.int32)) if limited else None
    draw = functools.partial(
        raster.draw, shade=shade, base_index=jnp.zeros(IMAGES, jnp.int32), near=camera.near, grid=grid, chunk=16,
        tile_loop=tile_loop, key_limit=limit,
    )  # fmt: skip
    return jax.jit(draw, compiler_options=OPTIMISED)(setup, base)


@pytest.mark.parametrize(
    ("grid", "bias", "limited"),
    [
        pytest.param(raster.Grid(SIZE), 0.0, False, marks=pytest.mark.slow),
        pytest.param(raster.Grid(SIZE), 1.5, False, marks=pytest.mark.slow),
        pytest.param(raster.Grid(SIZE, 2), 0.0, True, marks=pytest.mark.slow),
        (raster.Grid(SIZE, 2, mirror=True), 1.5, True),
    ],
)
@pytest.mark.parametrize("tile_loop", ["triton-interpreted", "mosaic-interpreted"])
def test_kernels_draw_what_the_rounds_draw(tile_loop, grid, bias, limited):
    rounds, kernel = (_draw(each, grid, bias, limited) for each in ("xla", tile_loop))
    assert len(np.unique(rounds.colour)) > CLUSTERS // 4
    np.testing.assert_array_equal(kernel.depth_key, rounds.depth_key)
    np.testing.assert_array_equal(kernel.colour, rounds.colour)


@pytest.mark.slow
def test_the_tpu_kernel_draws_clusters_beyond_the_first_summary_of_words():
    """A tile's mask of more than 32 words has a second summary; a table of so many clusters has few numbers."""
    clusters = 34 * raster.WORD
    assert mosaic_kernel.table_fits(clusters, has_depth_bias=False, n_varyings=0)
    rounds, kernel = (_draw(each, raster.Grid(SIZE), 0.0, False, clusters) for each in ("xla", "mosaic-interpreted"))
    assert (np.asarray(rounds.colour, np.int32) >= 32 * raster.WORD).any()
    np.testing.assert_array_equal(kernel.depth_key, rounds.depth_key)
    np.testing.assert_array_equal(kernel.colour, rounds.colour)


@pytest.mark.parametrize("n_varyings", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_tpu_kernel_finds_the_varyings_of_the_rounds(n_varyings):
    """Each triangle has numbers of its own, and images are drawn over different ones, in chunks of two groups."""
    camera, grid = _camera(), raster.Grid(SIZE)
    varyings = jax.random.normal(jax.random.key(0), (IMAGES, CLUSTERS, n_varyings, raster.CLUSTER))
    setup = raster.set_up_triangles(_corners(5), camera, grid).replace(varyings=varyings)
    shape = (IMAGES, grid.tiles**2, raster.TILE**2)
    near_and_far = jnp.stack([jnp.full(shape[1:], np.float32(x).view(np.int32)) for x in (0.2, 0.7)])
    base = raster.Framebuffer(colour=jnp.zeros((*shape, n_varyings), jnp.uint32), depth_key=near_and_far)

    def shade(fragments: raster.Fragments):
        assert fragments.varyings is not None
        values = jnp.stack(fragments.varyings, axis=-1)
        return jax.lax.bitcast_convert_type(values * fragments.pixel_column[..., None], jnp.uint32)

    def draw(tile_loop: raster.TileLoop):
        draw = functools.partial(
            raster.draw, shade=shade, base_index=jnp.array([1, 0]), near=camera.near, grid=grid, chunk=32,
            tile_loop=tile_loop,
        )  # fmt: skip
        return jax.jit(draw, compiler_options=OPTIMISED)(setup, base)

    rounds, kernel = draw("xla"), draw("mosaic-interpreted")
    assert len(np.unique(rounds.colour)) > CLUSTERS
    np.testing.assert_array_equal(kernel.depth_key, rounds.depth_key)
    np.testing.assert_array_equal(kernel.colour, rounds.colour)


@pytest.mark.slow
@pytest.mark.parametrize("tile_loop", ["triton-interpreted", "mosaic-interpreted"])
@pytest.mark.parametrize("name", ["glass_in_the_sun"])
def test_frames_of_the_kernels_are_those_of_the_rounds(name, tile_loop):
    """Shadow maps, transparent surfaces and several samples."""
    xml, shadows = SCENES[name]
    model = mujoco.MjModel.from_xml_string(xml)
    view = View(camera="eye", frame_height=16, frame_width=16, crop=16, size=16)
    scene = build_scene(model, view=view, shadows=shadows, shadow_size=32, samples=4, tile_loop="xla")
    kernel = scene.replace(static=dataclasses.replace(scene.static, tile_loop=tile_loop))
    poses = take_poses(scene, initial_poses(model))
    frames, of_kernel = (
        np.asarray(jax.jit(render_frames, compiler_options=OPTIMISED)(s, poses)) for s in (scene, kernel)
    )
    assert frames.std() > 10
    np.testing.assert_array_equal(of_kernel, frames)
