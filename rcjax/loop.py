"""One training iteration, the function that is compiled.

Rollout -> poses -> frames -> embedding -> reward -> PPO update -> update of the reward's source, where it learns.
Everything is an array, and nothing leaves the device.
"""

import functools
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Bool, Float, Int

from rcjax import ppo
from rcjax.config import TrainConfig
from rcjax.encoders import Network
from rcjax.envs.mjx_env import MjxEnv
from rcjax.episodes import Inputs, Mode, finite_episodes, see_each_seed
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree
from rcjax.rewards.choose import make_source, policy_obs_size
from rcjax.rewards.source import RewardSource, RewardState, SeenEpisodes
from rcjax.rollout import Episodes
from rcjax.selection import Selected, after_evaluation, nothing_selected
from rcjax.types import Demonstration


class TrainState(PyTree):
    """Everything that an iteration changes. Together with the config and the inputs it determines the rest of the run.

    All arrays of `ppo`, `reward` and `selected`, and `key`, have a leading axis S: each seed has a policy, a source of
    rewards and a random key of its own.
    """

    ppo: ppo.PPOState
    reward: RewardState  # None unless the source of the reward learns
    selected: Selected  # policies of the evaluations so far
    key: Array
    iteration: Int[Array, ""]


class ScoredEpisodes(PyTree):
    """Episodes and the reward of each of their steps. All arrays of `episodes` have a leading axis S as well."""

    episodes: Episodes
    reward: Float[Array, "S T N"]

    @property
    def total_reward(self) -> Float[Array, "S N"]:
        """The sum of each episode's rewards. It is the video's similarity where that is the reward."""
        return self.reward.sum(1)


Learner: TypeAlias = tuple[ppo.PPOState, RewardState]
"""What the updates of an iteration change: the policy, and what the source of the reward learns"""


@in_32_bits
def initial_state(config: TrainConfig, env: MjxEnv) -> TrainState:
    """Returns the state that training begins with: freshly initialised networks and a random key for each seed."""
    n_obs, source = policy_obs_size(config, env), make_source(config, env)

    def init_seed(seed: Int[Array, ""]):
        key, key_network, key_reward = jax.random.split(jax.random.key(seed), 3)
        policy = ppo.init_state(key_network, n_obs, env.num_actions, config.ppo)
        return policy, source.init_state(key_reward), nothing_selected(policy.params), key

    policy, reward, selected, key = jax.vmap(init_seed)(jnp.arange(config.seed, config.seed + config.seeds))
    return TrainState(ppo=policy, reward=reward, selected=selected, key=key, iteration=jnp.zeros((), jnp.int32))


@in_32_bits
def iterate(
    state: TrainState,
    inputs: Inputs,
    mode: Mode,
    *,
    env: MjxEnv,
    network: Network | None,
    config: TrainConfig,
    micro_batch: int,
    mesh: Mesh | None,
) -> tuple[TrainState, dict[str, Float[Array, " S"]], ScoredEpisodes]:
    """Runs one episode in every environment of every seed, rewards it, and updates each seed's policy.

    The update is PPO's, unless the source of the reward replaces it.

    Args:
        state: The state to start from.
        inputs: What the iteration reads.
        mode: Whether to update the policy, to act by its mean, and to start from fixed states.
        env: The environment. It and the arguments below are closed over when the caller compiles this function.
        network: The encoder's network, without its parameters; None if the reward looks at no videos.
        config: The run's configuration.
        micro_batch: How many episodes a device draws and embeds at a time; it divides the device's episodes.
        mesh: Devices with axes `seed` and `env`, or None for one device. Each device runs, draws and embeds its own
            share of the episodes; the update of a seed uses all episodes of the seed.

    Returns:
        The next state, each seed's metrics, and the episodes with their rewards. If `mode.learn` is false, the next
        state equals `state` but for the policies that are selected by this evaluation; if a number of any seed's
        episodes or update is not finite, it equals `state`.
    """
    keys = jax.vmap(lambda key: jax.random.split(key, 4))(state.key)
    source = make_source(config, env)
    seen = see_each_seed(
        state.ppo.params, inputs, mode, keys[:, 1], env=env, network=network if source.looks_at_pixels else None,
        config=config, micro_batch=micro_batch, mesh=mesh,
    )  # fmt: skip
    rewarded, reward = _reward_each_seed(source, state.reward, seen, inputs.demonstration, mesh)
    scored = ScoredEpisodes.of_leaves(episodes=seen.episodes, reward=reward)
    metrics = jax.vmap(functools.partial(_episode_metrics, name=config.reward))(scored)
    finite = jnp.all(metrics["nonfinite_reward"] + metrics["nonfinite_episodes"] == 0)
    learn = mode.learn & finite
    learner = state.ppo, rewarded
    learned, losses = _update_each_seed(source, learner, scored, inputs.demonstration, keys[:, 2:], learn, config, mesh)
    nonfinite = jnp.where(learn, jax.vmap(count_nonfinite)(learned, losses), 0.0)
    # One seed's failure holds all seeds back, so that all are at the same iteration.
    updated = learn & jnp.all(nonfinite == 0)
    kept = jax.tree.map(lambda new, old: jnp.where(updated, new, old), learned, (state.ppo, state.reward))
    next_state = TrainState(
        ppo=kept[0],
        reward=kept[1],
        selected=_select(state, metrics, config.reward_metric, evaluated=~mode.learn & finite),
        key=jnp.where(updated, keys[:, 0], state.key),
        iteration=state.iteration + updated.astype(jnp.int32),
    )
    return next_state, metrics | losses | {"nonfinite_update": nonfinite}, scored


def _select(
    state: TrainState, metrics: dict[str, Float[Array, " S"]], reward: str, evaluated: Bool[Array, ""]
) -> Selected:
    """Returns the policies that the rules select, after these metrics of an evaluation if it was one."""
    iteration = jnp.broadcast_to(state.iteration, metrics[reward].shape)
    after = jax.vmap(after_evaluation)(
        state.selected, state.ppo.params, iteration, metrics["true_return"], metrics[reward]
    )
    return jax.tree.map(lambda new, old: jnp.where(evaluated, new, old), after, state.selected)


def count_nonfinite(learner: Learner, losses: dict[str, Float[Array, ""]]) -> Float[Array, ""]:
    """Counts the numbers that are not finite among what a seed learns, Adam's moments, and an update's losses.

    The losses include the norm of the gradients. The explained variance is left out: it is rightly NaN where all
    returns are equal.
    """
    losses = {name: loss for name, loss in losses.items() if name != "explained_variance"}
    counts = [jnp.sum(~jnp.isfinite(x), dtype=jnp.float32) for x in jax.tree.leaves((learner, losses))]
    return functools.reduce(jnp.add, counts, jnp.float32(0.0))


def _update_each_seed(
    source: RewardSource,
    learner: Learner,
    scored: ScoredEpisodes,
    demonstration: Demonstration,
    keys: Array,
    learn: Bool[Array, ""],
    config: TrainConfig,
    mesh: Mesh | None,
) -> tuple[Learner, dict[str, Float[Array, " S"]]]:
    """Returns each seed's policy and source of rewards after their updates, and the updates' losses.

    Without `learn`, both are the same and the losses are NaN. With a mesh, every device of a seed computes the seed's
    whole update: the networks are small, and gathering the rollout once takes less time than summing gradients after
    every minibatch.
    """

    def update(learner: Learner, scored: ScoredEpisodes, keys: Array, demonstration: Demonstration):
        policy, reward_state = learner
        if source.replaces_ppo:
            reward_state, policy, losses = source.train_policy(
                reward_state, policy, scored.episodes, demonstration, keys[1]
            )
            return (policy, reward_state), losses
        policy, losses = ppo.learn(policy, scored.episodes.rollout, scored.reward, keys[0], config.ppo)
        reward_state, more = source.update(reward_state, scored.episodes, policy.params, demonstration, keys[1])
        return (policy, reward_state), losses | more

    def update_all(
        learner: Learner, scored: ScoredEpisodes, keys: Array, demonstration: Demonstration, learn: Bool[Array, ""]
    ):
        def update_seeds():
            return jax.vmap(update, in_axes=(0, 0, 0, None))(learner, scored, keys, demonstration)

        def skip_update():
            return learner, jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(update_seeds)[1])

        return jax.lax.cond(learn, update_seeds, skip_update)

    if mesh is not None:
        by_seed = P("seed")
        update_all = jax.shard_map(
            update_all, mesh=mesh, in_specs=(by_seed, by_seed, by_seed, P(), P()), out_specs=by_seed, check_vma=False
        )
    return update_all(learner, _without_poses(scored), keys, demonstration, learn)


def _reward_each_seed(
    source: RewardSource, state: RewardState, seen: SeenEpisodes, demonstration: Demonstration, mesh: Mesh | None
) -> tuple[RewardState, Float[Array, "S T N"]]:
    """Returns each seed's source of rewards after it has rewarded the seed's episodes, and the rewards."""
    reward_all = jax.vmap(source.reward, in_axes=(0, 0, None))
    if mesh is not None:
        by_seed = P("seed")
        reward_all = jax.shard_map(
            reward_all, mesh=mesh, in_specs=(by_seed, by_seed, P()), out_specs=by_seed, check_vma=False
        )
    return reward_all(state, _without_poses(seen), demonstration)


def _without_poses(of_episodes: Any) -> Any:
    """Returns seen or scored episodes without their poses, which would be gathered from all devices in vain."""
    return of_episodes.replace(episodes=of_episodes.episodes.replace(poses=None))


def _episode_metrics(scored: ScoredEpisodes, name: str) -> dict[str, Float[Array, ""]]:
    """Metrics of one seed's episodes; `name` is that of the reward, of which each episode has a sum."""
    episodes, total = scored.episodes, scored.reward.sum(0)
    return {
        f"{name}_reward": total.mean(),
        f"{name}_reward_std": total.std(),
        f"{name}_reward_max": total.max(),
        "true_return": episodes.true_return.mean(),
        "success_rate": episodes.success.mean(dtype=jnp.float32),
        "nonfinite_reward": jnp.sum(~jnp.isfinite(scored.reward), dtype=jnp.float32),
        "nonfinite_episodes": jnp.sum(~finite_episodes(episodes), dtype=jnp.float32),
        "diverged_physics": episodes.diverged.sum(dtype=jnp.float32),
    }


def state_shapes(config: TrainConfig, env: MjxEnv) -> TrainState:
    """Returns the shapes and dtypes of `initial_state`, without computing it."""
    return jax.eval_shape(functools.partial(initial_state, config, env))
