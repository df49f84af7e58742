"""Runs on several devices and processes. The oracle is the same run on one device.

The devices are virtual devices of the CPU, so the runs are made in other processes. They have real physics and an S3D
with few channels, or, where what moves and what embeds does not matter, toys. All runs are marked slow.
"""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from rcjax import config as configs
from rcjax.calibration import untrained_clips
from rcjax.devices import max_usable_devices, mesh_shape
from rcjax.encoders import random_encoder, save_encoder
from rcjax.rewards.config import DiscriminatorConfig
from rcjax.world import build_world
from tests.conftest import QUICK_XLA_FLAGS, stepped_by
from tests.encoders import tiny

NARROW = dataclasses.replace(tiny.ARCHITECTURE, embedding_norm=None)

# Physics, S3D and the update sum float32 numbers in another order, in four iterations of sixteen steps.
CLOSE = {"rtol": 2e-3, "atol": 2e-3}
COMPARED = ("video_reward", "video_reward_max", "true_return", "success_rate", "std")
# The video reward jumps where rounding moves an edge over the centre of a pixel: one pixel of 32x32 changes it by
# percents. On one device too, a change of 3e-8 in the parameters does that. With S3D of full width, the rewards of two
# ways of sharing differed by 3.2 % at most, and physics and policy by less than 2e-3.
CLOSE_VIDEO = {"rtol": 1e-1, "atol": 2e-3}
# The metrics of evaluations that only physics and the policy decide.
EVALUATED = ("eval_true_return", "eval_success_rate")
# Two updates at a learning rate of 1e-3 amplify the rounding, and the policy's mean then acts for a whole episode. The
# returns of the two seeds are 0 and 1.5.
CLOSE_EVALUATED = {"rtol": 3e-2, "atol": 3e-2}


@pytest.mark.parametrize(
    ("seeds", "n_envs", "n_devices", "shape"),
    [(1, 64, 8, (1, 8)), (16, 64, 8, (8, 1)), (2, 64, 8, (2, 4)), (6, 8, 4, (2, 2)), (3, 5, 1, (1, 1))],
)
def test_seeds_are_distributed_first(seeds, n_envs, n_devices, shape):
    assert mesh_shape(seeds, n_envs, n_devices) == shape


def test_work_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match=r"8 devices cannot share 1 seed\(s\) of n_envs=4 .* use --devices 4"):
        mesh_shape(1, 4, 8)
    assert max_usable_devices(3, 4, 8) == 6  # three seeds, each on two devices
    assert max_usable_devices(1, 7, 8) == 7


@pytest.fixture(scope="module")
def sweep(tiny_config, tmp_path_factory):
    """Two seeds, so that eight devices form a mesh of two by four. C MuJoCo is compiled in less time than MJX."""
    config, encoder = stepped_by("c", tiny_config), tmp_path_factory.mktemp("encoder") / "narrow"
    clips = untrained_clips(build_world(config), config.video, jax.random.key(0))
    save_encoder(encoder, random_encoder(jax.random.key(1), clips, architecture=NARROW))
    return dataclasses.replace(
        config, encoder=str(encoder), seeds=2, micro_batch=None, eval_every=2, checkpoint_every=2
    )


def environment(n_devices: int) -> dict[str, str]:
    """Always compiles quickly: how work is shared does not depend on how well a program is optimised."""
    return os.environ | {
        "XLA_FLAGS": QUICK_XLA_FLAGS, "JAX_NUM_CPU_DEVICES": str(n_devices), "JAX_PLATFORMS": "cpu",
    }  # fmt: skip


@pytest.fixture(scope="module")
def runs(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    (folder / "config.json").write_text(configs.to_json(sweep))
    run_on_eight("real", folder, "one", "eight_two")
    return folder


def run_on_eight(motion, folder, *runs):
    command = [sys.executable, "-m", "tests.devices_runs", motion, str(folder / "config.json"), str(folder), *runs]
    done = subprocess.run(command, env=environment(8), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]


def curves(path):
    """Returns an array [rows] for each metric; rows are ordered by iteration and seed."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["iteration"], row["seed"]) for row in rows] == [(i, s) for i in (1, 2, 3, 4) for s in (0, 1)]
    evaluated = [row for row in rows if "eval_true_return" in row]
    assert [row["iteration"] for row in evaluated] == [2, 2, 4, 4]
    trained = {name: np.array([row[name] for row in rows]) for name in COMPARED}
    return trained | {name: np.array([row[name] for row in evaluated]) for name in EVALUATED}


def tolerance(name):
    if name in EVALUATED:
        return CLOSE_EVALUATED
    return CLOSE_VIDEO if name.startswith("video_reward") else CLOSE


def assert_same_curves(path, reference):
    for name, values in curves(reference).items():
        np.testing.assert_allclose(curves(path)[name], values, **tolerance(name), err_msg=name)


@pytest.mark.slow
def test_other_devices_give_the_same_curve(runs):
    """The run is stopped on eight devices and resumed on two."""
    assert_same_curves(runs / "eight_two", runs / "one")


@pytest.mark.slow
def test_other_devices_give_the_same_curve_with_mjx(sweep, tmp_path):
    (tmp_path / "config.json").write_text(configs.to_json(stepped_by("jax", sweep)))
    run_on_eight("real", tmp_path, "one", "eight")
    assert_same_curves(tmp_path / "eight", tmp_path / "one")


@pytest.mark.slow
def test_seeds_differ_and_equal_single_runs(runs):
    """Each seed of a sweep gives the same metrics as a run of this seed alone."""
    swept = curves(runs / "one")
    assert abs(swept["video_reward"][0] - swept["video_reward"][1]) > 1e-4
    run_on_eight("real", runs, "alone")
    rows = [json.loads(line) for line in (runs / "alone" / "metrics.jsonl").read_text().splitlines()]
    for name in COMPARED:
        close = tolerance(name)
        np.testing.assert_allclose([row[name] for row in rows], swept[name][1::2], **close, err_msg=name)


@pytest.mark.slow
def test_the_kitchen_is_shared_stopped_and_resumed_as_well(sweep, tmp_path):
    """On eight devices, and then on two. Oracle: the same run on one device."""
    pytest.importorskip("gymnasium_robotics")
    kitchen = dataclasses.replace(sweep, env=dataclasses.replace(sweep.env, task="kitchen-slide"))
    (tmp_path / "config.json").write_text(configs.to_json(kitchen))
    run_on_eight("real", tmp_path, "one", "eight_two")
    assert_same_curves(tmp_path / "eight_two", tmp_path / "one")


@pytest.mark.slow
def test_two_processes_give_the_same_curve(runs, sweep, tmp_path):
    """Uses two real processes of two devices each, over the loopback. Only the first one writes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "tests.devices_process", "real", "train", "--runs", str(tmp_path), "--name", "two",
        *options_of(sweep),
        "--distributed", "--coordinator", f"localhost:{port}", "--processes", "2", "--process-id",
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            [*command, str(i)], env=environment(2), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "Written to" in outputs[0] and "Written to" not in outputs[1]
    assert "on 4 cpu devices" in outputs[0]
    assert_same_curves(tmp_path / "two", runs / "one")
    assert (tmp_path / "two" / "policy.mp4").exists()


@pytest.mark.slow
def test_discriminators_and_finetuned_policies_are_shared_too(sweep, tmp_path):
    """AIRL with all that its state can have, and policies that begin as its own and are finetuned on the dense reward.

    Both are stopped on eight devices and resumed on two, with toys. Oracle: the same runs on one device.
    """
    discriminator = DiscriminatorConfig(disc_settings="tuned")
    airl = dataclasses.replace(sweep, reward="airl", discriminator=discriminator)
    finetuned = configs.finetuning(airl, str(tmp_path / "airl" / "one"), "sound")
    finetuned = dataclasses.replace(finetuned, reward="dense")
    compared = {"airl": ("airl_reward", "disc_loss", "true_return"), "dense": ("dense_reward", "critic_grad_norm")}
    for config in (airl, finetuned):
        folder = tmp_path / config.reward
        folder.mkdir()
        (folder / "config.json").write_text(configs.to_json(config))
        run_on_eight("toy", folder, "one", "eight_two")
        one, shared = (
            [json.loads(line) for line in (folder / run / "metrics.jsonl").read_text().splitlines()]
            for run in ("one", "eight_two")
        )
        assert [row["iteration"] for row in one] == [row["iteration"] for row in shared]
        trained = [(a, b) for a, b in zip(one, shared, strict=True) if a["iteration"] > 0]
        for name in compared[config.reward]:
            a, b = np.array([[a[name], b[name]] for a, b in trained]).T
            np.testing.assert_allclose(b, a, **CLOSE, err_msg=name)


def options_of(config: configs.TrainConfig) -> list[str]:
    video, ppo = config.video, config.ppo
    named = {
        "video": config.spec.video[0], "seeds": config.seeds, "n-envs": config.n_envs, "size": video.size,
        "total-env-steps": config.total_env_steps, "eval-every": config.eval_every, "bank-size": config.env.bank_size,
        "checkpoint-every": config.checkpoint_every, "episode-length": video.episode_length,
        "frame-stride": video.frame_stride, "n-epochs": ppo.n_epochs, "batch-size": ppo.batch_size,
        "learning-rate": ppo.learning_rate, "gamma": ppo.gamma, "gae-lambda": ppo.gae_lambda,
        "encoder": config.encoder, "encoder-seed": config.encoder_seed,
    }  # fmt: skip
    return [word for name, value in named.items() for word in (f"--{name}", str(value))]
