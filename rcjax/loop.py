"""One training iteration, the function that is compiled.

Rollout -> poses -> frames -> embedding -> reward -> PPO update. Everything is an array, and nothing leaves the device.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Bool, Float, Int

from rcjax import ppo
from rcjax.config import TrainConfig
from rcjax.embedding import embed_episodes
from rcjax.encoders import Network, Params
from rcjax.envs.mjx_env import EnvParams, MjxEnv
from rcjax.ppo import networks
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree
from rcjax.render import Scene, WarpScene, take_poses
from rcjax.reward import episode_reward, video_similarity
from rcjax.rollout import Act, Episodes, run_episodes
from rcjax.types import GeomPoses, Rollout


class TrainState(PyTree):
    """Everything that an iteration changes. Together with the config and the inputs it determines the rest of the run.

    All arrays of `ppo`, and `key`, have a leading axis S: each seed has a policy and a random key of its own.
    """

    ppo: ppo.PPOState
    key: Array
    iteration: Int[Array, ""]


class Inputs(PyTree):
    """Everything that an iteration reads and does not change.

    These are arguments of the compiled function: an array that it closed over would become a constant of the program.
    """

    env_params: EnvParams
    scene: Scene | WarpScene
    encoder: Params  # parameters of the encoder's video tower, under the key `video`
    target: Float[Array, " D"]


class ScoredEpisodes(PyTree):
    """Episodes and the video reward of each. All arrays of `episodes` have a leading axis S as well."""

    episodes: Episodes
    video_reward: Float[Array, "S N"]


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


@in_32_bits
def initial_state(config: TrainConfig, env: MjxEnv) -> TrainState:
    """Returns the state that training begins with: freshly initialised networks and a random key for each seed."""
    n_obs = env.observation_space().shape[0] + config.env.time_in_obs

    def init_seed(seed: Int[Array, ""]):
        key, key_network = jax.random.split(jax.random.key(seed))
        return ppo.init_state(key_network, n_obs, env.num_actions, config.ppo), key

    ppo_state, key = jax.vmap(init_seed)(jnp.arange(config.seed, config.seed + config.seeds))
    return TrainState(ppo=ppo_state, key=key, iteration=jnp.zeros((), jnp.int32))


@in_32_bits
def iterate(
    state: TrainState,
    inputs: Inputs,
    mode: Mode,
    *,
    env: MjxEnv,
    network: Network,
    config: TrainConfig,
    micro_batch: int,
    mesh: Mesh | None,
) -> tuple[TrainState, dict[str, Float[Array, " S"]], ScoredEpisodes]:
    """Runs one episode in every environment of every seed, rewards it, and updates each seed's policy by PPO.

    Args:
        state: The state to start from.
        inputs: What the iteration reads.
        mode: Whether to update the policy, to act by its mean, and to start from fixed states.
        env: The environment. It and the arguments below are closed over when the caller compiles this function.
        network: The encoder's network, without its parameters.
        config: The run's configuration.
        micro_batch: How many episodes a device draws and embeds at a time; it divides the device's episodes.
        mesh: Devices with axes `seed` and `env`, or None for one device. Each device runs, draws and embeds its own
            share of the episodes; the update of a seed uses all episodes of the seed.

    Returns:
        The next state, each seed's metrics, and the episodes with their video rewards. The next state equals `state`
        if `mode.learn` is false, or if a number of any seed's episodes or update is not finite.
    """
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(state.key)
    score = functools.partial(score_episodes, env=env, network=network, config=config, micro_batch=micro_batch)
    if mesh is not None:
        score = jax.shard_map(
            score,
            mesh=mesh,
            in_specs=(P("seed"), P(), P(), P("seed"), P("env")),
            out_specs=_scored_specs(),
            check_vma=False,
        )
    scored = score(state.ppo.params, inputs, mode, keys[:, 1], jnp.arange(config.n_envs))
    metrics = jax.vmap(_episode_metrics)(scored)
    learn = mode.learn & jnp.all(metrics["nonfinite_reward"] + metrics["nonfinite_episodes"] == 0)
    ppo_state, losses = _update_each_seed(state.ppo, scored, keys[:, 2], learn, config, mesh)
    nonfinite = jnp.where(learn, jax.vmap(count_nonfinite)(ppo_state, losses), 0.0)
    # One seed's failure holds all seeds back, so that all are at the same iteration.
    updated = learn & jnp.all(nonfinite == 0)
    next_state = TrainState(
        ppo=jax.tree.map(lambda new, old: jnp.where(updated, new, old), ppo_state, state.ppo),
        key=jnp.where(updated, keys[:, 0], state.key),
        iteration=state.iteration + updated.astype(jnp.int32),
    )
    return next_state, metrics | losses | {"nonfinite_update": nonfinite}, scored


def count_nonfinite(state: ppo.PPOState, losses: dict[str, Float[Array, ""]]) -> Float[Array, ""]:
    """Counts the numbers that are not finite among a seed's parameters, Adam's moments and an update's losses.

    The losses include the norm of the gradients. The explained variance is left out: it is rightly NaN where all
    returns are equal.
    """
    losses = {name: loss for name, loss in losses.items() if name != "explained_variance"}
    counts = [jnp.sum(~jnp.isfinite(x), dtype=jnp.float32) for x in jax.tree.leaves((state, losses))]
    return functools.reduce(jnp.add, counts, jnp.float32(0.0))


def _update_each_seed(
    state: ppo.PPOState,
    scored: ScoredEpisodes,
    keys: Array,
    learn: Bool[Array, ""],
    config: TrainConfig,
    mesh: Mesh | None,
) -> tuple[ppo.PPOState, dict[str, Float[Array, " S"]]]:
    """Returns each seed's state after a PPO update, and its losses. Without `learn`, the state is the same and the
    losses are NaN.

    With a mesh, every device of a seed computes the seed's whole update: the networks are small, and gathering the
    rollout once takes less time than summing gradients after every minibatch.
    """

    def update(state: ppo.PPOState, scored: ScoredEpisodes, key: Array):
        reward = episode_reward(scored.video_reward, config.video.episode_length)
        return ppo.update(state, ppo.make_batch(scored.episodes.rollout, reward, config.ppo), key, config.ppo)

    def update_all(state: ppo.PPOState, scored: ScoredEpisodes, keys: Array, learn: Bool[Array, ""]):
        def update_seeds():
            return jax.vmap(update)(state, scored, keys)

        def skip_update():
            return state, jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(update_seeds)[1])

        return jax.lax.cond(learn, update_seeds, skip_update)

    if mesh is not None:
        by_seed = P("seed")
        update_all = jax.shard_map(
            update_all, mesh=mesh, in_specs=(by_seed, by_seed, by_seed, P()), out_specs=by_seed, check_vma=False
        )
    without_poses = scored.replace(episodes=scored.episodes.replace(poses=None))
    return update_all(state, without_poses, keys, learn)


def score_episodes(
    params: networks.Params,
    inputs: Inputs,
    mode: Mode,
    key: Array,
    env_ids: Int[Array, " N"],
    *,
    env: MjxEnv,
    network: Network,
    config: TrainConfig,
    micro_batch: int,
) -> ScoredEpisodes:
    """Runs each seed's policy for one episode in each of the environments `env_ids`, and scores the episodes' videos.

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
    embedding = embed_episodes(inputs.scene, network, inputs.encoder, episodes.poses, config.video, micro_batch)
    scored = ScoredEpisodes.of_leaves(episodes=episodes, video_reward=video_similarity(embedding, inputs.target))
    return jax.tree.map(lambda x, spec: _split_seeds(x, spec, n_seeds), scored, _scored_specs())


def _split_seeds(x: Array, spec: P, n_seeds: int) -> Array:
    """Splits the axis of all seeds' environments into seeds and environments, and moves the seed axis to the front."""
    axis = _env_axis(spec)
    shape = (*x.shape[:axis], n_seeds, x.shape[axis] // n_seeds, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)


def _scored_specs() -> ScoredEpisodes:
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
    episodes = Episodes.of_leaves(
        rollout=rollout,
        poses=GeomPoses.of_leaves(pos=env_major, mat=env_major),
        true_return=env_major,
        success=env_major,
        first_success=env_major,
        diverged=env_major,
    )
    return ScoredEpisodes.of_leaves(episodes=episodes, video_reward=env_major)


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


def _episode_metrics(scored: ScoredEpisodes) -> dict[str, Float[Array, ""]]:
    """Metrics of one seed's episodes."""
    episodes, similarity = scored.episodes, scored.video_reward
    return {
        "video_reward": similarity.mean(),
        "video_reward_std": similarity.std(),
        "video_reward_max": similarity.max(),
        "true_return": episodes.true_return.mean(),
        "success_rate": episodes.success.mean(dtype=jnp.float32),
        "nonfinite_reward": jnp.sum(~jnp.isfinite(similarity), dtype=jnp.float32),
        "nonfinite_episodes": jnp.sum(~_finite_episodes(episodes), dtype=jnp.float32),
        "diverged_physics": episodes.diverged.sum(dtype=jnp.float32),
    }


def _finite_episodes(episodes: Episodes) -> Bool[Array, " N"]:
    """Returns which of one seed's episodes have only finite observations, actions, values, poses and true returns."""

    def finite(x: Array, spec: P) -> Bool[Array, " N"]:
        axis = _env_axis(spec)
        return jnp.isfinite(jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)).all(axis=1)

    finite_by_array = jax.tree.map(finite, episodes, _scored_specs().episodes)
    return functools.reduce(jnp.logical_and, jax.tree.leaves(finite_by_array))


def state_shapes(config: TrainConfig, env: MjxEnv) -> TrainState:
    """Returns the shapes and dtypes of `initial_state`, without computing it."""
    return jax.eval_shape(functools.partial(initial_state, config, env))
