"""PPO's hyperparameters, with the names and the meanings of Stable-Baselines3."""

import dataclasses
import math

from rcjax.checks import refuse, require_range, require_types

FLOAT32_MAX = 3.4e38
FLOAT32_MIN = 1.2e-38  # positive numbers below it are zero on most devices
WIDEST_LAYER = 1 << 16


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Defaults: `PPO` and `ActorCriticPolicy` of Stable-Baselines3 2.9.

    How many samples an update sees, `n_steps * n_envs` there, is not decided here: it is the batch's size.
    """

    learning_rate: float = 3e-4  # of Adam; constant
    n_epochs: int = 10  # passes over the batch per update
    batch_size: int = 64  # samples of a minibatch, not of the whole batch
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2  # of the probability ratio, around 1
    clip_range_vf: float | None = None  # of the value around the old one, in units of reward; None: not clipped
    normalize_advantage: bool = True  # in each minibatch
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5  # global norm; math.inf: not clipped
    target_kl: float | None = None  # an update ends once a minibatch's approx_kl is above 1.5 times this
    adam_eps: float = 1e-5
    net_arch: tuple[int, ...] = (64, 64)  # tanh units of each hidden layer, of the actor and of the critic
    log_std_init: float = 0.0

    def __post_init__(self):
        require_types(self)
        for name in ("learning_rate", "adam_eps"):
            self._require(name, _is_positive(getattr(self, name)), "a positive, finite number that float32 has")
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
        require_range("batch_size", self.batch_size, 1)
        if self.normalize_advantage and self.batch_size == 1:
            raise ValueError(
                "batch_size=1 with normalize_advantage=True; one sample has no standard deviation: "
                "raise batch_size or set normalize_advantage=False."
            )
        narrow_enough = all(1 <= width <= WIDEST_LAYER for width in self.net_arch)
        self._require("net_arch", narrow_enough, f"layer widths from 1 to {WIDEST_LAYER}")

    def _require(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            refuse(name, getattr(self, name), expected)

    def minibatches(self, n_samples: int) -> tuple[int, int, int]:
        """Number of full minibatches of an epoch, their size, and that of the truncated last one (0: none).

        As in Stable-Baselines3, a `batch_size` that does not divide `n_samples` leaves a smaller last
        minibatch, and one above `n_samples` means a single minibatch of everything.
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
    """In float32, as it is computed with."""
    return FLOAT32_MIN <= value <= FLOAT32_MAX
