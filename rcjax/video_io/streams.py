"""Decodes videos with FFmpeg to frames as players show them: upright, with square pixels, and white for transparency.

PyAV is used directly instead of imageio's plugin for it, which fills the end of a truncated MP4 with uninitialised
memory. GIFs are decoded here too, because Pillow shows a wrong colour where an area is cleared, or where a palette
follows a grey one.
"""

import itertools
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import av.error
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from jaxtyping import UInt8
from PIL import Image

from rcjax.video_io.containers import video_end
from rcjax.video_io.frames import Frame, FrameReader, damaged_file_error, on_white
from rcjax.video_io.timeline import Timeline, even_timeline, timeline_of_delays

NON_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore the transparency of WebM
MAX_PIXEL_ASPECT = 16  # larger ones are mistakes, not anamorphic video, and would need much memory
RIGHT_ANGLE_TOLERANCE = 0.0175  # sine of one degree, within which FFmpeg calls an angle right


class FrameTimestamps(NamedTuple):
    """Timestamps of a frame from the decoder, in ticks; None if unknown."""

    pts: int | None
    dts: int | None
    duration: int


def read_stream(path: pathlib.Path) -> FrameReader:
    """Reads the frames of a video file or GIF. Raises ValueError if it cannot be decoded in full."""
    end = video_end(path)
    try:
        with av.open(_url(path, end)) as container:
            stream = _choose_stream(container, path)
            decoder = _decoder(stream, path)
            container_matrix = None if decoder is stream.codec_context else _container_matrix(path, end, stream.index)
            timestamps, matrix = [], None
            for frame in _decode(container, stream, decoder, path):
                timestamps.append(FrameTimestamps(frame.pts, frame.dts, frame.duration))
                matrix = _display_matrix(frame, matrix) if container_matrix is None else container_matrix
                yield _to_displayed_frame(frame, stream, matrix, path)
            if not timestamps:
                raise damaged_file_error(path, "it holds no frames")
            if "mp4" in container.format.name and any(e.pos + e.size > end for e in stream.index_entries):
                raise damaged_file_error(path, "it is truncated")
            tick = stream.time_base or Fraction(1)
            if container.format.name == "gif":
                return timeline_of_delays([timestamp.duration * tick for timestamp in timestamps])
            return stream_timeline(timestamps, _header_end(container, stream, tick), tick)
    except av.error.FFmpegError as error:
        raise damaged_file_error(path, error.strerror) from error


def _url(path: pathlib.Path, end: int) -> str:
    """Returns the FFmpeg URL of the first `end` bytes of a file.

    The protocol is explicit, since FFmpeg would interpret the part of a name before a colon as a protocol.
    """
    return f"subfile,,start,0,end,{end},,:file:{path}" if end < path.stat().st_size else f"file:{path}"


def _choose_stream(container: InputContainer, path: pathlib.Path) -> av.VideoStream:
    """Returns the video stream that FFmpeg considers best, but never cover art."""
    if not container.streams.video:
        raise ValueError(f"{path} has no video stream, only sound or data; expected a video.")
    moving = [stream for stream in container.streams.video if not stream.disposition & NON_VIDEO]
    if not moving:
        raise ValueError(f"{path} has no video stream, only an attached picture (cover art); expected a video.")
    best = container.streams.best("video")
    if best in moving:
        return cast(av.VideoStream, best)
    return next((stream for stream in moving if stream.disposition & Disposition.default), moving[0])


def _decoder(stream: av.VideoStream, path: pathlib.Path) -> av.VideoCodecContext:
    """Returns a decoder that keeps transparency. Raises ValueError if PyAV has none for this stream."""
    decoder = stream.codec_context
    if decoder is None:
        raise ValueError(f"{path} is in a format that FFmpeg cannot decode here; convert it to H.264 in an .mp4.")
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in ALPHA_DECODERS:
        try:
            decoder = cast(av.VideoCodecContext, av.CodecContext.create(ALPHA_DECODERS[decoder.name], "r"))
        except UnknownCodecError as error:
            raise ValueError(
                f"{path} has transparency that only {ALPHA_DECODERS[decoder.name]} decodes, and PyAV was built "
                "without it; convert the file to one without transparency."
            ) from error
    if decoder.name == "hevc" and _hevc_has_alpha(decoder.extradata or b""):
        raise ValueError(
            f"{path} is HEVC with transparency, which PyAV does not decode; convert it, for instance with "
            "`ffmpeg -i IN -c:v prores_ks -pix_fmt yuva444p10le OUT.mov`."
        )
    decoder.thread_type = "AUTO"
    return decoder


def _hevc_has_alpha(config: bytes) -> bool:
    """Whether the decoder configuration (hvcC) has an SEI message that announces an alpha layer.

    Sources: ISO/IEC 14496-15 section 8.3.3.1; ITU-T H.265 section D.2 (NAL unit type 39, payload type 165).
    """
    byte_offset = 23
    for _ in range(config[22] if len(config) >= byte_offset else 0):
        n_units = int.from_bytes(config[byte_offset + 1 : byte_offset + 3], "big")
        byte_offset += 3
        for _ in range(n_units):
            size = int.from_bytes(config[byte_offset : byte_offset + 2], "big")
            unit = config[byte_offset + 2 : byte_offset + 2 + size]
            if (
                unit[:1] == b"\x4e" and unit[2:3] == b"\xa5" and unit[4:5] < b"\x80"
            ):  # larger values cancel an earlier message
                return True
            byte_offset += 2 + size
    return False


def _decode(
    container: InputContainer, stream: av.VideoStream, decoder: av.VideoCodecContext, path: pathlib.Path
) -> Iterator[av.VideoFrame]:
    """Yields the decoded frames. Raises ValueError for a corrupt packet or frame."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise damaged_file_error(path, "a packet is incomplete")
        for frame in decoder.decode(packet):
            if frame.is_corrupt:
                raise damaged_file_error(path, "a frame does not decode")
            yield frame


def _to_displayed_frame(
    frame: av.VideoFrame, stream: av.VideoStream, matrix: np.ndarray | None, path: pathlib.Path
) -> Frame:
    """Converts a decoded frame to RGB as a player shows it."""
    picture = _square_pixels(_to_rgb(frame, stream), stream.sample_aspect_ratio, path)
    return np.ascontiguousarray(picture if matrix is None else _apply_display_matrix(picture, matrix, path))


def _container_matrix(path: pathlib.Path, end: int, index: int) -> np.ndarray | None:
    """Returns the container's display matrix, which FFmpeg does not pass to a decoder that was created separately."""
    with av.open(_url(path, end)) as container:
        return _display_matrix(cast(av.VideoFrame, next(container.decode(container.streams[index]))), None)


def _display_matrix(frame: av.VideoFrame, previous: np.ndarray | None) -> np.ndarray | None:
    """Returns the display matrix of the container or of the stream itself.

    An H.264 stream states it once for all frames up to the next keyframe.
    """
    side_data_matrix = frame.side_data.get(cast(Any, Type.DISPLAYMATRIX))  # PyAV's stubs only know its name
    if side_data_matrix is not None:
        return np.frombuffer(bytes(side_data_matrix), np.int32).reshape(3, 3)
    return None if frame.key_frame else previous


def _to_rgb(frame: av.VideoFrame, stream: av.VideoStream) -> Frame:
    """Converts a decoded frame to RGB, over white if it has transparency."""
    pixels = frame.format
    if not pixels.has_palette and not any(component.is_alpha for component in pixels.components):
        return frame.to_ndarray(format="rgb24")
    rgba = frame.to_ndarray(format="rgba")
    if _is_uncompressed_avi(stream) and not rgba[..., 3].any():
        return rgba[..., :3]  # the fourth byte of its pixels is unused and usually 0
    return on_white(rgba)


def _is_uncompressed_avi(stream: av.VideoStream) -> bool:
    return stream.codec_context.name == "rawvideo" and stream.container.format.name == "avi"


def _square_pixels(picture: UInt8[np.ndarray, "h w 3"], aspect: Fraction | None, path: pathlib.Path) -> Frame:
    """Enlarges a frame in one direction, as browsers do, so that its pixels become square.

    `aspect` is the width of a pixel over its height, and None or 0 if unknown.
    """
    if not aspect or aspect == 1:
        return picture
    if not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        raise ValueError(
            f"{path} says its pixels are {aspect} times as wide as high; expected at most {MAX_PIXEL_ASPECT} times "
            "either way: correct it with `ffmpeg -i IN -vf setsar=1 OUT.mp4`."
        )
    height, width = picture.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _apply_display_matrix(picture: UInt8[np.ndarray, "h w 3"], matrix: np.ndarray, path: pathlib.Path) -> Frame:
    """Turns and mirrors a frame by a display matrix (a b u; c d v; x y w), which shows (x, y) at (ax + cy, bx + dy).

    Source: ISO/IEC 14496-12 section 8.3.2.
    """
    (a, b), (c, d) = matrix[:2, :2].astype(float).tolist()
    if not any((a, b, c, d)):  # some encoders leave the matrix empty; FFmpeg then shows the frame unchanged
        return picture
    if a and d and abs(b) <= RIGHT_ANGLE_TOLERANCE * abs(a) and abs(c) <= RIGHT_ANGLE_TOLERANCE * abs(d):
        right, down = a, d
    elif b and c and abs(a) <= RIGHT_ANGLE_TOLERANCE * abs(b) and abs(d) <= RIGHT_ANGLE_TOLERANCE * abs(c):
        right, down, picture = c, b, picture.swapaxes(0, 1)
    else:
        unit = abs(np.linalg.det([[a, b], [c, d]])) ** 0.5 or 1.0
        shown = " ".join(f"{entry / unit:.3g}" for entry in (a, b, c, d))
        raise ValueError(
            f"{path} is to be shown turned by an angle that is no right angle (display matrix {shown}); expected "
            "quarter turns and mirrors: turn its frames themselves with `ffmpeg -i IN OUT.mp4`."
        )
    return picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def _header_end(container: InputContainer, stream: av.VideoStream, tick: Fraction) -> int | None:
    """Returns the end of the stream according to the header, in ticks of the stream, or None if unknown.

    The duration of the file is used only if it has no other stream, which could last longer.
    """
    if stream.duration:
        return (stream.start_time or 0) + stream.duration
    if container.duration and len(container.streams) == 1:
        seconds = Fraction((container.start_time or 0) + container.duration, av.time_base)
        return round(seconds / tick)
    return None


def stream_timeline(timestamps: list[FrameTimestamps], header_end: int | None, tick: Fraction) -> Timeline:
    """Returns the timeline with the starts from the timestamps, and the end from the header.

    The end in the header may be rounded more coarsely than the timestamps. Therefore, if the duration of the last frame
    makes the timeline even and the header agrees within half a frame, the timeline is even. That duration alone is not
    reliable: it belongs to the order of decoding, and FFmpeg guesses it where Matroska leaves it out.
    """
    starts = frame_starts(timestamps)
    gap = starts[-1] - starts[-2] if len(starts) > 1 else 1
    timeline = Timeline(starts, starts[-1] + (timestamps[-1].duration or gap), tick)
    if timeline.end == starts[0]:
        return even_timeline(len(starts))
    if header_end is None or header_end <= starts[-1]:
        return timeline
    if timeline.is_even() and 2 * abs(header_end - timeline.end) <= gap:
        return timeline
    return Timeline(starts, header_end, tick)


def frame_starts(timestamps: list[FrameTimestamps]) -> list[int]:
    """Returns the start of each frame, in ticks, never decreasing.

    A frame without a usable timestamp starts when the frame before it ends. An AVI stamps its B-frames in the order of
    decoding. If the clock jumps back, later frames are shifted so that time continues from where it was.
    """
    times, decoding_times = [timestamp.pts for timestamp in timestamps], [timestamp.dts for timestamp in timestamps]
    if _decreases(times) and decoding_times[0] is not None and not _decreases(decoding_times):
        times = decoding_times
    starts, offset = [], 0
    for i, time in enumerate(times):
        following = starts[-1] + timestamps[i - 1].duration if starts else 0
        start = following if time is None else time + offset
        if starts and start < starts[-1]:
            offset += following - start
            start = following
        starts.append(start)
    return starts


def _decreases(times: list[int | None]) -> bool:
    known = [time for time in times if time is not None]
    return any(later < earlier for earlier, later in itertools.pairwise(known))
