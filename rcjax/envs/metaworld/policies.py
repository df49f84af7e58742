"""Metaworld's own scripted policies."""

import warnings

import numpy as np

from rcjax.envs.mjx_env import Policy


def expert_policy(task: str) -> Policy:
    """Returns Metaworld's scripted policy for `task`, applied to each observation of a batch."""
    from metaworld.policies import ENV_POLICY_MAP

    policy = ENV_POLICY_MAP[f"{task}-v3"]()

    def act(obs: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the policies warn about actions larger than 1
            return np.stack([policy.get_action(row.copy()) for row in obs])  # some policies write into their argument

    return act
