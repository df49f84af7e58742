"""Hyperparameters of the discriminators of GAIL and AIRL, and of behaviour cloning."""

import dataclasses

from rcjax.checks import raise_invalid, require_range, require_types
from rcjax.ppo.config import FLOAT32_MAX, FLOAT32_MIN, MAX_LAYER_WIDTH

DOCUMENTED_BATCH = 1024  # of imitation's examples; a batch cannot have more transitions than the demonstrations


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Hyperparameters of GAIL and AIRL. They mean what they mean in `imitation`, and the defaults are those of its
    documented examples (version 0.3.2, which the release of RoboCLIP pins), as far as few demonstrations allow them.

    A round of `imitation` is an iteration here.
    """

    # Gradient steps of the discriminator in each iteration (imitation's examples use 4; its tuned settings 8 for GAIL
    # and 16 for AIRL).
    n_disc_updates: int = 4
    # Number of expert transitions in a batch of the discriminator, which has as many transitions of the policy; by
    # default all of the expert's, up to the 1024 of imitation's examples.
    demo_batch_size: int | None = None
    # Number of the policy's newest transitions that the discriminator learns from; by default those of one iteration.
    disc_buffer_size: int | None = None
    # Learning rate of the discriminator's Adam.
    disc_learning_rate: float = 1e-3
    # Widths of the discriminator's hidden layers, which have ReLU units; by default 32 32 for GAIL and 32 for AIRL.
    disc_net_arch: tuple[int, ...] | None = None
    # Widths of the hidden layers of AIRL's potential.
    potential_net_arch: tuple[int, ...] = (32, 32)
    # Normalise the discriminator's inputs by their running mean and variance.
    disc_normalize_input: bool = True
    # Normalise AIRL's rewards by their running mean and variance, as imitation's tuned settings do. (In imitation this
    # setting has no effect on GAIL, so that GAIL refuses it here.)
    disc_normalize_output: bool = False
    # Show the discriminator the time in the observation, by which it can tell the expert from the policy step by step.
    disc_time_in_obs: bool = True

    def __post_init__(self):
        require_types(self)
        require_range("n_disc_updates", self.n_disc_updates, 1)
        for name in ("demo_batch_size", "disc_buffer_size"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 1)
        if not FLOAT32_MIN <= self.disc_learning_rate <= FLOAT32_MAX:
            expected = "a positive, finite number within float32's range"
            raise_invalid("disc_learning_rate", self.disc_learning_rate, expected)
        for name in ("disc_net_arch", "potential_net_arch"):
            widths = getattr(self, name) or ()
            if not all(1 <= width <= MAX_LAYER_WIDTH for width in widths):
                raise_invalid(name, widths, f"layer widths from 1 to {MAX_LAYER_WIDTH}")


@dataclasses.dataclass(frozen=True)
class CloningConfig:
    """Hyperparameters of behaviour cloning. The defaults are those of `imitation`, which leaves `bc_updates` open."""

    # Gradient steps of behaviour cloning in each iteration; with the default batch, 4 go once through a demonstration.
    bc_updates: int = 16
    # Number of expert transitions in a batch of behaviour cloning.
    bc_batch_size: int = 32
    # Learning rate of behaviour cloning's Adam.
    bc_learning_rate: float = 1e-3
    # Weight of the policy's entropy in behaviour cloning.
    bc_ent_weight: float = 1e-3
    # Weight of half the squared norm of the actor's parameters in behaviour cloning.
    bc_l2_weight: float = 0.0
    # Weight of the KL divergence from the policy of --init-from on the states of its own episodes, which keeps
    # behaviour cloning near it.
    bc_kl_weight: float = 0.0

    def __post_init__(self):
        require_types(self)
        for name in ("bc_updates", "bc_batch_size"):
            require_range(name, getattr(self, name), 1)
        for name in ("bc_ent_weight", "bc_l2_weight", "bc_kl_weight"):
            if not 0 <= getattr(self, name) <= FLOAT32_MAX:
                raise_invalid(name, getattr(self, name), "zero or a positive, finite number")
        if not FLOAT32_MIN <= self.bc_learning_rate <= FLOAT32_MAX:
            expected = "a positive, finite number within float32's range"
            raise_invalid("bc_learning_rate", self.bc_learning_rate, expected)
