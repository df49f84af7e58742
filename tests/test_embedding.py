"""Micro-batches, and the two layouts in which clips reach the encoder."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import pytest

from rcjax import micro_batch
from rcjax.config import VideoConfig
from rcjax.embedding import draw_clips, embed_frames
from rcjax.encoders.clip import CLIP
from rcjax.encoders.s3d import S3D
from rcjax.micro_batch import choose_micro_batch, episode_bytes
from rcjax.types import GeomPoses
from tests.encoders import tiny

PAPER = VideoConfig()


def with_memory(monkeypatch, n_bytes):
    device = SimpleNamespace(memory_stats=lambda: None if n_bytes is None else {"bytes_limit": n_bytes})
    monkeypatch.setattr(micro_batch.jax, "local_devices", lambda: [device])


@pytest.mark.parametrize(
    ("episodes_in_memory", "n_episodes", "expected"),
    [(1, 64, 1), (16, 64, 16), (17, 64, 16), (100, 64, 32), (16, 6, 6), (16, 34, 2), (0.1, 64, 1)],
)
def test_the_largest_micro_batch_that_fits_and_divides(monkeypatch, episodes_in_memory, n_episodes, expected):
    share = episodes_in_memory * episode_bytes(PAPER) / micro_batch.ACCELERATOR_SHARE
    with_memory(monkeypatch, round(1.001 * share))
    assert choose_micro_batch(None, n_episodes, PAPER) == expected


def test_a_cpu_tells_no_memory(monkeypatch):
    with_memory(monkeypatch, None)
    assert choose_micro_batch(None, 64, PAPER) == 1
    assert choose_micro_batch(None, 64, dataclasses.replace(PAPER, size=48)) > 4


def test_a_micro_batch_that_does_not_divide_is_refused():
    assert choose_micro_batch(4, 64, PAPER) == 4
    with pytest.raises(ValueError, match="micro_batch=5 does not divide the 64 episodes"):
        choose_micro_batch(5, 64, PAPER)


@pytest.mark.parametrize(
    ("samples", "network", "graph", "shape"),
    [
        (1, S3D(), "separable", (2, 4, 16, 16, 24)),
        (1, S3D(), "native", (2, 4, 8, 8, 96)),
        (4, S3D(), "separable", (2, 8, 32, 32, 3)),
        (1, CLIP(), "native", (2, 8, 32, 32, 3)),
    ],
)
def test_clips_are_drawn_as_scene_and_encoder_allow(samples, network, graph, shape, tiny_world):
    """Scenes of several samples, and clips for networks that do not take blocks, are drawn as frames."""
    side = round(samples**0.5)
    scene = tiny_world.scene.replace(static=dataclasses.replace(tiny_world.scene.static, samples_per_side=side))
    geoms = len(scene.pose_geoms)
    poses = GeomPoses(
        pos=jax.ShapeDtypeStruct((2, 8, geoms, 3), "float32"), mat=jax.ShapeDtypeStruct((2, 8, geoms, 3, 3), "float32")
    )
    draw = functools.partial(draw_clips, network=network, graph=graph)
    clips = jax.eval_shape(draw, _scaled_backdrop(scene), poses)
    assert clips.shape == shape and clips.dtype == "uint8"


@pytest.mark.parametrize("shape", [(2, 4, 8, 8, 96), (2, 4, 16, 16, 24), (2, 8, 32, 32, 3)])
def test_clips_of_either_layout_are_embedded(shape, tiny_config):
    """By the network that is given: its embeddings have ten numbers."""
    embed = functools.partial(embed_frames, tiny.NETWORK, video=tiny_config.video)
    params = {"video": tiny.random_params()["video"]}
    assert jax.eval_shape(embed, params, jax.ShapeDtypeStruct(shape, "uint8")).shape == (2, 10)


def _scaled_backdrop(scene):
    """The scene's drawn backdrop in as many tiles as its samples want; only shapes matter."""
    tiles = scene.static.grid.tiles**2
    return scene.replace(
        backdrop=jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((x.shape[0], tiles, *x.shape[2:]), x.dtype), scene.backdrop
        )
    )
