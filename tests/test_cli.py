"""The command line: invalid input gives one line and exit code 2, and writes nothing."""

import dataclasses
import errno
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rcjax import cli
from rcjax.config import EXPERT, EnvConfig, TaskSpec, TrainConfig, to_json
from tests.encoders import tiny


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


RANDOM = ("--encoder", "random")  # needs no weights
DISTRIBUTED = ("--distributed", "--processes", "2", "--coordinator")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", *RANDOM, "--video", "no-such-file.mp4"], "no-such-file.mp4"),
        (["train", *RANDOM, "--video", "{broken}"], "broken.gif"),
        (["train", "--task", "drawer-clsoe"], "'drawer-close'"),
        (["train", *RANDOM, "--text", "robot closing green drawer"], "no vocabulary, so it cannot read 'robot closing"),
        (["train", *RANDOM, "--text", "robot closing green drawer"], "give --encoder small or converted weights"),
        (["train", "--preset", "paper"], "'paper' needs the released S3D weights: download and convert them"),
        (["train", "--preset", "release", "--video", "expert"], "with --encoder; or give --encoder small"),
        (["train", "--preset=paper", "--text", "robot closing green drawer"], "or --encoder random"),
        (["train", "--minus-text", "a"], "give at least one sentence or video to look like"),
        (["train", *RANDOM, "--video", "expert", "--minus-text", "red"], "cannot read 'red'"),
        (["train", *RANDOM, "--size", "65"], "does not fit S3D"),
        (["train", *RANDOM, "--frame-stride", "128"], "a clip of 1 frames of 64x64 does not fit S3D"),
        (["train", "--view", "481"], "view=481; it must be at most 480"),
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
        (["train", *RANDOM, "--video", "{pipe}"], "not a regular file"),
        (["train", *RANDOM, "--video", "{endless}"], "not a regular file"),
        (["train", *RANDOM, "--video", "{pipes}"], "not a regular file"),
        (["train", *RANDOM, "--video", "v" * 300 + ".gif"], "File name too long"),
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
        (["reward", "--video", "{good}", "--text", "x", "--frames", "-2"], "--frames=-2; it must be at least 1"),
        (["reward", "--video", "{good}", "--text", "x", "--size", "0"], "--size=0; it must be at least 1"),
        (["reward", "--video", "{good}"], "nothing to compare the video with"),
        (["reward", "--text", "x"], "--video"),
        (["reward", "--video", "{good}", "--text", "?!"], "at least one word"),
        (["reward", "--video", "{good}", "--text", "x", "--text", "\0"], "cannot be printed"),
        (["reward", "--video", "{good}", "--text", "x", "--encoder", "random"], "random cannot judge videos"),
        (["reward", "--video", "{good}", "--demonstration", "expert"], "rcjax record --out expert.mp4"),
        (["reward", "--video", "{good}", "--text", "x", "--curve", "c.svg"], "ends in .png for a picture, or in .gif"),
        (["reward", "--video", "{good}", "--text", "x", "--curve", "c"], "ends in ''; give a name that ends in .png"),
        (["reward", "--video", "{good}", "--text", "x", "--curve", "{broken}/c.png"], "choose another --curve"),
        (["reward", "--video", "{good}", "--text", "x", "--curve", "/proc/c.png"], "choose another --curve"),
        (["reward", "--video", "{good}", "--text", "x", "--curve", "{pipe}"], "--curve {pipe} is not a regular file"),
        (["reward", "--video", "{good}", "--text", "x", "--curve", "{good}"], "would replace a video"),
        (["reward", "--video", "x.gif", "--demonstration", "{broken}", "--curve", "{broken}"], "would replace a video"),
        (["reward", "--video", "{pipes}", "--text", "x", "--curve", "{pipes}/c.png"], "or a frame of it"),
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
    assert message.format(**places) in err and err.startswith("rcjax: error: ")
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


@pytest.mark.parametrize("arguments", [["train", "--n-envs", "many"], ["train", "--frame-stride", "5"], ["eval"]])
def test_errors_on_a_terminal_have_no_colours_or_borders(monkeypatch, arguments):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(
        ValueError, match=r"^(Error parsing --n-envs|episode_length=128|Missing from rcjax eval)"
    ) as refused:
        cli.parse(arguments)
    assert str(refused.value).isprintable() and "│" not in str(refused.value)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("command", ["train", "eval", "reward", "align", "record"])
def test_help_says_what_a_command_does(command, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([command, "--help"])
    assert not exit.value.code
    out = capsys.readouterr().out
    first_words = {
        "train": "Learn a task",
        "eval": "Evaluate a run",
        "reward": "similarity",
        "align": "Compare episodes",
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
    assert not parse_train("--preset", "release", "--task", "kitchen-slide").video.mirror
    assert parse_train("--preset", "release", "--task=kitchen-slide", "--mirror").video.mirror


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
    assert text.spec == TaskSpec(text="robot closing green drawer")
    video = parse_train("--video", "human.gif")
    assert video.spec == TaskSpec(video=str(Path("human.gif").absolute()))


def test_demonstrations_are_added_and_subtracted():
    """Equation 3 of the paper, and several demonstrations."""
    config = parse_train("--video", "press.mp4", "--minus-text", "red button", "--text", "green drawer")
    press = str(Path("press.mp4").absolute())
    assert config.spec == TaskSpec(video=press, minus_text="red button", text="green drawer")
    several = parse_train("--video", "expert", "--video", "press.mp4", "--combine", "max").spec
    assert several == TaskSpec(video=(EXPERT, press), combine="max")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--minus-text", "red button"), "give at least one sentence or video to look like"),
        (("--text", "a", "--text", "c", "--minus-text", "b", "--combine", "mean"), "only a sum can subtract"),
        (("--combine", "max", "--text", "a"), "--combine max combines several demonstrations"),
        (("--reward", "dense", "--combine", "max"), "--reward dense does not go with --combine"),
        (("--finetune", "sound"), "finetune='sound' and init_which='last' say how"),
        (("--init-which", "best"), "give its run with --init-from"),
        (("--reward", "dense", "--text", "a"), "--reward dense does not go with --text"),
        (("--reward", "gail", "--minus-video", "a.mp4"), "--reward gail does not go with --minus-video"),
        (("--reward", "gail", "--demo-batch-size", "129"), "more than the 128 transitions of expert_episodes=1"),
        (("--reward", "gail", "--disc-normalize-output"), "disc_normalize_output=True with reward=.gail"),
        (("--reward", "gail", "--expert-episodes", "0"), "expert_episodes=0"),
        (("--reward", "bc", "--bc-batch-size", "129"), "more than the 128 transitions of expert_episodes=1"),
        (("--reward", "bc", "--bc-kl-weight", "0.1"), "bc_kl_weight=0.1 keeps a cloned policy near"),
        (("--reward", "airl", "--disc-net-arch", "0"), "disc_net_arch"),
        (("--reward", "airl", "--disc-learning-rate", "nan"), "disc_learning_rate=nan"),
    ],
)
def test_rewards_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_train(*arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "drawer-close-demo-seed0"),
        (("--reward", "airl", "--seeds", "5", "--task", "door_open"), "door-open-demo-airl-seeds0-4"),
    ],
)
def test_a_run_is_named_after_what_it_learns(arguments, name):
    assert cli.default_name(parse_train(*arguments)) == name


@pytest.mark.parametrize(
    ("arguments", "text", "video"),
    [
        ((), "robot closing green drawer", ()),
        (("--encoder", "small"), "robot closing green drawer", ()),
        (("--preset", "paper"), "robot closing green drawer", ()),
        (("--encoder", "small", "--task", "door_close-v2"), "robot closing black box", ()),
        (("--encoder", "weights/s3d"), "robot closing green drawer", ()),
        (RANDOM, (), "expert"),
        (("--preset", "release", *RANDOM), (), "expert"),
        ((*RANDOM, "--text", "open it"), "open it", ()),
        (("--video", "expert"), (), "expert"),
    ],
)
def test_without_a_demonstration_it_is_the_tasks_sentence_or_the_experts_video(arguments, text, video):
    """A random encoder cannot read. The sentences are those of the paper, see `rcjax.envs.TASKS`."""
    config = parse_train(*arguments)
    assert config.spec == TaskSpec(text=text, video=video)


@pytest.mark.parametrize(
    ("arguments", "encoder"),
    [
        ((), "small"),
        (("--preset", "paper"), None),
        (("--preset", "paper", "--encoder", "small"), "small"),
        (RANDOM, "random"),
        (("--encoder", "weights/s3d"), str(Path("weights/s3d").absolute())),
        (("--encoder", "./small"), str(Path("small").absolute())),
        (("--encoder", "Small"), str(Path("Small").absolute())),
    ],
)
def test_an_encoder_is_a_name_or_an_absolute_path(arguments, encoder):
    assert parse_train(*arguments).encoder == encoder


@pytest.fixture
def tiny_is_small(tmp_path_factory, monkeypatch):
    """The bundled encoder is a tiny one, which takes 8 frames of 32x32."""
    from rcjax.encoders import BUNDLED, save_encoder

    path = tmp_path_factory.mktemp("bundled") / "small"
    save_encoder(path, tiny.make_encoder())
    monkeypatch.setitem(BUNDLED, "small", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a clip of 16 frames of 64x64 does not fit this encoder, which was trained on 8 frames of 32x32 alone"),
        (["--size", "32", "--frame-stride", "16", "--pixel-scale", "1"], "pixel_scale=1 does not fit this encoder"),
        (["--size", "32", "--frame-stride", "16", "--text", "grasp it"], "(dropped: 'grasp', 'it')"),
    ],
)
def test_what_a_bundled_encoder_does_not_take_is_refused_before_any_work(
    in_empty_folder, no_work, tiny_is_small, capsys, arguments, message
):
    code, _, err = run(capsys, "train", "--encoder", "small", *arguments)
    assert (code, err) == (2, AnyLineWith(message))
    assert not list(in_empty_folder.rglob("*"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """The folder of a tiny encoder that reads a few words and takes 8 frames of 32x32."""
    return save_tiny(tmp_path_factory.mktemp("judge") / "encoder")


def save_tiny(path, **options):
    from rcjax.encoders import save_encoder

    save_encoder(path, tiny.make_encoder(**options))
    return path


SENTENCES = ("robot closing green drawer", "the drawer")


def test_reward_of_a_video_with_itself_is_its_squared_norm(judge, tiny_video, capsys):
    """The oracle is the sum of the squared embedding; embeddings of this encoder have the length `tiny.NORM`."""
    code, out, err = run(
        capsys, "reward", "--video", tiny_video, "--demonstration", tiny_video, "--encoder", judge
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert float(out) == pytest.approx(tiny.NORM**2, rel=1e-4)
    assert out == f"{float(out):.6g}\n"  # a number and nothing else, for scripts


def test_reward_of_one_sentence_is_the_librarys_number(judge, tiny_video, capsys):
    import rcjax

    code, out, _ = run(capsys, "reward", "--video", tiny_video, "--text", SENTENCES[0], "--encoder", judge)
    assert (code, out) == (0, f"{rcjax.reward_of(tiny_video, SENTENCES[0], judge):.6g}\n")


def test_reward_of_several_demonstrations_is_a_table_with_the_best_first(judge, tiny_video, capsys):
    code, out, err = run(
        capsys, "reward", "--video", tiny_video, "--text", SENTENCES[0], "--demonstration", tiny_video,
        "--text", SENTENCES[1], "--encoder", judge,
    )  # fmt: skip
    assert (code, err) == (0, "")
    header, *rows = [line.split(maxsplit=3) for line in out.splitlines()]
    assert header == ["rank", "similarity", "demonstration"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert rows[0][2:] == ["video", str(tiny_video)]  # nothing is more similar than the same video
    assert sorted(row[3] for row in rows[1:]) == sorted(SENTENCES) and {row[2] for row in rows[1:]} == {"text"}
    numbers = [float(row[1]) for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    for row in rows[1:]:
        _, alone, _ = run(capsys, "reward", "--video", tiny_video, "--text", row[3], "--encoder", judge)
        assert float(alone) == pytest.approx(float(row[1]), rel=1e-5)


@pytest.mark.parametrize(
    "name",
    ["curve.png", pytest.param("curve.gif", marks=pytest.mark.slow), pytest.param("curve.MP4", marks=pytest.mark.slow)],
)
def test_reward_writes_the_curve_and_prints_the_same_number(judge, tiny_video, in_empty_folder, capsys, name):
    arguments = ("reward", "--video", tiny_video, "--text", SENTENCES[0], "--encoder", judge)
    _, plain, _ = run(capsys, *arguments)
    code, out, err = run(capsys, *arguments, "--curve", f"new/{name}")
    assert code == 0 and float(out) == pytest.approx(float(plain), rel=1e-4)
    assert err == f"rcjax: the curve is written to new/{name}\n"
    assert [path.name for path in (in_empty_folder / "new").iterdir()] == [name]


def test_reward_as_json_can_be_read_back(judge, tiny_video, in_empty_folder, capsys):
    arguments = [
        "reward", "--video", tiny_video, "--text", SENTENCES[0], "--text", SENTENCES[1], "--demonstration", tiny_video,
        "--encoder", judge, "--json",
    ]  # fmt: skip
    _, out, err = run(capsys, *arguments)
    assert err == "" and out.count("\n") == 1
    plain = json.loads(out)
    assert (plain["video"], plain["encoder"], plain["clip"]) == (str(tiny_video), "tiny", {"frames": 8, "size": 32})
    found = plain["demonstrations"]
    assert [each["rank"] for each in found] == [1, 2, 3] and "curve" not in plain
    assert {**found[0], "similarity": None} == {"kind": "video", "file": str(tiny_video), "similarity": None, "rank": 1}
    assert {each["text"] for each in found[1:]} == set(SENTENCES) and {each["kind"] for each in found[1:]} == {"text"}

    _, out, _ = run(capsys, *arguments, "--curve", "curve.png")
    drawn = json.loads(out)
    similarities = [each["similarity"] for each in drawn["demonstrations"]]
    assert similarities == pytest.approx([each["similarity"] for each in found], rel=1e-4)
    curve = drawn["curve"]
    assert (curve["unit"], curve["times"][-1], curve["prefix_frames"]) == ("seconds", 2.0, list(range(1, 21)))
    assert [values[-1] for values in curve["values"]] == similarities
    assert {len(values) for values in curve["values"]} == {len(curve["times"])} == {20}


def test_reward_names_words_that_the_encoder_does_not_know(judge, tiny_video, capsys):
    code, out, err = run(
        capsys, "reward", "--video", tiny_video, "--text", "robot xyzzy closing green drawer", "--encoder", judge
    )  # fmt: skip
    assert code == 0 and float(out)
    assert err == AnyLineWith("does not know 'xyzzy'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "{broken}", "--text", "drawer"], "broken.gif cannot be read in full"),
        (["--video", "nowhere.gif", "--text", "drawer"], "nowhere.gif does not exist"),
        (["--video", "{good}", "--text", "drawer", "--demonstration", "{broken}"], "broken.gif cannot be read in full"),
        (["--video", "{good}", "--text", "drawer", "--text", "xyzzy plugh"], "no word of the sentence 'xyzzy plugh'"),
        (["--video", "{good}", "--text", "drawer", "--frames", "16"], "--size 32 and --frames 8"),
        (["--video", "{good}", "--text", "drawer", "--size", "64"], "--size 32 and --frames 8"),
        (["--video", "{good}", "--text", "drawer", "--encoder", "{mute}"], "has no vocabulary, so it cannot read"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--curve", "new/curve.png", "--json"]])
def test_reward_refuses_what_the_encoder_cannot_take_before_any_work(
    judge, tiny_video, in_empty_folder, monkeypatch, capsys, arguments, message, more
):
    def fail(*_, **__):
        raise AssertionError("a clip is embedded")

    monkeypatch.setattr("rcjax.similarity.embed_clips", fail)
    places = {"broken": in_empty_folder / "broken.gif", "good": tiny_video, "mute": in_empty_folder / "mute"}
    places["broken"].write_bytes(b"GIF89a and no more")
    if "{mute}" in arguments:
        save_tiny(places["mute"], tokenizer=None)
    before = sorted(in_empty_folder.rglob("*"))
    given = [a.format(**places) for a in arguments]
    encoder = [] if "--encoder" in given else ["--encoder", judge]
    code, out, err = run(capsys, "reward", *given, *encoder, *more)
    assert (code, out, err) == (2, "", AnyLineWith(message))
    assert err.startswith("rcjax: error: ")
    assert sorted(in_empty_folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("layer", "part", "value", "what"),
    [
        ("fc", "bias", 1e25, "the similarity of the two embeddings"),
        ("conv1", "kernel", 3e38, "the demonstration's embedding"),
    ],
)
def test_reward_that_is_not_finite_is_an_error(layer, part, value, what, tiny_video, monkeypatch, capsys):
    """The weights are finite, but the product or the embedding itself overflows."""
    unscaled = dataclasses.replace(
        tiny.NETWORK, architecture=dataclasses.replace(tiny.ARCHITECTURE, embedding_norm=None)
    )
    encoder = tiny.make_encoder(unscaled)
    leaf = encoder.params["video"][layer][part]
    encoder.params["video"][layer][part] = np.full_like(leaf, value)
    monkeypatch.setattr("rcjax.similarity.load_encoder", lambda _: encoder)
    code, out, err = run(
        capsys, "reward", "--video", tiny_video, "--demonstration", tiny_video, "--encoder", "x"
    )  # fmt: skip
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"{what} by the encoder (tiny) is not finite" in err


@pytest.fixture
def pretrained(tmp_path):
    """A folder with the config of a run on faucet-open with 16 environments."""
    base = TrainConfig(n_envs=16, env=EnvConfig(task="faucet-open"), total_env_steps=128 * 16)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(to_json(base))
    return tmp_path / "old"


def test_finetuning_begins_with_the_options_of_the_run(pretrained):
    config = parse_train("--init-from", str(pretrained), "--reward", "dense", "--n-epochs", "3")
    assert (config.env.task, config.n_envs, config.reward, config.ppo.n_epochs) == ("faucet-open", 16, "dense", 3)
    assert (config.init_from, config.finetune, config.ppo.scale_rewards) == (str(pretrained), "release", False)
    sound = parse_train(f"--init-from={pretrained}", "--finetune", "sound", "--critic-warmup", "4", "--reward", "dense")
    assert (sound.finetune, sound.ppo.scale_rewards, sound.ppo.critic_warmup) == ("sound", True, 4)
    assert parse_train("--init-from", str(pretrained), "--encoder", "small").spec == TaskSpec(video=EXPERT)
    assert cli.default_name(sound) == "faucet-open-paper-dense-fromold-sound-seed0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--init-from", "nowhere"), "nowhere is not a run"),
        (("--init-from", "{old}", "--preset", "demo"), "--init-from does not go with --preset"),
        (("--init-from", "{old}", "--finetune", "soundly"), "finetune"),
        (("--init-from", "{old}", "--init-which", "worst"), "init-which"),
    ],
)
def test_bad_options_of_finetuning_are_refused(pretrained, arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_train(*(argument.format(old=pretrained) for argument in arguments))
