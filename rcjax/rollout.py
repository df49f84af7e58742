"""A policy acts in a batch of environments for one episode of fixed length."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from rcjax.config import EnvConfig, VideoConfig
from rcjax.envs.mjx_env import EnvParams, MjxEnv
from rcjax.pytree import PyTree
from rcjax.types import GeomPoses, Rollout

Act = Callable[[Array, Float[Array, "N O"]], tuple[Array, Array, Array]]
"""A policy: (a key for each environment [N], obs [N O]) -> action [N A], its log_prob [N], value [N]"""


class Episodes(PyTree):
    """A batch of whole episodes: what PPO learns from, what the video is drawn from, and how well the task was done.

    `poses` are those of the kept frames, see `VideoConfig.kept_steps`. `true_reward` is the task's dense reward, from
    which policies learn only if they are asked to. `success` is whether the task's criterion was met at any step.
    """

    rollout: Rollout
    final_obs: Float[Array, "N O"]  # what the policy observes after the last step
    poses: GeomPoses  # N F G
    true_reward: Float[Array, "T N"]
    success: Bool[Array, " N"]
    first_success: Int[Array, " N"]  # control step, from 1; 0 for an episode without success
    diverged: Int[Array, " N"]  # control steps whose physics diverged and was discarded

    @property
    def true_return(self) -> Float[Array, "*S N"]:
        """The sum of each episode's dense rewards."""
        return self.true_reward.sum(-2)


def policy_obs(obs: Float[Array, "*N O"], time: Array, env: EnvConfig, video: VideoConfig) -> Float[Array, "*N _"]:
    """Returns the environment's observation, followed by time / episode_length if the config asks for it."""
    if not env.time_in_obs:
        return obs
    fraction = jnp.full((*obs.shape[:-1], 1), time / video.episode_length, obs.dtype)
    return jnp.concatenate([obs, fraction], axis=-1)


def reset_index(keys: Array, env_ids: Int[Array, " N"], n_bank: int, frozen: Bool[Array, ""]) -> Int[Array, " N"]:
    """Returns the bank entry that each environment starts from: a random one, or its own (`env_ids`) if `frozen`."""
    sampled = jax.vmap(lambda key: jax.random.randint(key, (), 0, n_bank))(keys)
    return jnp.where(frozen, env_ids % n_bank, sampled)


def run_episodes(
    env: MjxEnv,
    env_params: EnvParams,
    act: Act,
    keys: Array,
    env_ids: Int[Array, " N"],
    *,
    frozen: Bool[Array, ""],
    take_poses: Callable[[GeomPoses], GeomPoses],
    env_config: EnvConfig,
    video: VideoConfig,
) -> Episodes:
    """Runs one episode of `video.episode_length` control steps in each of N environments.

    Args:
        env: The environment.
        env_params: Its parameters, with the bank of starts.
        act: The policy. Its actions are clipped to [-1, 1] only for the environment, as in Stable-Baselines3.
        keys: A random key for each environment, [N]; all randomness of its episode comes from it.
        env_ids: The entries of the bank (modulo its size) that the environments start from if `frozen`.
        frozen: Whether starts are fixed or random.
        take_poses: Selects the poses that the renderer needs from those of all geoms.
        env_config: Whether the policy observes the time.
        video: The episode's length, and which frames are kept.
    """
    index = reset_index(keys, env_ids, env_params.bank_size, frozen)
    obs, state = jax.vmap(env.reset_env_at, in_axes=(0, None))(index, env_params)

    def keys_at(time):  # `time` + 1: the key itself was used for the reset
        return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, time + 1)

    def step(carry, time):
        obs, state = carry
        seen = policy_obs(obs, time, env_config, video)
        action, log_prob, value = act(keys_at(time), seen)
        obs, state, reward, terminated, info = jax.vmap(env.step_env, in_axes=(None, 0, 0, None))(
            keys[0], state, jnp.clip(action, -1.0, 1.0), env_params
        )  # the transition itself is deterministic
        transition = {
            "obs": seen, "action": action, "log_prob": log_prob, "value": value, "terminated": terminated,
            "reward": reward, "success": info["success"] > 0, "diverged": info["diverged"] > 0,
        }  # fmt: skip
        return (obs, state), (transition, take_poses(jax.vmap(env.geom_poses)(state)))

    def frame(carry, start):
        carry, (transitions, poses) = jax.lax.scan(step, carry, start + jnp.arange(video.frame_stride))
        return carry, (transitions, jax.tree.map(lambda x: x[video.kept_steps[0]], poses))

    starts = jnp.arange(0, video.episode_length, video.frame_stride)
    (obs, _), (steps, poses) = jax.lax.scan(frame, (obs, state), starts)
    steps = jax.tree.map(lambda x: x.reshape(video.episode_length, *x.shape[2:]), steps)
    end = jnp.asarray(video.episode_length)
    final_obs = policy_obs(obs, end, env_config, video)
    _, _, final_value = act(keys_at(end), final_obs)
    rollout = Rollout(
        **{name: steps[name] for name in ("obs", "action", "log_prob", "value", "terminated")},
        final_value=final_value,
    )
    return Episodes(
        rollout=rollout,
        final_obs=final_obs,
        poses=jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), poses),
        true_reward=steps["reward"],
        success=steps["success"].any(0),
        first_success=jnp.where(steps["success"].any(0), jnp.argmax(steps["success"], axis=0) + 1, 0),
        diverged=steps["diverged"].sum(0),
    )
