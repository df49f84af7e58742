"""Oracles: the arrays that were written, and torch.save."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest

from tests.weights_convert import assembler, torch_writer
from weights_convert.torch_file import read_torch_file

STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7,
    "fc.weight": np.linspace(-1, 1, 300, dtype=np.float32).reshape(20, 15),
    "bn.num_batches_tracked": np.array(12, np.int64),
}
SPEC = {name: (array.shape, str(array.dtype)) for name, array in STATE.items()}
WRITERS = {"legacy": torch_writer.legacy_file, "zip": torch_writer.zip_file}


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads bytes as a file."""

    def read_bytes(data, spec=SPEC):
        (tmp_path / "weights.pth").write_bytes(data)
        return read_torch_file(tmp_path / "weights.pth", spec)

    return read_bytes


def assert_same(got, expected=STATE):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape
        np.testing.assert_array_equal(got[name], array)


def assert_refused(read, data, message="weights.pth cannot be read", spec=SPEC):
    with pytest.raises(ValueError, match=message) as error:
        read(data, spec)
    assert "weights.pth cannot be read" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("writer", WRITERS)
def test_reads_what_was_written(writer, read):
    assert_same(read(WRITERS[writer](STATE)))


@pytest.mark.parametrize("writer", WRITERS)
def test_reads_permuted_axes(writer, read):
    """Weights that were converted from another framework may be saved transposed."""
    state = STATE | {"conv.weight": np.ascontiguousarray(STATE["conv.weight"].transpose(2, 0, 1)).transpose(1, 2, 0)}
    assert not state["conv.weight"].flags.c_contiguous
    assert_same(read(WRITERS[writer](state)))


def test_reads_what_python_2_wrote(read):
    """Python 2 wrote byte strings, and an OrderedDict made of a list of lists."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    values = np.arange(6, dtype=np.float32)
    pairs = [b"](" + text(name) + assembler.tensor() + b"e" for name in (b"one", b"two")]
    state = assembler.ORDERED_DICT + b"](" + b"".join(pairs) + b"e" + assembler.TUPLE1 + assembler.REDUCE
    start = b"".join(torch_writer.dump(value) for value in (0x1950A86A20F9469CFC6C, 1001))
    system, keys = b"}(" + text(b"little_endian") + b"\x88u", b"](" + text(b"0") + b"e"
    data = start + b"".join(b"\x80\2" + part + b"." for part in (system, state, keys))
    got = read(data + np.int64(6).tobytes() + values.tobytes(), {name: ((2, 3), "float32") for name in ("one", "two")})
    assert_same(got, {name: values.reshape(2, 3) for name in ("one", "two")})


@pytest.mark.parity
@pytest.mark.parametrize("new", [False, True], ids=["legacy", "zip"])
def test_reads_what_torch_saves(new, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "torch.pth"
    state = collections.OrderedDict((name, torch.tensor(array)) for name, array in STATE.items())
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    torch.save(state, path, _use_new_zipfile_serialization=new)
    assert_same(read_torch_file(path, SPEC))


@pytest.mark.parity
@pytest.mark.parametrize("writer", WRITERS)
def test_torch_reads_what_the_tests_write(writer, tmp_path):
    torch = pytest.importorskip("torch")
    (tmp_path / "ours.pth").write_bytes(WRITERS[writer](STATE))
    got = torch.load(tmp_path / "ours.pth", weights_only=False)
    assert_same({name: tensor.numpy() for name, tensor in got.items()})


@pytest.mark.parametrize("writer", WRITERS)
def test_file_cut_off_anywhere_is_refused(writer, read):
    data = WRITERS[writer](STATE)
    for length in range(0, len(data), 7):
        assert_refused(read, data[:length])


def test_longer_file_is_refused(read):
    assert_refused(read, torch_writer.legacy_file(STATE) + b"\0", "continues after its last storage")


def test_header_with_one_bit_flipped_is_refused_or_means_the_same(read):
    """Some flips hit data without effect, such as the version of a module."""
    data = torch_writer.legacy_file(STATE)
    header = len(data) - sum(8 + array.nbytes for array in STATE.values())
    refused = 0
    for bit in range(0, 8 * header, 7):  # reaches every bit position within a byte
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            got = read(bytes(damaged))
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert_same(got)
    assert refused > 0.7 * 8 * header / 7


def test_all_that_is_wrong_is_in_one_error(read):
    state = {
        "conv.weight": STATE["conv.weight"][:, :, :2].copy(),
        "bn.num_batches_tracked": np.zeros((), np.float32),
        "head.weight": np.ones(3, np.float32),
        "head.bias": np.ones(3, np.float32),
    }
    with pytest.raises(ValueError) as error:
        read(torch_writer.legacy_file(state))
    for part in (
        "of 3 tensors expected",
        "1 missing: fc.weight",
        "2 not expected: 'head.bias', 'head.weight'",
        "conv.weight float32[2, 3, 2] instead of float32[2, 3, 4]",
        "bn.num_batches_tracked float32[] instead of int64[]",
    ):
        assert part in str(error.value)


def test_storage_with_another_count_than_its_tensor_is_refused(read):
    data = torch_writer.legacy_file(STATE)
    payload = sum(8 + array.nbytes for array in STATE.values())
    damaged = data[:-payload] + b"\1" + data[1 - payload :]
    assert_refused(read, damaged, "says it has 1 elements, but its tensor says 24")


def test_half_precision_is_refused_by_name(read):
    state = STATE | {"conv.weight": STATE["conv.weight"].astype(np.float16)}
    assert_refused(read, torch_writer.legacy_file(state), "torch.HalfStorage, which is refused")


class Evil:
    """Creates a directory when an ordinary unpickler reads it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_the_file_is_refused_by_name_and_not_run(read, tmp_path):
    evil = pickle.dumps({"conv.weight": Evil(tmp_path / "made")}, protocol=2)
    header = [torch_writer.dump(value) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    assert_refused(read, b"".join([*header, evil]), r"posix\.mkdir, which is refused")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("s3d/data.pkl", evil)
    assert_refused(read, (tmp_path / "evil.zip").read_bytes(), r"posix\.mkdir, which is refused")
    assert not (tmp_path / "made").exists()
    pickle.loads(evil)  # proves that this file would run code
    assert (tmp_path / "made").exists()


def test_storage_of_two_sizes_is_refused(read, monkeypatch):
    """Otherwise the smaller one would be read past its end."""
    monkeypatch.setattr(torch_writer, "Storage", FixedKey)
    monkeypatch.setattr(torch_writer.Pickler, "persistent_id", lambda _, obj: getattr(obj, "pid", None))
    assert_refused(read, torch_writer.zip_file(STATE), "two sizes or dtypes")


class FixedKey(torch_writer.Storage):
    def __init__(self, *pid):
        super().__init__(*pid[:2], "0", *pid[3:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin like a file of torch.save"),
        (b"\x93NUMPY", "does not begin like a file of torch.save"),
        (torch_writer.legacy_file(STATE)[:40], "header is truncated or damaged"),
        (torch_writer.zip_file(STATE, zipfile.ZIP_DEFLATED), "compressed"),
        (torch_writer.legacy_file(STATE)[:-3], "the file is truncated"),
    ],
    ids=["empty", "npy", "header cut off", "compressed", "payload cut off"],
)
def test_other_files_are_refused(data, message, read):
    assert_refused(read, data, message)


def test_zip_with_a_bit_flipped_in_a_storage_is_refused(read):
    data = bytearray(torch_writer.zip_file(STATE))
    at = bytes(data).index(STATE["fc.weight"].tobytes())
    data[at + 100] ^= 1
    assert_refused(read, bytes(data), "CRC")
