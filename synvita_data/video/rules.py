"""The versions of the rules by which frames are chosen, for keys of stored work.

A mended rule makes stored work stale only where it can change the frames: everywhere else a key is what it was
before the rules had versions.
"""

from typing import Any

from ..errors import VideoError
from .sampling import FramePolicy
from .source import VideoSource, resolve

STREAM_RULE = 2
_VERSIONS = {
    # 2: a frame is on show until the next one, so that the frame on show at `start` belongs to a clip (1: frames
    # whose timestamp lies in it); the last frame lasts as long as the file says.
    "window": 2,
    # 2: the video stream that FFmpeg itself takes (1: the first that is not cover art).
    "stream": STREAM_RULE,
    # 2: a frame's time is when it is looked at (1: its index by the file's mean rate); a frame of an AVI file
    # lasts until the next packet that is there (1: all equally long).
    "times": 2,
}
# Ways of telling a model the times of frames: by index and rate, or by timestamp.
TIMES = ("indices", "timestamps")


def rule_versions(
    video: VideoSource,
    policy: FramePolicy,
    start: float | None = None,
    end: float | None = None,
    *,
    reads_times: str | None = None,
) -> dict[str, Any]:
    """What a key of work on these frames must hold beside video, policy, start and end: mostly nothing.

    Args:
        reads_times: one of `TIMES` if the work depends on the times of the frames.

    Returns:
        {}, or {"rules": {...}} where a newer rule can choose other frames than the first one did: a part of a
        video, frames by rate, a file whose first video stream is not the one to show, and, for work that reads
        times, frames that do not come at a steady rate.
    """
    window = policy.fps is not None or start is not None or end is not None
    return named_versions(
        window=window,
        stream=takes_other_stream(video),
        # Where the window's rule stands in a key, it says enough: both came at once.
        times=not window and reads_times is not None and takes_other_times(video, reads_times),
    )


def named_versions(*, window: bool = False, stream: bool = False, times: bool = False) -> dict[str, Any]:
    """`rule_versions` where it is known which rules can change the frames."""
    applies = {"window": window, "stream": stream, "times": times}
    rules = {name: _VERSIONS[name] for name, own in applies.items() if own}
    return {"rules": rules} if rules else {}


def takes_other_stream(video: VideoSource) -> bool:
    """Whether another video stream is taken than the first that is not cover art; reads the file's headers.

    A file that cannot be read takes none: what is wrong with it is said where it is decoded.
    """
    from .container import open_video, video_streams

    try:
        with open_video(resolve(video)) as (container, stream):
            return stream.index != video_streams(container)[0].index
    except VideoError:
        return False


def takes_other_times(video: VideoSource, reads_times: str) -> bool:
    """Whether a model that reads times in this way gets others than before: of frames that do not come at a steady rate.

    Reads the packets, and decodes AVI files; of others the timestamps are what they were.
    """
    from .container import open_video
    from .packets import read_index
    from .pyav_backend import count_frames

    try:
        source = resolve(video)
        with open_video(source) as (container, stream):
            if reads_times == "timestamps" and container.format.name != "avi":
                return False
            index = read_index(container, stream, source)
        return not (index.timeline or count_frames(source)).is_even
    except VideoError:
        return False
