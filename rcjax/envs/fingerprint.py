"""Digests by which what an environment has given is found again in the cache."""

import hashlib
import json
from importlib.metadata import version

import jax
import numpy as np

from rcjax import __version__
from rcjax.envs.mjx_env import EnvParams, MjxEnv


def fingerprint(env: MjxEnv, params: EnvParams, *more: int | str) -> str:
    """Returns a digest of everything that episodes from the bank of `params` depend on, and of `more`."""
    versions = [__version__] + [version(name) for name in ("mujoco", "mujoco-mjx", env.package)]
    bank = [hashlib.sha256(np.asarray(x).tobytes()).hexdigest() for x in jax.tree.leaves(params.bank)]
    text = json.dumps([env.name, env.variant, env.backend, env.mj_model.ngeom, list(more), versions, bank])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
