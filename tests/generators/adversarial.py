"""Writes tests/data/adversarial_recorded.npz: two rounds of imitation's GAIL and AIRL on fixed tapes.

Run `python -m tests.generators.adversarial` with the extra `parity` and `imitation` installed (the latter by
`pip install --no-deps imitation==1.0.1`). The tests marked `parity` call `run_imitation` themselves; all other tests
read the file.
"""

import dataclasses
import pathlib

import numpy as np

from tests.generators import ppo as ppo_generator

RECORDED = pathlib.Path(__file__).parents[1] / "data" / "adversarial_recorded.npz"
OBS_SIZE, ACTION_SIZE, N_ENVS, N_STEPS = 5, 3, 4, 12
N_EXPERT_EPISODES, BATCH_SIZE, N_UPDATES = 2, 16, 5
FIELDS = {"obs": "obs", "acts": "action", "next_obs": "next_obs", "dones": "done"}  # imitation's names -> ours


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run: the algorithm, and what is normalised."""

    kind: str
    normalize_input: bool
    normalize_output: bool = False


CASES = {
    "gail": Case("gail", normalize_input=True),
    "gail_raw": Case("gail", normalize_input=False),
    "airl": Case("airl", normalize_input=True),
    "airl_output": Case("airl", normalize_input=True, normalize_output=True),
}


def run_imitation(case: Case) -> dict[str, np.ndarray]:
    """Runs two rounds of rollouts and PPO, with five steps of the discriminator between them.

    Returns arrays under flat names: `before/...` and `after/...` are the reward network around the five steps, and
    `gradient/...` is the gradient of the first; `policy/...` is the policy that they see; `round0/...` and `round1/...`
    [T N ...] are what the policy did and what it was paid; `expert/...` and `generated/...` [steps B ...] are the
    batches, and `metric/...` [steps] the logs.
    """
    import torch

    torch.manual_seed(0)
    trainer, rewards = _make_trainer(case)
    record = _network(trainer, "before")
    record |= _run_round(trainer, rewards, "round0")
    record |= ppo_generator._parameters(trainer.gen_algo, "policy")
    batches = {"expert": [], "generated": []}
    logs = []
    for step in range(N_UPDATES):
        expert = {name: np.asarray(x) for name, x in trainer._next_expert_batch().items() if name in FIELDS}
        sampled = trainer._gen_replay_buffer.sample(BATCH_SIZE)
        generated = {name: np.asarray(getattr(sampled, name)) for name in FIELDS}
        batches["expert"].append(expert)
        batches["generated"].append(generated)
        logs.append(trainer.train_disc(expert_samples=expert, gen_samples=generated))
        if step == 0:
            record |= _network(trainer, "gradient", gradient=True)
    record |= _network(trainer, "after")
    for source, steps in batches.items():
        for theirs, ours in FIELDS.items():
            record[f"{source}/{ours}"] = np.stack([step[theirs] for step in steps]).astype(np.float32)
    for name in ("disc_loss", "disc_acc", "disc_acc_expert", "disc_acc_gen"):
        record[f"metric/{name}"] = np.array([log[name] for log in logs], np.float32)
    return record | _run_round(trainer, rewards, "round1")


def _make_trainer(case: Case):
    """Returns a trainer, and a list to which each step's rewards are appended."""
    from imitation.algorithms.adversarial.airl import AIRL
    from imitation.algorithms.adversarial.gail import GAIL
    from imitation.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet, NormalizedRewardNet
    from imitation.util.networks import RunningNorm
    from stable_baselines3 import PPO

    envs = _tape_envs()
    model = PPO(
        "MlpPolicy", envs, n_steps=N_STEPS, batch_size=N_STEPS * N_ENVS, n_epochs=2, seed=0, device="cpu",
        policy_kwargs={"net_arch": [16, 8]},
    )  # fmt: skip
    kind, algorithm = {"gail": (BasicRewardNet, GAIL), "airl": (BasicShapedRewardNet, AIRL)}[case.kind]
    norm = RunningNorm if case.normalize_input else None
    network = kind(envs.observation_space, envs.action_space, normalize_input_layer=norm)
    if case.normalize_output:
        network = NormalizedRewardNet(network, RunningNorm)
    trainer = algorithm(
        demonstrations=_expert_episodes(), demo_batch_size=BATCH_SIZE, venv=envs, gen_algo=model, reward_net=network
    )
    rewards, reward_fn = [], trainer.venv_wrapped.reward_fn

    def recording(*args, **kwargs):
        reward = reward_fn(*args, **kwargs)
        rewards.append(reward.copy())  # SB3 adds the value of the final observation in place
        return reward

    trainer.venv_wrapped.reward_fn = recording
    return trainer, rewards


def _tape_envs():
    """Returns environments that play a tape of observations in episodes of equal length, and ignore the action."""
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Tape(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS_SIZE,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (ACTION_SIZE,), np.float32)

        def __init__(self, index):
            tape = np.random.default_rng(index)
            self.observations = iter(tape.normal(1.0, 2.0, size=(100, OBS_SIZE)).astype(np.float32))

        def reset(self, *, seed=None, options=None):
            self.step_count = 0
            return next(self.observations), {}

        def step(self, action):
            self.step_count += 1
            return next(self.observations), 0.0, False, self.step_count == N_STEPS, {}

    return DummyVecEnv([lambda i=i: Tape(i) for i in range(N_ENVS)])


def _expert_episodes():
    from imitation.data.types import Trajectory

    rng = np.random.default_rng(9)
    return [
        Trajectory(
            obs=rng.normal(0.5, 1.0, (N_STEPS + 1, OBS_SIZE)).astype(np.float32),
            acts=rng.uniform(-1, 1, (N_STEPS, ACTION_SIZE)).astype(np.float32),
            infos=None,
            terminal=True,
        )
        for _ in range(N_EXPERT_EPISODES)
    ]


def _run_round(trainer, rewards: list, prefix: str) -> dict[str, np.ndarray]:
    """Lets PPO roll out and learn, and returns the transitions [T N ...] and their rewards."""
    rewards.clear()
    trainer.train_gen()
    stored = trainer._gen_replay_buffer._buffer._arrays
    size = N_STEPS * N_ENVS
    # The buffer has one episode of each environment after the other.
    by_time = {
        ours: stored[theirs][:size].reshape(N_ENVS, N_STEPS, *stored[theirs].shape[1:]).swapaxes(0, 1).copy()
        for theirs, ours in FIELDS.items()
    }
    record = {f"{prefix}/{name}": array.astype(np.float32) for name, array in by_time.items()}
    return record | {f"{prefix}/reward": np.stack(rewards).astype(np.float32)}


def _network(trainer, prefix: str, gradient: bool = False) -> dict[str, np.ndarray]:
    """Returns the reward network's arrays under our names, such as base/0/kernel and norms/potential/mean."""
    record = {}
    items = trainer._reward_net.named_parameters() if gradient else trainer._reward_net.state_dict().items()
    for name, tensor in items:
        array = np.asarray((tensor.grad if gradient else tensor).detach()).copy()
        *path, kind = name.split(".")
        network = "potential" if "potential" in name else "base"
        if kind in ("weight", "bias"):
            layer = path[-1].removeprefix("dense")
            record[f"{prefix}/{network}/{layer.strip('_')}/{ {'weight': 'kernel', 'bias': 'bias'}[kind] }"] = array.T
        elif path[-1] == "normalize_output_layer":
            record[f"{prefix}/norms/output/{kind.removeprefix('running_')}"] = array
        else:
            record[f"{prefix}/norms/{network}/{kind.removeprefix('running_')}"] = array
    return record


def main() -> None:
    arrays = {f"{name}/{k}": v for name, case in CASES.items() for k, v in run_imitation(case).items()}
    np.savez_compressed(RECORDED, **arrays)
    print(f"{RECORDED}: {len(arrays)} arrays, {RECORDED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
