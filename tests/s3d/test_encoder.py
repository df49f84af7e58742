"""Saves and loads encoders. The oracle is the encoder that was saved."""

import dataclasses
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rcjax.s3d import Encoder, load_encoder, save_encoder
from tests.s3d import synthetic

VOCABULARY = {word: i for i, word in enumerate(synthetic.WORDS, start=1)}


@pytest.fixture(scope="module")
def encoder(params):
    return Encoder(params=params, vocabulary=VOCABULARY, provenance="synthetic")


@pytest.fixture(scope="module")
def saved(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "encoder"
    save_encoder(path, encoder)
    return path


def check_same(got: Encoder, expected: Encoder):
    jax.tree.map(np.testing.assert_array_equal, got.params, expected.params)
    assert (got.vocabulary, got.provenance) == (expected.vocabulary, expected.provenance)


def test_loads_what_was_saved_from_a_moved_directory_too(encoder, saved, tmp_path):
    check_same(load_encoder(saved), encoder)
    shutil.copytree(saved, tmp_path / "copy")
    check_same(load_encoder(str(tmp_path / "copy")), encoder)


def test_random_encoder_without_text_is_saved_too(encoder, tmp_path):
    video_only = dataclasses.replace(encoder, params={"video": encoder.params["video"]}, vocabulary=None)
    save_encoder(tmp_path / "video", video_only)
    check_same(load_encoder(tmp_path / "video"), video_only)


def test_loads_on_another_number_of_devices(saved):
    program = (
        "import sys, jax; from rcjax.s3d import load_encoder; assert jax.device_count() == 3; "
        "leaf = load_encoder(sys.argv[1]).params['video']['fc']['bias']; print(float(abs(leaf).sum()))"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(saved)], env=os.environ | flags, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = np.abs(load_encoder(saved).params["video"]["fc"]["bias"]).sum()
    assert float(done.stdout) == pytest.approx(float(expected), rel=1e-5)  # another order of summation


def test_existing_path_is_not_overwritten(encoder, saved):
    with pytest.raises(ValueError, match="exists"):
        save_encoder(saved, encoder)


def assert_refused(path, message):
    with pytest.raises(ValueError, match=message) as error:
        load_encoder(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_other_paths_are_refused(tmp_path):
    assert_refused(tmp_path / "nothing", "there is no encoder checkpoint")
    (tmp_path / "file").write_text("weights")
    assert_refused(tmp_path / "file", "is not an encoder checkpoint")
    assert_refused(tmp_path, "is not an encoder checkpoint")
    (tmp_path / "params").mkdir()
    (tmp_path / "about").mkdir()
    assert_refused(tmp_path, "is not a complete encoder checkpoint")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"format": "rcjax-s3d-1", "provenance": "x", "vocabulary": None},
            r"other names, shapes or dtypes than S3D in this version: \d+ missing: video/conv1/bias, .* and \d+ more; "
            "1 not expected: 'w'",
        ),
        ({"step": 3}, "does not say format"),
        ({"format": "rcjax-s3d-1", "vocabulary": None}, "does not say in `provenance`"),
        ({"format": "rcjax-s3d-1", "provenance": "x"}, "does not map words to rows"),
        ({"format": "rcjax-s3d-1", "provenance": "x", "vocabulary": ["a"]}, "does not map words to rows"),
        ({"format": "rcjax-s3d-1", "provenance": "x", "vocabulary": {"a": 0}}, "does not map words to rows"),
        ({"format": "rcjax-s3d-1", "provenance": "x", "vocabulary": {"a": 1.5}}, "does not map words to rows"),
    ],
)
def test_other_checkpoints_are_refused(about, message, tmp_path):
    path = tmp_path / "other"
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        items = {"params": ocp.args.StandardSave({"w": np.ones(3)}), "about": ocp.args.JsonSave(about)}
        checkpointer.save(path, args=ocp.args.Composite(**items))
    assert_refused(path, message)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_params_that_are_not_finite_are_not_saved(value, encoder, tmp_path):
    with pytest.raises(ValueError, match="is not saved: not finite everywhere: video/fc/bias") as error:
        save_encoder(tmp_path / "damaged", damage(encoder, value))
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_checkpoint_whose_params_are_not_finite_is_refused(encoder, tmp_path, monkeypatch):
    """An earlier version saved such parameters."""
    with monkeypatch.context() as context:
        context.setattr("rcjax.s3d.encoder._describe_nonfinite", lambda _: "")
        save_encoder(tmp_path / "damaged", damage(encoder, np.nan))
    assert_refused(tmp_path / "damaged", "not finite everywhere: video/fc/bias; make an encoder checkpoint")


def damage(encoder: Encoder, value: float) -> Encoder:
    """Returns `encoder` with one number of one parameter replaced."""
    video = encoder.params["video"]
    bias = np.array(video["fc"]["bias"])
    bias[100] = value
    params = {**encoder.params, "video": {**video, "fc": {**video["fc"], "bias": bias}}}
    return dataclasses.replace(encoder, params=params)


def test_checkpoint_with_a_lost_file_is_refused(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    shutil.rmtree(copy / "params" / "d", ignore_errors=True)
    shutil.rmtree(copy / "params" / "ocdbt.process_0", ignore_errors=True)
    assert_refused(copy, "is not a complete encoder checkpoint")
