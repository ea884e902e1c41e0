"""The videos of a dataset, each file once however many rows it serves, and whether they can be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from synvita_data.errors import VideoError
from synvita_data.models.runtime import read_ahead
from synvita_data.real_videos.find import choose_part
from synvita_data.scoring.protocol import ScoringItem
from synvita_data.video import NoFramesError, check_video

from .plan import PlannedTriplet
from .rows import VideoColumn
from .triplet import VIDEOS
from .videos import as_item


@dataclass(frozen=True, slots=True, eq=False)
class DistinctVideo:
    """One video (or the part of it that rows are about).

    Attributes:
        kind: of VIDEOS. rows: of the dataset that it serves.
        column: to read it from. start, end: seconds of its file.
    """

    kind: str
    rows: tuple[int, ...]
    column: VideoColumn
    start: float | None
    end: float | None

    def item(self) -> ScoringItem:
        """It, as decoder and feature cache take it; bytes are read now."""
        return as_item(self.column[self.rows[0]], self.start, self.end)


@dataclass(frozen=True, slots=True)
class UnreadableVideo:
    """A video that cannot be trained on: which of VIDEOS, in which rows of the dataset, and why."""

    kind: str
    rows: tuple[int, ...]
    error: VideoError


def distinct_videos(
    triplets: Sequence[PlannedTriplet], columns: Mapping[str, VideoColumn]
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
        decode_all: decode every frame, which finds damage inside packets too.
        on_progress: called with videos done and in all.
    """

    def probe(item: ScoringItem) -> None:
        info = check_video(item.video, decode_all=decode_all)
        over = info.first_shown + info.duration
        if item.end is not None and item.end <= info.first_shown:
            raise NoFramesError(
                "a clip ends before its video shows anything",
                file=None if isinstance(item.video, bytes) else item.video,
                found=f"a first frame at {info.first_shown:.2f} s, a clip up to {item.end:g} s",
                expected="start and end inside the file",
            )
        part = choose_part(over, item.start, item.end, cut=False, stated=True)
        if part.use == "none":
            raise NoFramesError(
                "a clip begins or ends behind the end of its video",
                file=None if isinstance(item.video, bytes) else item.video,
                found=part.doubt,
                expected="start and end inside the file",
                fix="Is the file cut already? Say so in the mapping (trimmed)",
            )

    found = []
    results = read_ahead((video.item() for video in videos), probe, workers)
    for done, (video, (_, result)) in enumerate(zip(videos, results, strict=True), 1):
        if isinstance(result, VideoError):
            found.append(UnreadableVideo(video.kind, video.rows, result))
        if on_progress is not None:
            on_progress(done, len(videos))
    return found
