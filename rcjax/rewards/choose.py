"""The source of the reward that a config names."""

from rcjax.config import TrainConfig
from rcjax.envs.mjx_env import MjxEnv
from rcjax.rewards.adversarial import AdversarialReward
from rcjax.rewards.cloning import Cloning
from rcjax.rewards.dense import DenseReward
from rcjax.rewards.source import RewardSource
from rcjax.rewards.video import VideoReward


def make_source(config: TrainConfig, env: MjxEnv) -> RewardSource:
    """Returns the source of the reward that policies in this environment learn from."""
    if config.reward == "video":
        return VideoReward()
    if config.reward == "dense":
        return DenseReward()
    sizes = {
        "obs_size": policy_obs_size(config, env),
        "action_size": env.num_actions,
        "round_size": config.steps_per_iteration,
        "n_expert": config.expert_episodes * config.video.episode_length,
    }
    if config.reward == "bc":
        return Cloning(config=config.cloning, policy=config.ppo, **sizes)
    return AdversarialReward(
        kind=config.reward,
        config=config.discriminator,
        **sizes,
        drop_time=config.env.time_in_obs and not config.discriminator.disc_time_in_obs,
    )


def policy_obs_size(config: TrainConfig, env: MjxEnv) -> int:
    """Returns how many numbers the policy observes."""
    return env.observation_space().shape[0] + config.env.time_in_obs
