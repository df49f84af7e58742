"""Runs the converter from its command line, on synthetic files with the layout and size of the real ones.

The oracle is parameters and embeddings from the arrays that were written.
"""

import dataclasses
import hashlib
import re
import resource
import subprocess
import sys
import tracemalloc

import jax
import numpy as np
import pytest

from rcjax.encoders import load_encoder
from rcjax.encoders.s3d import S3D, VOCABULARY_SIZE, WordTokenizer, embed_text, embed_video, params_from_torch
from tests.encoders.s3d import synthetic
from tests.weights_convert import torch_writer
from tests.weights_convert.expectations import save_half
from weights_convert.__main__ import main
from weights_convert.convert import check_values, read_vocabulary

REAL_SIZE = 125031128  # bytes of s3d_howto100m.pth
REAL_WORDS_SIZE = 5830040  # bytes of s3d_dict.npy


@pytest.fixture(scope="module")
def state():
    return synthetic.calibrated_state(VOCABULARY_SIZE)


@pytest.fixture(scope="module")
def words():
    """As many words of at most 22 letters as in the real list; those of the test come first."""
    rest = [f"word{i:018d}" for i in range(VOCABULARY_SIZE - len(synthetic.WORDS))]
    return np.array([*synthetic.WORDS, *rest], "<U22")


@pytest.fixture(scope="module")
def folder(state, words, tmp_path_factory):
    path = tmp_path_factory.mktemp("convert")
    (path / "weights.pth").write_bytes(torch_writer.legacy_file(state))
    np.save(path / "words.npy", words)
    return path


@pytest.fixture(scope="module")
def converted(folder):
    """The checkpoint that `python -m weights_convert` writes in a process that cannot import torch."""
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "runpy.run_module('weights_convert', run_name='__main__', alter_sys=True)"
    )
    paths = [str(folder / name) for name in ("weights.pth", "words.npy", "s3d")]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "s3d"


def test_files_are_like_the_real_ones(folder):
    assert (folder / "weights.pth").stat().st_size == pytest.approx(
        REAL_SIZE, rel=2e-4
    )  # the header has another length
    assert (folder / "words.npy").stat().st_size == REAL_WORDS_SIZE


def test_encoder_is_what_the_arrays_say(converted, folder, state, words):
    encoder = load_encoder(converted)
    expected = params_from_torch(state)
    jax.tree.map(np.testing.assert_array_equal, encoder.params, expected)
    assert encoder.network == S3D()
    assert encoder.tokenizer == WordTokenizer({word: i for i, word in enumerate(words.tolist(), start=1)})
    for name in ("weights.pth", "words.npy"):
        assert f"{name} sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}" in encoder.provenance
    assert sorted(path.name for path in folder.iterdir()) == ["s3d", "weights.pth", "words.npy"]


def test_encoder_embeds_as_pytorch_does(converted):
    """The video embedding is compared with the recorded one; the text embedding must only depend on the words."""
    encoder = load_encoder(converted)
    clips = synthetic.structured_clips(2, *synthetic.CLIP_SHAPE, seed=1)
    with np.load(synthetic.RECORDED) as recorded:
        expected = recorded["video_embedding"]
    error = np.linalg.norm(jax.jit(embed_video)(encoder.params, clips) - expected) / np.linalg.norm(expected)
    assert error < 1e-4  # float32 through 40 layers
    one, other = embed_text(encoder.params, encoder.tokenizer.tokenize(["robot closing drawer", "a red box"]))
    assert np.linalg.norm(one - other) > 0.1 * np.linalg.norm(one)


@pytest.fixture
def refused(folder, tmp_path, capfd):
    """Runs the command with some files replaced; it must fail and leave nothing behind."""

    def run(message, weights=folder / "weights.pth", words=folder / "words.npy", out=tmp_path / "out" / "s3d"):
        out.parent.mkdir(exist_ok=True)
        before = sorted(out.parent.rglob("*"))
        assert main([str(weights), str(words), str(out)]) == 2
        error = capfd.readouterr().err
        assert re.search(message, error) and error.count("\n") == 1
        assert sorted(out.parent.rglob("*")) == before

    return run


def test_existing_out_is_refused(refused, tmp_path):
    (tmp_path / "there").mkdir()
    refused("there exists", out=tmp_path / "there")


def test_missing_files_are_refused(refused, tmp_path):
    refused("there is no file", weights=tmp_path / "none.pth")
    refused("there is no file", words=tmp_path / "none.npy")


def test_out_without_a_parent_is_refused(folder, tmp_path, capsys):
    paths = (folder / "weights.pth", folder / "words.npy", tmp_path / "none" / "s3d")
    assert main(list(map(str, paths))) == 2
    assert "is not a directory" in capsys.readouterr().err


def test_swapped_files_are_refused(refused, folder):
    refused("is not S3D's vocabulary", weights=folder / "words.npy", words=folder / "weights.pth")


def test_another_architecture_is_refused(refused, tmp_path):
    (tmp_path / "other.pth").write_bytes(torch_writer.legacy_file({"fc.weight": np.ones((4, 5), np.float32)}))
    refused(
        r"of 537 tensors expected, 536 missing: conv1.bn1.bias, .*fc.weight float32\[4, 5\] instead of",
        weights=tmp_path / "other.pth",
    )


def test_cut_off_weights_are_refused(refused, folder, tmp_path):
    with (folder / "weights.pth").open("rb") as file:
        (tmp_path / "cut.pth").write_bytes(file.read(REAL_SIZE // 3))
    refused("the file is truncated", weights=tmp_path / "cut.pth")


def test_disk_without_room_is_refused_before_the_work(refused, monkeypatch):
    """A limit on the size of files has the effect of a full disk."""
    monkeypatch.setattr("weights_convert.convert.read_torch_file", None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, hard))
    try:
        refused(r"out has no room for the 125 MB of an encoder \(File too large\); free some space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_failure_while_writing_leaves_nothing(refused, monkeypatch):
    """This happens on a full disk."""
    monkeypatch.setattr("weights_convert.convert.save_encoder", save_half)
    refused("no space left on device")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conv1.conv1.weight", np.nan, "conv1.conv1.weight is not finite"),
        ("text_module.word_embd.weight", -np.inf, "word_embd.weight is not finite"),
        ("mixed_5c.conv_b3_b.bn1.running_var", -1e-3, "running_var is negative"),
        ("conv_2b.bn1.num_batches_tracked", -1, "num_batches_tracked is negative"),
        ("fc.weight", 3e38, "fc.weight has values beyond 1e"),
        ("text_module.word_embd.weight", -1e20, "word_embd.weight has values beyond 1e"),
    ],
)
def test_damaged_values_are_refused(name, value, message, state, tmp_path):
    check_values(tmp_path / "weights.pth", state)
    damaged = state[name].copy()
    damaged.flat[-1] = value
    with pytest.raises(ValueError, match=message):
        check_values(tmp_path / "weights.pth", state | {name: damaged})


def test_list_of_damaged_tensors_is_cut(state, tmp_path):
    damaged = {name: np.full(2, np.nan, np.float32) for name in state}
    with pytest.raises(ValueError, match=r"conv1\.conv1\.weight is not finite everywhere, .* and 534 more") as error:
        check_values(tmp_path / "weights.pth", damaged)
    assert len(str(error.value)) - len(str(tmp_path)) < 300


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("conv1.weight", 3e38, r"conv1.conv1.weight has values beyond 1e\+18"),
        ("bn1.weight", 3e38, r"conv1.bn1.weight has values beyond 1e\+18"),
        ("bn1.running_var", -1e-3, "conv1.bn1.running_var is negative"),
        ("bn1.running_mean", np.inf, "conv1.bn1.running_mean is not finite"),
    ],
)
def test_damaged_weights_make_no_encoder(part, value, message, refused, state, monkeypatch):
    damaged = state | {f"conv1.{part}": np.full_like(state[f"conv1.{part}"], value)}
    monkeypatch.setattr("weights_convert.convert.read_torch_file", lambda *_: damaged)
    refused(message)


def test_folding_that_overflows_makes_no_encoder(refused, state, monkeypatch):
    """Each single weight is valid here."""
    monkeypatch.setattr("weights_convert.convert.MAX_ABS_VALUE", np.inf)
    damaged = state | {"conv1.conv1.weight": np.full_like(state["conv1.conv1.weight"], 3e38)}
    damaged["conv1.bn1.running_var"] = np.zeros_like(state["conv1.bn1.running_var"])
    monkeypatch.setattr("weights_convert.convert.read_torch_file", lambda *_: damaged)
    refused("folding batch norm conv1.bn1 into conv1.conv1.weight gives values that float32 cannot represent")


def test_prefix_is_named_in_a_short_line(state, folder, tmp_path, capfd):
    """DataParallel adds this prefix to each of the 537 names."""
    arrays = {f"module.{name}": np.zeros(1, np.float32) for name in state}
    (tmp_path / "prefix.pth").write_bytes(torch_writer.legacy_file(arrays))
    assert main([str(tmp_path / "prefix.pth"), str(folder / "words.npy"), str(tmp_path / "s3d")]) == 2
    error = capfd.readouterr().err
    assert "all 537 names begin with 'module.'" in error and error.count("\n") == 1
    assert len(error) - len(str(tmp_path)) < 300 and not (tmp_path / "s3d").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "b"]),
        np.zeros(VOCABULARY_SIZE, "S22"),
        np.zeros(VOCABULARY_SIZE, np.int64),
        np.zeros((VOCABULARY_SIZE, 1), "U2"),
        np.array(["a", None], dtype=object),
    ],
    ids=["short", "bytes", "numbers", "two axes", "objects"],
)
def test_another_vocabulary_is_refused(array, refused, tmp_path):
    np.save(tmp_path / "words.npy", array)
    refused(
        rf"is not S3D's vocabulary: .*string array of shape \({VOCABULARY_SIZE},\)",
        words=tmp_path / "words.npy",
    )


def test_damaged_vocabulary_is_refused_or_means_the_same(folder, words, tmp_path):
    """Flips each bit of the magic and every 5th of the header; also truncated, too long, and an invalid character."""
    data = (folder / "words.npy").read_bytes()
    path = tmp_path / "words.npy"
    header = len(data) - words.nbytes
    flips = [(bit // 8, data[bit // 8] ^ 1 << bit % 8) for bit in [*range(80), *range(80, 8 * header, 5)]]
    for at, byte in flips:
        path.write_bytes(data[:at] + bytes([byte]) + data[at + 1 :])
        try:
            assert read_vocabulary(path) == words.tolist()
        except ValueError as error:
            assert "is not S3D's vocabulary" in str(error) and "\n" not in str(error)
    for damaged in (
        data[:-1],
        data[: header - 1],
        data + b"\0",
        data[:header] + b"\xff" * 4 + data[header + 4 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not S3D's vocabulary"):
            read_vocabulary(path)


def with_words(words, **changed):
    """Returns the list with the words of some ids (`id7="x"`) replaced."""
    changed_words = words.tolist()
    for name, word in changed.items():
        changed_words[int(name.removeprefix("id")) - 1] = word
    return np.array(changed_words)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id7": "dra\ud800wer"}, r"1 of its words are not valid text.*'dra\\ud800wer' \(id 7\)"),
        ({"id5": "\udfff", "id66249": "\udc80"}, r"2 of its words are not valid text.*\(id 5\), .*\(id 66249\)"),
        ({"id9": "a\0b"}, r"'a\\x00b' \(id 9\)"),
        ({f"id{i}": "\ud800" for i in range(1, 1000)}, "999 of its words are not valid text.* and 996 more"),
        ({f"id{i}": "" for i in range(1, 1000)}, "998 of its words repeat another one; '' occurs 999 times"),
        ({"id3": "x" * 201}, "it has words of 201 characters, over 200"),
    ],
    ids=["surrogate", "two surrogates", "NUL", "999 surrogates", "emptied", "long"],
)
def test_words_that_are_none_are_refused(changed, message, words, tmp_path):
    np.save(tmp_path / "words.npy", with_words(words, **changed))
    with pytest.raises(ValueError, match=message) as error:
        read_vocabulary(tmp_path / "words.npy")
    assert len(str(error.value)) - len(str(tmp_path)) < 400 and str(error.value).isprintable()


def test_odd_words_are_read_as_they_are(words, tmp_path):
    """Upper case, decomposed accents, a repeated word and an empty one are harmless."""
    odd = with_words(words, id20="Drawer", id21="cafe\u0301", id22=words[30], id23="")
    np.save(tmp_path / "words.npy", odd)
    assert read_vocabulary(tmp_path / "words.npy") == odd.tolist()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<U22', 'fortran_order': False, 'shape': (99999999999999,)}", "not S3D's vocabulary"),
        ("{'descr': '<U99999999', 'fortran_order': False, 'shape': (66249,)}", "not S3D's vocabulary"),
        ("{'descr': '<U22', 'fortran_order': False, 'shape': (" + "9," * 30_000 + ")}", "not S3D's vocabulary"),
    ],
)
def test_vocabulary_that_claims_to_be_huge_takes_no_memory(header, message, tmp_path):
    data = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header.encode()
    (tmp_path / "words.npy").write_bytes(data + bytes(1000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as error:
            read_vocabulary(tmp_path / "words.npy")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value) and len(str(error.value)) - len(str(tmp_path)) < 500


def test_archive_of_arrays_is_no_vocabulary(tmp_path):
    np.savez(tmp_path / "words.npz", np.array(["a"]))
    with pytest.raises(ValueError, match=r"it does not begin like a \.npy file"):
        read_vocabulary(tmp_path / "words.npz")


@pytest.mark.parametrize("arguments", [[], ["a.pth"], ["a.pth", "b.npy"], ["a", "b", "c", "--download", "d"]])
def test_incomplete_command_lines_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and "--download" in error and error.count("\n") == 1


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0 and "Orbax" in out and "s3d_howto100m.pth" in out and "131 MB" in out


@pytest.mark.parity
def test_names_in_the_file_are_those_of_the_pytorch_model(state):
    """`load_state_dict` of the reference accepts the synthetic file, as it would the real one."""
    torch = pytest.importorskip("torch")
    from benchmarks.torch_s3d import S3D

    with torch.device("meta"):
        model = S3D()
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    assert not any(dataclasses.asdict(_Keys(*model.load_state_dict(tensors, assign=True))).values())


@dataclasses.dataclass
class _Keys:
    missing: list
    unexpected: list
