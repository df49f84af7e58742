"""One PPO update: epochs of shuffled minibatches, as two nested scans."""

import functools
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from rcjax.ppo.batch import Batch, make_batch
from rcjax.ppo.config import PPOConfig
from rcjax.ppo.losses import explained_variance, ppo_loss
from rcjax.ppo.networks import Params, init_params
from rcjax.ppo.reward_scale import ReturnStatistics, no_statistics, scale_rewards
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree
from rcjax.types import Rollout


class PPOState(PyTree):
    """What an update changes: the parameters of actor and critic, and the state of Adam.

    `returns` are the statistics by which rewards are scaled, and `warmup` is the number of iterations that only the
    critic will learn in; each is None without the option that needs it.
    """

    params: Params
    opt_state: optax.OptState
    returns: ReturnStatistics | None = None
    warmup: Int[Array, ""] | None = None


class _UpdateCarry(PyTree):
    """The carry of the scans over epochs and minibatches."""

    state: PPOState
    active: Bool[Array, ""]  # whether no minibatch has exceeded target_kl so far


@in_32_bits
def init_state(key: PRNGKeyArray, obs_size: int, action_size: int, config: PPOConfig) -> PPOState:
    """Returns new parameters and the optimizer state for them. Consumes `key`."""
    return new_state(init_params(key, obs_size, action_size, config), config)


def new_state(params: Params, config: PPOConfig) -> PPOState:
    """Returns the state that training begins with, from these parameters."""
    return PPOState(
        params=params,
        opt_state=optimizer(config).init(params),
        returns=no_statistics() if config.scale_rewards else None,
        warmup=jnp.array(config.critic_warmup) if config.critic_warmup else None,
    )


def optimizer(config: PPOConfig) -> optax.GradientTransformation:
    """Returns Adam with torch's epsilon: like optax's `eps`, it is added to the root of the corrected second moment."""
    return optax.adam(config.learning_rate, eps=config.adam_eps)


@in_32_bits
def learn(
    state: PPOState, rollout: Rollout, reward: Float[Array, "T N"], key: PRNGKeyArray, config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """Learns from whole episodes and their rewards, which are scaled if the config says so: see `update`.

    Consumes `key`.
    """
    if state.returns is not None:
        returns, reward = scale_rewards(state.returns, reward, rollout.terminated, config.gamma)
        state = state.replace(returns=returns)
    state, metrics = update(state, make_batch(rollout, reward, config), key, config)
    if state.warmup is not None:
        state = state.replace(warmup=jnp.maximum(state.warmup - 1, 0))
    return state, metrics


@in_32_bits
def update(
    state: PPOState, batch: Batch, key: PRNGKeyArray, config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """Trains on the batch for `n_epochs` epochs, each in a new random order. Consumes `key`.

    Returns the new state and metrics. The metrics are those of Stable-Baselines3: means over all minibatches, except
    `loss`, which is the last minibatch's, and `approx_kl`, which is the mean over the last epoch. Added are
    `grad_norm`, the gradient's global norm before clipping, its parts `actor_grad_norm` and `critic_grad_norm`, and
    `gradient_steps`, which is below epochs x minibatches if `target_kl` stopped the update early.
    """
    return update_in_order(state, batch, shuffle(key, batch.value.shape[0], config), config)


def shuffle(key: PRNGKeyArray, n_samples: int, config: PPOConfig) -> Int[Array, "epochs B"]:
    """Returns the order in which each epoch goes through the samples. Consumes `key`.

    If one minibatch holds the whole batch, the order has no effect, and the samples are not shuffled.
    """
    if config.batch_size >= n_samples:
        return jnp.broadcast_to(jnp.arange(n_samples), (config.n_epochs, n_samples))
    key_epochs = jax.random.split(key, config.n_epochs)
    return jax.vmap(lambda key_epoch: jax.random.permutation(key_epoch, n_samples))(key_epochs)


@in_32_bits
def update_in_order(
    state: PPOState, batch: Batch, order: Int[Array, "epochs B"], config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """Does what `update` does, with given sample orders. A smaller last minibatch is a separate step after the scan."""
    n_full, size, remainder = config.minibatches(batch.value.shape[0])
    step = functools.partial(_minibatch_step, batch=batch, config=config)

    def epoch(carry: _UpdateCarry, indices: Int[Array, " B"]):
        full = indices[: n_full * size].reshape(n_full, size)
        carry, metrics = jax.lax.scan(step, carry, full)
        if remainder:
            carry, last = step(carry, indices[n_full * size :])
            metrics = jax.tree.map(lambda x, y: jnp.append(x, y), metrics, last)
        return carry, metrics

    carry = _UpdateCarry(state=state, active=jnp.array(True))
    carry, metrics = jax.lax.scan(epoch, carry, order)
    summary = _summarize(metrics)
    summary["explained_variance"] = explained_variance(batch.value, batch.returns)
    summary["std"] = jnp.mean(jnp.exp(carry.state.params["log_std"]))
    return carry.state, summary


def clip_gradients(
    gradients: Params, max_norm: float, separately: bool = False
) -> tuple[Params, dict[str, Float[Array, ""]]]:
    """Returns the gradients scaled to a global norm of at most `max_norm`, and norms before scaling.

    The scale is that of torch's `clip_grad_norm_`: min(1, max_norm / (norm + 1e-6)). The norms are those of all
    gradients, of the critic's, and of the others, which are the actor's. If `separately`, the latter two are scaled
    each by its own norm.
    """

    def scale(norm: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.minimum(1.0, max_norm / (norm + 1e-6))

    norm = optax.tree.norm(gradients)
    critic = optax.tree.norm(gradients["critic"])
    actor = optax.tree.norm({name: g for name, g in gradients.items() if name != "critic"})
    norms = {"grad_norm": norm, "actor_grad_norm": actor, "critic_grad_norm": critic}
    scales = {name: scale((critic if name == "critic" else actor) if separately else norm) for name in gradients}
    return {name: jax.tree.map(lambda x, by=scales[name]: x * by, g) for name, g in gradients.items()}, norms


def _minibatch_step(
    carry: _UpdateCarry, indices: Int[Array, " b"], batch: Batch, config: PPOConfig
) -> tuple[_UpdateCarry, dict[str, Array]]:
    """Takes one gradient step, or none once the approx_kl of a minibatch has exceeded 1.5 target_kl."""
    minibatch = jax.tree.map(lambda x: x[indices], batch)
    state = carry.state
    gradients, metrics = jax.grad(ppo_loss, has_aux=True)(state.params, minibatch, config)
    gradients, norms = clip_gradients(gradients, config.max_grad_norm, config.clip_separately)
    updates, opt_state = optimizer(config).update(gradients, state.opt_state, state.params)
    if state.warmup is not None:
        updates = _hold_actor(cast(Params, updates), state.warmup > 0)
    params = cast(Params, optax.apply_updates(state.params, updates))
    updated = state.replace(params=params, opt_state=opt_state)

    active = carry.active
    if config.target_kl is not None:
        active = active & ~(metrics["approx_kl"] > 1.5 * config.target_kl)
        updated = jax.tree.map(lambda new, old: jnp.where(active, new, old), updated, state)
    metrics = {**metrics, **norms, "step_reached": carry.active, "step_taken": active}
    return _UpdateCarry(state=updated, active=active), metrics


def _hold_actor(updates: Params, held: Bool[Array, ""]) -> Params:
    """Returns the updates, with those of everything but the critic set to zero if `held`.

    Adam's moments take in the actor's gradients all the same, so that its first steps are not larger than later ones.
    """
    kept = {name: jax.tree.map(lambda x: jnp.where(held, 0.0, x), u) for name, u in updates.items() if name != "critic"}
    return {**updates, **kept}


def _summarize(metrics: dict[str, Array]) -> dict[str, Float[Array, ""]]:
    """Averages metrics [epochs minibatches] over the minibatches that were evaluated before an early stop."""
    reached = metrics["step_reached"]
    last_epoch = jnp.sum(reached[:, 0]) - 1
    last_minibatch = jnp.sum(reached) - 1
    means = ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction")
    names = (*means, "grad_norm", "actor_grad_norm", "critic_grad_norm")
    return {
        **{name: jnp.mean(metrics[name], where=reached) for name in names},
        "loss": metrics["loss"].ravel()[last_minibatch],
        "approx_kl": jnp.mean(metrics["approx_kl"][last_epoch], where=reached[last_epoch]),
        "gradient_steps": jnp.sum(metrics["step_taken"]).astype(jnp.float32),
    }
