"""RoboCLIP in JAX: a sentence or a video defines the reward, and PPO learns from it, all in one jitted program.

Source: "RoboCLIP: One Demonstration is Enough to Learn Robot Policies", NeurIPS 2023, arXiv:2310.07899.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rcjax.similarity import reward_of

__all__ = ["__version__", "reward_of"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports `reward_of` at its first use, because it brings JAX with it."""
    if name == "reward_of":
        from rcjax.similarity import reward_of

        return reward_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
