"""GAIL on a point mass, to its end: the policy comes near the expert. Oracle: imitation's GAIL on the same task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.ppo import PPOConfig, init_state, make_batch, update
from rcjax.rewards.adversarial import AdversarialReward
from rcjax.rewards.config import DiscriminatorConfig
from rcjax.rewards.source import SeenEpisodes
from rcjax.rewards.transitions import flatten
from rcjax.rollout import Episodes
from rcjax.types import GeomPoses, Transitions
from tests.point_mass import ACTION_SIZE, OBS_SIZE, STRIDE, T, draw_goals, expert_action, observe, run_episodes

N, ROUNDS, EXPERTS = 64, 60, 32
PPO = PPOConfig(n_epochs=8, batch_size=128, learning_rate=3e-3)
DISCRIMINATOR = DiscriminatorConfig(n_disc_updates=8)
SEEDS = 3
LAST = 5  # rounds whose episodes are judged


def expert_transitions() -> Transitions:
    """The expert's transitions [T N], which ends every episode at the goal."""
    goal = draw_goals(jax.random.key(1), EXPERTS)

    def step(position, t):
        obs, action = observe(position, goal, t), expert_action(position, goal)
        position = position + STRIDE * action
        return position, (obs, action, observe(position, goal, t + 1))

    _, (obs, action, next_obs) = jax.lax.scan(step, jnp.zeros((EXPERTS, 2)), jnp.arange(T))
    return Transitions(obs=obs, action=action, next_obs=next_obs, done=jnp.zeros((T, EXPERTS)).at[-1].set(1.0))


def gail() -> AdversarialReward:
    return AdversarialReward(
        kind="gail", config=DISCRIMINATOR, obs_size=OBS_SIZE, action_size=ACTION_SIZE, round_size=T * N,
        n_expert=T * EXPERTS, drop_time=False,
    )  # fmt: skip


def learn(key) -> jax.Array:
    """Returns the mean distance from the goal at the end of each round's episodes, in metres."""
    source, demonstration = gail(), flatten(expert_transitions())
    key_policy, key_source, key_rounds = jax.random.split(key, 3)

    def one_round(carry, key):
        policy, state = carry
        key_episode, key_policy, key_source = jax.random.split(key, 3)
        rollout, final_obs, _, distance = run_episodes(policy.params, key_episode, N)
        unused = jnp.zeros((N,), jnp.int32)
        episodes = Episodes(
            rollout=rollout, final_obs=final_obs, poses=GeomPoses(pos=unused, mat=unused), true_reward=rollout.value,
            success=unused == 1, first_success=unused, diverged=unused,
        )  # fmt: skip
        state, reward = source.reward(state, SeenEpisodes(episodes=episodes, embedding=None), demonstration)
        policy, _ = update(policy, make_batch(rollout, reward, PPO), key_policy, PPO)
        state, _ = source.update(state, episodes, policy.params, demonstration, key_source)
        return (policy, state), distance.mean()

    start = init_state(key_policy, OBS_SIZE, ACTION_SIZE, PPO), source.init_state(key_source)
    return jax.lax.scan(one_round, start, jax.random.split(key_rounds, ROUNDS))[1]


@pytest.fixture(scope="module")
def curves():
    """The distances [seed, round] of our GAIL."""
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return np.asarray(jax.jit(jax.vmap(learn))(keys))


def test_every_seed_comes_near_the_expert(curves):
    """The expert ends at the goal, to rounding, and an untrained policy 0.95 m from it. 0.093 to 0.102 m measured."""
    assert np.all(curves[:, :LAST].mean(1) > 0.7)
    assert np.all(curves[:, -LAST:].mean(1) < 0.14), curves[:, -LAST:].mean(1)


@pytest.mark.parity
def test_as_near_as_with_imitation(curves, tmp_path, monkeypatch):
    """imitation: 0.108 and 0.110 m measured with the seeds 0 and 1. Both first halve the distance by the same round."""
    pytest.importorskip("imitation")
    monkeypatch.chdir(tmp_path)  # it may write logs into the current folder
    theirs, ours = learn_with_imitation(seed=0), curves.mean(0)
    assert theirs[-LAST:].mean() == pytest.approx(ours[-LAST:].mean(), rel=0.35)
    halved = [int(np.argmax(curve < 0.5 * curve[:LAST].mean())) for curve in (ours, theirs)]
    assert halved[0] == pytest.approx(halved[1], abs=10)


def learn_with_imitation(seed: int) -> np.ndarray:
    """Returns the same of imitation's GAIL and Stable-Baselines3's PPO, with the same settings."""
    import gymnasium
    import torch
    from imitation.algorithms.adversarial.gail import GAIL
    from imitation.data.types import Trajectory
    from imitation.rewards.reward_nets import BasicRewardNet
    from imitation.util.networks import RunningNorm
    from stable_baselines3 import PPO as Theirs
    from stable_baselines3.common.vec_env import DummyVecEnv

    distances: list[float] = []

    class PointMass(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS_SIZE,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (ACTION_SIZE,), np.float32)

        def __init__(self, index):
            self.random = np.random.default_rng((seed, index))

        def _observe(self):
            return np.concatenate([self.position, self.goal, [self.time / T]]).astype(np.float32)

        def reset(self, *, seed=None, options=None):
            self.position, self.goal, self.time = np.zeros(2), self.random.uniform(-1, 1, 2), 0
            return self._observe(), {}

        def step(self, action):
            self.position, self.time = self.position + STRIDE * np.clip(action, -1, 1), self.time + 1
            if self.time == T:
                distances.append(float(np.linalg.norm(self.position - self.goal)))
            return self._observe(), 0.0, self.time == T, False, {}

    envs = DummyVecEnv([lambda i=i: PointMass(i) for i in range(N)])
    model = Theirs(
        "MlpPolicy", envs, n_steps=T, batch_size=PPO.batch_size, n_epochs=PPO.n_epochs,
        learning_rate=PPO.learning_rate, seed=seed, device="cpu",
    )  # fmt: skip
    expert = jax.tree.map(np.asarray, expert_transitions())
    demonstrations = [
        Trajectory(
            obs=np.concatenate([expert.obs[:, i], expert.next_obs[-1:, i]]), acts=expert.action[:, i], infos=None,
            terminal=True,
        )
        for i in range(EXPERTS)
    ]  # fmt: skip
    network = BasicRewardNet(envs.observation_space, envs.action_space, normalize_input_layer=RunningNorm)
    trainer = GAIL(
        demonstrations=demonstrations, demo_batch_size=gail().batch_size, venv=envs, gen_algo=model,
        reward_net=network, n_disc_updates_per_round=DISCRIMINATOR.updates("gail"),
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more take ten times as long for networks of this size
    try:
        trainer.train(total_timesteps=T * N * ROUNDS)
    finally:
        torch.set_num_threads(threads)
    return np.array(distances[: N * ROUNDS]).reshape(ROUNDS, N).mean(1)
