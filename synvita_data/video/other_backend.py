"""What the optional backends share: frames are counted, chosen and sized from our own reading of the packets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .container import open_video
from .errors import BackendError
from .frames import Frames
from .limits import Limits
from .packets import Timeline, read_index
from .pyav_backend import check_output, first_frame
from .sampling import FramePolicy, select_frames
from .source import Source


@dataclass(frozen=True, slots=True)
class Plan:
    """Chosen frame indices, the size to return them at, and whether frames are shown before "their" keyframe."""

    timeline: Timeline
    chosen: Sequence[int]
    height: int
    width: int
    open_gop: bool

    def frames(self, pixels: NDArray[np.uint8], source: Source, backend: str) -> Frames:
        """`pixels` of the chosen frames with their record."""
        return Frames(
            pixels=pixels,
            indices=tuple(self.chosen),
            timestamps=tuple(self.timeline.timestamps[i] for i in self.chosen),
            fps=self.timeline.fps,
            source=source.name,
            backend=backend,
        )


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
    if index.timeline is None:
        raise BackendError(
            "the packets of a video do not tell its frames apart",
            file=source.name,
            found="packets without a timestamp of their own, or a stream that begins without a keyframe",
            expected="one timestamp a frame",
            fix="Use backend 'pyav' for this file",
        )
    chosen = select_frames(
        policy,
        index.timeline.timestamps,
        start=start,
        end=end,
        duration=index.timeline.duration,
        file=source.name,
    )
    turned = frame.rotation % 180 == 90
    shown = (frame.width, frame.height) if turned else (frame.height, frame.width)
    height, width = policy.target_size(*shown)
    check_output(len(chosen), height, width, source, limits)
    return Plan(index.timeline, chosen, height, width, index.open_gop)
