"""Checkpoints on disk. The oracle is the state that was saved; copies of its files are damaged."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.checkpoints import (
    Checkpoints,
    checkpoints_path,
    load_newest_intact,
    require_matching_state,
    restore_state,
    saved_iterations,
    set_aside,
)
from rcjax.config import TrainConfig
from rcjax.loop import TrainState
from rcjax.ppo import PPOState
from rcjax.selection import nothing_selected
from rcjax.storage import RunFolder


def state_of(iteration, width=16):
    """Returns a state of two seeds, with numbers that the state of no other iteration has."""
    rng = np.random.default_rng(iteration)
    params = {
        "kernel": jnp.asarray(rng.normal(size=(2, 40, width)), jnp.float32),
        "log_std": jnp.full((2, 4), iteration),
    }
    ppo = PPOState(params=params, opt_state=(jnp.zeros(2, jnp.int32), params))
    return TrainState(
        ppo=ppo, reward=None, selected=jax.vmap(nothing_selected)(params),
        key=jax.random.split(jax.random.key(iteration), 2), iteration=jnp.int32(iteration),
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with the checkpoints of iterations 2 and 4."""
    run = RunFolder(tmp_path_factory.mktemp("saved") / "run", TrainConfig())
    with Checkpoints(run) as checkpoints:
        for iteration in (0, 2, 4):  # the oldest of three is not kept
            checkpoints.save(iteration, state_of(iteration))
    assert saved_iterations(run) == [2, 4]
    return run


@pytest.fixture
def run(saved, tmp_path):
    shutil.copytree(saved.path, tmp_path / "run")
    return RunFolder(tmp_path / "run", saved.config)


def files_of(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "commit_success.txt")


def assert_falls_back(run, message):
    notices = []
    iteration, arrays = load_newest_intact(run, notices.append)
    assert iteration == 2
    chex.assert_trees_all_equal(restore_state(arrays, state_of(9)), state_of(2))
    assert len(notices) == 1 and message in notices[0] and "continuing from the older one of iteration 2" in notices[0]


def test_the_newest_checkpoint_is_restored_bit_for_bit(run):
    notices = []
    iteration, arrays = load_newest_intact(run, notices.append)
    assert (iteration, notices) == (4, [])
    require_matching_state(run, iteration, arrays, jax.eval_shape(lambda: state_of(9)))
    chex.assert_trees_all_equal(restore_state(arrays, state_of(9)), state_of(4))


def test_a_checkpoint_of_an_earlier_version_has_selected_nothing(run):
    """It has no selected policies. Those of the new state stay."""
    _, arrays = load_newest_intact(run, print)
    earlier = {name: array for name, array in arrays.items() if not name.startswith(".selected")}
    require_matching_state(run, 4, earlier, jax.eval_shape(lambda: state_of(9)))
    restored = restore_state(earlier, state_of(9))
    chex.assert_trees_all_equal(restored.selected, state_of(9).selected)
    chex.assert_trees_all_equal(restored.replace(selected=None), state_of(4).replace(selected=None))


def test_a_run_without_checkpoints_has_no_newest(tmp_path):
    assert load_newest_intact(RunFolder(tmp_path, TrainConfig()), print) is None


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_byte(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "harmless"),
    [(truncate, ""), (empty, ""), (flip_a_byte, "_CHECKPOINT_METADATA"), (Path.unlink, "digests.json")],
)
def test_any_damaged_file_is_noticed(run, saved, damage, harmless):
    """Damages every file of a checkpoint in turn. Orbax itself notices no flipped byte in the files of the arrays.

    `harmless` is a file whose damage does no harm: Orbax's names and times, whose letters are not read, or digests,
    which old checkpoints do not have.
    """
    step = checkpoints_path(run) / "4"
    names = [file.relative_to(step) for file in files_of(step) if file.name != harmless]
    assert len(names) > 5
    for name in names:
        damage(step / name)
        assert_falls_back(run, "damaged")
        shutil.copyfile(checkpoints_path(saved) / "4" / name, step / name)
    assert load_newest_intact(run, print)[0] == 4


def test_missing_files_are_noticed(run):
    step = checkpoints_path(run) / "4"
    shutil.rmtree(step / "default")
    assert_falls_back(run, "default/_METADATA is missing")
    shutil.rmtree(step)
    step.mkdir()
    assert_falls_back(run, "_CHECKPOINT_METADATA is missing")


def test_without_digests_a_truncated_array_is_noticed(run):
    """Runs of the first versions have no digests."""
    step = checkpoints_path(run) / "4"
    (step / "digests.json").unlink()
    assert load_newest_intact(run, print)[0] == 4
    largest = max(files_of(step), key=lambda file: file.stat().st_size)
    truncate(largest)
    assert load_newest_intact(run, lambda _: None)[0] == 2


def test_stray_folders_are_not_taken_for_newer_checkpoints(run):
    path = checkpoints_path(run)
    shutil.copytree(path / "4", path / "7")  # a copy under another number
    (path / "9").mkdir()
    (path / "11").write_text("a file")
    for name in ("x", "-3", "0012", "4.damaged", "5.orbax-checkpoint-tmp"):
        (path / name).mkdir()
    notices = []
    assert load_newest_intact(run, notices.append)[0] == 4
    assert len(notices) == 2 and "holds iteration 4" in notices[1]


def test_if_all_checkpoints_are_damaged_each_reason_is_given(run):
    (checkpoints_path(run) / "2" / "_CHECKPOINT_METADATA").write_text("{")
    shutil.rmtree(checkpoints_path(run) / "4" / "default")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(ValueError, match=r"all checkpoints in .* are damaged \(4: .* is missing, 2: .* cannot be read"):
        load_newest_intact(run, print)
    assert sorted(run.path.rglob("*")) == before


def test_a_checkpoint_set_aside_can_be_saved_again_and_intact_ones_are_kept(run):
    truncate(checkpoints_path(run) / "4" / "default" / "_METADATA")
    set_aside(run, 2)
    with Checkpoints(run) as checkpoints:
        checkpoints.save(4, state_of(4))
    assert saved_iterations(run) == [2, 4]
    assert (checkpoints_path(run) / "4.damaged").is_dir()
    chex.assert_trees_all_equal(restore_state(load_newest_intact(run, print)[1], state_of(9)), state_of(4))
    set_aside(run, 2)
    assert (checkpoints_path(run) / "4.damaged-2").is_dir() and saved_iterations(run) == [2]


def test_an_intact_checkpoint_of_another_config_is_refused(run):
    iteration, arrays = load_newest_intact(run, print)
    wider = jax.eval_shape(lambda: state_of(4, width=32))
    with pytest.raises(ValueError, match=r"does not fit this run's config \(.*, expected float32\[.*32.*\]\)"):
        require_matching_state(run, iteration, arrays, wider)


def test_a_checkpoint_that_vanishes_while_it_is_read_is_looked_up_again(run, monkeypatch):
    """A run in training keeps only two checkpoints, so a listed one may be gone when it is read."""
    from rcjax import checkpoints as module

    read, gone = module.read_checkpoint, []

    def replaced(folder):
        if not gone:
            gone.append(folder)
            for name in ("2", "4"):
                shutil.rmtree(folder.with_name(name))
            with Checkpoints(run) as checkpoints:
                checkpoints.save(6, state_of(6))
        return read(folder)

    monkeypatch.setattr(module, "read_checkpoint", replaced)
    notices = []
    assert load_newest_intact(run, notices.append)[0] == 6 and notices == []
    np.testing.assert_array_equal(load_newest_intact(run, print)[1][".iteration"], 6)


@pytest.mark.slow
def test_two_processes_save_and_restore_together(tmp_path):
    """Uses two real processes over the loopback. If the first one raises an error, the second does not wait for it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.checkpoints_processes", str(tmp_path), str(port)]
    processes = [
        subprocess.Popen(
            [*command, str(i)], env=os.environ | {"JAX_PLATFORMS": "cpu"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all("refused" in output for output in outputs), outputs
    assert (tmp_path / "checkpoints" / "3" / "digests.json").exists()
