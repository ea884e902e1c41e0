"""The optional decoders: decord 0.6, as VideoCon's and many models' own scripts use it, and torchcodec on the CPU.

Frames are counted, chosen and sized from our own reading of the packets, so that an index means the same frame in every
backend; where a decoder would give others, it is a `BackendError`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, MissingBackendError, first_line
from ..extras import install_line
from .container import has_pictures, open_video, shown_size, video_streams
from .frames import Chosen, Frames, Request, Timeline
from .packets import read_index
from .pyav_backend import first_frame

# Containers with a table of their packets, or with times that can be searched for.
_INDEXED = frozenset({"mov", "matroska"})


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a backend is asked to do.

    Attributes:
        timeline: of the whole file.
        chosen: frames of it.
        height: of the frames to return.
        width: of the frames to return.
        in_order: whether a decoder that seeks by itself may miss: frames are shown before "their" keyframe, or
            the container has no table of its packets.
        stream: index of the video stream in the file.
        rivals: other streams that a decoder which chooses by itself could take for it.
    """

    timeline: Timeline
    chosen: Chosen
    height: int
    width: int
    in_order: bool
    stream: int
    rivals: int

    def check_count(self, found: int, backend: str) -> None:
        """Raise `BackendError` if a backend sees another number of frames than there are."""
        expected = len(self.timeline.timestamps)
        if found != expected:
            problem = f"{backend} counts frames that are not shown, or misses some"
            raise _refused(problem, f"{found} frames", f"{expected} frames")


def reader(backend: str) -> Callable[[Request], Frames]:
    """The function that reads frames with `backend`.

    Raises:
        MissingBackendError: it is not installed, or finds no FFmpeg.
    """
    if backend == "decord":
        return partial(_read_with_decord, _import_decord())
    return partial(_read_with_torchcodec, _import_torchcodec())


def _make_plan(request: Request) -> _Plan:
    """Choose frames as the default backend does.

    Raises:
        BackendError: only decoding tells the frames of this file apart; backend `pyav` does that.
    """
    source = request.source
    with open_video(source) as (container, stream):
        index = read_index(container, stream, source)
        height, width = shown_size(first_frame(stream, index, source))
        number = stream.index
        in_order = index.open_gop or not _INDEXED & set(container.format.name.split(","))
        # A picture has one frame: no decoder prefers it to a video of more.
        rivals = len(video_streams(container)) - 1 + (len(index.order) == 1 and has_pictures(container))
    if index.timeline is None:
        raise _refused(
            "the packets of a video do not tell its frames apart",
            "packets without a timestamp of their own, or a stream that begins without a keyframe",
            "one timestamp a frame",
        )
    chosen = index.timeline.choose(request)
    height, width = request.output_size(len(chosen.indices), height, width)
    return _Plan(index.timeline, chosen, height, width, in_order, number, rivals)


def _refused(problem: str, found: str, expected: str) -> BackendError:
    return BackendError(problem, found=found, expected=expected, fix="Use backend 'pyav' for this file")


def _failed(backend: str, error: Exception) -> BackendError:
    return _refused(f"{backend} does not decode a video", first_line(error), "frames")


def _read_with_decord(decord: Any, request: Request) -> Frames:
    """`decode` for backend `decord`; the frames are scaled by decord (bicubic), in its own FFmpeg.

    Raises:
        BackendError: decord counts other frames than the packets give (edit lists, streams cut open), fails
            (it does at some widths below 80), or would have several video streams to choose from.
    """
    plan, source = _make_plan(request), request.source
    if plan.rivals:  # its FFmpeg knows nothing of default streams, and it cannot be told which to take
        raise BackendError(
            "decord cannot be told which of several video streams to decode",
            found=f"{plan.rivals + 1} video streams",
            expected=f"one, or a backend that can be told to take stream {plan.stream}",
            fix="Use backend 'pyav' or 'torchcodec' for this file",
        )
    size = {} if request.policy.size is None else {"height": plan.height, "width": plan.width}
    try:
        # A reader that outlives this call would deadlock in a forked process.
        reader = decord.VideoReader(
            source.open() if isinstance(source.content, bytes) else str(source.content),
            ctx=decord.cpu(0),
            num_threads=request.threads or 0,
            **size,
        )
        plan.check_count(len(reader), "decord")
        indices = list(plan.chosen.indices)
        pixels = _in_order(reader, plan) if plan.in_order else reader.get_batch(indices).asnumpy()
    except decord.DECORDError as error:
        raise _failed("decord", error) from error
    return plan.chosen.frames(np.ascontiguousarray(pixels))


def _in_order(reader: Any, plan: _Plan) -> NDArray[np.uint8]:
    """The chosen frames by reading from the beginning: decord's seeking is off by the frames an open GOP loses, and
    lands on other frames in containers without an index (FLV)."""
    pixels = np.empty((len(plan.chosen.indices), plan.height, plan.width, 3), np.uint8)
    for index in range(max(plan.chosen.indices) + 1):
        frame = reader.next()
        for row, chosen in enumerate(plan.chosen.indices):
            if chosen == index:
                pixels[row] = frame.asnumpy()
    return pixels


def _import_decord() -> Any:
    try:
        import decord
    except (ImportError, OSError) as error:
        raise MissingBackendError(
            "backend 'decord' is not installed",
            found=str(error),
            fix=f"Install it with {install_line('decoders')}, or use backend 'pyav'",
        ) from error
    decord.logging.set_level(decord.logging.QUIET)  # otherwise its FFmpeg writes to stderr
    decord.bridge.set_bridge("native")
    return decord


def _read_with_torchcodec(torchcodec: Any, request: Request) -> Frames:
    """`decode` for backend `torchcodec`; the frames are scaled by torchcodec (bilinear, in FFmpeg).

    Raises:
        BackendError: torchcodec counts other frames than the packets give, or gives others than it is asked for
            (in MPEG-TS its seeking loses frames).
    """
    plan = _make_plan(request)
    size = None if request.policy.size is None else (plan.height, plan.width)
    try:
        decoder = torchcodec.decoders.VideoDecoder(
            request.source.content,
            stream_index=plan.stream,
            dimension_order="NHWC",
            num_ffmpeg_threads=request.threads or 0,
            transforms=[] if size is None else [torchcodec.transforms.Resize(size)],
        )
        plan.check_count(len(decoder), "torchcodec")
        given = decoder.get_frames_at(list(plan.chosen.indices))
    except (RuntimeError, ValueError) as error:
        raise _failed("torchcodec", error) from error
    for time, timestamp in zip(given.pts_seconds.tolist(), plan.chosen.timestamps, strict=True):
        if abs(time - plan.timeline.start - timestamp) > 0.001:
            problem = "torchcodec gives other frames than those asked for"
            expected = f"the one of {plan.timeline.start + timestamp:.3f} s"
            raise _refused(problem, f"a frame of {time:.3f} s", expected)
    return plan.chosen.frames(given.data.numpy())


def _import_torchcodec() -> Any:
    try:
        import torchcodec
        import torchcodec.decoders
        import torchcodec.transforms
    except (ImportError, OSError, RuntimeError) as error:
        raise _missing(first_line(error)) from error
    if getattr(torchcodec, "ffmpeg_major_version", 0) is None:  # later versions import without FFmpeg
        raise _missing("torchcodec without FFmpeg")
    return torchcodec


def _missing(found: str) -> MissingBackendError:
    return MissingBackendError(
        "backend 'torchcodec' is not installed, or finds no FFmpeg",
        found=found,
        expected="torchcodec 0.10 or later, and FFmpeg 4 to 8 with shared libraries",
        fix="Install synvita-data[decoders] and FFmpeg, or use backend 'pyav'",
    )
