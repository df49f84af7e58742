"""The render benchmark: that all renderers are given the same square and poses, and its sums."""

import contextlib
import os
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import render
from benchmarks.opengl import OpenGL
from rcjax.render import View
from rcjax.types import GeomPoses
from tests.render.test_warp import small_model, two_poses


def make_subject(**options):
    """An episode of 64 steps that goes from one of two states to the other at half time."""
    model = small_model()
    episode = jax.tree.map(lambda x: np.repeat(x[0], 32, axis=0), two_poses(model))
    env = SimpleNamespace(mj_model=model, camera="eye", episode_fixed_bodies=())
    return render.Subject(env, episode, render.Options(**options))


def test_batches_are_frames_of_shifted_episodes():
    poses = GeomPoses(pos=np.arange(8.0)[:, None, None] * np.ones((1, 2, 3)), mat=np.zeros((8, 2, 3, 3)))
    subject = render.Subject(None, poses, render.Options(frames=4))
    batch = subject.batch(render.Batch(size=64, episodes=3, frames=4))
    np.testing.assert_array_equal(batch.pos[:, :, 0, 0], [[0, 2, 4, 6], [1, 3, 5, 7], [2, 4, 6, 0]])
    assert batch.mat.shape == (3, 4, 2, 3, 3)


def test_ratios_are_medians_over_rounds():
    ours = render.Timing(pictures=8, run_s=(1.0, 2.0, 4.0))
    warp = render.Timing(pictures=8, run_s=(3.0, 20.0, 4.0))  # 3, 10 and 1 times as long
    opengl = render.Timing(pictures=4, run_s=(1.0, 2.0, 4.0))  # half the pictures in the same time
    missing = render.Timing(note="out of memory")
    found = render.ratios({"ours": ours, "warp": warp, "opengl": opengl, "opengl_4": missing})
    assert found == {"warp": 3.0, "opengl": 2.0}


def test_slow_batches_are_left_out():
    before = render.Timing(pictures=10, run_s=(1.0,))
    batch = render.Batch(size=64, episodes=2, frames=30)
    assert render._reason_to_skip(batch, before, limit_s=5.9) == "over 5.9 s"
    assert render._reason_to_skip(batch, before, limit_s=6.1) == ""
    assert render._reason_to_skip(batch, render.Timing(note="out of memory"), limit_s=6.1) == "out of memory"


def test_only_lack_of_memory_is_forgiven():
    def fail(message):
        def prepare():
            raise RuntimeError(message)

        return prepare

    assert render._prepare_or_note(fail("RESOURCE_EXHAUSTED: out of memory")).note == "out of memory"
    with pytest.raises(RuntimeError, match="another"):
        render._prepare_or_note(fail("another"))


def test_uneven_batches_are_refused():
    with pytest.raises(ValueError, match=r"batches \[48\] with frames=32"):
        render.Options(batches=(16, 48, 64))


@pytest.mark.skipif(os.environ.get("MUJOCO_GL") not in ("osmesa", "egl"), reason="MUJOCO_GL is neither osmesa nor egl")
def test_opengl_draws_the_same_square_as_ours():
    subject, batch = make_subject(samples=4), render.Batch(size=64, episodes=1, frames=8)
    ours = np.asarray(render.prepare_ours(batch, subject, {}).run())[0]
    with contextlib.ExitStack() as stack:
        opengl = render.prepare_opengl(batch, subject, 4, stack).run()
    assert ours.shape == opengl.shape == (8, 64, 64, 3)
    psnr = 10 * np.log10(255**2 / np.mean((ours.astype(float) - opengl) ** 2))
    assert psnr > 32  # dB; 35.3 measured: facets, and lights at pixels instead of at corners

    view = View(camera="eye", size=250)  # where OpenGL cuts the square out of the whole picture
    first = (np.asarray(subject.poses.pos[0]), np.asarray(subject.poses.mat[0]))
    with OpenGL(subject.env.mj_model, view, samples=1) as whole:
        cut = whole.draw_frame(*first).astype(int)
    with OpenGL(*render.square_model(subject.env.mj_model, view), samples=1) as square:
        differing = (np.abs(square.draw_frame(*first) - cut).max(-1) > 8).mean()
    assert differing < 1e-3  # none measured: a pixel whose centre an edge meets may go either way
