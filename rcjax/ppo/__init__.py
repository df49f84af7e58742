"""PPO whose hyperparameters mean what they mean in Stable-Baselines3.

The functions are pure, take a `PPOState` and a `Rollout`, do not depend on any environment, and are not jitted::

    state = init_state(key_init, obs_size, action_size, config)
    mean, log_std, value = policy_value(state.params, obs)
    action = sample_action(key_action, mean, log_std)
    ...
    state, metrics = learn(state, rollout, reward, key_shuffle, config)
"""

from rcjax.ppo.advantages import gae
from rcjax.ppo.batch import Batch, make_batch
from rcjax.ppo.config import PPOConfig
from rcjax.ppo.losses import explained_variance, ppo_loss
from rcjax.ppo.networks import (
    ActorCritic,
    action_distribution,
    entropy,
    init_params,
    log_prob,
    policy_value,
    sample_action,
)
from rcjax.ppo.reward_scale import ReturnStatistics, scale_rewards
from rcjax.ppo.update import (
    PPOState,
    clip_gradients,
    init_state,
    learn,
    new_state,
    optimizer,
    shuffle,
    update,
    update_in_order,
)

__all__ = [
    "ActorCritic",
    "Batch",
    "PPOConfig",
    "PPOState",
    "ReturnStatistics",
    "action_distribution",
    "clip_gradients",
    "entropy",
    "explained_variance",
    "gae",
    "init_params",
    "init_state",
    "learn",
    "log_prob",
    "make_batch",
    "new_state",
    "optimizer",
    "policy_value",
    "ppo_loss",
    "sample_action",
    "scale_rewards",
    "shuffle",
    "update",
    "update_in_order",
]
