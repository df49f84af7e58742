"""Writes tests/data/ppo_recorded.npz: the results of Stable-Baselines3 for the same rollouts and batches.

Run `python -m tests.generators.ppo` with the extra `parity` installed. The tests marked `parity` call `run_sb3`
themselves; all other tests read the file, and need neither torch nor Stable-Baselines3.
"""

import dataclasses
import math
import pathlib

import numpy as np

from rcjax.ppo import PPOConfig

RECORDED = pathlib.Path(__file__).parents[1] / "data" / "ppo_recorded.npz"
OBS_SIZE, ACTION_SIZE, N_ENVS, N_STEPS = 5, 3, 4, 12
TERMINATED = {1: (4,), 2: (7, 11)}  # steps at which an environment terminates; 11 is also the time limit

CASES = {
    "one_step": PPOConfig(n_epochs=1, batch_size=48, ent_coef=0.5, max_grad_norm=math.inf, net_arch=(16, 8)),
    "epochs": PPOConfig(
        n_epochs=3, batch_size=20, learning_rate=1e-2, ent_coef=0.01, net_arch=(16, 8), log_std_init=-0.5
    ),
    "early_stop": PPOConfig(
        n_epochs=4,
        batch_size=12,
        learning_rate=3e-2,
        clip_range_vf=0.2,
        normalize_advantage=False,
        target_kl=0.12,
        gamma=0.9,
        gae_lambda=0.8,
        net_arch=(16, 8),
    ),
}

_NAMES = {  # names of parameters in rcjax -> in Stable-Baselines3
    "actor/hidden_0": "mlp_extractor.policy_net.0",
    "actor/hidden_1": "mlp_extractor.policy_net.2",
    "actor/out": "action_net",
    "critic/hidden_0": "mlp_extractor.value_net.0",
    "critic/hidden_1": "mlp_extractor.value_net.2",
    "critic/out": "value_net",
}


def run_sb3(config: PPOConfig) -> dict[str, np.ndarray]:
    """Collects a rollout with SB3, perturbs its policy, and runs `PPO.train`. Returns all arrays under flat names.

    `rollout/...` [T N ...] is what an agent sees, with the rewards of the environment. `buffer/...` are SB3's own
    advantages and returns. `before/...`, `gradient/...` and `after/...` are parameter trees, where the gradient is that
    of the first step, after clipping. `order` [epochs B] are the shuffles that were drawn, and `metric/...` are the
    logs.
    """
    import torch
    from stable_baselines3.common.callbacks import ConvertCallback

    envs = _tape_envs()
    model = _make_model(config, envs)
    model._setup_learn(total_timesteps=N_ENVS * N_STEPS)
    callback = ConvertCallback(lambda *_: True)
    callback.init_callback(model)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=N_STEPS)
    record = _record_rollout(model, envs.envs)

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # makes ratios differ from 1, and some of them clipped
        for parameter in model.policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    record |= _parameters(model, "before")
    first_gradient, order = _train(model)
    record |= first_gradient | _parameters(model, "after")
    record["order"] = order
    logs = model.logger.name_to_value
    record |= {f"metric/{k.removeprefix('train/')}": np.float32(v) for k, v in logs.items() if "train/" in k}
    return record


def _tape_envs():
    """Returns environments that play a fixed tape of observations and rewards and ignore the action."""
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Tape(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS_SIZE,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (ACTION_SIZE,), np.float32)

        def __init__(self, index):
            tape = np.random.default_rng(index)
            self.observations = tape.normal(size=(2 * N_STEPS, OBS_SIZE)).astype(np.float32)
            self.rewards = tape.normal(size=N_STEPS).astype(np.float32)
            self.terminates_at = TERMINATED.get(index, ())
            self.step_count = self.read = 0

        def reset(self, *, seed=None, options=None):
            return self._next_observation(), {}

        def step(self, action):
            t = self.step_count
            self.step_count += 1
            self.last_observation = self._next_observation()
            return self.last_observation, self.rewards[t], t in self.terminates_at, t == N_STEPS - 1, {}

        def _next_observation(self):
            self.read += 1
            return self.observations[self.read - 1]

    return DummyVecEnv([lambda i=i: Tape(i) for i in range(N_ENVS)])


def _make_model(config: PPOConfig, envs):
    from stable_baselines3 import PPO

    arguments = dataclasses.asdict(config)
    for ours in ("scale_rewards", "clip_separately", "critic_warmup"):
        arguments.pop(ours)
    policy = {
        "net_arch": list(arguments.pop("net_arch")),
        "log_std_init": arguments.pop("log_std_init"),
        "optimizer_kwargs": {"eps": arguments.pop("adam_eps")},
    }
    return PPO("MlpPolicy", envs, n_steps=N_STEPS, policy_kwargs=policy, seed=0, device="cpu", **arguments)


def _record_rollout(model, tapes) -> dict[str, np.ndarray]:
    import torch

    buffer = model.rollout_buffer
    terminated = np.zeros((N_STEPS, N_ENVS), bool)
    for env, steps in TERMINATED.items():
        terminated[list(steps), env] = True
    last = torch.as_tensor(np.stack([tape.last_observation for tape in tapes]))
    with torch.no_grad():
        final_value = model.policy.predict_values(last).numpy()[:, 0]
    rollout = {
        "obs": buffer.observations,
        "action": buffer.actions,
        "log_prob": buffer.log_probs,
        "value": buffer.values,
        "terminated": terminated,
        "final_value": final_value,
        "reward": np.stack([tape.rewards for tape in tapes], axis=1),
    }
    record = {f"rollout/{name}": array.copy() for name, array in rollout.items()}
    record["buffer/advantage"] = buffer.advantages.copy()
    record["buffer/returns"] = buffer.returns.copy()
    return record


def _train(model) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Runs `PPO.train`, and returns the gradient of its first step and the permutations that it drew."""
    orders, gradients = [], []
    step, permutation = model.policy.optimizer.step, np.random.permutation

    def recording_step(*args, **kwargs):
        gradients.append(_parameters(model, "gradient", gradient=True))
        return step(*args, **kwargs)

    def recording_permutation(n):
        orders.append(permutation(n))
        return orders[-1]

    model.policy.optimizer.step, np.random.permutation = recording_step, recording_permutation
    try:
        model.train()
    finally:
        np.random.permutation = permutation
    unused = [np.arange(orders[0].size)] * (model.n_epochs - len(orders))  # epochs that an early stop left out
    return gradients[0] | {"gradient_steps": np.int32(len(gradients))}, np.stack(orders + unused)


def _parameters(model, prefix: str, gradient: bool = False) -> dict[str, np.ndarray]:
    tree = {}
    for name, parameter in model.policy.named_parameters():
        array = (parameter.grad if gradient else parameter).detach().numpy().copy()
        module, _, kind = name.rpartition(".")
        if name == "log_std":
            tree[f"{prefix}/log_std"] = array
            continue
        ours = next(key for key, theirs in _NAMES.items() if theirs == module)
        tree[f"{prefix}/{ours}/" + ("bias" if kind == "bias" else "kernel")] = array.T
    return tree


def main() -> None:
    arrays = {f"{case}/{k}": v for case, config in CASES.items() for k, v in run_sb3(config).items()}
    RECORDED.parent.mkdir(exist_ok=True)
    np.savez_compressed(RECORDED, **arrays)
    for case in CASES:
        print(case, {k.rpartition("/")[2]: float(v) for k, v in arrays.items() if v.ndim == 0 and case in k})
    print(f"{RECORDED}: {len(arrays)} arrays, {RECORDED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
