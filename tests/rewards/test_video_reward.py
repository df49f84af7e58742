import jax.numpy as jnp
import numpy as np

from rcjax.rewards.video import episode_reward, video_similarity


def test_similarity_is_the_plain_dot_product():
    """Oracle: NumPy. Scaling an embedding scales its reward: nothing is normalised."""
    rng = np.random.default_rng(0)
    embedding, target = rng.normal(size=(5, 512)), rng.normal(size=512)
    got = video_similarity(jnp.asarray(embedding), jnp.asarray(target))
    np.testing.assert_allclose(got, embedding @ target, rtol=1e-4, atol=1e-3)  # float32 sums of 512 products
    doubled = video_similarity(jnp.asarray(2 * embedding), jnp.asarray(target))
    np.testing.assert_allclose(doubled, 2 * got, rtol=1e-5)


def test_reward_is_paid_at_the_last_step_only():
    reward = episode_reward(jnp.array([3.0, -1.0]), 4)
    np.testing.assert_array_equal(reward, [[0, 0], [0, 0], [0, 0], [3, -1]])
