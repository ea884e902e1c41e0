"""A video as annotations refer to it, from the cells that name it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SchemaError
from ..real_videos.names import flat_name, name_url, name_video, video_stem
from ..tables.cells import given_id, given_text

if TYPE_CHECKING:
    from ..real_videos.find import RealVideo


@dataclass(frozen=True, slots=True)
class VideoRef:
    """A video as annotations refer to it.

    Attributes:
        source: dataset of the video (`msr-vtt`, `vatex`, `tempo`, `activitynet`, `ssv2`, `next-qa`).
        name: id inside the source.
        videopath: how the annotation file names it, None where it gives an id or a web address only.
        video_url, youtube_key: other handles on it.
        start, end: seconds of the source video that are meant, None for all of it.
        part: the rows say these seconds, so that other seconds of the file are another video; False where the name
            tells them, or nothing.
    """

    source: str
    name: str
    videopath: str | None = None
    video_url: str | None = None
    youtube_key: str | None = None
    start: float | None = None
    end: float | None = None
    part: bool = False

    @property
    def unit(self) -> str:
        """Its name, with the seconds of a part: `<name>_<start>-<end>`, either empty where the video begins or ends."""
        if not self.part:
            return self.name
        start, end = (
            "" if each is None else repr(each).removesuffix(".0") for each in (self.start, self.end)
        )
        return f"{self.name}_{start}-{end}"

    @property
    def video_id(self) -> str:
        """`<source>_<unit>`: unique in a task, the same however the file spells the path."""
        return f"{self.source}_{self.unit}"


# From a video to a file, the bytes of one, what `RealVideos.find` gives, or None where it is not there.
Resolver = Callable[[VideoRef], "Path | bytes | RealVideo | None"]


def video_at(source: str, videopath: str) -> VideoRef:
    """The video of this path. Of an absolute path, which means nothing on another machine, the last folder
    and the name are kept (`1106/4010069381.mp4`, NExT-QA's own layout).

    Raises:
        SchemaError: empty, or a name that cannot be.
    """
    whole = (given_id(videopath, "videopath") or "").replace("\\", "/")
    if not whole or whole.endswith("/"):
        raise SchemaError("a video has no name", found=repr(videopath))
    path = whole
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        path = "/".join(path.split("/")[-2:]).lstrip("/")
    # Two files that differ in an earlier folder are two videos all the same.
    name = name_video(source, whole)
    return VideoRef(source, name.video_id, path, youtube_key=name.youtube_key, start=name.start, end=name.end)


def video_at_url(source: str, url: str) -> VideoRef:
    """The video behind a web address; see `name_url`.

    Raises:
        SchemaError: not an address of a file.
    """
    text = given_text(url, "video_url") or ""
    name = name_url(source, text)
    # Times in a name are those of a file that is cut already.
    return VideoRef(source, name.video_id, video_url=text, youtube_key=name.youtube_key)


def check_distinct(videos: Iterable[VideoRef], file: Path) -> None:
    """Raise `SchemaError` if two different paths would be taken for one video."""
    first: dict[str, VideoRef] = {}
    for video in videos:
        other = first.setdefault(video.video_id, video)
        path, earlier = (each.videopath or each.video_url or each.name for each in (video, other))
        if (other.source, other.name) != (video.source, video.name) or not _same_file(path, earlier):
            raise SchemaError(
                "two paths name one video",
                file=file,
                found=f"{earlier} and {path}, both {video.video_id}",
                fix="Give the videos different names",
            )


def _same_file(path: str, other: str) -> bool:
    """Whether two paths are one, flattened or not, with the suffix or without."""
    suffixes = {each[len(video_stem(each)) :] for each in (path.rpartition("/")[2], other.rpartition("/")[2])}
    return path == other or (flat_name(path) == flat_name(other) and len(suffixes - {""}) <= 1)


def tied_together(sets: Iterable[Sequence[str]]) -> dict[str, str]:
    """Video -> the first by name of the videos that sets tie it to, directly or through others."""
    parent: dict[str, str] = {}

    def root(video: str) -> str:
        parent.setdefault(video, video)
        while parent[video] != video:
            parent[video] = parent[parent[video]]
            video = parent[video]
        return video

    for videos in sets:
        first, *others = sorted(map(root, videos))
        for other in others:
            parent[other] = first
    return {video: root(video) for video in parent}
