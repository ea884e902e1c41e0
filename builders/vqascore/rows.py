"""Which rows are to be scored: triplets joined with their synthetic videos, each video checked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from synvita_data.errors import SynvitaError
from synvita_data.jobs import Store
from synvita_data.schema import Triplet, make_row_id
from synvita_data.video.rules import takes_other_stream, takes_other_times

from ..sources import FoundVideos
from ..sources.checks import agreed, check_videos
from .job import VqaRow


@dataclass
class PlannedRows:
    """What there is to score.

    Attributes:
        rows: in the order of triplets, then generator and sample.
        without_video: triplets that have no synthetic video.
        quarantined: a record for each row, or file, that cannot be scored, as in `quarantine.jsonl`.
        unmatched: video files that belong to no triplet.
    """

    rows: list[VqaRow] = field(default_factory=list)
    without_video: int = 0
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    def set_aside(self, error: SynvitaError, row_id: str | None = None) -> None:
        self.quarantined.append(
            {"stage": "videos", **({"id": row_id} if row_id else {}), **error.to_record()}
        )


def plan_rows(
    triplets: Sequence[Triplet],
    found: FoundVideos,
    generator: str,
    store: Store,
    *,
    threads: int = 2,
    on_checked: Callable[[int, int], None] | None = None,
    times: Iterable[str] = (),
) -> PlannedRows:
    """Row ids as `synvita build` makes them, with the SHA-256 of each video's bytes.

    Args:
        generator: name in row ids of videos that do not say which model made them.
        store: remembers videos that were checked; the build's own `videos` serves.
        on_checked: called with how many more videos are checked, and how many there are.
        times: ways in which models are told the times of frames, of `video.rules.TIMES`.
    """
    plan = PlannedRows(unmatched=list(found.unmatched))
    for error in found.quarantined:
        plan.set_aside(error)
    paths = list(dict.fromkeys(video.path for videos in found.videos.values() for video in videos))
    checked = check_videos(
        paths,
        store,
        threads=threads,
        on_checked=None if on_checked is None else lambda more: on_checked(more, len(paths)),
    )
    seen: set[str] = set()
    for triplet in triplets:
        videos = found.of(triplet)
        plan.without_video += not videos
        for video in videos:
            maker = video.generator or generator
            row_id = make_row_id(triplet.pair_id, maker, video.sample)
            if row_id in seen:  # a pair that the annotations have twice
                continue
            seen.add(row_id)
            state = agreed(video, checked[video.path])
            if isinstance(state, SynvitaError):
                plan.set_aside(state, row_id)
            else:
                plan.rows.append(
                    VqaRow(
                        row_id,
                        str(video.path),
                        state,
                        triplet.caption,
                        triplet.neg_caption,
                        generator=maker,
                        sample=video.sample,
                        other_stream=takes_other_stream(video.path),
                        other_times=tuple(way for way in times if takes_other_times(video.path, way)),
                    )
                )
    return plan
