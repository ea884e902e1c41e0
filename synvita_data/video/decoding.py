"""`decode` turns a video into frames, whatever decodes it; `probe` and `check_video` say what a video is, and whether
it is whole."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

from ..errors import CorruptVideoError, FramePolicyError, located
from .frames import Frames, Request
from .sampling import FramePolicy
from .source import Limits, Source, VideoSource, resolve

if TYPE_CHECKING:
    from .packets import PacketIndex


def decode(
    source: VideoSource,
    policy: FramePolicy | int = FramePolicy(),  # noqa: B008 (frozen)
    start: float | None = None,
    end: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    threads: int | None = None,
) -> Frames:
    """Decode the frames that `policy` chooses.

    Readers are opened and closed inside the call: a process may decode, fork, and decode in both
    processes; threads may decode at once. Memory holds the compressed stream (up to 64 MiB of it) and the
    chosen frames at their final size, not the video.

    Args:
        source: a path, the file's bytes, or a dataset row's `{"bytes", "path"}` (bytes win).
        policy: which frames, at what size, by which backend; a number is how many frames.
        start: seconds after the file's first frame; only frames shown within [start, end) are chosen from.
            None: from the beginning.
        end: seconds after the file's first frame. None: to the end.
        limits: refuse larger videos.
        threads: of the decoder; None: two, PyAV's most (more would lose errors of damaged packets). Use 1
            in a data loader with one worker a processor. Pixels do not depend on it.

    Returns:
        Frames, uint8 RGB; `Frames.indices` count in the whole file.

    Raises:
        VideoError: always one of the classes in `synvita_data.errors`.
    """
    if isinstance(policy, Integral) and not isinstance(policy, bool):  # also NumPy's
        policy = FramePolicy(count=int(policy))
    if not isinstance(policy, FramePolicy):
        raise FramePolicyError(
            "this says not which frames", found=repr(policy), expected="a FramePolicy, or a number"
        )
    request = Request(resolve(source, limits), policy, start, end, threads)
    # A backend is imported when it is asked for: this module loads neither PyAV nor torch.
    read: Callable[[Request], Frames]
    if policy.backend == "pyav":
        from .pyav_backend import read_frames as read
    else:
        from .other_backends import reader

        read = reader(policy.backend)
    with located(request.source.name):
        return read(request)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video stream, measured rather than believed.

    Attributes:
        width: of the frames as `decode` returns them with size None (rotation applied), pixels.
        height: of the same frames.
        frames: exact number of frames shown, counted by packets.
        fps: mean frame rate from the first to the last frame, frames a second; 0.0 for one frame.
        duration: seconds from the start of the first frame to the end of the last.
        start_time: the first frame's own timestamp in the file, seconds.
        codec: FFmpeg's name of the codec (`h264`).
        pix_fmt: FFmpeg's name of the pixel format (`yuv420p`).
        container: FFmpeg's name of the container format.
        size_bytes: size of the file.
        has_audio: whether an audio stream lies beside the video.
        first_shown: what a player's clock says when the first frame appears, seconds: more than 0 where the
            sound begins earlier. `start` and `end` of `decode` are times of that clock.
    """

    width: int
    height: int
    frames: int
    fps: float
    duration: float
    start_time: float
    codec: str
    pix_fmt: str
    container: str
    size_bytes: int
    has_audio: bool
    first_shown: float = 0.0


def probe(source: VideoSource, limits: Limits = Limits()) -> VideoInfo:  # noqa: B008 (frozen)
    """Size, frame count, rate and codec of a video; reads its packets and decodes its first frame.

    Args:
        source: a path, the file's bytes, or a dataset row's `{"bytes", "path"}`.
        limits: refuse larger videos.

    Raises:
        MissingVideoError, NotAVideoError, NoVideoStreamError, NoFramesError, VideoTooLargeError.
        TruncatedVideoError, CorruptVideoError: the container ends early, or the first frame does not decode.
    """
    return _inspect(resolve(source, limits))[0]


def check_video(
    source: VideoSource,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    decode_all: bool = False,
) -> VideoInfo:
    """`probe`, and an error if the video is damaged where that can be told cheaply.

    Detects: a file cut anywhere (MP4, MOV, Matroska, WebM and AVI declare their length; MPEG-TS and raw
    streams do not); packets that cannot be read; H.264 packets in MP4 or Matroska whose inner lengths do
    not add up (blocks of zeros, data overwritten or shifted); a first frame that does not decode without
    errors. Does not detect: changed bytes inside a packet that keep its lengths, unless they lie in the
    first frame and break its decoding. With `decode_all` every frame is decoded, which finds most of these too.

    Raises:
        As `probe`; `CorruptVideoError` for damage inside packets.
    """
    resolved = resolve(source, limits)
    info, index = _inspect(resolved)
    with located(resolved.name):
        if index.broken is not None:
            raise CorruptVideoError(
                f"packet {index.broken} of a video is damaged",
                found="NAL unit lengths that do not add up to the packet's size",
                expected="a whole H.264 access unit",
                fix="Copy or generate it again",
            )
        if decode_all:
            from .pyav_backend import count_frames

            count_frames(resolved)
    return info


def _inspect(source: Source) -> "tuple[VideoInfo, PacketIndex]":
    from .container import open_video, shown_size
    from .packets import read_index
    from .pyav_backend import count_frames, first_frame

    with open_video(source) as (container, stream):
        index = read_index(container, stream, source)
        frame = first_frame(stream, index, source)
        codec, name = stream.codec_context.codec.canonical_name, container.format.name
        has_audio = bool(container.streams.audio)
    timeline = index.timeline or count_frames(source)
    height, width = shown_size(frame)
    info = VideoInfo(
        width=width,
        height=height,
        frames=len(timeline.timestamps),
        fps=timeline.fps,
        duration=timeline.duration,
        start_time=timeline.start,
        codec=codec,
        pix_fmt=frame.format.name,
        container=name,
        size_bytes=source.size,
        has_audio=has_audio,
        first_shown=timeline.first_shown,
    )
    return info, index
