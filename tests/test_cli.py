"""The command line: invalid input gives one line and exit code 2, and writes nothing."""

import errno
import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rcjax import cli
from rcjax.config import TrainConfig


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_work(monkeypatch):
    """Fails a test in which input is refused only after an environment is built."""
    from rcjax import evaluate, showcase, train

    def fail(*_, **__):
        raise AssertionError("work has started")

    for module, name in ((train, "build_world"), (evaluate, "build_world"), (showcase, "make_env")):
        monkeypatch.setattr(module, name, fail)


DISTRIBUTED = ("--distributed", "--processes", "2", "--coordinator")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--video", "no-such-file.mp4"], "no-such-file.mp4"),
        (["train", "--video", "{broken}"], "broken.gif"),
        (["train", "--task", "drawer-clsoe"], "'drawer-close'"),
        (["train", "--text", "robot closing green drawer"], "--encoder"),
        (["train", "--text", "a", "--video", "expert"], "exactly one"),
        (["train", "--size", "65"], "does not fit S3D"),
        (["train", "--micro-batch", "7"], "does not divide seeds x n_envs"),
        (["train", "--preset", "papre"], "did you mean 'paper'"),
        (["train", "--encoder", "nowhere"], "nowhere"),
        (["train", "--n-envs", "many"], "--n-envs"),
        (["train", "--no-such-option", "1"], "--no-such-option"),
        (["train", "--resume", "runs/none"], "is not a run"),
        (["train", "--resume", "runs/none", "--seed", "3"], "--resume does not go with --seed"),
        (["train", "--processes", "2"], "need --distributed"),
        (["train", "--devices", "9000"], "--devices 9000: there are"),
        (["eval", "runs/none"], "is not a run"),
        (["record", "--out", "film.avi9"], "film.avi9"),
        (["record", "--task", "nonsense", "--out", "film.gif"], "nonsense"),
        (["reward", "--video", "{good}", "--text", "x", "--encoder", "nowhere"], "nowhere"),
        ([], "train"),
        (["train", "--train-seed", "-1"], "train_seed=-1; it must be at least 0"),
        (["train", "--eval-seed", "-5"], "eval_seed=-5"),
        (["train", "--seed", "-1"], "seed=-1"),
        (["train", "--seed", "2147483647", "--seeds", "2"], "seed=2147483647; it must be at most 2147483646"),
        (["train", "--bank-size", "1000000000"], "bank_size=1000000000; it must be at most"),
        (["train", "--n-envs", "1000000000"], "is more than 2^31"),
        (["train", "--pixel-scale", "nan"], "pixel_scale=nan"),
        (["train", "--pixel-scale", "inf"], "pixel_scale=inf"),
        (["train", "--learning-rate", "inf"], "learning_rate=inf"),
        (["train", "--frame-stride", "0"], "frame_stride=0"),
        (["train", "--runs", "{broken}"], "Not a directory; choose another --runs or --name"),
        (["train", "--runs", "{broken}/below"], "Not a directory"),
        (["train", "--runs", "/proc/none"], "/proc/none cannot be written"),
        (["train", "--runs", "r" * 300], "choose a shorter name"),
        (["train", "--runs", ""], "an argument is empty"),
        (["train", "--name", "n" * 300], "more than 200 bytes"),
        (["train", "--name", "é" * 101], "more than 200 bytes"),
        (["train", "--name", "a/b"], "cannot be the name of a folder"),
        (["train", "--name", ".."], "cannot be the name of a folder"),
        (["train", "--name="], "an argument is empty"),
        (["train", "--name", "a\nb"], "cannot be the name of a folder"),
        (["train", "--name", "a\0b"], "cannot be printed"),
        (["train", "--name", "a\udcff"], "cannot be printed"),
        (["train", "--devices", "0"], "--devices 0: there are"),
        (["train", "--devices", "-1"], "--devices -1: there are"),
        (["train", "--video", "{pipe}"], "not a regular file"),
        (["train", "--video", "{endless}"], "not a regular file"),
        (["train", "--video", "{pipes}"], "not a regular file"),
        (["train", "--video", "v" * 300 + ".gif"], "File name too long"),
        (["train", "--text", "?!"], "at least one word"),
        (["train", "--text", "\0"], "cannot be printed"),
        (["train", "--encoder", "e\0"], "cannot be printed"),
        (["train", "--encoder", "e" * 300], "File name too long"),
        (["train", "--resume", "{broken}"], "is not a run"),
        (["train", "--resume", "r" * 300], "File name too long"),
        (["train", "--resume", "r", "--goal_hidden"], "--resume does not go with --goal-hidden"),
        (["train", "--task", "drawer-close-v3-goal-observable", "--goal-hidden"], "contradict each other"),
        (["train", "--task", "drawer-close-v9"], "of version 9"),
        (["train", "--distributed", "--coordinator", "here"], "belong together"),
        (["train", *DISTRIBUTED, "here", "--process-id", "0"], "HOST:PORT"),
        (["train", *DISTRIBUTED, "here:99999", "--process-id", "0"], "a port from 1 to 65535"),
        (["train", *DISTRIBUTED, "localhost:1234", "--process-id", "2"], "--process-id 2 of --processes 2"),
        (["eval", "e" * 300], "File name too long"),
        (["eval", ""], "an argument is empty"),
        (["eval", "e\0"], "cannot be printed"),
        (["record", "--out", "{pipe}"], "not a regular file, so it cannot be replaced"),
        (["record", "--out", "{broken}/film.gif"], "Not a directory"),
        (["record", "--out", "/proc/film.gif"], "choose another --out"),
        (["record", "--out", "f" * 300 + ".gif"], "choose a shorter name"),
        (["record", "--out", "film.gif", "--episode-length", "0"], "episode_length=0"),
        (["record", "--out", "film.gif", "--episode-length", "100000000"], "more than 2^31 numbers"),
        (["reward", "--video", "{good}", "--text", "x", "--encoder", "e", "--frames", "-2"], "episode_length=-2"),
        (["reward", "--video", "{good}", "--text", "x", "--encoder", "e", "--size", "0"], "size=0"),
    ],
)
def test_invalid_input_gives_one_line_and_writes_nothing(
    in_empty_folder, no_work, tiny_video, capsys, arguments, message
):
    broken = in_empty_folder / "broken.gif"
    broken.write_bytes(b"GIF89a and no more")
    pipe, endless, pipes = (in_empty_folder / name for name in ("pipe.gif", "endless.gif", "pipes"))
    pipes.mkdir()
    os.mkfifo(pipe)
    os.mkfifo(pipes / "frame.png")
    endless.symlink_to("/dev/zero")
    before = sorted(in_empty_folder.rglob("*"))
    places = {"broken": broken, "good": tiny_video, "pipe": pipe, "endless": endless, "pipes": pipes}
    code, out, err = run(capsys, *(a.format(**places) for a in arguments))
    assert code == 2
    assert message in err and err.startswith("rcjax: error: ")
    assert len(err.strip().splitlines()) == 1
    assert out == "" or "randomly initialised" in out
    assert sorted(in_empty_folder.rglob("*")) == before


@pytest.mark.parametrize("option", ["--renderer", "--backend"])
def test_warp_is_refused_before_any_work_if_it_is_missing(in_empty_folder, no_work, monkeypatch, capsys, option):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "warp" else find(name, *more))
    code, out, err = run(capsys, "train", option, "warp")
    assert code == 2 and not out
    assert err.startswith("rcjax: error: ") and "pip install 'rcjax[warp]'" in err
    assert len(err.strip().splitlines()) == 1
    assert not list(in_empty_folder.rglob("*"))


@pytest.mark.parametrize("arguments", [["train", "--n-envs", "many"], ["train", "--size", "65"], ["eval"]])
def test_errors_on_a_terminal_have_no_colours_or_borders(monkeypatch, arguments):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(ValueError, match=r"^(Error parsing --n-envs|a clip of|Missing from rcjax eval)") as refused:
        cli.parse(arguments)
    assert str(refused.value).isprintable() and "│" not in str(refused.value)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("command", ["train", "eval", "reward", "record"])
def test_help_says_what_a_command_does(command, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([command, "--help"])
    assert not exit.value.code
    out = capsys.readouterr().out
    first_words = {
        "train": "Learn a task",
        "eval": "Evaluate a run",
        "reward": "similarity",
        "record": "Record one",
    }
    assert first_words[command] in out


def parse_train(*arguments: str) -> TrainConfig:
    command = cli.parse(["train", *arguments])
    assert isinstance(command, cli.Train)
    return cli.training_config(command)


def test_options_override_the_preset():
    config = parse_train("--preset", "release", "--size", "64", "--learning-rate", "0.001", "--seed", "7")
    assert config.preset == "release"
    assert (config.video.size, config.ppo.learning_rate, config.seed) == (64, 0.001, 7)
    assert config.video.mirror and config.env.frozen_resets  # other options are those of the preset
    assert config.spec.video == "expert"


@pytest.mark.parametrize(
    ("arguments", "hidden"),
    [
        ((), True),
        (("--no-goal-hidden",), False),
        (("--task", "drawer-close-v3-goal-observable"), False),
        (("--task=drawer_close-v2-Goal-Observable", "--no-goal-hidden"), False),
        (("--task", "drawer-close-v3-goal-hidden"), True),
    ],
)
def test_a_tasks_suffix_shows_the_goal(arguments, hidden):
    config = parse_train(*arguments)
    assert config.env.goal_hidden is hidden
    assert config.env.task == "drawer-close"


def test_a_coordinator_that_does_not_answer_is_refused(monkeypatch, capsys):
    """JAX would abort the process after five minutes."""
    from rcjax import devices

    monkeypatch.setattr(devices, "COORDINATOR_TIMEOUT_S", -1)
    code, _, err = run(capsys, "train", *DISTRIBUTED, "localhost:1", "--process-id", "1")
    assert (code, err) == (2, AnyLineWith("nothing answered there"))


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "here"),
            2,
            "error: here: No space left on device; make room",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "here"), 2, "error: here: Permission denied"),
        (MemoryError(), 2, "error: there is not enough memory"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"),
            2,
            "Out of memory; lower --micro-batch",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_system_errors_give_one_line(monkeypatch, capsys, error, code, message):
    monkeypatch.setattr(cli, "run_command", failing(error))
    assert run(capsys, "eval", "x")[::2] == (code, AnyLineWith(message))


@pytest.mark.parametrize(
    "error", [TypeError("a mistake"), KeyError("a mistake"), jax.errors.JaxRuntimeError("INTERNAL")]
)
def test_programming_errors_keep_their_traceback(monkeypatch, error):
    monkeypatch.setattr(cli, "run_command", failing(error))
    with pytest.raises(type(error)):
        cli.main(["eval", "x"])


def failing(error):
    def fail(*_):
        raise error

    return fail


class AnyLineWith(str):
    def __eq__(self, line):
        return line.startswith("rcjax: ") and str(self) in line and line.count("\n") == 1

    __hash__ = str.__hash__


class Closed(io.StringIO):
    """The writing end of a pipe whose reading end is closed."""

    def flush(self):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_closed_pipe_ends_quietly(monkeypatch, capsys):
    monkeypatch.setattr(cli, "run_command", lambda _: 0)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert cli.main(["eval", "x"]) == 141
    assert capsys.readouterr().err == ""


def test_a_full_standard_error_does_not_change_the_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True))
    assert cli.main(["eval", "x", "y"]) == 2


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [("JAX_ENABLE_X64", "maybe", "JAX_ENABLE_X64"), ("JAX_PLATFORMS", "cuda,nonsense", "JAX can use no device")],
)
def test_a_variable_that_jax_rejects_gives_one_line(variable, value, message):
    command = [sys.executable, "-m", "rcjax.cli", "train"]
    folder = Path(cli.__file__).parents[1]
    done = subprocess.run(command, cwd=folder, env=os.environ | {variable: value}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_text_and_video_name_the_demonstration():
    text = parse_train("--text", "robot closing green drawer")
    assert (text.spec.text, text.spec.video) == ("robot closing green drawer", None)
    video = parse_train("--video", "human.gif")
    assert video.spec.text is None
    assert video.spec.video == str(Path("human.gif").absolute())


def test_reward_of_a_video_with_itself_is_its_squared_norm(tiny_encoder, tiny_video, tmp_path, capsys):
    """The oracle is the sum of the squared embedding."""
    from rcjax.config import VideoConfig
    from rcjax.s3d import save_encoder
    from rcjax.taskspec import embed_clip
    from rcjax.video_io import read_clip

    save_encoder(tmp_path / "encoder", tiny_encoder)
    code, out, _ = run(
        capsys, "reward", "--video", tiny_video, "--demonstration", tiny_video, "--encoder", tmp_path / "encoder",
        "--size", 32, "--frames", 8,
    )  # fmt: skip
    assert code == 0
    video = VideoConfig(size=32, episode_length=8, frame_stride=1)
    embedding = np.asarray(embed_clip(read_clip(tiny_video, 8, 32), tiny_encoder, video))
    assert float(out) == pytest.approx(float(embedding @ embedding), rel=1e-4)


@pytest.mark.parametrize(
    ("layer", "part", "value", "what"),
    [
        ("fc", "bias", 1e25, "the similarity of the two embeddings"),
        ("conv1", "kernel", 3e38, "the demonstration's embedding"),
    ],
)
def test_reward_that_is_not_finite_is_an_error(layer, part, value, what, tiny_video, monkeypatch, capsys):
    """The weights are finite, but the product or the embedding itself overflows."""
    from rcjax.s3d import Encoder, params_from_torch
    from tests.s3d import synthetic

    video = params_from_torch(synthetic.random_state())["video"]
    video[layer][part] = np.full_like(video[layer][part], value)
    encoder = Encoder(params={"video": video}, vocabulary=None, provenance="huge")
    monkeypatch.setattr("rcjax.s3d.load_encoder", lambda _: encoder)
    code, out, err = run(
        capsys, "reward", "--video", tiny_video, "--demonstration", tiny_video, "--encoder", "x",
        "--size", 32, "--frames", 8,
    )  # fmt: skip
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"{what} by the encoder (huge) is not finite" in err


def test_a_sentence_needs_a_vocabulary(tiny_encoder, tiny_video, tmp_path, capsys):
    from rcjax.s3d import save_encoder

    save_encoder(tmp_path / "encoder", tiny_encoder)
    code, _, err = run(
        capsys, "reward", "--video", tiny_video, "--text", "close the drawer", "--encoder", tmp_path / "encoder",
        "--size", 32, "--frames", 8,
    )  # fmt: skip
    assert code == 2
    assert "no vocabulary" in err
