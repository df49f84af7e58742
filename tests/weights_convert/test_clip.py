"""Runs the converter on tiny CLIPs in all layouts. The oracle is the parameters of the arrays that were written."""

import functools
import gzip
import hashlib
import json
import sys

import jax
import numpy as np
import pytest

from rcjax.encoders import load_encoder
from rcjax.encoders.clip import CLIP, params_from_torch
from tests.encoders.clip import synthetic
from tests.weights_convert import script_writer, torch_writer
from tests.weights_convert.expectations import save_half
from tests.weights_convert.safetensors_writer import safetensors_file
from weights_convert import clip
from weights_convert.__main__ import main
from weights_convert.clip import convert_clip, read_merges

SIZES = {"architecture": synthetic.ARCHITECTURE, "n_merges": len(synthetic.MERGES)}
EXTRA = {
    "input_resolution": np.array(224, np.int64),
    "context_length": np.array(77, np.int64),
    "vocab_size": np.array(518, np.int64),
}
POSITIONS = {f"{part}_model.embeddings.position_ids": np.arange(5)[None] for part in ("text", "vision")}
WHOLE = synthetic.random_state()
HALF = synthetic.reduce_precision(WHOLE)
FILES = {
    "ViT-B-32.pt": lambda: script_writer.script_file(HALF, EXTRA),
    "scripted_float32.pt": lambda: script_writer.script_file(WHOLE),
    "openai.safetensors": lambda: safetensors_file(HALF | EXTRA),
    "model.safetensors": lambda: safetensors_file(synthetic.huggingface_state(WHOLE) | POSITIONS),
    "pytorch_model.bin": lambda: torch_writer.zip_file(synthetic.huggingface_state(WHOLE) | POSITIONS),
    "older_model.bin": lambda: torch_writer.legacy_file(synthetic.huggingface_state(WHOLE) | POSITIONS),
    "state_dict.pt": lambda: torch_writer.zip_file(HALF),
}
IN_HALF = ("ViT-B-32.pt", "openai.safetensors", "state_dict.pt")
VERSION = '"bpe_simple_vocab_16e6.txt#version: 0.2'


def packed(merges=synthetic.MERGES, end=("z z", "")) -> bytes:
    return gzip.compress("\n".join([VERSION, *merges, *end]).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    (path / "ViT-B-32.pt").write_bytes(FILES["ViT-B-32.pt"]())
    (path / "merges.txt.gz").write_bytes(packed())
    np.save(path / "s3d_dict.npy", np.array(["a", "b"]))
    return path


@pytest.fixture
def tiny(monkeypatch):
    """Makes the command line convert tiny models."""
    monkeypatch.setattr(clip, "convert_clip", functools.partial(convert_clip, **SIZES))


@pytest.fixture
def refused(folder, tmp_path, tiny, capfd):
    """Runs the command with some files replaced; it must fail by one line and leave nothing behind."""

    def run(*messages, weights=folder / "ViT-B-32.pt", vocabulary=folder / "merges.txt.gz", out=None, options=()):
        for name, data in (("weights", weights), ("vocabulary", vocabulary)):
            if isinstance(data, bytes):
                (tmp_path / name).write_bytes(data)
        paths = [tmp_path / "weights" if isinstance(weights, bytes) else weights]
        paths += [tmp_path / "vocabulary" if isinstance(vocabulary, bytes) else vocabulary, out or tmp_path / "clip"]
        before = sorted(tmp_path.rglob("*"))
        assert main([*map(str, paths), *options]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and error.startswith("weights_convert: ")
        for message in messages:
            assert message in error
        assert sorted(tmp_path.rglob("*")) == before

    return run


@pytest.mark.parametrize("name", FILES)
def test_encoder_is_what_the_arrays_say(name, folder, tmp_path):
    weights = tmp_path / name
    weights.write_bytes(FILES[name]())
    returned = convert_clip(weights, folder / "merges.txt.gz", tmp_path / "clip", **SIZES)
    encoder = load_encoder(tmp_path / "clip")
    expected = params_from_torch(HALF if name in IN_HALF else WHOLE, synthetic.ARCHITECTURE)
    jax.tree.map(np.testing.assert_array_equal, encoder.params, expected)
    assert encoder.network == returned.network == CLIP(synthetic.ARCHITECTURE)
    assert encoder.tokenizer == synthetic.TOKENIZER
    for path in (weights, folder / "merges.txt.gz"):
        assert f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" in encoder.provenance


@pytest.mark.parametrize("option", [[], ["--logit-scale"]])
def test_command_line(option, folder, tiny, tmp_path, capsys):
    assert main([*map(str, (folder / "ViT-B-32.pt", folder / "merges.txt.gz", tmp_path / "clip")), *option]) == 0
    assert "ViT-B-32.pt sha256:" in capsys.readouterr().out
    assert load_encoder(tmp_path / "clip").network == CLIP(synthetic.ARCHITECTURE, bool(option))


def test_torch_is_not_imported(folder, tmp_path, monkeypatch):
    """Importing it, or safetensors, would fail."""
    for name in ("torch", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)
    convert_clip(folder / "ViT-B-32.pt", folder / "merges.txt.gz", tmp_path / "clip", **SIZES)


def test_released_sizes_are_expected(folder, tmp_path, capfd):
    """Without the sizes of the test, the tiny files are not those of ViT-B/32."""
    assert main([*map(str, (folder / "ViT-B-32.pt", folder / "merges.txt.gz", tmp_path / "clip"))]) == 2
    assert "is not CLIP's vocabulary: it has 8 merges, expected at least 48894" in capfd.readouterr().err
    with pytest.raises(ValueError, match=r"of 302 tensors .*, 228 missing: .* float32\[10, 24\] instead of"):
        clip.read_state(folder / "ViT-B-32.pt", CLIP().architecture, 49408)


def test_files_of_both_models_are_refused(refused, folder):
    npy = folder / "s3d_dict.npy"
    line = ("has the format of CLIP's weights, but", "that of S3D's vocabulary; give bpe_simple_vocab_16e6.txt.gz")
    refused(*line, vocabulary=npy)
    refused(*line, vocabulary=npy, weights=safetensors_file(HALF))


S3D = {"text_module.word_embd.weight": np.ones((3, 4), np.float32), "conv1.conv1.weight": np.ones(3, np.float32)}


@pytest.mark.parametrize("writer", [torch_writer.zip_file, torch_writer.legacy_file, safetensors_file])
def test_weights_of_s3d_are_named(writer, refused):
    refused("it holds the tensors of S3D; give S3D's vocabulary with it, s3d_dict.npy", weights=writer(S3D))


@pytest.mark.parametrize("state", [WHOLE, synthetic.huggingface_state(WHOLE)], ids=["OpenAI", "Hugging Face"])
def test_weights_of_clip_with_the_vocabulary_of_s3d_are_named(state, refused, tmp_path, monkeypatch):
    monkeypatch.setattr("weights_convert.convert.read_vocabulary", lambda path: ["a", "b"])
    np.save(tmp_path / "s3d_dict.npy", np.array(["a", "b"]))
    refused(
        "it holds the tensors of CLIP; give CLIP's vocabulary with it, bpe_simple_vocab_16e6.txt.gz",
        weights=torch_writer.zip_file(state),
        vocabulary=tmp_path / "s3d_dict.npy",
    )


def test_logit_scale_is_for_clip(refused, folder):
    refused(
        "--logit-scale is for CLIP", weights=torch_writer.zip_file(S3D), vocabulary=folder / "s3d_dict.npy",
        options=["--logit-scale"],
    )  # fmt: skip


def test_missing_files_are_refused(refused, tmp_path):
    refused("there is no file", "--help", weights=tmp_path / "none.pt")
    refused("there is no file", vocabulary=tmp_path / "none.gz")


def test_existing_out_is_refused(refused, tmp_path):
    (tmp_path / "there").mkdir()
    refused("there exists", out=tmp_path / "there")
    refused("none is not a directory to write clip in", out=tmp_path / "none" / "clip")


def test_folders_are_refused(refused, folder):
    refused("there is no file", weights=folder)
    refused("there is no file", vocabulary=folder)


def test_swapped_files_are_refused(refused, folder):
    refused("give the weights first", weights=folder / "merges.txt.gz", vocabulary=folder / "ViT-B-32.pt")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (FILES["ViT-B-32.pt"]()[:-100], "the file is truncated"),
        (FILES["model.safetensors"]()[:-100], "the file is truncated"),
        (b"", "does not begin like a file of torch.save"),
        (b"<!DOCTYPE html>" * 100, "does not begin like a file of torch.save"),
        (b"version https://git-lfs.github.com/spec/v1\n", "does not begin like a file of torch.save"),
    ],
    ids=["TorchScript cut off", "safetensors cut off", "empty", "web page", "pointer of Git LFS"],
)
def test_other_files_are_refused(data, message, refused):
    refused("cannot be read as CLIP's weights", message, weights=data)


def without(state, *names):
    return {name: array for name, array in state.items() if name not in names}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without(WHOLE, "logit_scale"), "of 74 tensors expected, 1 missing: logit_scale"),
        (WHOLE | {"visual.conv1.bias": np.ones(48, np.float32)}, "1 not expected: 'visual.conv1.bias'"),
        (WHOLE | {"visual.proj": WHOLE["visual.proj"].T.copy()}, "visual.proj float32[20, 48] instead of"),
        (WHOLE | {"ln_final.bias": np.arange(24)}, "ln_final.bias int64[24] instead of float32[24]"),
        ({f"model.{name}": array for name, array in WHOLE.items()}, "all 74 names begin with 'model.'"),
        (WHOLE | {"attn_mask": np.ones(10_001, np.float32)}, "attn_mask has 10001 elements, over 10000"),
        (WHOLE | {"logit_scale": np.array(np.nan, np.float32)}, "logit_scale is not finite"),
        (WHOLE | {"logit_scale": np.array(80, np.float32)}, "logit_scale is 80, expected 0 to 10"),
        (WHOLE | {"visual.class_embedding": np.full(48, 1e30, np.float32)}, "has values beyond 1e+18"),
        (HALF | {"visual.proj": np.full((48, 20), np.inf, np.float16)}, "visual.proj is not finite everywhere"),
        ({"a": np.ones(3, np.float32)}, "74 missing"),
        ({}, "74 missing"),
    ],
    ids=[
        "missing", "more", "transposed", "integers", "prefix", "large extra", "NaN", "logit_scale", "huge", "infinite",
        "other model", "nothing",
    ],
)  # fmt: skip
@pytest.mark.parametrize("writer", [script_writer.script_file, safetensors_file], ids=["TorchScript", "safetensors"])
def test_other_tensors_are_refused(writer, state, message, refused):
    refused(message, weights=writer(state))


def test_list_of_a_checkpoint_is_described(refused):
    refused("its state dict lies inside a dictionary", weights=wrapped(WHOLE))


def wrapped(state) -> bytes:
    """Returns a file of torch.save whose state dict is beside other entries, as training scripts write it."""
    import io
    import zipfile

    pickled = torch_writer.pickled_state(state, str, legacy=False)
    pickled = b"\x80\2}(X\5\0\0\0epochK\3X\n\0\0\0state_dict" + pickled[2:-1] + b"u."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clip/data.pkl", pickled)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (packed(synthetic.MERGES[:3], ()), "it has 3 merges, expected at least 6"),
        (packed(("r o", "x", *synthetic.MERGES[2:])), "merge 2, 'x', does not join two symbols"),
        (packed(("ro b", "r o", *synthetic.MERGES[2:])), "merge 1, 'ro b', does not join two symbols"),
        (packed()[:-9], "Compressed file ended before the end-of-stream"),
        (packed()[:20] + bytes(10) + packed()[30:], "is not CLIP's vocabulary"),
        (gzip.compress(b"\xff\xfe" * 100), "codec can't decode"),
        (gzip.compress(b""), "it has 0 merges"),
        (gzip.compress(bytes(2**25 + 2)), "it has over 33554432 bytes unpacked"),
        ("\n".join([VERSION, *synthetic.MERGES]).encode(), "is not CLIP's vocabulary: Not a gzipped file"),
        (json.dumps(["a b"]).encode(), "is not CLIP's vocabulary: Not a gzipped file"),
    ],
    ids=[
        "short", "no merge", "order", "cut off", "damaged", "no text", "empty", "zip bomb", "unpacked", "JSON",
    ],
)  # fmt: skip
def test_other_vocabularies_are_refused(data, message, refused):
    refused("is not CLIP's vocabulary", message, vocabulary=data)


def test_merges_after_those_of_the_model_are_left_out(tmp_path):
    """The public list is longer than what CLIP uses."""
    (tmp_path / "merges.txt.gz").write_bytes(packed(end=["not a merge at all"] * 10))
    assert read_merges(tmp_path / "merges.txt.gz", len(synthetic.MERGES)) == synthetic.MERGES


def test_failure_while_writing_leaves_nothing(refused, monkeypatch):
    monkeypatch.setattr("weights_convert.convert.save_encoder", save_half)
    refused("no space left on device")


def test_help_names_both_models(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    for part in ("ViT-B-32.pt", "bpe_simple_vocab_16e6.txt.gz", "--logit-scale", "s3d_dict.npy", "QuickGELU"):
        assert part in out
