"""A few frames of each video of a mistake, as small JPEGs: those that the model looked at, where the result says which."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..annotations import VideoRef
from ..errors import SynvitaError
from ..real_videos.find import RealVideos

COUNT = 4  # frames of a video
HEIGHT = 144  # pixels of a frame's shorter side
_REASONS = {
    "missing": "This video is not there.",
    "ambiguous": "Several files could be this video.",
    "too_short": "The file of this video ends too early.",
    "empty": "The file of this video is empty.",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame.

    Attributes:
        index: place in the file, from 0.
        seconds: when it is shown, after the file's first frame.
        width, height: pixels.
        jpeg: the file.
    """

    index: int
    seconds: float
    width: int
    height: int
    jpeg: bytes


class VideoFrames:
    """Finds videos of a task and takes frames out of them.

    Args:
        root: folder of the benchmark's videos.
        mapping: which file is which video, see docs/dataset.md.
        source: `Task.source`: the dataset that the folder is taken to hold.
        indices: video id -> frames that a model looked at; other videos get evenly spaced ones.

    Raises:
        SourceError: `root` is not a folder. SchemaError, UnsafePathError: the mapping is not usable.
    """

    def __init__(
        self,
        root: str | Path,
        mapping: Path | None,
        *,
        source: str | None,
        indices: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._videos = RealVideos(root, mapping, source=source)
        self._indices = indices

    @property
    def known(self) -> bool:
        """Whether the result says which frames were looked at."""
        return bool(self._indices)

    def of(self, video: VideoRef) -> list[Picture] | str:
        """At most `COUNT` frames, in the order in which they were looked at; or a sentence that says why there are none,
        and names no place on this machine."""
        from ..video import FramePolicy, decode

        looked = self._videos.look(
            video.source,
            video.name,
            videopath=video.videopath,
            youtube_key=video.youtube_key,
            start=video.start,
            end=video.end,
        )
        if looked.video is None:
            return _REASONS[looked.lack or "missing"]
        chosen = _few(self._indices.get(video.video_id, ()))
        try:
            policy = (
                FramePolicy(indices=chosen, size=HEIGHT) if chosen else FramePolicy(count=COUNT, size=HEIGHT)
            )
            frames = decode(looked.video.path, policy, *looked.video.seconds(video.start, video.end))
        except SynvitaError as error:  # what was found may name the file
            return f"No frame can be shown: {error.problem}."
        return [
            Picture(index, seconds, frames.width, frames.height, _jpeg(pixels))
            for index, seconds, pixels in zip(frames.indices, frames.timestamps, frames.pixels, strict=True)
        ]


def _few(indices: tuple[int, ...]) -> tuple[int, ...]:
    """At most `COUNT` of them, from the first to the last, none twice."""
    distinct = tuple(dict.fromkeys(indices))
    if len(distinct) <= COUNT:
        return distinct
    return tuple(distinct[place * (len(distinct) - 1) // (COUNT - 1)] for place in range(COUNT))


def _jpeg(pixels: object) -> bytes:
    """A frame, uint8 [H, W, 3], as a JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=80)  # type: ignore[arg-type]
    return file.getvalue()
