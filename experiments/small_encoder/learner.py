"""Policies that learn from the encoder's reward: their episodes show what pleases it without being the task."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.small_encoder.dataset import VIDEO, Clips, TaskWorld
from rcjax import ppo
from rcjax.config import demo
from rcjax.encoders import Encoder
from rcjax.rewards.video import episode_reward
from rcjax.rollout import policy_obs
from rcjax.similarity import embed_clips
from rcjax.taskspec import embed_sentence
from rcjax.types import Rollout

CONFIG = demo()
BEST, RANDOM = 4, 4  # episodes that are kept of each iteration: those of the highest reward, and any
KEPT = BEST + RANDOM


class LearningPolicy:
    """A policy that samples its actions, and remembers what PPO needs. It acts for one episode.

    `hidden` are the observations that it does not see: they are zeros for it.
    """

    def __init__(self, params: Any, key: Array, hidden: slice):
        self.params, self.key, self.hidden = params, key, hidden
        self.steps: list[dict[str, np.ndarray]] = []

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        seen = obs.astype(np.float32)
        seen[:, self.hidden] = 0
        step = _act(self.params, jax.random.fold_in(self.key, len(self.steps)), seen, len(self.steps))
        self.steps.append(jax.device_get(step))
        return self.steps[-1]["action"]

    def rollout(self) -> Rollout:
        """Returns the episode's transitions. The value after the last step is taken to be that before it."""
        stacked = {name: jnp.asarray(np.stack([step[name] for step in self.steps])) for name in self.steps[0]}
        terminated = jnp.zeros(stacked["value"].shape, bool)
        return Rollout(**stacked, terminated=terminated, final_value=stacked["value"][-1])


@jax.jit
def _act(params: Any, key: Array, obs: Array, time: Array) -> dict[str, Array]:
    seen = policy_obs(obs, time, CONFIG.env, VIDEO)
    mean, log_std, value = ppo.policy_value(params, seen)
    action = ppo.sample_action(key, mean, log_std)
    return {"obs": seen, "action": action, "log_prob": ppo.log_prob(action, mean, log_std), "value": value}


@jax.jit
def _update(state: ppo.PPOState, rollout: Rollout, similarity: Array, key: Array) -> ppo.PPOState:
    reward = episode_reward(similarity, VIDEO.episode_length)
    return ppo.update(state, ppo.make_batch(rollout, reward, CONFIG.ppo), key, CONFIG.ppo)[0]


def learn(world: TaskWorld, encoder: Encoder, sentence: str, iterations: int, seed: int) -> tuple[Clips, list[str]]:
    """Trains a policy by PPO with the similarity of its episodes and a sentence as the only reward.

    Returns a few episodes of every iteration with their true outcome, and a line of numbers for each iteration. The
    policy starts from the world's bank, has the demo preset's hyperparameters, and is stepped by C MuJoCo.
    """
    target = embed_sentence(sentence, encoder)
    key = jax.random.key(seed)
    env = world.env
    n_obs = env.observation_space(world.params).shape[0] + CONFIG.env.time_in_obs
    state = ppo.init_state(jax.random.fold_in(key, 0), n_obs, env.num_actions, CONFIG.ppo)
    random = np.random.default_rng(seed)
    kept, lines = [], []
    for iteration in range(1, iterations + 1):
        key_act, key_update = jax.random.split(jax.random.fold_in(key, iteration))
        policy = LearningPolicy(state.params, key_act, world.family.HIDDEN)
        run = world.run(policy, random.integers(0, world.params.bank_size, CONFIG.n_envs), VIDEO.episode_length)
        frames = world.draw(run.poses)
        similarity = embed_clips(frames, encoder, VIDEO, batch=CONFIG.n_envs) @ target
        state = _update(state, policy.rollout(), similarity, key_update)
        episodes = world.with_outcome(frames, run, np.full(len(frames), "learned"))
        kept.append(episodes.take(_chosen(np.asarray(similarity), random)))
        lines.append(
            f"iteration {iteration}: reward {similarity.mean():.2f}, highest {similarity.max():.2f}, success "
            f"{episodes.success.mean():.2f}, progress {episodes.progress.mean():.2f}"
        )
    return Clips.concatenate(kept), lines


def _chosen(similarity: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns the episodes to keep: those of the highest reward, and some of the others at random."""
    order = np.argsort(-similarity)
    return np.concatenate([order[:BEST], random.choice(order[BEST:], RANDOM, replace=False)])
