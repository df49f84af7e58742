"""Video files are read as players show them.

Oracles: the written frames, turned and blended by NumPy; ISO/IEC 14496-12 for the display matrix; ITU-T H.264 annex D
for the orientation inside the stream.
"""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from rcjax.video_io import read_clip, read_video, write_video
from rcjax.video_io import streams as video_streams
from tests.video_files import LOSSY, MIRRORS_AND_TURNS, boxes, encode, moving_blocks, set_matrix

FRAMES = moving_blocks()[:4]
YELLOW = io.BytesIO()
Image.new("RGB", (400, 300), "yellow").save(YELLOW, "JPEG")


def mean_error(a, b):
    return np.abs(a.astype(float) - b).mean()


def assert_reads_as(path, frames, tolerance=LOSSY):
    read = read_video(path)
    assert read.shape == frames.shape and mean_error(read, frames) < tolerance


def assert_refused(path, *parts):
    for read in (read_video, lambda path: read_clip(path, 2, 16)):
        with pytest.raises(ValueError) as caught:
            read(path)
        message = str(caught.value)
        assert type(caught.value) is ValueError and "\n" not in message
        for part in (path.name, *parts):
            assert part in message, message


# which stream


def encode_with_cover(path, frames=FRAMES, sound=False):
    """Writes an MP4 with frames (or sound instead) and with cover art that is larger than the frames."""
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg")
        cover.height, cover.width, cover.pix_fmt, cover.disposition = 300, 400, "yuvj420p", Disposition.attached_pic
        if sound:
            stream = container.add_stream("aac", rate=8000)
            stream.layout = "mono"
            pictures = [av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")]
            pictures[0].sample_rate = 8000
        else:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
        container.start_encoding()
        packet = av.Packet(YELLOW.getvalue())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = cover, 0, 0, True
        container.mux(packet)
        for picture in pictures:
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def put_cover_first(path):
    """Moves the user data, which holds the cover, before the tracks; the samples stay in place."""
    parts = []
    for kind, box in boxes(path.read_bytes()):
        if kind == b"moov":
            inner = boxes(box[8:])
            box = box[:8] + b"".join(b for _, b in sorted(inner, key=lambda part: part[0] == b"trak"))
        parts.append(box)
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize("name", ["a.mp4", "a.m4v"])
def test_cover_art_is_no_video(tmp_path, name):
    path = tmp_path / name
    encode_with_cover(path)
    assert_reads_as(path, FRAMES)
    put_cover_first(path)
    with av.open(str(path)) as container:
        assert container.streams[0].disposition & Disposition.attached_pic
    assert_reads_as(path, FRAMES)


def test_pictures_attached_to_matroska_are_no_video(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:3], "yuv420p"
        container.add_attachment("cover.jpg", "image/jpeg", YELLOW.getvalue())
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert_reads_as(path, FRAMES)


def test_sound_with_a_cover_is_refused(tmp_path):
    encode_with_cover(tmp_path / "a.mp4", sound=True)
    assert_refused(tmp_path / "a.mp4", "only an attached picture", "cover art")


@pytest.mark.parametrize("default", [0, 1])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_of_two_videos_the_default_one_is_taken(tmp_path, name, default):
    path = tmp_path / name
    videos = (FRAMES, FRAMES[:, ::-1, :32])
    with av.open(str(path), "w") as container:
        streams = []
        for i, video in enumerate(videos):
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = *video.shape[1:3], "yuv420p"
            stream.disposition = Disposition.default if i == default else Disposition(0)
            streams.append(stream)
        for i in range(len(FRAMES)):
            for stream, video in zip(streams, videos, strict=True):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(video[i]), format="rgb24")
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode())
    assert_reads_as(path, videos[default])


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_names_with_colons_and_spaces(tmp_path, monkeypatch, suffix):
    """FFmpeg interprets the part of a name before a colon as a protocol."""
    monkeypatch.chdir(tmp_path)
    path = Path(f"12:30 take, 1{suffix}")
    write_video(path, FRAMES, 10)
    assert_reads_as(path, FRAMES, tolerance=20)  # a GIF has fewer colours
    path.write_bytes(path.read_bytes() + b"text")
    assert_reads_as(path, FRAMES, tolerance=20)


# which way up


@pytest.mark.parametrize(("matrix", "expected"), MIRRORS_AND_TURNS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_the_whole_display_matrix_is_applied(tmp_path, name, matrix, expected):
    path = tmp_path / name
    encode(path, FRAMES)
    set_matrix(path, matrix)
    assert_reads_as(path, np.stack([expected(frame) for frame in FRAMES]))


@pytest.mark.parametrize(("matrix", "expected"), [MIRRORS_AND_TURNS[i] for i in (3, 5, 6)])
def test_the_roll_of_matroska_is_applied(tmp_path, matrix, expected):
    encode(tmp_path / "a.mkv", FRAMES, matrix=matrix)
    assert_reads_as(tmp_path / "a.mkv", np.stack([expected(frame) for frame in FRAMES]))


def test_the_roll_of_a_transparent_webm_is_applied(tmp_path):
    """FFmpeg does not pass the container's matrix to the decoder of transparent WebM."""
    encode(tmp_path / "a.webm", HIDDEN, "libvpx-vp9", "yuva420p", matrix=(0, 1, -1, 0))
    assert_reads_as(tmp_path / "a.webm", np.rot90(over_white(HIDDEN), -1, axes=(1, 2)))


def put_orientation(source, path, head, quarter_turns, mirrored):
    """Inserts a display orientation message (type 47) before the first picture of an H.264 or HEVC stream."""
    bits = f"0{int(mirrored)}0{quarter_turns << 14:016b}" + "010" + "01"  # persists; no extension; end mark
    message = bytes([*head, 47, 3]) + int(bits, 2).to_bytes(3, "big") + b"\x80"
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        for i, packet in enumerate(read.demux(stream)):
            if packet.size:
                data = (len(message).to_bytes(4, "big") + message if i == 0 else b"") + bytes(packet)
                new = av.Packet(data)
                new.pts, new.dts, new.duration, new.time_base = (
                    packet.pts,
                    packet.dts,
                    packet.duration,
                    packet.time_base,
                )
                new.stream, new.is_keyframe = copy, packet.is_keyframe
                written.mux(new)


@pytest.mark.parametrize(("codec", "head"), [("libx264", (6,)), ("libx265", (0x4E, 1))])
@pytest.mark.parametrize("quarter_turns", [1, 2])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_orientation_inside_a_stream_is_applied(tmp_path, codec, head, quarter_turns, mirrored):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    encode(tmp_path / "plain.mp4", FRAMES, codec, codec_options=options)
    put_orientation(tmp_path / "plain.mp4", tmp_path / "a.mp4", head, quarter_turns, mirrored)
    mirror = FRAMES[:, :, ::-1] if mirrored else FRAMES
    assert_reads_as(tmp_path / "a.mp4", np.rot90(mirror, quarter_turns, axes=(1, 2)))


def test_an_orientation_ends_at_the_next_keyframe(tmp_path):
    encode(tmp_path / "plain.mp4", FRAMES, codec_options={"g": "2", "bf": "0"})
    put_orientation(tmp_path / "plain.mp4", tmp_path / "a.mp4", (6,), 0, mirrored=True)
    assert_reads_as(tmp_path / "a.mp4", np.concatenate([FRAMES[:2, :, ::-1], FRAMES[2:]]))


@pytest.mark.parametrize("matrix", [(0.7071, 0.7071, -0.7071, 0.7071), (1, 0, 0.5, 1), (1, 0, 0, 0)])
def test_other_matrices_are_refused(tmp_path, matrix):
    encode(tmp_path / "a.mp4", FRAMES)
    set_matrix(tmp_path / "a.mp4", matrix)
    assert_refused(tmp_path / "a.mp4", "no right angle", "ffmpeg")


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [((0, 0, 0, 0), False), ((0.5, 0, 0, 0.5), False), ((0.002, 1, -1, 0.002), True)],
)
def test_empty_scaled_and_inexact_matrices(tmp_path, matrix, turned):
    """An empty matrix has no meaning; a scale applies to the window, not to the frame."""
    encode(tmp_path / "a.mp4", FRAMES)
    set_matrix(tmp_path / "a.mp4", matrix)
    assert_reads_as(tmp_path / "a.mp4", np.rot90(FRAMES, -1, axes=(1, 2)) if turned else FRAMES)


# transparency

HIDDEN = np.zeros((3, 48, 64, 4), np.uint8)  # transparent red, half-transparent green, opaque blue
HIDDEN[:, :, :16, 0], HIDDEN[:, :, 16:32, 1], HIDDEN[:, :, 32:, 2] = 220, 200, 180
HIDDEN[:, :, 16:32, 3], HIDDEN[:, :, 32:, 3] = 128, 255


def over_white(rgba):
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "png", "rgba"),
        ("a.mov", "png", "rgba64be"),
        ("a.avi", "png", "rgba"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.mkv", "ffv1", "yuva444p16le"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.mkv", "ffv1", "gbrap16le"),
        ("a.avi", "utvideo", "gbrap"),
        ("a.avi", "rawvideo", "bgra"),
        ("a.mov", "cfhd", "gbrap12le"),
        ("a.webm", "libvpx", "yuva420p"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.mkv", "libvpx-vp9", "yuva420p"),
    ],
)
def test_transparency_becomes_white(tmp_path, name, codec, pix_fmt):
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
    encode(tmp_path / name, HIDDEN, codec, pix_fmt, options)
    columns = np.s_[:, :, [2, 8, 13, 18, 24, 29, 36, 56]]  # away from edges, where codecs are least exact
    error = read_video(tmp_path / name)[columns] - over_white(HIDDEN)[columns]
    assert np.abs(error).max() <= 5  # 8-bit YUV, and the lossy codecs' best at flat colours


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("a.mov", "png", "ya8"), ("a.mkv", "ffv1", "ya8")])
def test_transparency_of_grey_becomes_white(tmp_path, name, codec, pix_fmt):
    encode(tmp_path / name, HIDDEN, codec, pix_fmt)
    read = read_video(tmp_path / name)
    assert read[:, :, :16].min() == 255 and read[:, :, 16:32].min() > 128 and read[:, :, 32:].max() < 60


def encode_palette(path, codec):
    palette = np.zeros((256, 4), np.uint8)  # alpha, red, green, blue
    palette[:3] = [[0, 220, 0, 0], [255, 0, 200, 0], [255, 0, 0, 180]]
    indices = np.repeat(np.arange(3, dtype=np.uint8), 16)[None].repeat(48, axis=0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 48, "pal8"
        container.mux(stream.encode(av.VideoFrame.from_ndarray((indices, palette), format="pal8")))
        container.mux(stream.encode())


@pytest.mark.parametrize("name", ["a.mov", "a.avi"])
def test_transparent_entries_of_a_palette_become_white(tmp_path, name):
    encode_palette(tmp_path / name, "png")
    assert read_video(tmp_path / name)[0, 5, [3, 20, 40]].tolist() == [[255, 255, 255], [0, 200, 0], [0, 0, 180]]


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "rawvideo"), ("a.mov", "rawvideo"), ("a.avi", "msrle")])
def test_palettes_without_transparency_are_opaque(tmp_path, name, codec):
    encode_palette(tmp_path / name, codec)
    assert read_video(tmp_path / name)[0, 5, [3, 20, 40]].tolist() == [[220, 0, 0], [0, 200, 0], [0, 0, 180]]


def test_the_unused_byte_of_uncompressed_avi_is_no_transparency(tmp_path):
    """RGB32 of Windows, which screen recorders write, leaves the fourth byte 0."""
    unused = HIDDEN.copy()
    unused[..., 3] = 0
    encode(tmp_path / "a.avi", unused, "rawvideo", "bgra")
    np.testing.assert_array_equal(read_video(tmp_path / "a.avi"), unused[..., :3])


def test_transparency_that_no_decoder_here_reads_is_refused(tmp_path, monkeypatch):
    encode(tmp_path / "a.webm", HIDDEN, "libvpx-vp9", "yuva420p")
    monkeypatch.setitem(video_streams.ALPHA_DECODERS, "vp9", "libvpx-vp99")
    assert_refused(tmp_path / "a.webm", "transparency", "libvpx-vp99")


def test_transparency_of_hevc_is_refused(tmp_path):
    """The file only announces an alpha layer, since x265 in PyAV cannot encode one."""
    encode(tmp_path / "plain.mp4", FRAMES, "libx265", codec_options={"x265-params": "log-level=none"})
    assert_reads_as(tmp_path / "plain.mp4", FRAMES)
    message = bytes([0x4E, 1, 165, 4, 0, 0, 0x7F, 0x90, 0x80])
    with av.open(str(tmp_path / "plain.mp4")) as read, av.open(str(tmp_path / "a.mp4"), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        config = stream.codec_context.extradata
        array = b"\xa7\x00\x01" + len(message).to_bytes(2, "big") + message
        copy.codec_context.extradata = config[:22] + bytes([config[22] + 1]) + config[23:] + array
        for packet in read.demux(stream):
            if packet.size:
                packet.stream = copy
                written.mux(packet)
    assert_refused(tmp_path / "a.mp4", "HEVC with transparency", "ffmpeg")


# pixels that are not square


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.mov", "qtrle")],  # QTRLE: the container alone
)
@pytest.mark.parametrize(("aspect", "size"), [((2, 1), (48, 128)), ((1, 2), (96, 64)), ((12, 11), (48, 70))])
def test_pixels_become_square(tmp_path, name, codec, aspect, size):
    path = tmp_path / name
    encode(path, FRAMES, codec, "rgb24" if codec == "qtrle" else "yuv420p", aspect=Fraction(*aspect))
    read = read_video(path)
    assert read.shape == (4, *size, 3)
    for frame, picture in zip(FRAMES, read, strict=True):
        rows, columns = np.arange(size[0]) * 48 // size[0], np.arange(size[1]) * 64 // size[1]
        assert mean_error(picture, frame[rows[:, None], columns]) < LOSSY + 5  # interpolation at the blocks' edges


def test_a_turned_video_has_its_pixels_turned_too(tmp_path):
    encode(tmp_path / "a.mp4", FRAMES, aspect=Fraction(2))
    set_matrix(tmp_path / "a.mp4", (0, 1, -1, 0))
    assert read_video(tmp_path / "a.mp4").shape == (4, 128, 48, 3)


def test_an_absurd_pixel_aspect_is_refused(tmp_path):
    encode(tmp_path / "a.mp4", FRAMES, aspect=Fraction(1, 50))
    assert_refused(tmp_path / "a.mp4", "1/50 times as wide", "setsar")
