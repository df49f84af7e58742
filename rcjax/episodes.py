"""The episodes of all seeds: run, drawn and embedded as one batch, which the devices share."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Bool, Int

from rcjax import ppo
from rcjax.config import TrainConfig
from rcjax.embedding import embed_episodes
from rcjax.encoders import Network, Params
from rcjax.envs.mjx_env import EnvParams, MjxEnv
from rcjax.ppo import networks
from rcjax.pytree import PyTree
from rcjax.render import Scene, WarpScene, take_poses
from rcjax.rewards.source import SeenEpisodes
from rcjax.rollout import Act, Episodes, run_episodes
from rcjax.types import Demonstration, GeomPoses, Rollout


class Inputs(PyTree):
    """Everything that an iteration reads and does not change.

    These are arguments of the compiled function: an array that it closed over would become a constant of the program.
    """

    env_params: EnvParams
    scene: Scene | WarpScene
    encoder: Params | None  # parameters of the encoder's video tower, under the key `video`, if videos are looked at
    demonstration: Demonstration


class Mode(PyTree):
    """Switches that are traced, so that one compiled program both trains and evaluates."""

    learn: Bool[Array, ""]  # update the policy
    deterministic: Bool[Array, ""]  # act by the policy's mean
    frozen: Bool[Array, ""]  # environment i starts from bank entry i


def train_mode(config: TrainConfig) -> Mode:
    """Returns the switches of a training iteration: sample actions, and update the policy."""
    return Mode(learn=jnp.array(True), deterministic=jnp.array(False), frozen=jnp.array(config.env.frozen_resets))


def eval_mode() -> Mode:
    """Returns the switches of an evaluation: the policy's mean actions, from fixed starts, without an update."""
    return Mode(learn=jnp.array(False), deterministic=jnp.array(True), frozen=jnp.array(True))


def see_each_seed(
    params: networks.Params,
    inputs: Inputs,
    mode: Mode,
    key: Array,
    *,
    env: MjxEnv,
    network: Network | None,
    config: TrainConfig,
    micro_batch: int,
    mesh: Mesh | None,
) -> SeenEpisodes:
    """Runs an episode in each environment of each seed, as `see_episodes` does.

    With a mesh, each device runs, draws and embeds its own share. All arrays of the result have a leading axis S.
    """
    see = functools.partial(see_episodes, env=env, network=network, config=config, micro_batch=micro_batch)
    if mesh is not None:
        see = jax.shard_map(
            see,
            mesh=mesh,
            in_specs=(P("seed"), P(), P(), P("seed"), P("env")),
            out_specs=_seen_specs(network is not None),
            check_vma=False,
        )
    return see(params, inputs, mode, key, jnp.arange(config.n_envs))


def see_episodes(
    params: networks.Params,
    inputs: Inputs,
    mode: Mode,
    key: Array,
    env_ids: Int[Array, " N"],
    *,
    env: MjxEnv,
    network: Network | None,
    config: TrainConfig,
    micro_batch: int,
) -> SeenEpisodes:
    """Runs each seed's policy for one episode in each of the environments `env_ids`, and embeds the episodes' videos.

    The arrays of `params`, and `key`, have a leading axis S. The environments of all seeds are stepped, drawn and
    embedded as one batch. The randomness of an environment comes only from its seed's key and its own id, so splitting
    the batch over devices does not change an episode.
    """
    n_seeds = key.shape[0]
    keys = jax.vmap(jax.vmap(jax.random.fold_in, in_axes=(None, 0)), in_axes=(0, None))(key, env_ids)
    episodes = run_episodes(
        env, inputs.env_params, actor(params, mode), keys.reshape(-1), jnp.tile(env_ids, n_seeds), frozen=mode.frozen,
        take_poses=lambda poses: take_poses(inputs.scene, poses), env_config=config.env, video=config.video,
    )  # fmt: skip
    embedding = None
    if network is not None:
        assert inputs.encoder is not None
        embedding = embed_episodes(inputs.scene, network, inputs.encoder, episodes.poses, config.video, micro_batch)
    seen = SeenEpisodes.of_leaves(episodes=episodes, embedding=embedding)
    return jax.tree.map(lambda x, spec: _split_seeds(x, spec, n_seeds), seen, _seen_specs(network is not None))


def _split_seeds(x: Array, spec: P, n_seeds: int) -> Array:
    """Splits the axis of all seeds' environments into seeds and environments, and moves the seed axis to the front."""
    axis = _env_axis(spec)
    shape = (*x.shape[:axis], n_seeds, x.shape[axis] // n_seeds, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)


def _seen_specs(embedded: bool) -> SeenEpisodes:
    """Returns how each array lies on a mesh, as `_episode_specs` does."""
    return SeenEpisodes.of_leaves(episodes=_episode_specs(), embedding=P("seed", "env") if embedded else None)


def _episode_specs() -> Episodes:
    """Returns how each array lies on a mesh: seeds first, then time steps where there are any, then environments."""
    env_major, time_major = P("seed", "env"), P("seed", None, "env")
    rollout = Rollout.of_leaves(
        obs=time_major,
        action=time_major,
        log_prob=time_major,
        value=time_major,
        terminated=time_major,
        final_value=env_major,
    )
    return Episodes.of_leaves(
        rollout=rollout,
        final_obs=env_major,
        poses=GeomPoses.of_leaves(pos=env_major, mat=env_major),
        true_reward=time_major,
        success=env_major,
        first_success=env_major,
        diverged=env_major,
    )


def _env_axis(spec: P) -> int:
    """Returns the index of the environment axis in the array of one seed."""
    return tuple(spec).index("env") - 1


def actor(params: networks.Params, mode: Mode) -> Act:
    """Returns a function that acts with each seed's policy in that seed's environments, by its mean or by sampling."""

    def act_with_seed(params: networks.Params, keys: Array, obs: Array):
        mean, log_std, value = ppo.policy_value(params, obs)
        sampled = jax.vmap(ppo.sample_action, in_axes=(0, 0, None))(keys, mean, log_std)
        action = jnp.where(mode.deterministic, mean, sampled)
        return action, ppo.log_prob(action, mean, log_std), value

    def act(keys: Array, obs: Array):
        n_seeds = params["log_std"].shape[0]
        by_seed = jax.tree.map(lambda x: x.reshape(n_seeds, -1, *x.shape[1:]), (keys, obs))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.vmap(act_with_seed)(params, *by_seed))

    return act


def finite_episodes(episodes: Episodes) -> Bool[Array, " N"]:
    """Returns which of one seed's episodes have only finite observations, actions, values, poses and true rewards."""

    def finite(x: Array, spec: P) -> Bool[Array, " N"]:
        axis = _env_axis(spec)
        return jnp.isfinite(jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)).all(axis=1)

    finite_by_array = jax.tree.map(finite, episodes, _episode_specs())
    return functools.reduce(jnp.logical_and, jax.tree.leaves(finite_by_array))
