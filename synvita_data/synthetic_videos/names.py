"""How SynViTA's authors name their synthetic videos: `<source>_<video id>_<NNN>.mp4`, the same in all generators.

`msr-vtt_video6323_001.mp4`, `vatex_5H02ohmoKow_000068_000078_001.mp4`; the folder tells the generator.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import SchemaError
from ..real_videos.names import (
    KNOWN_SOURCES,
    SOURCE_ALIASES,
    name_id,
    normal_source,
    video_stem,
)

# What a part of a path must contain to name a generator (in any case) -> the name that is recorded.
GENERATOR_PARTS = {"cogvideo": "cogvideox", "lavie": "lavie", "videocrafter": "videocrafter2"}

_NUMBERED = re.compile(r"(?P<video>.+)_(?P<number>[0-9]{3})", re.DOTALL)
_OTHER_SOURCE = re.compile(r"(?P<source>[A-Za-z0-9][A-Za-z0-9.-]*)_(?P<rest>.+)", re.DOTALL)
# The longest spelling first: `msr_vtt_video1` is of msr-vtt.
_SPELLINGS = sorted({*SOURCE_ALIASES, *KNOWN_SOURCES}, key=lambda name: (-len(name), name))


@dataclass(frozen=True, slots=True)
class ClipName:
    """What the name of a synthetic video says.

    Attributes:
        source: dataset of the real video, by its published name.
        video_id: id of the real video in it.
        number: the last three digits, from 1. What they count is not known: contrast captions of the video, or samples.
    """

    source: str
    video_id: str
    number: int

    def stem(self) -> str:
        """The name without `.mp4`."""
        return f"{self.source}_{self.video_id}_{self.number:03d}"


def parse_clip_name(name: str) -> ClipName | None:
    """What a file is called, folders before it and the suffix of a video apart; None for any other name.

    A source is one of those that are known, in any of their spellings, or else what stands before the first `_`.
    """
    match = _NUMBERED.fullmatch(video_stem(name))
    if match is None or match["number"] == "000":
        return None
    video, number = match["video"], int(match["number"])
    lower = video.lower()
    for spelling in _SPELLINGS:
        if lower.startswith(f"{spelling}_") and len(video) > len(spelling) + 1:
            return _clip(spelling, video[len(spelling) + 1 :], number)
    other = _OTHER_SOURCE.fullmatch(video)
    return None if other is None else _clip(other["source"], other["rest"], number)


def _clip(source: str, rest: str, number: int) -> ClipName | None:
    try:
        source = normal_source(source)
        return ClipName(source, name_id(source, rest).video_id, number)
    except SchemaError:  # what no video is called
        return None


def generator_in(parts: Iterable[str]) -> str | None:
    """The generator that the nearest part of a path names; None where none does.

    A part that names two of them says nothing.

    Args:
        parts: folders and archives around a video, outermost first; not the video's own name, which holds ids.
    """
    for part in reversed(list(parts)):
        found = {name for word, name in GENERATOR_PARTS.items() if word in part.casefold()}
        if len(found) == 1:
            return found.pop()
    return None


def normal_generator(name: str) -> str:
    """A generator as it is recorded: `CogVideoX-2b` is `cogvideox`; another name stays as it is."""
    return generator_in([name]) or name
