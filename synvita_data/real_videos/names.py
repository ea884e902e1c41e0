"""How the source datasets name their videos: from the path in an annotation file to a stable id.

VideoCon's published CSVs hold paths (`k600/val/<key>_<start>_<end>.mp4`, `msr-vtt/TrainValVideo/video3094.mp4`,
`tempo/videos/1524.mp4`); the SynViTA release flattens them (`k600_val_<key>_<start>_<end>`,
`msr-vtt_TrainValVideo_video3094`, `tempo_videos_1524`). Both name the same video, so both give one id. A video
that is not called as its source calls its own is known by its whole path.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

from ..errors import SchemaError

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v")

# Spellings of a source found in the wild -> the name used in ids and published rows.
SOURCE_ALIASES = {
    "msrvtt": "msr-vtt",
    "msr_vtt": "msr-vtt",
    "tempo-hl": "tempo",
    "tempo_hl": "tempo",
    "activity-net": "activitynet",
    "kinetics600": "kinetics",
    "kinetics-600": "kinetics",
}
# Sources whose videos carry Kinetics' names: an 11-character YouTube id and two times in whole seconds.
KINETICS_NAMED = frozenset({"vatex", "kinetics"})

_SOURCE = re.compile(r"[a-z0-9][a-z0-9._-]*")
_KINETICS = re.compile(r"(?:k[0-9]{3}_(?:train|val|test)_)?([A-Za-z0-9_-]{11})_(\d{6})_(\d{6})")
_YOUTUBE_KEY = re.compile(r"[A-Za-z0-9_-]{11}")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ufeff]")
# How other sources call their videos; the group is the id.
_SCHEMES = {
    "msr-vtt": re.compile(r"(?:msr-?_?vtt_)?(?:(?:TrainVal|Test)Video_)?(video[0-9]+)", re.IGNORECASE),
    "tempo": re.compile(r"(?:tempo_videos_)?([0-9]+)"),
    "ssv2": re.compile(r"([0-9]+)"),
    "next-qa": re.compile(r"([0-9]+)"),
    "shapes": re.compile(r"(s[0-9]+-[0-9]{5,}|w[0-9]+-[0-9a-f]{8}-[0-9]{5,})"),
    "activitynet": re.compile(r"([0-9]+|v_[A-Za-z0-9_-]+|[A-Za-z0-9_-]{11})"),
}
# Sources whose videos are known by names of their own.
KNOWN_SOURCES = frozenset({*_SCHEMES, *KINETICS_NAMED})


@dataclass(frozen=True, slots=True)
class VideoName:
    """What a video's name says.

    Attributes:
        video_id: id inside the source, as in `<source>_<video_id>_<NNN>.mp4`.
        start, end: seconds in the source video, where the name carries them; else None.
        youtube_key: 11-character YouTube id, where the name carries it; else None.
    """

    video_id: str
    start: float | None = None
    end: float | None = None
    youtube_key: str | None = None


@lru_cache(maxsize=1024)
def normal_source(name: str) -> str:
    """The source's published name: lower case, one spelling (`MSRVTT` and `msr-vtt` are one).

    Raises:
        SchemaError: not made of letters, digits, `.`, `_`, `-`.
    """
    lower = "-".join(name.lower().split())
    source = SOURCE_ALIASES.get(lower, lower)
    if not _SOURCE.fullmatch(source):
        raise SchemaError(
            "the name of a source cannot be used in file names",
            found=repr(name),
            expected="letters, digits, '.', '_' and '-'",
        )
    return source


def name_video(source: str, videopath: str) -> VideoName:
    """Id (and times, and YouTube key) of the video that an annotation file calls `videopath`.

    Where the file is called as its source calls its videos, the id is that name, in whichever folder it lies,
    flattened or not. Of any other file the id is the whole path without the suffix, so that two paths never
    give one id: see `path_id`. TEMPO's number is the running counter of VideoCon's own cut clips: it is
    stable within VideoCon, and means nothing outside it.

    Raises:
        SchemaError: a path that names no file (`""`, `.`, `..`, `a/`), or a Kinetics name whose end is not
            after its start.
    """
    path = normal_path(videopath)
    return name_in_scheme(source, video_stem(path)) or VideoName(path_id(path))


@lru_cache(16)  # what asks for the name of a video asks again when it looks for others of that name
def name_in_scheme(source: str, stem: str) -> VideoName | None:
    """What a name says if it is one of its source's own; None for any other name, and for other sources.

    Such a name is unique in its source, so that folders and suffix add nothing.
    """
    if source in KINETICS_NAMED and (match := _KINETICS.fullmatch(stem)):
        key, start, end = match[1], int(match[2]), int(match[3])
        if end <= start:
            raise SchemaError("a video ends before it starts", found=repr(stem))
        return VideoName(f"{key}_{match[2]}_{match[3]}", float(start), float(end), key)
    if source in _SCHEMES and (match := _SCHEMES[source].fullmatch(stem)):
        return VideoName(match[1])
    return None


def name_url(source: str, url: str) -> VideoName:
    """The same of a web address: YouTube's key, the name that its source gives the video, or the whole address.

    The id of any other address is host and path, beginning with `//`, which no relative path does. What
    stands behind `?` counts only where the path is not that of a video file: there it says which video is
    meant (by a digest, since it may be a secret), and else how to fetch it.

    Raises:
        SchemaError: an address of no file.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removeprefix("www.").removeprefix("m.")
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host:
        raise SchemaError("video_url is not a web address", found=repr(url), expected="https://…/<video>.mp4")
    if key := _youtube_key(host, parts.path, parts.query):
        return VideoName(key, youtube_key=key)
    if not parts.path.strip("/"):
        raise SchemaError("video_url names no file", found=repr(url), expected="https://…/<video>.mp4")
    path = normal_path(parts.path.strip("/"))
    stem = video_stem(path)
    if known := name_in_scheme(source, stem):
        return known
    scheme = "" if parts.scheme in ("http", "https") else f"{parts.scheme}:"
    place = f"{scheme}//{parts.netloc.rpartition('@')[2].lower()}/{bare_path(path)}"
    if parts.query and stem == path.rpartition("/")[2]:
        place += f"?{hashlib.sha256(parts.query.encode()).hexdigest()[:10]}"
    return VideoName(_escaped(place))


def _youtube_key(host: str, path: str, query: str) -> str | None:
    key = ""
    if host in ("youtube.com", "youtube-nocookie.com"):
        kind, _, rest = path.strip("/").partition("/")
        key = rest if kind in ("shorts", "embed", "live", "v") else parse_qs(query).get("v", [""])[0]
    elif host == "youtu.be":
        key = path.strip("/")
    return key if _YOUTUBE_KEY.fullmatch(key) else None


def path_id(path: str) -> str:
    """The id of a video that only its path tells from others: the whole path without the suffix of a video.

    `/` becomes `%2F`, so that the id can be part of a file's name; `%` becomes `%25` where it would be taken
    for the beginning of an escape; and a space at either end, which tables do not keep, becomes `%20`. Nothing
    else changes: `path_of_id` gives the path back, and different paths have different ids.
    """
    return _escaped(bare_path(normal_path(path)))


def name_id(source: str, video_id: str) -> VideoName:
    """What an id says that a table gives in place of a path: `path_id`'s own come back as they are.

    Raises:
        SchemaError: as `name_video`.
    """
    path = normal_path(video_id)
    return name_in_scheme(source, video_stem(path)) or VideoName(bare_path(path).replace("/", "%2F"))


def path_of_id(video_id: str) -> str:
    """The path (without suffix) that `path_id` made an id of; any other id as it is."""
    text = re.sub(r"^%20|%20$", " ", video_id)
    return re.sub(r"%2F|%25", lambda escape: "/" if escape[0] == "%2F" else "%", text)


def _escaped(path: str) -> str:
    text = re.sub(r"%(?=2F|25)|^%(?=20)|%(?=20$)", "%25", path)
    text = re.sub(r"^ | $", "%20", text)
    return text.replace("/", "%2F")


@lru_cache(16)
def normal_path(path: str) -> str:
    """A path with forward slashes, without empty and `.` parts: the same for all spellings of one path.

    Raises:
        SchemaError: it names no file.
    """
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    stem = video_stem(parts[-1]) if parts else ""
    ends = parts[0][0] + stem[-1] if stem else ""
    odd = any(char.isspace() and char != " " for char in ends) or _UNWRITABLE.search(path)
    if not stem.strip(". ") or ".." in parts or path.endswith(("/", "\\")) or odd:
        raise SchemaError(
            "a path or id names no video",
            found=repr(path),
            expected="a name, maybe with folders before it: not '', '.', '..' or a folder",
        )
    return "/".join(parts)


def plain_path(path: str) -> str:
    """Forward slashes, no empty and no `.` parts; nothing is checked."""
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def bare_path(path: str) -> str:
    """The same without the suffix of a video."""
    folder, slash, name = plain_path(path).rpartition("/")
    return f"{folder}{slash}{video_stem(name)}"


def video_stem(videopath: str) -> str:
    """The last part of a path without the suffix of a video file (other suffixes stay)."""
    name = videopath.replace("\\", "/").rsplit("/", 1)[-1]
    head, dot, suffix = name.rpartition(".")
    return head if head and f"{dot}{suffix.lower()}" in VIDEO_SUFFIXES else name


def flat_name(videopath: str) -> str:
    """A videopath as the SynViTA release writes it: `/` as `_`, without the suffix."""
    folder, slash, name = videopath.rpartition("/")
    return f"{folder}{slash}{video_stem(name)}".replace("/", "_")


def times_in_name(video_id: str) -> tuple[float, float] | None:
    """The time range that a Kinetics-style id ends with, in seconds; None where it ends otherwise."""
    match = re.search(r"_(\d{6})_(\d{6})$", video_id)
    return (float(match[1]), float(match[2])) if match else None
