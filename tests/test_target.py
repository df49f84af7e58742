"""Programs that are compiled for another platform make its choices."""

import jax
import numpy as np
import pytest

from rcjax import target
from rcjax.config import VideoConfig
from rcjax.embedding import activation_dtype
from rcjax.encoders.s3d.layers import resolve_graph
from rcjax.envs import chunks, mjx_compat, small_products
from rcjax.render import View, build_scene
from tests.render.primitives import model_of


def test_it_is_jaxs_default_backend_unless_a_context_says_otherwise():
    assert target.platform() == jax.default_backend()
    with target.compiling_for("tpu"):
        assert target.platform() == "tpu"
    assert target.platform() == jax.default_backend()


@pytest.mark.parametrize(
    ("platform", "graph", "dtype", "tile_loop", "lookup"),
    [
        ("cpu", "separable", "float32", "xla", "index"),
        ("gpu", "separable", "bfloat16", "triton", "index"),
        ("tpu", "native", "bfloat16", "mosaic", "varyings"),
    ],
)
def test_each_platform_has_its_own_forms(platform, graph, dtype, tile_loop, lookup):
    """What never moves is drawn when the scene is built, on this machine, and is the same picture."""
    model = model_of('<geom type="sphere" size="0.4"/>', world='<geom type="box" size="0.5 0.5 0.1" pos="0 0 -1"/>')
    view = View(camera="eye", size=32)
    with target.compiling_for(platform):
        scene = build_scene(model, view=view)
        assert resolve_graph("auto") == graph and activation_dtype(VideoConfig()) == dtype
        assert mjx_compat.are_needed() == (platform == "cpu")
        assert small_products.are_needed() == (platform == "tpu")
        assert not chunks.needs_chunks() or platform == "cpu"
    assert scene.static.tile_loop == tile_loop and scene.static.lookup == lookup
    here = build_scene(model, view=view)
    np.testing.assert_array_equal(scene.backdrop.depth_key, here.backdrop.depth_key)
