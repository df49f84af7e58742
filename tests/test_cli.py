"""The command line: bad input is one line and exit code 2, with nothing written; good input does what --help says."""

from pathlib import Path

import numpy as np
import pytest

from rcjax import cli


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
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
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(in_empty_folder, tiny_video, capsys, arguments, said):
    broken = in_empty_folder / "broken.gif"
    broken.write_bytes(b"GIF89a and no more")
    before = sorted(in_empty_folder.rglob("*"))
    places = {"{broken}": str(broken), "{good}": str(tiny_video)}
    code, out, err = run(capsys, *(places.get(a, a) for a in arguments))
    assert code == 2
    assert said in err and err.startswith("rcjax: error: ")
    assert len(err.strip().splitlines()) == 1
    assert out == "" or "randomly initialised" in out
    assert sorted(in_empty_folder.rglob("*")) == before


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


def test_options_override_the_preset():
    command = cli.parse(["train", "--preset", "release", "--size", "64", "--learning-rate", "0.001", "--seed", "7"])
    assert isinstance(command, cli.Train)
    config = cli.training_config(command)
    assert config.preset == "release"
    assert (config.video.size, config.ppo.learning_rate, config.seed) == (64, 0.001, 7)
    assert config.video.mirror and config.env.frozen_resets  # the rest is the preset's
    assert config.spec.video == "expert"


def test_text_and_video_name_the_demonstration():
    text = cli.training_config(cli.parse(["train", "--text", "robot closing green drawer"]))  # pyright: ignore
    assert (text.spec.text, text.spec.video) == ("robot closing green drawer", None)
    video = cli.training_config(cli.parse(["train", "--video", "human.gif"]))  # pyright: ignore
    assert video.spec.text is None
    assert video.spec.video == str(Path("human.gif").absolute())


def test_reward_of_a_video_with_itself_is_its_squared_norm(tiny_encoder, tiny_video, tmp_path, capsys):
    """Oracle: the embedding, squared and summed."""
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
    """Of weights that are finite: the product overflows, or the embedding itself."""
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
