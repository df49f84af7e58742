"""Whatever FFmpeg decodes to frames as players show them: upright, with square pixels, transparency white.

PyAV itself and not imageio's plugin for it, which completes a cut MP4 with uninitialised memory. GIFs as well: Pillow
shows another colour where an area is cleared, or where a palette follows a grey one.
"""

import itertools
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, cast

import av
import av.error
import numpy as np
from av.codec.codec import UnknownCodecError
from av.sidedata.sidedata import Type
from av.stream import Disposition
from jaxtyping import UInt8
from PIL import Image

from rcjax.video_io.containers import video_end
from rcjax.video_io.frames import Frame, FrameReader, damaged, on_white
from rcjax.video_io.timeline import Timeline, even_timeline, timeline_of_delays

NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own ones leave the transparency of WebM out
MAX_PIXEL_ASPECT = 16  # more is no anamorphic video but a mistake, and a large one in memory
RIGHT_ANGLE = 0.0175  # sine of one degree, up to which FFmpeg calls an angle right


class Stamp(NamedTuple):
    """What a decoder says of a frame's time, in ticks; what it does not know is None."""

    pts: int | None
    dts: int | None
    duration: int


def read_stream(path: pathlib.Path) -> FrameReader:
    """The frames of a video file or GIF. ValueError for one that does not decode whole."""
    end = video_end(path)
    try:
        with av.open(_url(path, end)) as container:
            stream = _choose_stream(container, path)
            decoder = _decoder(stream, path)
            of_container = None if decoder is stream.codec_context else _container_matrix(path, end, stream.index)
            stamps, matrix = [], None
            for frame in _decode(container, stream, decoder, path):
                stamps.append(Stamp(frame.pts, frame.dts, frame.duration))
                matrix = _display_matrix(frame, matrix) if of_container is None else of_container
                yield _show(frame, stream, matrix, path)
            if not stamps:
                raise damaged(path, "it holds no frames")
            if "mp4" in container.format.name and any(e.pos + e.size > end for e in stream.index_entries):
                raise damaged(path, "it is cut off")
            tick = stream.time_base or Fraction(1)
            if container.format.name == "gif":
                return timeline_of_delays([stamp.duration * tick for stamp in stamps])
            return stream_timeline(stamps, _stated_end(container, stream, tick), tick)
    except av.error.FFmpegError as error:
        raise damaged(path, error.strerror) from error


def _url(path: pathlib.Path, end: int) -> str:
    """A file by its protocol, as a colon in its name would be taken for one; without the bytes after `end`."""
    return f"subfile,,start,0,end,{end},,:file:{path}" if end < path.stat().st_size else f"file:{path}"


def _choose_stream(container: av.container.InputContainer, path: pathlib.Path) -> av.VideoStream:
    """The one FFmpeg calls best, among those that are no cover art."""
    if not container.streams.video:
        raise ValueError(f"{path} has no video stream, only sound or data; expected moving pictures.")
    moving = [stream for stream in container.streams.video if not stream.disposition & NO_VIDEO]
    if not moving:
        raise ValueError(f"{path} has no video stream, only an attached picture (cover art); expected moving pictures.")
    best = container.streams.best("video")
    if best in moving:
        return best
    return next((stream for stream in moving if stream.disposition & Disposition.default), moving[0])


def _decoder(stream: av.VideoStream, path: pathlib.Path) -> av.VideoCodecContext:
    decoder = stream.codec_context
    if decoder is None:
        raise ValueError(f"{path} is coded in a way that FFmpeg does not decode here; convert it to H.264 in an .mp4.")
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
    """Whether the decoder configuration (hvcC) has an SEI message that says so.

    Sources: ISO/IEC 14496-15 section 8.3.3.1; ITU-T H.265 section D.2 (NAL unit type 39, payload type 165).
    """
    at = 23
    for _ in range(config[22] if len(config) >= at else 0):
        n_units = int.from_bytes(config[at + 1 : at + 3], "big")
        at += 3
        for _ in range(n_units):
            size = int.from_bytes(config[at : at + 2], "big")
            unit = config[at + 2 : at + 2 + size]
            if (
                unit[:1] == b"\x4e" and unit[2:3] == b"\xa5" and unit[4:5] < b"\x80"
            ):  # above: it takes back an earlier one
                return True
            at += 2 + size
    return False


def _decode(
    container: av.container.InputContainer, stream: av.VideoStream, decoder: av.VideoCodecContext, path: pathlib.Path
) -> Iterator[av.VideoFrame]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise damaged(path, "a packet is incomplete")
        for frame in decoder.decode(packet):
            if frame.is_corrupt:
                raise damaged(path, "a frame does not decode")
            yield frame


def _show(frame: av.VideoFrame, stream: av.VideoStream, matrix: np.ndarray | None, path: pathlib.Path) -> Frame:
    picture = _square_pixels(_to_rgb(frame, stream), stream.sample_aspect_ratio, path)
    return np.ascontiguousarray(picture if matrix is None else _turn(picture, matrix, path))


def _container_matrix(path: pathlib.Path, end: int, index: int) -> np.ndarray | None:
    """For a decoder of our own, which the container's display matrix does not reach."""
    with av.open(_url(path, end)) as container:
        return _display_matrix(cast(av.VideoFrame, next(container.decode(container.streams[index]))), None)


def _display_matrix(frame: av.VideoFrame, previous: np.ndarray | None) -> np.ndarray | None:
    """Of the container or of the stream itself, where H.264 states it once for all frames up to the next keyframe."""
    found = frame.side_data.get(Type.DISPLAYMATRIX)  # pyright: ignore[reportArgumentType]
    if found is not None:
        return np.frombuffer(bytes(found), np.int32).reshape(3, 3)
    return None if frame.key_frame else previous


def _to_rgb(frame: av.VideoFrame, stream: av.VideoStream) -> Frame:
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
    """Enlarged in one direction, as browsers do; `aspect` is a pixel's width over its height, None or 0 if not said."""
    if not aspect or aspect == 1:
        return picture
    if not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        raise ValueError(
            f"{path} says its pixels are {aspect} times as wide as high; expected at most {MAX_PIXEL_ASPECT} times "
            "either way: set it right with `ffmpeg -i IN -vf setsar=1 OUT.mp4`."
        )
    height, width = picture.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _turn(picture: UInt8[np.ndarray, "h w 3"], matrix: np.ndarray, path: pathlib.Path) -> Frame:
    """By a display matrix (a b u; c d v; x y w): a pixel at (x, y) is shown at (ax + cy, bx + dy).

    Source: ISO/IEC 14496-12 section 8.3.2.
    """
    (a, b), (c, d) = matrix[:2, :2].astype(float).tolist()
    if not any((a, b, c, d)):  # some writers leave it empty; FFmpeg shows the frame as it is
        return picture
    if a and d and abs(b) <= RIGHT_ANGLE * abs(a) and abs(c) <= RIGHT_ANGLE * abs(d):
        right, down = a, d
    elif b and c and abs(a) <= RIGHT_ANGLE * abs(b) and abs(d) <= RIGHT_ANGLE * abs(c):
        right, down, picture = c, b, picture.swapaxes(0, 1)
    else:
        unit = abs(np.linalg.det([[a, b], [c, d]])) ** 0.5 or 1.0
        shown = " ".join(f"{entry / unit:.3g}" for entry in (a, b, c, d))
        raise ValueError(
            f"{path} is to be shown turned by no right angle (display matrix {shown}); expected quarter turns and "
            "mirrors: turn its frames themselves with `ffmpeg -i IN OUT.mp4`."
        )
    return picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def _stated_end(container: av.container.InputContainer, stream: av.VideoStream, tick: Fraction) -> int | None:
    """When the stream ends by its header, in its ticks; of the file's duration only if nothing else can last longer."""
    if stream.duration:
        return (stream.start_time or 0) + stream.duration
    if container.duration and len(container.streams) == 1:
        seconds = Fraction((container.start_time or 0) + container.duration, av.time_base)
        return round(seconds / tick)
    return None


def stream_timeline(stamps: list[Stamp], stated_end: int | None, tick: Fraction) -> Timeline:
    """The frames' starts by their timestamps, and the end by the header.

    The header's end may be rounded more coarsely than the frames. So where the last frame's own duration makes all of
    them even, and the header agrees within half a frame, they are even. Alone that duration will not do: it belongs to
    the order of decoding, and FFmpeg guesses what Matroska leaves out.
    """
    starts = frame_starts(stamps)
    gap = starts[-1] - starts[-2] if len(starts) > 1 else 1
    timeline = Timeline(starts, starts[-1] + (stamps[-1].duration or gap), tick)
    if timeline.end == starts[0]:
        return even_timeline(len(starts))
    if stated_end is None or stated_end <= starts[-1]:
        return timeline
    if timeline.is_even() and 2 * abs(stated_end - timeline.end) <= gap:
        return timeline
    return Timeline(starts, stated_end, tick)


def frame_starts(stamps: list[Stamp]) -> list[int]:
    """Never decreasing: a frame without a usable timestamp follows the one before.

    An AVI stamps its B-frames in the order of decoding. Where the clock jumps back it goes on from where it was.
    """
    times, decoding_times = [stamp.pts for stamp in stamps], [stamp.dts for stamp in stamps]
    if _decreases(times) and decoding_times[0] is not None and not _decreases(decoding_times):
        times = decoding_times
    starts, offset = [], 0
    for i, time in enumerate(times):
        following = starts[-1] + stamps[i - 1].duration if starts else 0
        start = following if time is None else time + offset
        if starts and start < starts[-1]:
            offset += following - start
            start = following
        starts.append(start)
    return starts


def _decreases(times: list[int | None]) -> bool:
    known = [time for time in times if time is not None]
    return any(later < earlier for earlier, later in itertools.pairwise(known))
