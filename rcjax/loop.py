"""One iteration of the loop, from the policy's parameters to better ones: the function that is compiled.

rollout -> poses -> frames -> embedding -> reward -> PPO update, all arrays, no host in between.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Bool, Float, Int

from rcjax import ppo
from rcjax.config import TrainConfig
from rcjax.embedding import embed_episodes
from rcjax.ppo import networks
from rcjax.render import Scene, WarpScene, take_poses
from rcjax.reward import episode_reward, video_similarity
from rcjax.rollout import Act, Episodes, run_episodes
from rcjax.types import Rollout


@chex.dataclass(frozen=True)
class TrainState:
    """All that an iteration changes; with the run's config and inputs it decides everything that follows."""

    ppo: ppo.PPOState
    key: Array
    iteration: Int[Array, ""]


@chex.dataclass(frozen=True)
class Inputs:
    """All that an iteration reads and leaves as it is. Arguments, so that no array becomes a constant."""

    env_params: Any
    scene: Scene | WarpScene
    encoder: Any  # parameters of the S3D video tower
    target: Float[Array, " D"]


@chex.dataclass(frozen=True)
class Judged:
    """Episodes and what their videos were worth."""

    episodes: Episodes
    video_reward: Float[Array, " N"]


@chex.dataclass(frozen=True)
class Mode:
    """Traced switches, so that training and evaluation are one compiled program."""

    learn: Bool[Array, ""]  # update the policy
    deterministic: Bool[Array, ""]  # act by the policy's mean
    frozen: Bool[Array, ""]  # environment i starts from bank entry i


def train_mode(config: TrainConfig) -> Mode:
    return Mode(learn=jnp.array(True), deterministic=jnp.array(False), frozen=jnp.array(config.env.frozen_resets))


def eval_mode() -> Mode:
    return Mode(learn=jnp.array(False), deterministic=jnp.array(True), frozen=jnp.array(True))


def initial_state(config: TrainConfig, env: Any) -> TrainState:
    key, key_network = jax.random.split(jax.random.key(config.seed))
    n_obs = env.observation_space().shape[0] + config.env.time_in_obs
    return TrainState(
        ppo=ppo.init_state(key_network, n_obs, env.num_actions, config.ppo),
        key=key,
        iteration=jnp.zeros((), jnp.int32),
    )


def iterate(
    state: TrainState, inputs: Inputs, mode: Mode, *, env: Any, config: TrainConfig, mesh: Mesh | None = None
) -> tuple[TrainState, dict[str, Float[Array, ""]], Judged]:
    """One episode of every environment, its video reward, and (if `mode.learn`) one PPO update.

    Returns the next state, scalar metrics, and the episodes with the video reward they were paid.
    Pure; the caller compiles it, with `env` and `config` closed over. With a `mesh` (axis `env`), each device
    runs, draws and embeds its own share of the environments; the update sees them all.
    """
    key, key_episodes, key_update = jax.random.split(state.key, 3)
    judge = functools.partial(judge_episodes, env=env, config=config)
    if mesh is not None:
        judge = jax.shard_map(
            judge,
            mesh=mesh,
            in_specs=(P(), P(), P(), P(), P("env")),
            out_specs=_judged_spec(),
            check_vma=False,
        )
    judged = judge(state.ppo.params, inputs, mode, key_episodes, jnp.arange(config.n_envs))
    episodes, similarity = judged.episodes, judged.video_reward
    reward = episode_reward(similarity, config.video.episode_length)

    def learn():
        return ppo.update(state.ppo, ppo.make_batch(episodes.rollout, reward, config.ppo), key_update, config.ppo)

    def keep():
        return state.ppo, jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(learn)[1])

    ppo_state, losses = jax.lax.cond(mode.learn, learn, keep)
    state = TrainState(ppo=ppo_state, key=key, iteration=state.iteration + mode.learn.astype(jnp.int32))
    return state, _episode_metrics(episodes, similarity) | losses, judged


def judge_episodes(
    params: networks.Params,
    inputs: Inputs,
    mode: Mode,
    key: Array,
    env_ids: Int[Array, " N"],
    *,
    env: Any,
    config: TrainConfig,
) -> Judged:
    """Episodes of the policy in the environments `env_ids`, and their video rewards."""
    episodes = run_episodes(
        env, inputs.env_params, actor(params, mode), key, env_ids, frozen=mode.frozen,
        take_poses=lambda poses: take_poses(inputs.scene, poses), env_config=config.env, video=config.video,
    )  # fmt: skip
    embedding = embed_episodes(inputs.scene, inputs.encoder, episodes.poses, config.video, config.micro_batch)
    return Judged(episodes=episodes, video_reward=video_similarity(embedding, inputs.target))


def _judged_spec() -> Judged:
    """Which axis of each array of `Judged` is the environments'."""
    first, second = P("env"), P(None, "env")
    rollout = Rollout(obs=second, action=second, log_prob=second, value=second, terminated=second, final_value=first)
    episodes = Episodes(
        rollout=rollout, poses=first, true_return=first, success=first, first_success=first, diverged=first
    )
    return Judged(episodes=episodes, video_reward=first)


def actor(params: networks.Params, mode: Mode) -> Act:
    """Acts by the policy of these parameters: a draw, or its mean."""

    def act(keys: Array, obs: Array):
        mean, log_std, value = ppo.policy_value(params, obs)
        drawn = jax.vmap(ppo.sample_action, in_axes=(0, 0, None))(keys, mean, log_std)
        action = jnp.where(mode.deterministic, mean, drawn)
        return action, ppo.log_prob(action, mean, log_std), value

    return act


def _episode_metrics(episodes: Episodes, similarity: Float[Array, " N"]) -> dict[str, Float[Array, ""]]:
    return {
        "video_reward": similarity.mean(),
        "video_reward_std": similarity.std(),
        "video_reward_max": similarity.max(),
        "true_return": episodes.true_return.mean(),
        "success_rate": episodes.success.mean(dtype=jnp.float32),
        "nonfinite_reward": jnp.sum(~jnp.isfinite(similarity), dtype=jnp.float32),
        "diverged_physics": episodes.diverged.sum(dtype=jnp.float32),
    }
