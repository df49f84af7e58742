"""Run by test_sharding.py in a process with two virtual devices: one iteration on one device and on both."""

import dataclasses
import functools
import json

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.stages import random_inputs
from rcjax.config import EnvConfig, VideoConfig, demo
from rcjax.loop import initial_state, iterate, train_mode
from rcjax.world import build_world


def main() -> None:
    config = dataclasses.replace(
        demo(),
        n_envs=4,
        micro_batch=1,
        env=EnvConfig(bank_size=8),
        video=VideoConfig(episode_length=16, frame_stride=2, size=32),
        ppo=dataclasses.replace(demo().ppo, n_epochs=1, batch_size=64),
    )
    world = build_world(config)
    arguments = (initial_state(config, world.env), random_inputs(config, world), train_mode(config))
    rows = {}
    for n_devices in (1, 2):
        mesh = Mesh(np.array(jax.devices()[:n_devices]), ("env",))
        step = jax.jit(functools.partial(iterate, env=world.env, config=config, mesh=mesh if n_devices > 1 else None))
        replicated = jax.device_put(arguments, NamedSharding(mesh, PartitionSpec()))
        state, metrics, judged = step(*replicated)
        rows[n_devices] = {
            "devices": len(judged.video_reward.sharding.device_set),
            "video_reward": np.asarray(judged.video_reward).tolist(),
            "log_std": np.asarray(state.ppo.params["log_std"]).tolist(),
            "true_return": float(metrics["true_return"]),
        }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
