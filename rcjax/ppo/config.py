"""PPO's hyperparameters, with the names and meanings that they have in Stable-Baselines3."""

import dataclasses
import math

from rcjax.checks import raise_invalid, require_range, require_types

FLOAT32_MAX = 3.4e38
FLOAT32_MIN = 1.2e-38  # most devices flush smaller positive numbers to zero
MAX_LAYER_WIDTH = 1 << 16


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters of PPO. The defaults are those of `PPO` and `ActorCriticPolicy` in Stable-Baselines3 2.9.

    Stable-Baselines3 has no `scale_rewards`, `clip_separately` and `critic_warmup`, which are off by default.

    The number of samples of an update, `n_steps * n_envs` in Stable-Baselines3, is the size of the `Batch`.
    """

    # Learning rate of Adam, which is constant.
    learning_rate: float = 3e-4
    # Number of passes over the batch in each update (the release uses 1).
    n_epochs: int = 10
    # Number of samples in a minibatch, not in the whole batch (the release uses 1024).
    batch_size: int = 64
    # Discount factor of the reward for each control step.
    gamma: float = 0.99
    # Decay factor lambda of generalised advantage estimation.
    gae_lambda: float = 0.95
    # Half-width of the interval around 1 that the probability ratio is clipped to; inf switches it off.
    clip_range: float = 0.2
    # Largest change of the value that the value loss sees, in units of reward; None does not clip it.
    clip_range_vf: float | None = None
    # Normalise the advantages of each minibatch to mean 0 and standard deviation 1.
    normalize_advantage: bool = True
    # Weight of the entropy in the loss (the release uses 0.5).
    ent_coef: float = 0.0
    # Weight of the value loss.
    vf_coef: float = 0.5
    # Largest global norm of the gradient, beyond which it is scaled down; inf switches it off.
    max_grad_norm: float = 0.5
    # Approximate KL divergence from the old policy; an update stops when that of a minibatch exceeds 1.5 times this.
    # None never stops an update early.
    target_kl: float | None = None
    # Epsilon of Adam.
    adam_eps: float = 1e-5
    # Widths of the hidden layers, which have tanh units; actor and critic each have such layers.
    net_arch: tuple[int, ...] = (64, 64)
    # Initial logarithm of the standard deviation of the actions.
    log_std_init: float = 0.0
    # Divide rewards by the running standard deviation of the discounted return, as VecNormalize of Stable-Baselines3
    # does.
    scale_rewards: bool = False
    # Clip the gradients of actor and critic to max_grad_norm each, not their joint norm.
    clip_separately: bool = False
    # Number of iterations at the beginning in which only the critic learns.
    critic_warmup: int = 0

    def __post_init__(self):
        require_types(self)
        for name in ("learning_rate", "adam_eps"):
            self._require(name, _is_positive(getattr(self, name)), "a positive, finite number within float32's range")
        for name in ("clip_range", "max_grad_norm"):
            limit = getattr(self, name)
            self._require(name, _is_positive(limit) or limit == math.inf, "a positive number; inf switches it off")
        for name in ("clip_range_vf", "target_kl"):
            limit = getattr(self, name)
            self._require(name, limit is None or _is_positive(limit), "a positive number, or None to switch it off")
        for name in ("gamma", "gae_lambda"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a number from 0 to 1")
        self._require("ent_coef", abs(self.ent_coef) <= FLOAT32_MAX, "a finite number")
        self._require("vf_coef", 0 <= self.vf_coef <= FLOAT32_MAX, "zero or a positive, finite number")
        self._require("log_std_init", abs(self.log_std_init) <= 20, "a finite number from -20 to 20")
        require_range("n_epochs", self.n_epochs, 1)
        require_range("critic_warmup", self.critic_warmup, 0)
        require_range("batch_size", self.batch_size, 1)
        if self.normalize_advantage and self.batch_size == 1:
            raise ValueError(
                "batch_size=1 with normalize_advantage=True; a single sample has no standard deviation: "
                "raise batch_size or set normalize_advantage=False."
            )
        widths_are_valid = all(1 <= width <= MAX_LAYER_WIDTH for width in self.net_arch)
        self._require("net_arch", widths_are_valid, f"layer widths from 1 to {MAX_LAYER_WIDTH}")

    def _require(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            raise_invalid(name, getattr(self, name), expected)

    def minibatches(self, n_samples: int) -> tuple[int, int, int]:
        """Returns the number of full minibatches in an epoch, their size, and the size of a smaller last one (or 0).

        As in Stable-Baselines3, the last minibatch is smaller if `batch_size` does not divide `n_samples`, and a
        `batch_size` above `n_samples` means a single minibatch with all samples.
        Raises ValueError for a batch without samples, or with one sample and `normalize_advantage`.
        """
        if n_samples < 1 or (n_samples == 1 and self.normalize_advantage):
            raise ValueError(
                f"the batch holds {n_samples} sample(s); an update needs at least 2, or 1 with "
                "normalize_advantage=False: run more environments or longer episodes."
            )
        size = min(self.batch_size, n_samples)
        n_full, remainder = divmod(n_samples, size)
        return n_full, size, remainder


def _is_positive(value: float) -> bool:
    """Whether `value` is positive and finite in float32, the dtype of all computations."""
    return FLOAT32_MIN <= value <= FLOAT32_MAX
