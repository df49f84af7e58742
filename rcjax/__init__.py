"""RoboCLIP in JAX: a sentence or a video defines the reward, and PPO learns from it, all in one jitted program.

Source: "RoboCLIP: One Demonstration is Enough to Learn Robot Policies", NeurIPS 2023, arXiv:2310.07899.
"""

__version__ = "0.1.0"
