"""The videos of a dataset, each file once however many rows it serves, and whether they can be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from synvita_data.errors import VideoError
from synvita_data.models.runtime import read_ahead
from synvita_data.models.videos import Clip, as_clip
from synvita_data.real_videos.parts import choose_part
from synvita_data.video import NoFramesError, check_video

from . import VIDEOS
from .rows import VideoColumn
from .selection import SelectedRow


@dataclass(frozen=True, slots=True, eq=False)
class DistinctVideo:
    """One video (or the part of it that rows are about).

    Attributes:
        kind: one of VIDEOS.
        rows: numbers of the rows that it serves.
        column: where it is read from.
        start: second of its file at which the part begins.
        end: second at which the part ends.
    """

    kind: str
    rows: tuple[int, ...]
    column: VideoColumn
    start: float | None
    end: float | None

    def clip(self) -> Clip:
        """It, as decoder and feature cache take it; bytes are read now."""
        return as_clip(self.column[self.rows[0]], self.start, self.end)


@dataclass(frozen=True, slots=True)
class UnreadableVideo:
    """A video that cannot be trained on: which of VIDEOS, in which rows of the dataset, and why."""

    kind: str
    rows: tuple[int, ...]
    error: VideoError


def distinct_videos(
    triplets: Sequence[SelectedRow], columns: Mapping[str, VideoColumn]
) -> list[DistinctVideo]:
    """The videos that these triplets train, in their order; one file with the same times once."""
    rows: dict[tuple[str, str | int, float | None, float | None], list[int]] = {}
    for triplet in triplets:
        for kind, wanted in zip(VIDEOS, (triplet.real, triplet.synthetic), strict=True):
            if wanted:
                times = (triplet.start, triplet.end) if kind == "real" else (None, None)
                # Bytes in the dataset are taken for distinct: comparing them would read them all.
                place = columns[kind].path(triplet.number) or triplet.number
                rows.setdefault((kind, place, *times), []).append(triplet.number)
    return [
        DistinctVideo(kind, tuple(own), columns[kind], start, end)
        for (kind, _, start, end), own in rows.items()
    ]


def probe_videos(
    videos: Sequence[DistinctVideo],
    *,
    workers: int = 2,
    decode_all: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[UnreadableVideo]:
    """The videos that cannot be read, found by their packets and first frame (`check_video`), in threads.

    Args:
        videos: of `distinct_videos`.
        workers: threads.
        decode_all: decode every frame, which finds damage inside packets too.
        on_progress: called with videos done and in all.
    """

    def probe(clip: Clip) -> None:
        info = check_video(clip.video, decode_all=decode_all)
        part = choose_part(info.first_shown + info.duration, clip.start, clip.end, cut=False, stated=True)
        if clip.end is not None and clip.end <= info.first_shown:
            problem, fix = "a clip ends before its video shows anything", None
            found = f"a first frame at {info.first_shown:.2f} s, a clip up to {clip.end:g} s"
        elif part.use == "none":
            problem, found = "a clip begins or ends behind the end of its video", str(part.doubt)
            fix = "Is the file cut already? Say so in the mapping (trimmed)"
        else:
            return
        file = None if isinstance(clip.video, bytes) else clip.video
        raise NoFramesError(
            problem, file=file, found=found, expected="start and end inside the file", fix=fix
        )

    unreadable = []
    results = read_ahead((video.clip() for video in videos), probe, workers)
    for done, (video, (_, result)) in enumerate(zip(videos, results, strict=True), 1):
        if isinstance(result, VideoError):
            unreadable.append(UnreadableVideo(video.kind, video.rows, result))
        if on_progress is not None:
            on_progress(done, len(videos))
    return unreadable
