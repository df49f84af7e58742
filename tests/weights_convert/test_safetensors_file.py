"""Oracles: the arrays that were written, and the library `safetensors`."""

import json
import tracemalloc

import numpy as np
import pytest

from tests.weights_convert.expectations import assert_refused, assert_same_arrays
from tests.weights_convert.safetensors_writer import header_of, safetensors_file, with_header
from weights_convert.safetensors_file import is_safetensors, read_safetensors

STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7,
    "fc.weight": np.linspace(-1, 1, 6, dtype=np.float16).reshape(2, 3),
    "position_ids": np.arange(3)[None],
    "scale": np.array(4.6, np.float32),
}
DATA = b"".join(array.tobytes() for array in STATE.values())


@pytest.fixture
def read(tmp_path):
    def read_bytes(data, select=list):
        (tmp_path / "model.safetensors").write_bytes(data)
        return read_safetensors(tmp_path / "model.safetensors", select, "CLIP")

    return read_bytes


@pytest.fixture
def refuse(read):
    def run(data, message):
        assert_refused(read, data, message, "model.safetensors")

    return run


def assert_same(got, expected=STATE):
    assert_same_arrays(got, expected)


def test_reads_what_was_written(read, tmp_path):
    assert_same(read(safetensors_file(STATE)))
    assert is_safetensors(tmp_path / "model.safetensors")


def test_reads_what_is_chosen(read):
    got = read(safetensors_file(STATE), lambda found: [name for name, (shape, _) in found.items() if len(shape) == 2])
    assert_same(got, {name: STATE[name] for name in ("fc.weight", "position_ids")})


def test_bfloat16_is_the_upper_half_of_float32(read):
    values = np.array([0, 1, -2.5, 3e38, 1e-40], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    header = {"a": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}
    got = read(with_header(header, upper.tobytes()))["a"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[:4], values[:4], rtol=2**-7)


@pytest.mark.parity
def test_reads_what_the_library_writes(read, tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(STATE, tmp_path / "library.safetensors", {"format": "pt"})
    assert_same(dict(sorted(read((tmp_path / "library.safetensors").read_bytes()).items())), STATE)
    (tmp_path / "ours.safetensors").write_bytes(safetensors_file(STATE))
    assert_same(dict(sorted(library.load_file(tmp_path / "ours.safetensors").items())), STATE)


def test_file_cut_off_anywhere_is_refused(refuse):
    data = safetensors_file(STATE)
    for length in range(0, len(data), 5):
        refuse(data[:length], "cannot be read")
    refuse(data[:-1], "the file is truncated")
    refuse(data[:50], "ends in its safetensors header; the file is truncated")


def test_longer_file_is_refused(refuse):
    refuse(safetensors_file(STATE) + b"\0", "continues after its last tensor")


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def changed(name, **fields):
    header = header_of(STATE)
    header[name] = header[name] | fields
    return header


BAD_HEADERS = {
    "list": ([], "not a JSON object"),
    "no JSON": (b"{oops}", "header is damaged"),
    "no text": (b"{\xff}", "header is damaged"),
    "deep": (b"{" + b'"a":{' * 50_000, "header is damaged"),
    "number of digits": (b'{"a":' + b"1" * 10_000 + b"}", "header is damaged"),
    "name twice": (b'{"a":1,"a":2}', "a name occurs twice"),
    "entry": ({"a": 3}, "entry of 'a' is not a dtype, a shape and two offsets"),
    "field missing": ({"a": {"dtype": "F32", "shape": [2]}}, "is not a dtype, a shape"),
    "field more": ({"a": entry(more=1)}, "is not a dtype, a shape"),
    "three offsets": ({"a": entry(offsets=(0, 8, 9))}, "is not a dtype, a shape"),
    "negative": ({"a": entry(shape=(-2,))}, "is not a dtype, a shape"),
    "truth": ({"a": entry(shape=(True,), offsets=(0, 4))}, "is not a dtype, a shape"),
    "fraction": ({"a": entry(shape=(2.0,))}, "is not a dtype, a shape"),
    "nine axes": ({"a": entry(shape=(1,) * 9, offsets=(0, 4))}, "is not a dtype, a shape"),
    "beyond 64 bits": ({"a": entry(shape=(2**64,))}, "is not a dtype, a shape"),
    "dtype": ({"a": entry(dtype="F8_E4M3")}, "has the dtype 'F8_E4M3', expected one of"),
    "size": (changed("fc.weight", shape=[2, 2]), "'fc.weight' has 12 bytes, expected 8"),
    "huge": ({"a": entry(shape=(2**62,) * 8)}, "'a' has 8 bytes, expected"),
    "backwards": ({"a": entry(shape=(0,), offsets=(8, 0))}, "'a' has -8 bytes, expected 0"),
    "overlap": (changed("fc.weight", data_offsets=[0, 12]), "begins at byte"),
    "gap": ({"a": entry(offsets=(8, 16))}, "begins at byte 8, expected 0"),
    "control characters": ({"\x1b[2J\n" * 10**4: 3}, r"'\\x1b\[2J\\n.*\(50000 characters\)"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_bad_header_is_refused(name, refuse):
    header, message = BAD_HEADERS[name]
    refuse(with_header(header, DATA), message)


def test_header_that_claims_to_be_huge_takes_no_memory(refuse):
    tracemalloc.start()
    try:
        refuse((2**39).to_bytes(8, "little") + b"{" + bytes(100), "header has 549755813888 bytes, over 1048576")
        refuse(with_header({f"tensor{i}": entry() for i in range(10_000)}, DATA), "begins at byte 0, expected 8")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_bytes_changed_at_random_are_refused_or_read(read):
    """The format has no checksums: a changed number in the tensors is not seen, but nothing else goes wrong."""
    draw, whole, refused = np.random.RandomState(0), safetensors_file(STATE), 0
    for _ in range(300):
        data = bytearray(whole)
        data[draw.randint(len(data) - len(DATA))] ^= 1 << draw.randint(8)
        try:
            got = read(bytes(data))
        except ValueError as error:
            assert str(error).isprintable() and "cannot be read as CLIP's weights" in str(error)
            refused += 1
        else:
            assert sum(array.size for array in got.values()) >= sum(array.size for array in STATE.values()) // 2
    assert refused > 200


def test_names_that_are_not_those_expected_are_refused(read):
    def select(found):
        raise ValueError(f"found {json.dumps(sorted(found))}")

    with pytest.raises(ValueError, match=r'cannot be read as CLIP\'s weights: found \["conv.weight"'):
        read(safetensors_file(STATE), select)


@pytest.mark.parametrize("data", [b"", b"{}", b"PK\3\4" + bytes(20), bytes(8) + b"[", b"\xff" * 8 + b"{"])
def test_other_files_are_recognised(data, tmp_path):
    (tmp_path / "other").write_bytes(data)
    assert not is_safetensors(tmp_path / "other")
