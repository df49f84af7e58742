"""Writes videos of many kinds for tests, with PyAV directly."""

from fractions import Fraction

import av
import numpy as np

LOSSY = (
    12.0  # tolerated mean error of pixels 0-255; codecs at default quality have 5 to 10, the next frame differs by 22
)
MILLISECOND = Fraction(1, 1000)

MIRRORS_AND_TURNS = [
    # (a b c d) of a display matrix, which maps x to ax + cy, y to bx + dy (ISO/IEC 14496-12, 8.3.2); the same in NumPy
    ((1, 0, 0, 1), lambda frame: frame),
    ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    ((1, 0, 0, -1), lambda frame: frame[::-1]),
    ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1]),
    ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
    ((0, -1, -1, 0), lambda frame: np.rot90(frame, 2).swapaxes(0, 1)),
]


def moving_blocks():
    """Returns 24 frames of 64x48 (width x height) with blocks of 8 pixels, which move from frame to frame."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    picture = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    return np.stack([np.roll(picture, 2 * i, axis=1) for i in range(24)])


def grey_levels(n_frames):
    """Returns frames of 32x32 pixels, where frame i has the grey level 10 i."""
    levels = np.arange(n_frames, dtype=np.uint8) * 10
    return np.broadcast_to(levels[:, None, None, None], (n_frames, 32, 32, 3))


def encode(
    path,
    frames,
    codec="libx264",
    pix_fmt="yuv420p",
    codec_options=None,
    aspect=None,
    starts=None,
    matrix=None,
    **options,
):
    """Writes frames [F H W 3 or 4] at 10 per second, or with `starts` (including the end) in milliseconds.

    `matrix` is a display matrix (a b c d), and `aspect` is the width of a pixel over its height. `options` are those of
    the container.
    """
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10, options=codec_options or {})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        if matrix is not None:
            a, b, c, d = (entry << 16 for entry in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if starts is not None:
            stream.time_base = stream.codec_context.time_base = MILLISECOND
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format="rgba" if frame.shape[-1] == 4 else "rgb24"
            )
            if starts is not None:
                picture.pts, picture.time_base = starts[i], MILLISECOND
            _write(container, stream.encode(picture), starts)
        _write(container, stream.encode(), starts)


def _write(container, packets, starts):
    for packet in packets:
        if starts is not None:  # encoders do not pass on all durations
            packet.duration = starts[starts.index(packet.pts) + 1] - packet.pts
        container.mux(packet)


def set_matrix(path, matrix):
    """Overwrites the display matrix (a b c d) in the track header of an MP4 or MOV."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    for place, entry in zip((0, 4, 12, 16), matrix, strict=True):
        data[start + place : start + place + 4] = round(entry * 0x10000).to_bytes(4, "big", signed=True)
    path.write_bytes(data)


def boxes(data):
    """Returns type and bytes of each top-level box of an MP4."""
    offset, found = 0, []
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        found.append((data[offset + 4 : offset + 8], data[offset : offset + size]))
        offset += size
    return found
