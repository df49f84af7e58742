"""Hyperparameters of the discriminators of GAIL and AIRL, and of behaviour cloning."""

import dataclasses
from typing import Annotated, Literal

import tyro

from rcjax.checks import raise_invalid, require_range, require_types
from rcjax.ppo.config import FLOAT32_MAX, FLOAT32_MIN, MAX_LAYER_WIDTH

DOCUMENTED_BATCH = 1024  # of imitation's examples; a batch cannot have more transitions than the demonstrations


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Hyperparameters of GAIL and AIRL, which mean what they mean in `imitation`. Its round is an iteration here.

    The settings that `disc_settings` names are defaults of `n_disc_updates` and `disc_normalize_output`, as far as few
    demonstrations allow them.
    """

    # Which of imitation's settings are the defaults: those of its documented examples (of version 0.3.2, which the
    # release of RoboCLIP pins), or those that it was tuned to for many demonstrations (of version 1.0.1).
    disc_settings: Literal["documented", "tuned"] = "documented"
    # Gradient steps of the discriminator in each iteration; by default 4 (documented), or 8 for GAIL and 16 for AIRL
    # (tuned).
    n_disc_updates: int | None = None
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
    # Normalise AIRL's rewards by their running mean and variance; by default only with the tuned settings. GAIL refuses
    # this, because it has no effect on GAIL in imitation.
    disc_normalize_output: Annotated[bool | None, tyro.conf.DisallowNone] = None
    # Show the discriminator the time in the observation, by which it can tell the expert from the policy step by step.
    disc_time_in_obs: bool = True

    def __post_init__(self):
        require_types(self)
        for name in ("n_disc_updates", "demo_batch_size", "disc_buffer_size"):
            if getattr(self, name) is not None:
                require_range(name, getattr(self, name), 1)
        if not FLOAT32_MIN <= self.disc_learning_rate <= FLOAT32_MAX:
            expected = "a positive, finite number within float32's range"
            raise_invalid("disc_learning_rate", self.disc_learning_rate, expected)
        for name in ("disc_net_arch", "potential_net_arch"):
            widths = getattr(self, name) or ()
            if not all(1 <= width <= MAX_LAYER_WIDTH for width in widths):
                raise_invalid(name, widths, f"layer widths from 1 to {MAX_LAYER_WIDTH}")

    def updates(self, kind: Literal["gail", "airl"]) -> int:
        """Returns the gradient steps of the discriminator in an iteration."""
        defaults = {"documented": {"gail": 4, "airl": 4}, "tuned": {"gail": 8, "airl": 16}}
        return self.n_disc_updates or defaults[self.disc_settings][kind]

    def normalizes_output(self, kind: Literal["gail", "airl"]) -> bool:
        """Returns whether rewards are normalised."""
        if self.disc_normalize_output is None:
            return self.disc_settings == "tuned" and kind == "airl"
        return self.disc_normalize_output


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
