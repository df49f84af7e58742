"""Which poses of an episode are kept. The oracle is the same episode of which every pose is kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax import demonstration, envs
from rcjax.config import EnvConfig, VideoConfig
from rcjax.rollout import run_episodes
from rcjax.types import GeomPoses
from tests import toy

STEPS = 8


@pytest.fixture(scope="module")
def kept_poses():
    """Returns the kept poses [N F G ...] of three episodes, given the number of control steps per frame."""
    with toy.installed():
        env, params = envs.make("drawer-close", seeds=range(4), max_steps=STEPS)

        @functools.partial(jax.jit, static_argnums=0)
        def run(frame_stride: int) -> GeomPoses:
            return run_episodes(
                env, params, act, jax.random.split(jax.random.key(0), 3), jnp.arange(3), frozen=jnp.array(True),
                take_poses=lambda poses: poses, env_config=EnvConfig(),
                video=VideoConfig(episode_length=STEPS, frame_stride=frame_stride),
            ).poses  # fmt: skip

        yield run


def act(keys, obs):
    action = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
    return action, jnp.zeros(len(obs)), jnp.zeros(len(obs))


@pytest.mark.parametrize("frame_stride", [2, STEPS])
def test_an_episode_keeps_the_poses_of_the_kept_steps(frame_stride, kept_poses):
    """The only one is the last, which shows the outcome."""
    every, kept = kept_poses(1), kept_poses(frame_stride)
    steps = {2: [0, 2, 4, 6], STEPS: [STEPS - 1]}[frame_stride]
    assert np.ptp(every.pos[0], axis=0).max() > 0.01  # metres; the arm moves
    for got, all_steps in ((kept.pos, every.pos), (kept.mat, every.mat)):
        # The same operations in loops of another length, which XLA may round otherwise.
        np.testing.assert_allclose(got, all_steps[:, steps], atol=1e-6)


@pytest.mark.parametrize("frame_stride", [2, STEPS])
def test_a_demonstration_keeps_the_same_steps_as_an_episode(frame_stride, kept_poses, monkeypatch):
    """Poses instead of drawn frames."""
    monkeypatch.setattr(demonstration, "take_poses", lambda scene, poses: poses)
    monkeypatch.setattr(demonstration, "render_frames", lambda scene, poses: poses.pos)
    every, kept = kept_poses(1), kept_poses(frame_stride)
    video = VideoConfig(episode_length=STEPS, frame_stride=frame_stride)
    for i in range(3):
        drawn = demonstration.draw_episode(None, jax.tree.map(lambda x, i=i: x[i], every), video)
        np.testing.assert_allclose(drawn, kept.pos[i], atol=1e-6)  # as above
