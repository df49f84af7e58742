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

from rcjax.encoders import BUNDLED, Encoder, load_encoder, save_encoder
from rcjax.encoders.s3d import S3D, WordTokenizer
from tests.encoders import tiny
from tests.encoders.s3d import synthetic

TOKENIZER = WordTokenizer({word: i for i, word in enumerate(synthetic.WORDS, start=1)})


@pytest.fixture(scope="module")
def encoder(params):
    return Encoder(S3D(), params, TOKENIZER, "synthetic")


@pytest.fixture(scope="module")
def saved(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "encoder"
    save_encoder(path, encoder)
    return path


def check_same(got: Encoder, expected: Encoder):
    jax.tree.map(np.testing.assert_array_equal, got.params, expected.params)
    assert (got.network, got.tokenizer, got.provenance) == (expected.network, expected.tokenizer, expected.provenance)


def test_loads_what_was_saved_from_a_moved_directory_too(encoder, saved, tmp_path):
    check_same(load_encoder(saved), encoder)
    shutil.copytree(saved, tmp_path / "copy")
    check_same(load_encoder(str(tmp_path / "copy")), encoder)


def test_a_fingerprint_is_that_of_the_weights_alone(tmp_path):
    encoder = tiny.make_encoder()
    save_encoder(tmp_path / "tiny", dataclasses.replace(encoder, provenance="elsewhere"))
    assert load_encoder(tmp_path / "tiny").fingerprint == encoder.fingerprint
    changed = jax.tree.map(np.array, encoder.params)
    jax.tree.leaves(changed)[0].flat[-1] += 1e-6
    assert dataclasses.replace(encoder, params=changed).fingerprint != encoder.fingerprint
    assert len(encoder.fingerprint) == 8 and int(encoder.fingerprint, 16) >= 0


def test_random_encoder_without_text_is_saved_too(encoder, tmp_path):
    video_only = dataclasses.replace(encoder, params={"video": encoder.params["video"]}, tokenizer=None)
    save_encoder(tmp_path / "video", video_only)
    check_same(load_encoder(tmp_path / "video"), video_only)


@pytest.mark.parametrize("limits", [{}, {"n_frames": None, "size": None}, {"n_frames": 2}], ids=["both", "none", "one"])
def test_a_narrow_s3d_keeps_its_architecture_and_the_clips_that_it_takes(limits, tmp_path):
    encoder = tiny.make_encoder(dataclasses.replace(tiny.NETWORK, **limits))
    save_encoder(tmp_path / "tiny", encoder)
    check_same(load_encoder(tmp_path / "tiny"), encoder)


def test_the_bundled_encoder_is_loaded_by_its_name(tmp_path, monkeypatch):
    """A folder of the same name beside the user is another one's."""
    encoder = tiny.make_encoder()
    save_encoder(tmp_path / "bundled", encoder)
    monkeypatch.setitem(BUNDLED, "small", tmp_path / "bundled")
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    check_same(load_encoder("small"), encoder)
    with pytest.raises(ValueError, match="small is not an encoder checkpoint"):
        load_encoder("./small")


@pytest.mark.parametrize("text", [True, False])
def test_a_checkpoint_of_an_earlier_version_is_a_released_s3d(text, encoder, tmp_path):
    """Its `about` had a vocabulary and no network. Oracle: the arrays and words that were written."""
    params = encoder.params if text else {"video": encoder.params["video"]}
    vocabulary = dict(TOKENIZER.vocabulary) if text else None
    about = {"format": "rcjax-s3d-1", "provenance": "earlier", "vocabulary": vocabulary}
    write_checkpoint(tmp_path / "earlier", about, params)
    check_same(load_encoder(tmp_path / "earlier"), Encoder(S3D(), params, TOKENIZER if text else None, "earlier"))


@pytest.mark.slow
def test_loads_on_another_number_of_devices(saved):
    program = (
        "import sys, jax; from rcjax.encoders import load_encoder; assert jax.device_count() == 3; "
        "leaf = load_encoder(sys.argv[1]).params['video']['fc']['bias']; print(float(abs(leaf).sum()))"
    )
    flags = {"JAX_NUM_CPU_DEVICES": "3", "JAX_PLATFORMS": "cpu"}
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


OLD = {"format": "rcjax-s3d-1", "provenance": "x", "vocabulary": None}
NEW = {
    "format": "rcjax-encoder-2", "kind": "s3d", "network": tiny.NETWORK.to_json(), "provenance": "x",
    "tokenizer": tiny.TOKENIZER.to_json(),
}  # fmt: skip
NO_WORDS = "does not map words to rows, which are whole numbers from 1"
LIMITS = "expected whole numbers, or null for any"
FIELDS = "`network` does not have exactly the fields architecture, n_frames and size"


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def of_network(**changes):
    return NEW | {"network": NEW["network"] | changes}


def of_architecture(**changes):
    return of_network(architecture=NEW["network"]["architecture"] | changes)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            OLD,
            r"other names, shapes or dtypes than the s3d that it says it is: \d+ missing: video/conv1/bias, .* and \d+ "
            "more; 1 not expected: 'w'",
        ),
        ({"step": 3}, "does not say format"),
        (without(OLD, "provenance"), "does not say in `provenance`"),
        (without(OLD, "vocabulary"), NO_WORDS),
        (OLD | {"vocabulary": ["a"]}, NO_WORDS),
        (OLD | {"vocabulary": {"a": 0}}, NO_WORDS),
        (OLD | {"vocabulary": {"a": 1.5}}, NO_WORDS),
        (NEW, r"than the s3d that it says it is: \d+ missing: text/fc1/bias, .*; 1 not expected: 'w'"),
        (NEW | {"format": "rcjax-encoder-3"}, "does not say format 'rcjax-encoder-2'"),
        (NEW | {"format": None}, "does not say format"),
        (NEW | {"provenance": None}, "does not say in `provenance`"),
        (without(NEW, "kind"), r"its kind is 'None', expected one of \['clip', 's3d'\]; a newer rcjax may know it"),
        (NEW | {"kind": "s4d\n"}, r"its kind is 's4d\\n', expected one of"),
        (NEW | {"kind": ["s3d"]}, "its kind is .*, expected one of"),
        (without(NEW, "network"), FIELDS),
        (NEW | {"network": None}, FIELDS),
        (NEW | {"network": [1, 2]}, FIELDS),
        (NEW | {"network": without(NEW["network"], "size")}, FIELDS),
        (of_network(frames=8), FIELDS),
        (of_network(n_frames=0), LIMITS),
        (of_network(n_frames=True), LIMITS),
        (of_network(size=32.0), LIMITS),
        (of_network(size="32"), LIMITS),
        (of_network(architecture=None), "its architecture does not have exactly the fields"),
        (of_network(architecture={}), "its architecture does not have exactly the fields"),
        (of_architecture(depth=3), "its architecture does not have exactly the fields"),
        (of_architecture(stem=None), "its architecture is not valid: "),
        (of_architecture(stem=[4, 6]), "its architecture is not valid: .* needs three widths"),
        (of_architecture(stem="468"), "its architecture is not valid: a width of S3D='4'; it must be a whole number"),
        (of_architecture(blocks=3), "its architecture is not valid: "),
        (of_architecture(blocks=[]), "its architecture is not valid: .* not some of S3D's blocks"),
        (of_architecture(blocks=["mixed_3b"]), "its architecture is not valid: "),
        (of_architecture(blocks=[["mixed_3b", None]]), "its architecture is not valid: "),
        (of_architecture(blocks=[["mixed_3b", [4] * 5]]), "its architecture is not valid: .* each of .* six"),
        (of_architecture(hidden_size=10**9), "its architecture is not valid: .* at most"),
        (of_architecture(embedding_norm="1"), "its architecture is not valid: "),
        (of_architecture(embedding_norm=-1), "its architecture is not valid: embedding_norm=-1"),
        (without(NEW, "tokenizer"), NO_WORDS),
        (NEW | {"tokenizer": 3}, NO_WORDS),
        (NEW | {"tokenizer": ["a"]}, NO_WORDS),
        (NEW | {"tokenizer": {"a": 0}}, NO_WORDS),
        (NEW | {"tokenizer": {"a": True}}, NO_WORDS),
        (NEW | {"tokenizer": {"a": "1"}}, NO_WORDS),
    ],
)
def test_other_checkpoints_are_refused(about, message, tmp_path):
    """By one line, which stays one where a value is long."""
    write_checkpoint(tmp_path / "other", about, {"w": np.ones(3)})
    assert_refused(tmp_path / "other", message)


def write_checkpoint(path, about, params):
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        items = {"params": ocp.args.StandardSave(jax.tree.map(np.asarray, params)), "about": ocp.args.JsonSave(about)}
        checkpointer.save(path, args=ocp.args.Composite(**items))


@pytest.mark.parametrize(
    ("network", "tokenizer", "message"),
    [
        (dataclasses.replace(tiny.ARCHITECTURE, stem=(5, 6, 8)), tiny.TOKENIZER, r"video/conv1/bias float32\[4\]"),
        (
            dataclasses.replace(tiny.ARCHITECTURE, embedding_size=9),
            tiny.TOKENIZER,
            r"text/fc2/bias float32\[10\] instead of float32\[9\]",
        ),
        (
            dataclasses.replace(tiny.ARCHITECTURE, blocks=tiny.ARCHITECTURE.blocks[:2]),
            tiny.TOKENIZER,
            "not expected: 'video/mixed_5b/branch1/",
        ),
        (tiny.ARCHITECTURE, None, "not expected: 'text/fc1/bias'"),
        (tiny.ARCHITECTURE, WordTokenizer({"robot": 9}), r"text/word_embd float32\[7, 6\] instead of float32\[10, 6\]"),
    ],
)
def test_parameters_of_another_network_are_refused(network, tokenizer, message, tmp_path):
    """The network and the vocabulary are those of other parameters."""
    said = Encoder(S3D(network), tiny.random_params(), tokenizer, "tiny")
    save_encoder(tmp_path / "tiny", said)
    assert_refused(tmp_path / "tiny", f"than the s3d that it says it is: .*{message}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_params_that_are_not_finite_are_not_saved(value, encoder, tmp_path):
    with pytest.raises(ValueError, match="is not saved: not finite everywhere: video/fc/bias") as error:
        save_encoder(tmp_path / "damaged", damage(encoder, value))
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_checkpoint_whose_params_are_not_finite_is_refused(encoder, tmp_path, monkeypatch):
    """An earlier version saved such parameters."""
    with monkeypatch.context() as context:
        context.setattr("rcjax.encoders.encoder.describe_nonfinite", lambda _: "")
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
