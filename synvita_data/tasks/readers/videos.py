"""From the cells that name a video to a `VideoRef`."""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ...errors import SchemaError
from ...video_names import flat_name, name_video
from ..annotations import VideoRef

_YOUTUBE_KEY = re.compile(r"[A-Za-z0-9_-]{11}")


def video_at(source: str, videopath: str) -> VideoRef:
    """The video of this path. Of an absolute path, which means nothing on another machine, the last folder
    and the name are kept (`1106/4010069381.mp4`, NExT-QA's own layout).

    Raises:
        SchemaError: empty, or a name that cannot be.
    """
    path = videopath.strip().replace("\\", "/")
    if not path or path.endswith("/"):
        raise SchemaError("a video has no name", found=repr(videopath))
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        path = "/".join(path.split("/")[-2:]).lstrip("/")
    name = name_video(source, path)
    return VideoRef(source, name.video_id, path, youtube_key=name.youtube_key, start=name.start, end=name.end)


def video_at_url(source: str, url: str) -> VideoRef:
    """The video behind a web address: YouTube's key, or the name of the file.

    Raises:
        SchemaError: not an address of a file.
    """
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").removeprefix("www.").removeprefix("m.")
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host:
        raise SchemaError("video_url is not a web address", found=repr(url), expected="https://…/<video>.mp4")
    key = parse_qs(parts.query).get("v", [""])[0] if host == "youtube.com" else ""
    key = parts.path.strip("/") if host == "youtu.be" else key
    if _YOUTUBE_KEY.fullmatch(key):
        return VideoRef(source, key, video_url=url.strip(), youtube_key=key)
    path = parts.path.rstrip("/")
    if not path:
        raise SchemaError("video_url names no file", found=repr(url), expected="https://…/<video>.mp4")
    name = name_video(source, path)
    return VideoRef(source, name.video_id, video_url=url.strip(), youtube_key=name.youtube_key)


def check_distinct(videos: Iterable[VideoRef], file: Path) -> None:
    """Raise `SchemaError` if two different paths would be taken for one video."""
    path_of: dict[str, str] = {}
    for video in videos:
        path = video.videopath or video.video_url or video.name
        other = path_of.setdefault(video.video_id, path)
        if other != path and flat_name(other) != flat_name(path):
            raise SchemaError(
                "two paths name one video",
                file=file,
                found=f"{other} and {path}, both {video.video_id}",
                fix="Give the videos different names",
            )
