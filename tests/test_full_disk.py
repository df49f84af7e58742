"""A failed write is reported by the call that writes, and files that were written before are unchanged.

A limit on the size of files stands for a full disk, because the system refuses a write in the same way.
"""

import contextlib
import dataclasses
import errno
import resource

import jax.numpy as jnp
import numpy as np
import pytest

from rcjax import train
from rcjax.checkpoints import Checkpoints, saved_iterations
from rcjax.config import preset
from rcjax.storage import MetricsWriter, RunFolder, read_metrics
from rcjax.video_io import write_video


@contextlib.contextmanager
def files_of_at_most(n_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return RunFolder(path, preset("demo"))


def state_of(iteration):
    return {"params": jnp.asarray(np.random.default_rng(iteration).standard_normal(50_000), jnp.float32)}


def row_of(iteration):
    metrics = dict.fromkeys(("video_reward", "true_return", "success_rate"), 0.5)
    return {"iteration": iteration, "env_steps": 10 * iteration, "seed": 0} | metrics


def test_a_checkpoint_that_does_not_fit_keeps_the_last_one(run, caplog, capfd):
    with Checkpoints(run) as checkpoints:
        checkpoints.save(2, state_of(2))
        with files_of_at_most(20_000), pytest.raises(OSError, match="checkpoints") as refused:
            checkpoints.save(4, state_of(4))
        assert refused.value.errno == errno.EFBIG
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["2"]
    with Checkpoints(run) as checkpoints:
        assert saved_iterations(run) == [2]
        checkpoints.save(4, state_of(4))
        assert saved_iterations(run) == [2, 4]
    assert "Traceback" not in caplog.text + capfd.readouterr().err


def test_metrics_that_do_not_fit_raise_at_once(run, capfd):
    """A regression test: TensorBoard's writer once had a thread, and when that died, the run waited forever."""
    with MetricsWriter(run, 0) as metrics:
        metrics.write([row_of(1)])
        with files_of_at_most(100), pytest.raises(OSError):
            for _ in range(20):
                metrics.write([row_of(2)])
    assert read_metrics(run)[0] == row_of(1)
    assert capfd.readouterr().err == ""


def test_a_video_that_does_not_fit_raises_and_leaves_no_file(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8)
    for name in ("film.gif", "film.mp4"):
        with files_of_at_most(5_000), pytest.raises(OSError):
            write_video(tmp_path / name, frames, fps=10)
        assert list(tmp_path.iterdir()) == []


@dataclasses.dataclass
class Fails:
    error: Exception

    def __call__(self, run):
        raise self.error


def test_a_run_that_cannot_be_written_stops_with_a_hint(run):
    guarded = train.stops_where_unwritable(Fails(OSError(errno.ENOSPC, "No space left on device", "events")))
    with pytest.raises(train.Stopped, match=r"events: No space left.*make room.*--resume") as stopped:
        guarded(run)
    assert stopped.value.exit_code == 2
    assert "\n" not in str(stopped.value)
    for error in (BrokenPipeError(), ZeroDivisionError(), ValueError("other")):
        with pytest.raises(type(error)):
            train.stops_where_unwritable(Fails(error))(run)
