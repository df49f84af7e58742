"""PPO whose hyperparameters mean what they mean in Stable-Baselines3.

The functions are pure, take a `PPOState` and a `Rollout`, do not depend on any environment, and are not jitted::

    state = init_state(key_init, obs_size, action_size, config)
    mean, log_std, value = policy_value(state.params, obs)
    action = sample_action(key_action, mean, log_std)
    ...
    state, metrics = update(state, make_batch(rollout, reward, config), key_shuffle, config)
"""

from rcjax.ppo.advantages import gae
from rcjax.ppo.batch import Batch, make_batch
from rcjax.ppo.config import PPOConfig
from rcjax.ppo.losses import explained_variance, ppo_loss
from rcjax.ppo.networks import ActorCritic, entropy, init_params, log_prob, policy_value, sample_action
from rcjax.ppo.update import PPOState, clip_gradients, init_state, optimizer, shuffle, update, update_in_order

__all__ = [
    "ActorCritic",
    "Batch",
    "PPOConfig",
    "PPOState",
    "clip_gradients",
    "entropy",
    "explained_variance",
    "gae",
    "init_params",
    "init_state",
    "log_prob",
    "make_batch",
    "optimizer",
    "policy_value",
    "ppo_loss",
    "sample_action",
    "shuffle",
    "update",
    "update_in_order",
]
