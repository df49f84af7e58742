"""Reading a run's folder: damage is reported in one line that names the file."""

import json

import numpy as np
import pytest

from rcjax.config import TrainConfig, to_json
from rcjax.files import digests
from rcjax.storage import MetricsWriter, RunFolder, read_metrics

ROW = {"iteration": 1, "env_steps": 64, "seed": 0, "video_reward": 1.5, "true_return": None, "success_rate": 0.0}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.json").write_text(to_json(TrainConfig()))
    return RunFolder.open(tmp_path)


def refused(read, *words):
    with pytest.raises(ValueError) as error:
        read()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00\xff\xfe garbage", b"[]", b'{"ppo": {"gamma": 3}}', b"[" * 100_000, b"9" * 6000]
)
def test_a_damaged_config_is_named(run, damaged):
    (run.path / "config.json").write_bytes(damaged)
    refused(lambda: RunFolder.open(run.path), "config.json")


@pytest.mark.parametrize(
    "damaged",
    [b"", b"PK\x03\x04 no zip", b"\x93NUMPY\x01\x00", b"garbage", np.zeros(512), np.float32(3),
     np.zeros((1, 1, 512), np.float32), np.full(512, np.nan, np.float32), np.array([{}])],
)  # fmt: skip
def test_a_damaged_target_is_named(run, damaged):
    path = run.path / "target.npy"
    path.write_bytes(damaged) if isinstance(damaged, bytes) else np.save(path, damaged, allow_pickle=True)
    refused(run.demonstration, "target.npy", "train a new run")


@pytest.mark.parametrize("size", [10, 512])
def test_a_target_of_any_encoder_is_read(run, size):
    target = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    np.save(run.path / "target.npy", target)
    np.testing.assert_array_equal(run.demonstration(), target[None])  # as earlier versions wrote it
    np.save(run.path / "target.npy", np.stack([target, 2 * target]))
    np.testing.assert_array_equal(run.demonstration(), np.stack([target, 2 * target]))


def expert_arrays(n=128):
    pairs = np.ones((n, 2), np.float32)
    return {"obs": pairs, "action": pairs[:, :1], "next_obs": pairs, "done": np.zeros(n, np.float32)}


def test_the_experts_transitions_are_read(run):
    run = RunFolder(run.path, TrainConfig(reward="gail"))
    np.savez(run.path / "expert.npz", **expert_arrays())
    for name, array in expert_arrays().items():
        np.testing.assert_array_equal(getattr(run.demonstration(), name), array)
    assert run.encoder() is None


@pytest.mark.parametrize(
    "damaged",
    [b"", b"PK\x03\x04 no zip", expert_arrays(127), {"obs": np.zeros((128, 2), np.float32)},
     expert_arrays() | {"done": np.full(128, np.nan, np.float32)}, expert_arrays() | {"done": np.zeros(128)}],
    ids=["empty", "no zip", "too short", "an array", "not finite", "float64"],
)  # fmt: skip
def test_damaged_transitions_are_named(run, damaged):
    run, path = RunFolder(run.path, TrainConfig(reward="airl")), run.path / "expert.npz"
    path.write_bytes(damaged) if isinstance(damaged, bytes) else np.savez(path, **damaged)
    refused(run.demonstration, "expert.npz", "train a new run")


def test_a_run_on_the_dense_reward_has_no_demonstration(run):
    run = RunFolder(run.path, TrainConfig(reward="dense"))
    assert run.demonstration() is None and run.encoder() is None


@pytest.mark.parametrize(
    ("encoder", "path"),
    [(None, "encoder"), ("random", "encoder"), ("small", "encoder"), ("/weights/s3d", "/weights/s3d")],
)
def test_only_an_encoder_of_a_folder_is_not_kept_in_the_run(run, encoder, path):
    """Earlier versions wrote null for a random one."""
    assert RunFolder(run.path, TrainConfig(encoder=encoder)).encoder_path() == run.path / path


def test_a_missing_target_is_named(run):
    refused(run.demonstration, "target.npy", "train a new run")


def test_a_damaged_encoder_is_named(run):
    """A missing folder, a changed byte, which Orbax does not notice, a missing file, and unreadable digests."""
    refused(run.encoder, "encoder", "train a new run")
    folder = run.path / "encoder"
    (folder / "params").mkdir(parents=True)
    (folder / "params" / "array").write_bytes(b"0123")
    (run.path / "encoder.json").write_text(json.dumps(digests(folder)))
    (folder / "params" / "array").write_bytes(b"0124")
    refused(run.encoder, "encoder/params/array was changed", "train a new run")
    (folder / "params" / "array").unlink()
    refused(run.encoder, "encoder/params/array is missing", "train a new run")
    (run.path / "encoder.json").write_bytes(b"\xff")
    refused(run.encoder, "encoder.json", "train a new run")


@pytest.mark.parametrize(
    "damaged",
    [b"\x00\xff\xfe", b"", b"3", b"{}", b"{", b"[" * 100_000, b"9" * 6000]
    + [json.dumps(ROW | {name: value}).encode() for name, value in (("iteration", "1"), ("seed", True), ("std", [1]))]
    + [json.dumps({name: ROW[name] for name in ROW if name != "true_return"}).encode()],
)  # fmt: skip
def test_a_damaged_row_is_named(run, damaged):
    path, good = run.path / "metrics.jsonl", json.dumps(ROW).encode()
    path.write_bytes(b"\n".join([good, damaged, good, b""]))
    refused(lambda: read_metrics(run), "line 2 of", "metrics.jsonl is damaged")
    assert path.read_bytes().count(b"\n") == 3


def test_rows_before_an_incomplete_last_one_are_kept(run):
    path, good = run.path / "metrics.jsonl", json.dumps(ROW)
    assert read_metrics(run) == []
    for end in ("", '{"iteration": 2, "env', "\0" * 40):
        path.write_text(f"{good}\n{end}")
        assert read_metrics(run) == [ROW]
    path.write_text(good)  # complete, although its newline is missing
    assert read_metrics(run) == [ROW]


def test_rows_of_repeated_iterations_are_dropped(run):
    rows = [ROW | {"iteration": i, "env_steps": 64 * i} for i in (1, 2, 3)]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with MetricsWriter(run, 2) as metrics:
        assert read_metrics(run) == rows[:2]
        metrics.write([rows[2] | {"true_return": np.inf}])
    assert read_metrics(run) == rows
