"""How the source datasets name their videos: from the path in an annotation file to a stable id.

VideoCon's published CSVs hold paths (`k600/val/<key>_<start>_<end>.mp4`, `msr-vtt/TrainValVideo/video3094.mp4`,
`tempo/videos/1524.mp4`); the SynViTA release flattens them (`k600_val_<key>_<start>_<end>`,
`msr-vtt_TrainValVideo_video3094`, `tempo_videos_1524`). Both name the same video, so both give one id.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from .errors import SchemaError

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
_KINETICS = re.compile(r"(?:k\d{3}_(?:train|val|test)_)?([A-Za-z0-9_-]{11})_(\d{6})_(\d{6})")
_MSR_VTT = re.compile(r"(?:msr-?_?vtt_)?(?:(?:TrainVal|Test)Video_)?(video\d+)", re.IGNORECASE)
_TEMPO = re.compile(r"(?:tempo_videos_)?(\d+)")


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

    The id is the stem of the file in the source dataset; a name that does not follow its source's
    scheme is kept as it is, without folders and suffix. TEMPO's number is the running counter of
    VideoCon's own cut clips: it is stable within VideoCon, and means nothing outside it.

    Raises:
        SchemaError: a Kinetics name whose end is not after its start.
    """
    stem = video_stem(videopath)
    if source in KINETICS_NAMED and (match := _KINETICS.fullmatch(stem)):
        key, start, end = match[1], int(match[2]), int(match[3])
        if end <= start:
            raise SchemaError("a video ends before it starts", found=repr(videopath))
        return VideoName(f"{key}_{match[2]}_{match[3]}", float(start), float(end), key)
    if source == "msr-vtt" and (match := _MSR_VTT.fullmatch(stem)):
        return VideoName(match[1])
    if source == "tempo" and (match := _TEMPO.fullmatch(stem)):
        return VideoName(match[1])
    return VideoName(stem)


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
