"""Truncated files are refused, and appended bytes are ignored. The oracle is what the whole file shows."""

import av
import numpy as np
import pytest

from rcjax.video_io import read_video
from tests.video_files import boxes, encode, moving_blocks

FRAMES = moving_blocks()[:8]
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
KINDS = {
    "index last": ("a.mp4", "libx264", {}),
    "index first": ("a.mp4", "libx264", {"movflags": "faststart"}),
    "QuickTime": ("a.mov", "mpeg4", {}),
    "fragments": ("a.mp4", "libx264", FRAGMENTS),
    "WebM": ("a.webm", "libvpx-vp9", {}),
    "live WebM": ("a.webm", "libvpx-vp9", {"live": "1"}),
    "live Matroska": ("a.mkv", "libx264", {"live": "1"}),
    "AVI": ("a.avi", "mpeg4", {}),
}
NOT_THE_MOVIE = {
    "text": b"some text that a server has appended",
    "newline": b"\n",
    "zeros": bytes(3000),
    "few zeros": bytes(9),
    "ID3": b"TAG" + b"a" * 125,
    "noise": np.random.default_rng(5).bytes(3000),
    "ones": b"\xff" * 100,
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "an unknown box": b"\x00\x00\x00\x10sefd12345678",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The name, the bytes and the frames of each kind of file."""
    made = {}
    for kind, (name, codec, options) in KINDS.items():
        path = tmp_path_factory.mktemp("made") / name
        encode(path, FRAMES, codec, codec_options={"g": "3"}, **options)
        made[kind] = (name, path.read_bytes(), read_video(path))
        assert made[kind][2].shape == FRAMES.shape
    return made


def read_or_refuse(path, data):
    """Returns the frames of a file of these bytes, or None if it is refused because it cannot be read in full."""
    path.write_bytes(data)
    try:
        return read_video(path)
    except ValueError as error:
        assert "cannot be read in full" in str(error)
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_is_refused(tmp_path, files, kind):
    """An MP4 that ends between two fragments is an exception: it is a shorter video, of three or six frames."""
    name, data, whole = files[kind]
    ends = np.cumsum([len(box) for _, box in boxes(data)]).tolist() if kind == "fragments" else []
    for length in {*np.linspace(0, len(data) - 1, 100).astype(int).tolist(), *range(len(data) - 20, len(data)), *ends}:
        read = read_or_refuse(tmp_path / name, data[:length])
        if length in ends[3:] and read is not None:
            assert len(read) in (3, 6, 8)
            np.testing.assert_array_equal(read, whole[: len(read)])
        else:
            assert read is None, length


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_a_video_are_no_part_of_it(tmp_path, files, kind):
    name, data, whole = files[kind]
    for what, extra in {**NOT_THE_MOVIE, "itself": data, "half of itself": data[: len(data) // 2]}.items():
        read = read_or_refuse(tmp_path / name, data + extra)
        assert read is not None and np.array_equal(read, whole), what


@pytest.mark.parametrize("kind", ["index last", "index first", "WebM", "AVI"])
def test_cut_and_then_appended_to_is_still_cut(tmp_path, files, kind):
    name, data, _ = files[kind]
    for length in np.linspace(100, len(data) - 2, 20).astype(int):
        assert read_or_refuse(tmp_path / name, data[:length] + b"\n") is None, length


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("fragments", b"\x00\x00\x02\x94moof"),
        ("live WebM", bytes.fromhex("1f43b67501000000")),
        ("live Matroska", bytes.fromhex("1f43b67501000000")),
    ],
)
def test_the_beginning_of_another_part_is_a_cut(tmp_path, files, kind, head):
    """Only the header of the next fragment or cluster, or a part of it, has been written."""
    name, data, _ = files[kind]
    if kind == "fragments":
        data = b"".join(box for kind, box in boxes(data) if kind != b"mfra")
    for length in range(1, len(head) + 1):
        assert read_or_refuse(tmp_path / name, data + head[:length]) is None, length


def test_a_cut_between_two_samples_is_refused(tmp_path, files):
    """The data box extends to the end of the file, so that neither a box nor a packet shows the truncation."""
    name, data, _ = files["index first"]
    box = data.index(b"mdat") - 4
    data = data[:box] + bytes(4) + data[box + 4 :]
    assert len(read_or_refuse(tmp_path / name, data)) == len(FRAMES)
    with av.open(str(tmp_path / name)) as container:
        ends = [entry.pos + entry.size for entry in container.streams.video[0].index_entries]
    for end in ends[:-1]:
        assert read_or_refuse(tmp_path / name, data[:end]) is None, end


def test_fragments_that_repeat_their_start_are_one_movie(tmp_path, files):
    """This happens when segments of a stream are joined, each with the header that it was served with."""
    name, data, whole = files["fragments"]
    parts = boxes(data)
    start = b"".join(box for kind, box in parts if kind in (b"ftyp", b"moov"))
    rest = [box for kind, box in parts if kind in (b"moof", b"mdat")]
    joined = b"".join(start + rest[i] + rest[i + 1] for i in range(0, len(rest), 2))
    read = read_or_refuse(tmp_path / name, joined)
    np.testing.assert_array_equal(read, whole)
