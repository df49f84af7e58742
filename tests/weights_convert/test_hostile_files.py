"""Files that are made to hang the reader, to fill memory or the screen, or to hide their content.

Each is refused with a short line, in bounded time and memory. The bounds are far above the measured costs (at most 0.3
s and 60 MB) and far below those of an ordinary unpickler for some of the files.
"""

import contextlib
import io
import random
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from tests.weights_convert import torch_writer
from tests.weights_convert.assembler import (
    BUILD,
    DICT,
    EMPTY_TUPLE,
    LIST,
    MARK,
    ORDERED_DICT,
    REBUILD,
    REDUCE,
    STOP,
    TUPLE,
    TUPLE1,
    TUPLE2,
    dictionary,
    get,
    named,
    number,
    numbers,
    put,
    storage,
    tensor,
    text,
)
from weights_convert.torch_file import read_torch_file

STATE = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bn.count": np.array(12, np.int64)}
SPEC = {name: (array.shape, str(array.dtype)) for name, array in STATE.items()}
MAX_CPU_SECONDS = 4
MAX_MEMORY_BYTES = 200e6
MAX_LINE_LENGTH = 560  # characters: 500 of the reason, and the text around it


def nested_tuple(depth: int) -> bytes:
    """Returns a tuple whose levels each contain the level below twice, by reference."""
    return EMPTY_TUPLE + put(0) + b"".join(get(i) + get(i) + TUPLE2 + put(i + 1) for i in range(depth))


def numbered(count: int, value: bytes = b"N", start: bytes = b"") -> bytes:
    return dictionary(*(named(b"%s%d" % (start, i), value) for i in range(count)))


PICKLES = {
    "key hashed in exponential time": (dictionary(nested_tuple(60), b"N"), "tuple as a dictionary's key"),
    "the same key set alone": (DICT + MARK + nested_tuple(60) + TUPLE + b"Ns", "tuple as a dictionary's key"),
    "keys with one hash": (
        dictionary(*(number(i * (2**61 - 1)) + b"N" for i in range(1, 40_000))),
        "int as a dictionary's key",
    ),
    "dictionary copied again and again": (
        numbered(30_000) + put(0) + (ORDERED_DICT + get(0) + TUPLE1 + REDUCE) * 4000,
        "OrderedDict with arguments that are not pairs",
    ),
    "pairs copied again and again": (
        LIST + MARK + (b"K\1K\1" + TUPLE2) * 20_000 + b"e" + put(0) + (ORDERED_DICT + get(0) + TUPLE1 + REDUCE) * 4000,
        "instructions",
    ),
    "long shape used again and again": (
        numbers([1] * 50_000) + put(0) + (REBUILD + MARK + storage() + b"K\0" + get(0) * 2 + b"\x89}tR") * 5000,
        "malformed tensor",
    ),
    "marks": (MARK * 2**20, "instructions"),
    "attributes of one dictionary": (DICT + put(0) + (get(0) + BUILD) * 2**18, "instructions"),
    "deep tuple": (b"N" + TUPLE1 * 90_000, "type tuple"),
    "list in itself": (LIST + put(0) + (get(0) + b"a") * 40_000, "type list"),
    "one dictionary under many names": (
        dictionary(named(b"a", numbered(15_000) + put(0)), *(named(b"%d" % i, get(0)) for i in range(15_000))),
        "no dictionary of tensors: 15001 of its 15001 entries are no tensors: 'a', '0', '1' and 14998 more",
    ),
    "number of 16 MB": (b"\x8b" + struct.pack("<I", 2**24 - 100) + b"\1" * (2**24 - 100), "instruction LONG4"),
    "number of 254 bytes": (number(1 << 8 * 253), "integer of 2025 bits"),
    "digits": (b"L" + b"1" * 2**20 + b"L\n", "truncated or damaged"),
    "text of 2**62 bytes": (b"\x8d" + struct.pack("<Q", 2**62), "truncated or damaged"),
    "frame of 2**62 bytes": (b"\x95" + struct.pack("<Q", 2**62) + DICT, "2 missing"),
    "memo of 2**32 entries": (DICT + put(2**32 - 1), "2 missing"),
    "reference to nothing": (get(7), "damaged"),
    "operand missing": (TUPLE2, "damaged"),
    "mark missing": (TUPLE, "damaged"),
    "mark left": (MARK + DICT, "does not end in one value"),
    "nothing": (b"", "does not end in one value"),
    "key without a value": (dictionary(text(b"a")), "damaged"),
    "extension": (b"\x82\1", "instruction EXT1"),
    "buffer": (b"\x97", "instruction NEXT_BUFFER"),
    "copy of the stack's top": (DICT + b"2", "instruction DUP"),
    "set": (b"\x8f", "instruction EMPTY_SET"),
    "class made": (ORDERED_DICT + EMPTY_TUPLE + b"\x81", "instruction NEWOBJ"),
    "class made by name": (MARK + b"ios\nsystem\n", "instruction INST"),
    "number called": (b"K\1" + EMPTY_TUPLE + REDUCE, "damaged"),
    "dtype called": (b"ctorch\nFloatStorage\n" + EMPTY_TUPLE + REDUCE, "calls torch.FloatStorage, which is refused"),
    "unknown instruction": (b"\xff", "truncated or damaged"),
    "name of 16 MB": (
        dictionary(named(b"a" * (2**24 - 300), tensor())),
        r"2 missing.*'a{30}'\.\.\. \(16776916 characters\)",
    ),
    "global of 8 MB": (b"c" + b"m" * 2**22 + b"\n" + b"n" * 2**22 + b"\n", r"asks for m{60}\.\.\. \(8388609 char"),
    "global that clears the screen": (b"cos\n\x1b[2J\r\x07\n", r"asks for os\.\\x1b\[2J\\r\\x07, which"),
    "name of several lines": (dictionary(named(b"a\nb\n\x1b", tensor())), r"'a\\nb\\n\\x1b'"),
    "name that is half a character": (dictionary(named(b"\xed\xa0\x80", tensor())), r"'\\ud800'"),
    "storage key of 8 MB": (
        dictionary(named(b"conv.weight", tensor(key=b"k" * 2**23)), named(b"bn.count", tensor((), (), size=1))),
        "of another shape or dtype: bn.count",
    ),
    "many names": (
        dictionary(named(b"n0", tensor() + put(9)), *(named(b"n" * 300 + b"%d" % i, get(9)) for i in range(40_000))),
        "2 missing.*40001 not expected: 'n0', 'n{30}'.* and 39999 more",
    ),
    "huge axes": (
        dictionary(named(b"conv.weight", tensor((2**62,) * 8, (2**62,) * 8))),
        r"float32\[4611686018427387904, .*\.\.\. \(\d+ characters\)",
    ),
    "shape beyond 64 bits": (dictionary(named(b"a", tensor((2**64,), (1,)))), "malformed tensor"),
    "negative stride": (dictionary(named(b"a", tensor((6,), (-1,)))), "malformed tensor"),
    "nine axes": (dictionary(named(b"a", tensor((1,) * 9, (1,) * 9))), "malformed tensor"),
    "tensor that is to be negated": (
        dictionary(named(b"a", tensor()[:-2] + DICT + TUPLE + REDUCE)),
        "marked as negated or conjugated",
    ),
    "storage that is a part of another": (
        dictionary(named(b"a", storage()[:-2] + DICT + TUPLE + b"Q")),
        "something other than a whole float32 or int64 storage",
    ),
}

ONE_TENSOR = dictionary(named(b"a", tensor()))
WRAPPED = {
    "state_dict": (dictionary(named(b"epoch", b"K\3"), named(b"state_dict", ONE_TENSOR)), "epoch"),
    "two levels": (dictionary(named(b"net", dictionary(named(b"model", ONE_TENSOR)))), "nothing"),
    "beside an optimizer's": (
        dictionary(
            named(b"optimizer", dictionary(named(b"state", dictionary(b"K\0" + ONE_TENSOR)))),
            named(b"model", dictionary(named(b"a", tensor()), named(b"b", tensor()))),
        ),
        "optimizer",
    ),
    "a key of 1 MB": (dictionary(named(b"k" * 2**20, ONE_TENSOR)), "nothing"),
}  # fmt: skip
PATHS = {
    "state_dict": "['state_dict']", "two levels": "['net']['model']", "beside an optimizer's": "['model']",
    "a key of 1 MB": "['" + "k" * 30 + "'... (1048576 characters)]",
}  # fmt: skip


@contextlib.contextmanager
def quick():
    """Fails if the block takes too much time."""
    start = time.process_time()
    yield
    assert time.process_time() - start < MAX_CPU_SECONDS


@contextlib.contextmanager
def small():
    """Fails if the block takes too much memory. Python is several times slower in this block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
    finally:
        tracemalloc.stop()


@pytest.fixture
def refuse(tmp_path):
    """Reads bytes as a file, which must be refused with a short line that matches."""

    def read(data: bytes, message: str) -> str:
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        with quick(), pytest.raises(ValueError, match=message) as error:
            read_torch_file(path, SPEC)
        line = str(error.value)
        assert line.startswith(f"{path} cannot be read") and line.isprintable()
        assert len(line) - len(str(path)) < MAX_LINE_LENGTH
        return line

    return read


def zip_of(members, **options) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def in_zip(pickled: bytes) -> bytes:
    return zip_of([("s3d/data.pkl", b"\x80\2" + pickled + STOP)])


def in_legacy(pickled: bytes) -> bytes:
    start = [torch_writer.dump(value) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*start, b"\x80\2", pickled, STOP])


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickle_is_refused(name, refuse):
    pickled, message = PICKLES[name]
    refuse(in_zip(pickled), message)


@pytest.mark.parametrize("name", ["key hashed in exponential time", "marks", "many names"])
def test_hostile_pickle_of_the_older_layout_is_refused(name, refuse):
    pickled, message = PICKLES[name]
    refuse(in_legacy(pickled), message)


@pytest.mark.parametrize(
    "name",
    ["dictionary copied again and again", "pairs copied again and again", "number of 16 MB", "name of 16 MB", "marks"],
)
def test_hostile_pickle_takes_little_memory(name, tmp_path):
    (tmp_path / "weights.pth").write_bytes(in_zip(PICKLES[name][0]))
    with small(), pytest.raises(ValueError, match="cannot be read"):
        read_torch_file(tmp_path / "weights.pth", SPEC)


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_state_dict_is_named(name, refuse):
    """If there are several, the largest one is named."""
    pickled, beside = WRAPPED[name]
    line = refuse(in_zip(pickled), "its state dict lies inside a dictionary")
    assert f"under {PATHS[name]} (beside it: " in line and beside in line
    assert f"torch.save(torch.load(FILE){PATHS[name]}, NEW)" in line


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.module.", "net_", "a\nb.", "é."])
@pytest.mark.parametrize("writer", [torch_writer.legacy_file, torch_writer.zip_file])
def test_prefix_of_all_names_is_named(writer, prefix, refuse):
    state = {prefix + name: array for name, array in STATE.items()}
    line = refuse(writer(state), "all 2 names begin with")
    assert f"begin with {prefix!r}" in line and f"removeprefix({prefix!r})" in line


def test_prefix_of_most_names_is_named(refuse):
    state = {f"module.{name}": array for name, array in STATE.items()} | {"head.bias": STATE["bn.count"]}
    refuse(torch_writer.zip_file(state), "2 of 3 names begin with 'module.'")


@pytest.mark.parametrize("strides", [(0, 0), (0, 1), (1, 1), (1, 3), (2**62, 1), (3, 2)])
def test_tensor_that_does_not_fill_its_storage_is_refused_before_it_is_read(strides, refuse):
    """Tests overlapping, repeated and sparse elements; the storage claims 2**59 elements, which no file holds."""
    conv = named(b"conv.weight", tensor(strides=strides, size=2**59))
    count = named(b"bn.count", tensor((), (), size=1).replace(b"FloatStorage", b"LongStorage"))
    refuse(in_zip(dictionary(conv, count)), "conv.weight does not fill its storage of 576460752303423488 elements")


def good_members():
    with zipfile.ZipFile(io.BytesIO(torch_writer.zip_file(STATE))) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_zip_with_two_pickles_is_refused_for_that(refuse):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zip_of([*good_members(), ("s3d/data.pkl", b"")])
    refuse(twice, "more than one member of the name 's3d/data.pkl'")
    two = zip_of([*good_members(), ("other/data.pkl", b"")])
    refuse(two, "2 files data.pkl \\('s3d/data.pkl', 'other/data.pkl'\\); torch.save writes one")
    many = zip_of([*good_members(), *((f"{'f' * 200}{i}/data.pkl", b"") for i in range(100))])
    refuse(many, "101 files data.pkl .* and 98 more")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "without the data.pkl of torch.save \\(it is empty\\)"),
        ([("a.npy", b""), ("b.npy", b"")], "without the data.pkl of torch.save \\(its members: 'a.npy', 'b.npy'\\)"),
        ([("data.pkl", b"")], "with 'data.pkl'; torch.save writes it in one folder"),
        ([("a/b/data.pkl", b"")], "with 'a/b/data.pkl'; torch.save writes it in one folder"),
        ([("s3d/data.pkl", b""), ("s3d/constants.pkl", b"")], "TorchScript archive of torch.jit.save"),
        ([("s3d/data.pkl", b""), ("s3d/byteorder", b"big")], "little-endian machine: its byteorder says 'big'"),
        ([("s3d/data.pkl", b""), ("s3d/byteorder", b"x" * 10**6)], "its byteorder says 1000000 bytes"),
        ([("s3d/data.pkl", bytes(2**24 + 1))], "its data.pkl has 16777217 bytes, over 16777216"),
        ([*good_members()[:2], *good_members()[3:]], "it has no member 's3d/data/0', the storage of a tensor"),
        ([(f"s3d/data/{i:0200}", b"") for i in range(10_000)], "its list of members has \\d+ bytes, over"),
    ],
    ids=[
        "empty", "npz", "no folder", "two folders", "TorchScript", "big-endian", "large byteorder", "large pickle",
        "storage missing", "list of members of 2 MB",
    ],
)  # fmt: skip
def test_zip_is_refused_for_what_it_is(members, message, refuse):
    refuse(zip_of(members), message)


def test_compressed_zip_is_refused_before_it_is_inflated(refuse):
    """The archive holds 64 MB of zeros in 64 kB."""
    bomb = zip_of([("s3d/data.pkl", bytes(2**26))], compression=zipfile.ZIP_DEFLATED)
    with small():
        refuse(bomb, "compressed ZIP archive")


def test_encrypted_zip_is_refused(refuse):
    """The flag is set in both places where ZIP stores it."""
    data = zip_of(good_members())
    for start in (b"PK\3\4\x14\0", b"PK\1\2\x14\3\x14\0"):
        data = data.replace(start + b"\0", start + b"\1")
    refuse(data, "encrypted ZIP archive")


def test_zip_that_lies_about_sizes_is_refused(refuse):
    """Changes the 32-bit sizes in the list of members, for data.pkl, byteorder and the storages."""
    data, lie = zip_of(good_members()), struct.pack("<I", 2**31)
    at = data.index(b"PK\1\2")
    for _ in range(4):
        refuse(data[: at + 20] + lie * 2 + data[at + 28 :], "2147483648 bytes")
        at = data.index(b"PK\1\2", at + 1)


def test_stored_member_of_two_sizes_is_refused(refuse):
    """Otherwise zipfile would read as many bytes as the compressed size says."""
    data = zip_of(good_members())
    at = data.index(b"PK\1\2") + 20
    refuse(data[:at] + struct.pack("<I", 2**31) + data[at + 4 :], "compressed ZIP archive")


def test_cut_off_zip_is_refused_for_that(refuse):
    refuse(zip_of(good_members())[:-30], "ZIP archive without an end; the file is truncated")


@pytest.mark.parametrize("writer", [torch_writer.legacy_file, torch_writer.zip_file])
def test_bytes_changed_at_random_are_refused_or_mean_the_same(writer, tmp_path):
    """Changes, removes or inserts up to two bytes at up to eight places; 300 files take at most 4 s and 200 MB."""
    draw, path, whole = random.Random(0), tmp_path / "weights.pth", writer(STATE)
    refused = 0
    with quick(), small():
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(draw.randint(1, 8)):
                at = draw.randrange(len(data))
                data[at : at + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
            path.write_bytes(data)
            try:
                got = read_torch_file(path, SPEC)
            except ValueError as error:
                assert len(str(error)) - len(str(path)) < MAX_LINE_LENGTH and str(error).isprintable()
                refused += 1
            else:
                assert {name: (array.shape, str(array.dtype)) for name, array in got.items()} == SPEC
    assert refused > 200
