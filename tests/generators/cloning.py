"""Writes tests/data/cloning_recorded.npz: the loss of imitation's behaviour cloning, and its gradient.

Run `python -m tests.generators.cloning` with the extra `parity` and `imitation` installed, as for
`tests.generators.adversarial`.
"""

import pathlib

import numpy as np

from tests.generators import ppo as ppo_generator
from tests.generators.adversarial import ACTION_SIZE, OBS_SIZE

RECORDED = pathlib.Path(__file__).parents[1] / "data" / "cloning_recorded.npz"
BATCH_SIZE, ENT_WEIGHT, L2_WEIGHT = 16, 0.3, 0.2


def run_imitation() -> dict[str, np.ndarray]:
    """Returns arrays under flat names: `policy/...` and its `gradient/...`, `obs`, `action` [B ...], and metrics."""
    import gymnasium
    import torch
    from imitation.algorithms.bc import BehaviorCloningLossCalculator
    from stable_baselines3 import PPO

    class Spaces(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS_SIZE,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (ACTION_SIZE,), np.float32)

        def reset(self, **_):
            return np.zeros(OBS_SIZE, np.float32), {}

    model = PPO("MlpPolicy", Spaces(), seed=0, device="cpu", policy_kwargs={"net_arch": [16, 8], "log_std_init": -0.3})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    rng = np.random.default_rng(2)
    obs = rng.normal(size=(BATCH_SIZE, OBS_SIZE)).astype(np.float32)
    action = rng.uniform(-1, 1, (BATCH_SIZE, ACTION_SIZE)).astype(np.float32)
    metrics = BehaviorCloningLossCalculator(ENT_WEIGHT, L2_WEIGHT)(model.policy, obs, action)
    metrics.loss.backward()
    record = ppo_generator._parameters(model, "policy") | _gradients(model)
    values = {"log_prob": -metrics.neglogp, "entropy": metrics.entropy}
    return record | {"obs": obs, "action": action} | {name: np.float32(x.detach()) for name, x in values.items()}


def _gradients(model) -> dict[str, np.ndarray]:
    """Returns the gradients of the actor; the critic's are those of the squared norm alone."""
    for name, parameter in model.policy.named_parameters():
        assert parameter.grad is not None, name
    return ppo_generator._parameters(model, "gradient", gradient=True)


def main() -> None:
    arrays = run_imitation()
    np.savez_compressed(RECORDED, **arrays)
    print(f"{RECORDED}: {len(arrays)} arrays, {RECORDED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
