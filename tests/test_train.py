"""Runs on disk: what they leave, and that a stopped one continues to the same metrics."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rcjax import config as configs
from rcjax import evaluate, showcase, train
from rcjax.checkpoints import saved_iterations
from rcjax.config import EXPERT, TaskSpec
from rcjax.encoders import BUNDLED, save_encoder
from rcjax.evaluate import evaluate_run
from rcjax.lock import hold_lock
from rcjax.program import NotFinite, Program
from rcjax.storage import RunFolder, read_metrics
from rcjax.taskspec import embed_sentence
from rcjax.video_io import read_video
from rcjax.world import build_world
from tests.conftest import make_program, rows_of, stepped_by
from tests.encoders import tiny

# Nothing that a run leaves or resumes depends on what moves its environments and embeds its videos: a few operations.
# Those marked `real` are run with C MuJoCo, which is compiled in less time than MJX, and S3D as well.
pytestmark = pytest.mark.usefixtures("motion")


def tensorboard_steps(path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(path))
    events.Reload()
    return [scalar.step for scalar in events.Scalars("video_reward")]


@pytest.fixture(scope="module")
def tiny_config(tiny_config):
    return stepped_by("c", tiny_config)


@pytest.fixture(scope="module")
def tiny_world(tiny_config, motion):
    """This module's own, as `motion` moves it; so is the next."""
    return build_world(tiny_config)


@pytest.fixture(scope="module")
def tiny_program(tiny_config, tiny_world, tiny_encoder):
    return make_program(tiny_config, tiny_world, tiny_encoder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_config, motion):
    """An uninterrupted run of four iterations, of which the second and the last are evaluated, once each."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    evaluate, calls = Program.evaluate, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "evaluate", lambda *args: calls.append("evaluation") or evaluate(*args))
        patch.setattr(train, "expert_video", lambda run, _: calls.append(run.path))
        train.start(tiny_config, path, log=lambda _: None)
    assert sorted(map(str, calls)) == sorted([str(path), "evaluation", "evaluation"])
    return path


@pytest.mark.real
def test_a_run_leaves_all_its_files(whole, tiny_config):
    from PIL import Image

    assert configs.from_json((whole / "config.json").read_text()) == tiny_config
    assert [row["iteration"] for row in rows_of(whole)] == [1, 2, 3, 4]
    assert [("eval_success_rate" in row) for row in rows_of(whole)] == [False, True, False, True]
    assert list(whole.glob("events.out.tfevents.*"))
    assert Image.open(whole / "curve.png").size[0] > 1000
    policy, demonstration = read_video(whole / "policy.mp4"), read_video(whole / "demonstration.mp4")
    assert len(policy) == len(demonstration) == tiny_config.video.n_frames
    assert policy.shape[2] > 2 * showcase.SIZE  # side by side
    assert (whole / "encoder").is_dir() and np.load(whole / "target.npy").shape == (1, 512)
    assert not [p for p in whole.parent.iterdir() if p.name.startswith(".")]  # nothing half-made beside it


def test_tensorboard_has_the_metrics(whole):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(whole))
    events.Reload()
    scalars = events.Scalars("video_reward")
    assert [s.step for s in scalars] == [row["env_steps"] for row in rows_of(whole)]
    np.testing.assert_allclose([s.value for s in scalars], [row["video_reward"] for row in rows_of(whole)], rtol=1e-6)


def interrupt_at(iteration: int, number: signal.Signals, monkeypatch) -> list[int]:
    """Makes the process get a signal while this iteration runs. Returns a list with one entry for each that began."""
    original, calls = train.Program.step, []

    def step_and_interrupt(self, state):
        calls.append(1)
        if len(calls) == iteration:
            os.kill(os.getpid(), number)
        return original(self, state)

    monkeypatch.setattr(train.Program, "step", step_and_interrupt)
    return calls


def test_stopped_by_ctrl_c_and_resumed_it_gives_the_same_metrics(whole, tmp_path, tiny_config, monkeypatch, no_videos):
    """Between two checkpoints. Oracle: the uninterrupted run, to the last bit."""
    path = tmp_path / "stopped"
    calls = interrupt_at(3, signal.SIGINT, monkeypatch)
    with pytest.raises(train.Stopped) as stopped:
        train.start(tiny_config, path, log=lambda _: None)
    assert stopped.value.exit_code == 130
    assert [row["iteration"] for row in rows_of(path)] == [1, 2, 3]
    train.resume(path, log=lambda _: None)
    assert rows_of(path) == rows_of(whole)
    assert len(calls) == 4  # nothing was run twice
    assert tensorboard_steps(path) == [row["env_steps"] for row in rows_of(path)]


def test_stopped_during_its_last_iteration_a_run_is_finished_and_the_caller_stops(
    whole, tmp_path, tiny_config, monkeypatch, no_videos
):
    """Otherwise `experiments` would begin the next run."""
    path = tmp_path / "stopped"
    interrupt_at(tiny_config.n_iterations, signal.SIGTERM, monkeypatch)
    with pytest.raises(train.Stopped, match="finished the last of 4 iterations, and stopped by SIGTERM") as stopped:
        train.start(tiny_config, path, log=lambda _: None)
    assert stopped.value.exit_code == 143
    assert rows_of(path) == rows_of(whole)


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_metrics(whole, tmp_path, tiny_config, motion, no_videos):
    """SIGKILL, in a process of its own: nothing can be tidied up. What was done after the last checkpoint is redone."""
    config = dataclasses.replace(tiny_config, total_env_steps=10_000 * tiny_config.steps_per_iteration)
    path = tmp_path / "killed"
    script = (
        f"import sys, pathlib; from rcjax import config, train; from tests import toy; toy.move_by({motion!r});"
        "train.start(config.from_json(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, configs.to_json(config), str(path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 500
        while not (path / "metrics.jsonl").exists() or len(read_metrics(RunFolder.open(path))) < 4:
            assert process.poll() is None, process.stderr.read().decode()[-2000:]
            assert time.monotonic() < deadline, "no fourth iteration in 500 s"
            time.sleep(0.05)
        process.kill()
    saved = saved_iterations(RunFolder.open(path))
    assert saved and saved[-1] >= 2
    # To the end of a run of a few iterations more, instead of ten thousand.
    target = len(read_metrics(RunFolder.open(path))) + 2
    target += target % 2  # so that the last iteration is one that evaluates anyway
    shortened = dataclasses.replace(config, total_env_steps=target * config.steps_per_iteration)
    (path / "config.json").write_text(configs.to_json(shortened))
    train.resume(path, log=lambda _: None)
    resumed = rows_of(path)
    assert [row["iteration"] for row in resumed] == list(range(1, target + 1))
    assert resumed[:4] == rows_of(whole)


@pytest.mark.real
def test_a_finished_run_is_evaluated_to_its_own_numbers(whole):
    """Also while it is being trained: nothing is written."""
    before = files_of(whole)
    with hold_lock(whole / ".lock", "it is being trained", print):
        rows = evaluate_run(RunFolder.open(whole), starts="eval").rows
    assert files_of(whole) == before
    last = rows_of(whole)[-1]
    assert rows == [{name: last[name] for name in rows[0]}]


def test_a_run_is_never_overwritten(whole, tiny_config):
    before = sorted(whole.rglob("*"))
    with pytest.raises(ValueError, match="exists already; continue it with --resume"):
        train.start(tiny_config, whole)
    assert sorted(whole.rglob("*")) == before


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_evaluated(whole, tmp_path):
    """It said null for a random encoder, which is in its folder, and knew no view. Oracle: the run's own numbers."""
    path = Path(shutil.copytree(whole, tmp_path / "old"))
    earlier = json.loads((path / "config.json").read_text())
    assert earlier.pop("encoder") == "random" and earlier["video"].pop("view") is None
    earlier["spec"] = {"text": None, "video": earlier["spec"]["video"][0]}
    (path / "config.json").write_text(json.dumps(earlier | {"encoder": None}))
    np.save(path / "target.npy", np.load(path / "target.npy")[0])
    rows = evaluate_run(RunFolder.open(path), starts="eval").rows
    assert rows == [{name: rows_of(whole)[-1][name] for name in rows[0]}]


def test_a_target_of_another_encoder_is_refused(whole, tmp_path, tiny_world, monkeypatch):
    path = Path(shutil.copytree(whole, tmp_path / "copy"))
    np.save(path / "target.npy", np.ones(10, np.float32))
    for module in (train, evaluate):
        monkeypatch.setattr(module, "build_world", lambda _: tiny_world)
    said = r"has shape \(1, 10\), but the encoder's embeddings have 512 numbers; the run's encoder was exchanged"
    refused(lambda: train.resume(path), path, said)
    refused(lambda: evaluate_run(RunFolder.open(path)), path, said)


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """The folder of the bundled encoder, which is a tiny one."""
    save_encoder(tmp_path / "bundled", tiny.make_encoder())
    monkeypatch.setitem(BUNDLED, "small", tmp_path / "bundled")
    return tmp_path / "bundled"


@pytest.mark.slow
def test_a_run_keeps_a_copy_of_a_bundled_encoder(bundled, tmp_path, tiny_config, no_videos):
    """Another version of the package may bring another one. Oracle: the run's own numbers, and the text tower."""
    sentence, path, said = "robot closing the green xyzzy", tmp_path / "run", []
    short = {"total_env_steps": 2 * tiny_config.steps_per_iteration, "spec": TaskSpec(text=sentence)}
    train.start(dataclasses.replace(tiny_config, encoder="small", **short), path, log=said.append)
    assert said[:2] == [
        train.SMALL_ENCODER_NOTICE,
        f"The encoder does not know 'xyzzy', and reads the sentence '{sentence}' without.",
    ]
    shutil.rmtree(bundled)
    run = RunFolder.open(path)
    assert run.config.encoder == "small" and not run.demonstration_path.exists()
    encoder = run.encoder()
    assert (encoder.network, encoder.tokenizer) == (tiny.NETWORK, tiny.TOKENIZER)
    np.testing.assert_array_equal(run.demonstration()[0], embed_sentence("robot closing the green", encoder))
    rows = evaluate_run(run, starts="eval").rows
    assert rows == [{name: rows_of(path)[-1][name] for name in rows[0]}]
    files = [file for file in (path / "encoder" / "params").rglob("*") if file.is_file()]
    flip_a_byte(max(files, key=lambda file: file.stat().st_size))
    with pytest.raises(ValueError, match=r"encoder is damaged .* was changed"):
        run.encoder()


def flip_a_byte(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_an_encoder_of_a_folder_stays_there(bundled, tmp_path, tiny_config, tiny_world, monkeypatch):
    """It is not copied, and its sentences are read without a notice."""
    monkeypatch.setattr(train, "build_world", lambda _: tiny_world)
    spec, said = TaskSpec(text="robot closing green drawer"), []
    config = dataclasses.replace(tiny_config, encoder=str(bundled), spec=spec)
    run, _, encoder = train.prepare(config, tmp_path / "run", said.append)
    assert said == [] and sorted(file.name for file in run.path.iterdir()) == ["config.json", "target.npy"]
    assert encoder.network == run.encoder().network == tiny.NETWORK
    shutil.rmtree(bundled)
    with pytest.raises(ValueError, match=r"there is no encoder checkpoint at .*bundled"):
        run.encoder()


@pytest.mark.parametrize("preset", ["paper", "release"])
def test_the_presets_of_the_paper_need_an_encoder(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "build_world", lambda _: pytest.fail("work before the refusal"))
    config = dataclasses.replace(configs.preset(preset), spec=TaskSpec(text="robot closing green drawer"))
    refused(lambda: train.start(config, tmp_path / "new"), tmp_path, f"the preset '{preset}' needs the released S3D")


def files_of(path):
    return {file.relative_to(path): file.stat().st_mtime_ns for file in path.rglob("*")}


@pytest.fixture
def copy(whole, tmp_path, monkeypatch):
    """A copy of the run, and no work is done on it."""
    monkeypatch.setattr(train, "build_world", lambda _: pytest.fail("work before the refusal"))
    monkeypatch.setattr(evaluate, "build_world", lambda _: pytest.fail("work before the refusal"))
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def refused(command, path, said):
    before = files_of(path)
    with pytest.raises(ValueError, match=said):
        command()
    assert files_of(path) == before


def test_a_run_that_is_being_trained_is_not_resumed(copy):
    with hold_lock(copy / ".lock", "it is being trained", print):
        refused(lambda: train.resume(copy), copy, f"copy is being trained by process {os.getpid()} on .*; wait for it")


def test_a_run_that_is_being_made_is_not_made_twice(tmp_path, tiny_config):
    with hold_lock(tmp_path / ".new.lock", "it is being made", print):
        refused(lambda: train.start(tiny_config, tmp_path / "new"), tmp_path, "new is being made by process")


def test_damage_is_refused_before_any_work(copy):
    """Where no checkpoint is intact; by `rcjax train --resume` and by `rcjax eval` and `record` alike."""
    run = RunFolder.open(copy)
    for folder in (copy / "checkpoints").iterdir():
        (folder / "default" / "_METADATA").write_bytes(b"")
    refused(lambda: train.resume(copy), copy, r"all checkpoints in .* are damaged \(4: .*2: ")
    refused(lambda: evaluate_run(run), copy, r"all checkpoints in .* are damaged \(4: .*2: ")
    (copy / "metrics.jsonl").write_bytes(b"\xff\n")
    refused(lambda: train.resume(copy), copy, "line 1 of .*metrics.jsonl is damaged")


def test_a_checkpoint_of_another_config_is_refused(copy, tiny_config, tiny_world, monkeypatch):
    other = dataclasses.replace(tiny_config, ppo=dataclasses.replace(tiny_config.ppo, net_arch=(32,)))
    (copy / "config.json").write_text(configs.to_json(other))
    for module in (train, evaluate):
        monkeypatch.setattr(module, "build_world", lambda _: tiny_world)
    refused(lambda: train.resume(copy), copy, "checkpoints/4 does not fit this run's config")
    refused(lambda: evaluate_run(RunFolder.open(copy)), copy, "checkpoints/4 does not fit this run's config")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json"):
        train.resume(tmp_path)


def test_a_reward_that_is_not_finite_stops_the_run_and_a_damaged_checkpoint_is_passed_over(
    whole, tmp_path, tiny_config, monkeypatch
):
    """The state before is saved. Then that is damaged: what is left still leads to the metrics of the whole run."""
    original, path, said = train.Program.step, tmp_path / "stopped", []

    def poisoned(self, state):
        if int(state.iteration) == 3:
            self.inputs = self.inputs.replace(demonstration=self.inputs.demonstration * np.nan)
        return original(self, state)

    with monkeypatch.context() as patch, pytest.raises(train.Stopped) as stopped:
        patch.setattr(train.Program, "step", poisoned)
        train.start(tiny_config, path, log=lambda _: None)
    assert stopped.value.exit_code == 1
    assert str(stopped.value) == ("iteration 4: 4 rewards are not finite; iteration 3, the last good one, is saved.")
    assert saved_iterations(RunFolder.open(path)) == [2, 3]
    assert [row["iteration"] for row in rows_of(path)] == [1, 2, 3]

    (path / "checkpoints" / "3" / "default" / "_METADATA").write_bytes(b"")
    train.resume(path, log=said.append)
    assert "iteration 3" in said[0] and "is damaged" in said[0] and "of iteration 2" in said[0]
    assert saved_iterations(RunFolder.open(path)) == [2, 4]
    assert (path / "checkpoints" / "3.damaged").is_dir()
    assert rows_of(path) == rows_of(whole)
    assert tensorboard_steps(path) == [row["env_steps"] for row in rows_of(path)]


@pytest.mark.slow
def test_without_a_good_iteration_nothing_is_saved(tiny_program):
    row = {"nonfinite_reward": 0.0, "nonfinite_episodes": 0.0, "nonfinite_update": 5.0}
    said = "iteration 1: the update gives .* not finite .*; no iteration was good"
    with pytest.raises(train.Stopped, match=said) as stopped:
        train.stop_at_nonfinite(1, [row], tiny_program.initial_state(), checkpoints=None)
    assert stopped.value.exit_code == 1


def test_an_evaluation_that_is_not_finite_stops_the_run():
    class Failing:
        def evaluate(self, _):
            raise NotFinite("evaluation after iteration 2: 4 episodes are not finite")

    with pytest.raises(train.Stopped, match=r"evaluation after iteration 2: .* earlier checkpoints are kept"):
        train.evaluate(Failing(), None)


def test_work_beside_is_waited_for_and_its_error_raised():
    order = []
    begun = threading.Event()

    def work(name):
        begun.wait(10)
        order.append(name)

    with train.in_background(work, "work"):
        order.append("block")
        begun.set()
    assert order == ["block", "work"]
    with pytest.raises(ValueError, match="of the work"), train.in_background(int, "of the work"):
        pass


def test_no_video_of_the_expert_ends_no_run(tiny_config, tiny_world, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(train, "expert_video", fail)
    said = []
    train.draw_demonstration(RunFolder(tmp_path, tiny_config), tiny_world, said.append)
    assert len(said) == 1 and "disk full" in said[0]


def test_videos_to_watch_show_the_arms_inside_and_the_encoders_frames_do_not(tiny_config, tiny_world):
    assert tiny_world.scene.static.cull
    assert not showcase.watchable_scene(tiny_world.env, tiny_config.video).static.cull


def test_the_experts_video_is_written_once(tiny_config, tiny_world, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(showcase, "watchable_scene", lambda *_: None)
    monkeypatch.setattr(
        showcase, "expert_clip", lambda *_: drawn.append(1) or np.full((2, 16, 16, 3), 100 * len(drawn), np.uint8)
    )
    for spec in (TaskSpec(video=EXPERT), TaskSpec(text="a robot")):
        run = RunFolder(tmp_path / str(len(drawn)), dataclasses.replace(tiny_config, spec=spec, encoder="elsewhere"))
        for _ in range(2):
            showcase.expert_video(run, tiny_world)
    assert drawn == [1]
    assert abs(read_video(tmp_path / "0" / "demonstration.mp4").mean() - 100) < 5
