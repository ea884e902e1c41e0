"""What the optional backends share: frames are counted, chosen and sized from our own reading of the packets."""

from dataclasses import dataclass

from .errors import BackendError
from .limits import Limits
from .pyav.backend import check_output, first_frame
from .pyav.container import has_pictures, open_video, video_streams
from .pyav.packets import read_index
from .pyav.timeline import Chosen, Timeline
from .sampling import FramePolicy
from .source import Source

# Containers with a table of their packets, or with times that can be searched for.
_INDEXED = frozenset({"mov", "matroska"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backend is told.

    Attributes:
        timeline: of the whole file. chosen: frames of it. height, width: of the frames to return.
        in_order: whether a decoder that seeks by itself may miss: frames are shown before "their" keyframe, or
            the container has no table of its packets.
        stream: index of the video stream in the file. rivals: other streams that a decoder which chooses by
            itself could take for it.
    """

    timeline: Timeline
    chosen: Chosen
    height: int
    width: int
    in_order: bool
    stream: int
    rivals: int


def check_count(found: int, plan: Plan, source: Source, backend: str) -> None:
    """Raise `BackendError` if a backend sees another number of frames than there are."""
    if found != len(plan.timeline.timestamps):
        raise BackendError(
            f"{backend} counts frames that are not shown, or misses some",
            file=source.name,
            found=f"{found} frames",
            expected=f"{len(plan.timeline.timestamps)} frames",
            fix="Use backend 'pyav' for this file",
        )


def refused(backend: str, source: Source, error: Exception) -> BackendError:
    """`BackendError` for a file that the default backend opens and `backend` does not decode."""
    return BackendError(
        f"{backend} does not decode a video",
        file=source.name,
        found=str(error).strip().splitlines()[0],
        expected="frames",
        fix="Use backend 'pyav' for this file",
    )


def make_plan(
    source: Source, policy: FramePolicy, start: float | None, end: float | None, limits: Limits
) -> Plan:
    """Choose frames as the default backend does, so that an index means the same frame in every backend.

    Raises:
        BackendError: only decoding tells the frames of this file apart; backend `pyav` does that.
    """
    with open_video(source, limits) as (container, stream):
        index = read_index(container, stream, source, limits)
        frame = first_frame(stream, index, source, limits)
        number = stream.index
        in_order = index.open_gop or not _INDEXED & set(container.format.name.split(","))
        # A picture has one frame: no decoder prefers it to a video of more.
        rivals = len(video_streams(container)) - 1 + (len(index.order) == 1 and has_pictures(container))
    if index.timeline is None:
        raise BackendError(
            "the packets of a video do not tell its frames apart",
            file=source.name,
            found="packets without a timestamp of their own, or a stream that begins without a keyframe",
            expected="one timestamp a frame",
            fix="Use backend 'pyav' for this file",
        )
    chosen = index.timeline.choose(policy, start, end, source)
    turned = frame.rotation % 180 == 90
    shown = (frame.width, frame.height) if turned else (frame.height, frame.width)
    height, width = policy.target_size(*shown)
    check_output(len(chosen.indices), height, width, source, limits)
    return Plan(index.timeline, chosen, height, width, in_order, number, rivals)
