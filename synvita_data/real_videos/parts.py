"""Which part of a file a row means: the whole of a cut clip, or a window of the source video.

A row's `start` and `end` are seconds of the source video. A file may be that source video, or the clip that was cut
out of it. Names say which, and are wrong often enough: a whole video lies under the name of a clip, or a clip under
the name of its video. So the file's length is compared with what its name promises.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import VideoError

# Cutting tools end at the next frame or keyframe, and annotations are rounded.
SLACK_SECONDS = 1.0
SLACK_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """What to decode of a file.

    Attributes:
        use: `whole` (the file is the cut clip), `window` (start and end are seconds of the file), or `none`
            (the file cannot hold what the row is about).
        doubt: what does not fit, in words; None where name and length agree.
    """

    use: Literal["whole", "window", "none"]
    doubt: str | None = None


def choose_part(length: float, start: float | None, end: float | None, *, cut: bool, stated: bool) -> Part:
    """The part of a file of `length` seconds that a row about [start, end) of the source video means.

    | expected      | the file is about end - start long | it reaches end            | neither               |
    |---------------|------------------------------------|---------------------------|-----------------------|
    | a cut clip    | whole                              | window, with a doubt      | whole, with a doubt   |
    | source video  | window if it reaches end, else whole with a doubt | window     | none, with the reason |

    Args:
        length: seconds of video in the file.
        start, end: of the row, or of the clip's name; None where unknown.
        cut: whether the name (or the mapping) says that the file is the cut clip.
        stated: whether the mapping said so: the user's word stands, and what does not fit is a doubt.
    """
    first = start or 0.0
    if end is None:
        if cut or length > first:
            return Part("whole" if cut else "window")
        return Part("none", f"the file is {length:.2f} s long, and the row begins at {first:g} s")
    span = end - first
    slack = max(SLACK_SECONDS, SLACK_SHARE * span)
    found = f"the file is {length:.2f} s long, the row is about {first:g} to {end:g} s"
    is_clip = abs(length - span) <= slack
    reaches_end = length >= end - slack
    if cut:
        if is_clip:
            return Part("whole")
        if reaches_end and length > span and not stated:
            return Part("window", f"{found}: it is the source video under the name of a clip")
        return Part("whole", f"{found}: it is neither the clip nor the source video")
    if reaches_end:
        return Part("window")
    if is_clip and not stated:
        return Part("whole", f"{found}: it is a cut clip under the name of the source video")
    return Part("none", f"{found}: it ends before that")


def video_seconds(path: Path, *, exact: bool = False) -> float | None:
    """Seconds of video in a file; None where it cannot be read, which decoding will say better.

    Args:
        exact: measured from the packets; else as the container says, where it does (about a millisecond).
    """
    from ..video import probe
    from ..video.container import open_video
    from ..video.source import resolve

    try:
        if not exact:
            with open_video(resolve(path)) as (_, stream):
                if stream.duration and stream.time_base:
                    return float(stream.duration * stream.time_base)
        info = probe(path)
        return info.first_shown + info.duration  # as a player's clock counts
    except VideoError:
        return None
