"""One PPO update: epochs of shuffled minibatches, as two nested scans."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from rcjax.ppo.batch import Batch
from rcjax.ppo.config import PPOConfig
from rcjax.ppo.losses import explained_variance, ppo_loss
from rcjax.ppo.networks import Params, init_params
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree


class PPOState(PyTree):
    """What learning changes: the parameters and Adam's moments."""

    params: Params
    opt_state: optax.OptState


class _Progress(PyTree):
    state: PPOState
    active: Bool[Array, ""]  # no minibatch has gone beyond target_kl yet


@in_32_bits
def init_state(key: PRNGKeyArray, obs_size: int, action_size: int, config: PPOConfig) -> PPOState:
    """Fresh parameters and optimizer. Consumes `key`."""
    params = init_params(key, obs_size, action_size, config)
    return PPOState(params=params, opt_state=optimizer(config).init(params))  # pyright: ignore[reportCallIssue]


def optimizer(config: PPOConfig) -> optax.GradientTransformation:
    """Adam with torch's epsilon: like optax's `eps`, added to the root of the corrected second moment."""
    return optax.adam(config.learning_rate, eps=config.adam_eps)


@in_32_bits
def update(
    state: PPOState, batch: Batch, key: PRNGKeyArray, config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """Learn from the batch for `n_epochs` passes, each in a fresh order. Consumes `key`.

    Metrics are Stable-Baselines3's, and like there averaged over the minibatches but for `loss`, which is the
    last minibatch's, and `approx_kl`, which is the last epoch's mean. Added to them: `grad_norm`, before
    clipping, and `gradient_steps`, fewer than epochs x minibatches where `target_kl` ended the update early.
    """
    return update_in_order(state, batch, shuffle(key, batch.value.shape[0], config), config)


def shuffle(key: PRNGKeyArray, n_samples: int, config: PPOConfig) -> Int[Array, "epochs B"]:
    """The order in which each epoch goes through the samples. Consumes `key`.

    Where one minibatch is the whole batch the order has no effect, and samples stay where they are.
    """
    if config.batch_size >= n_samples:
        return jnp.broadcast_to(jnp.arange(n_samples), (config.n_epochs, n_samples))
    key_epochs = jax.random.split(key, config.n_epochs)
    return jax.vmap(lambda key_epoch: jax.random.permutation(key_epoch, n_samples))(key_epochs)


@in_32_bits
def update_in_order(
    state: PPOState, batch: Batch, order: Int[Array, "epochs B"], config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """`update` with given sample orders. A truncated last minibatch is a step of its own shape."""
    n_full, size, remainder = config.minibatches(batch.value.shape[0])
    step = functools.partial(_minibatch_step, batch=batch, config=config)

    def epoch(progress: _Progress, indices: Int[Array, " B"]):
        full = indices[: n_full * size].reshape(n_full, size)
        progress, metrics = jax.lax.scan(step, progress, full)
        if remainder:
            progress, last = step(progress, indices[n_full * size :])
            metrics = jax.tree.map(lambda x, y: jnp.append(x, y), metrics, last)
        return progress, metrics

    progress = _Progress(state=state, active=jnp.array(True))  # pyright: ignore[reportCallIssue]
    progress, metrics = jax.lax.scan(epoch, progress, order)
    summary = _summarize(metrics)
    summary["explained_variance"] = explained_variance(batch.value, batch.returns)
    summary["std"] = jnp.mean(jnp.exp(progress.state.params["log_std"]))
    return progress.state, summary


def clip_gradients(gradients: Params, max_norm: float) -> tuple[Params, Float[Array, ""]]:
    """Gradients scaled to a global norm of at most `max_norm`, and the norm before.

    The scale is torch's `clip_grad_norm_`: min(1, max_norm / (norm + 1e-6)).
    """
    norm = optax.tree.norm(gradients)
    scale = jnp.minimum(1.0, max_norm / (norm + 1e-6))
    return jax.tree.map(lambda g: g * scale, gradients), norm


def _minibatch_step(
    progress: _Progress, indices: Int[Array, " b"], batch: Batch, config: PPOConfig
) -> tuple[_Progress, dict[str, Array]]:
    """One gradient step, or none from the first minibatch on whose approx_kl is above 1.5 target_kl."""
    minibatch = jax.tree.map(lambda x: x[indices], batch)
    state = progress.state
    gradients, metrics = jax.grad(ppo_loss, has_aux=True)(state.params, minibatch, config)
    gradients, norm = clip_gradients(gradients, config.max_grad_norm)
    updates, opt_state = optimizer(config).update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    stepped = PPOState(params=params, opt_state=opt_state)  # pyright: ignore[reportCallIssue]

    active = progress.active
    if config.target_kl is not None:
        active = active & ~(metrics["approx_kl"] > 1.5 * config.target_kl)
        stepped = jax.tree.map(lambda new, old: jnp.where(active, new, old), stepped, state)
    metrics = {**metrics, "grad_norm": norm, "seen": progress.active, "stepped": active}
    return _Progress(state=stepped, active=active), metrics  # pyright: ignore[reportCallIssue]


def _summarize(metrics: dict[str, Array]) -> dict[str, Float[Array, ""]]:
    """Means over the minibatches [epochs minibatches] that were looked at before an early stop."""
    seen = metrics["seen"]
    last_epoch = jnp.sum(seen[:, 0]) - 1
    last_minibatch = jnp.sum(seen) - 1
    names = ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction", "grad_norm")
    return {
        **{name: jnp.mean(metrics[name], where=seen) for name in names},
        "loss": metrics["loss"].ravel()[last_minibatch],
        "approx_kl": jnp.mean(metrics["approx_kl"][last_epoch], where=seen[last_epoch]),
        "gradient_steps": jnp.sum(metrics["stepped"]).astype(jnp.float32),
    }
