"""Join triplets with their synthetic videos, scores, weight and masks into the rows of a dataset.

Nothing here opens a video: the rows are what the annotation files say.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synvita_data.captions.text import Span
from synvita_data.captions.words import word_rule
from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.schema import MISALIGNMENTS, Triplet, make_row_id
from synvita_data.tables.scores import Binding, ScoreTable, VideoIdentity
from synvita_data.weights import ModelScore, weight

from ..sources import SyntheticVideo

Quarantine = Callable[[str, SynvitaError], None]


@dataclass(frozen=True, slots=True)
class RealFile:
    """The file of a real video.

    Attributes:
        path: the file. reference: its path relative to the real root.
        times_apply: whether the triplet's `start` and `end` are seconds of this file; not so for a clip
            that was cut already.
        sha256: known where the video was checked because it is going to be embedded.
    """

    path: Path
    reference: str
    times_apply: bool
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the dataset before its videos are read.

    Attributes:
        id, pair_id: of the dataset. triplet: the annotation. generator: name of the config's generator.
        synthetic: the synthetic video, None where there is none.
        real: the real video, None where it was not found.
        scores: one entry a VQA model, empty where nothing was scored. weight: None without scores.
        binding: how the score table says that they are of the row's video.
        shared, neg_shared: spans kept in the caption and in the contrast caption.
        granularity: how they were found; of words that need more than the plain rule, with the libraries that
            cut them and their versions (`words.word_rule`).
    """

    id: str
    pair_id: str
    triplet: Triplet
    generator: str | None
    synthetic: SyntheticVideo | None
    real: RealFile | None
    scores: tuple[ModelScore, ...]
    weight: float | None
    shared: tuple[Span, ...]
    neg_shared: tuple[Span, ...]
    granularity: str
    binding: Binding = "nothing"

    def columns(self) -> dict[str, Any]:
        """All columns but the two videos, in the types of `schema.features()`."""
        triplet, video = self.triplet, self.synthetic
        # An embedded clip that was cut already must not be cut again by whoever decodes it.
        cut = self.real is not None and self.real.sha256 is not None and not self.real.times_apply
        return {
            "id": self.id,
            "pair_id": self.pair_id,
            "source": triplet.source,
            "video_id": triplet.video_id,
            "videopath": triplet.videopath,
            "start": None if cut else triplet.start,
            "end": None if cut else triplet.end,
            "youtube_key": triplet.youtube_key,
            "video_url": triplet.video_url,
            "caption": triplet.caption,
            "neg_caption": triplet.neg_caption,
            "nle": triplet.nle,
            "misalignment": None
            if triplet.misalignment is None
            else MISALIGNMENTS.index(triplet.misalignment),
            "hard": triplet.hard,
            "generation": None
            if video is None
            else {
                "generator": video.generator or self.generator,
                "revision": video.revision,
                "sample": video.sample,
                "seed": video.seed,
                "config": None
                if video.config is None
                else json.dumps(video.config, sort_keys=True, ensure_ascii=False),
                "sha256": video.sha256,
            },
            "vqascores": [
                {
                    "model": score.model,
                    "revision": score.revision,
                    "method": score.method,
                    "neg_caption_score": score.neg_caption_score,
                    "caption_score": score.caption_score,
                }
                for score in self.scores
            ],
            "weight": self.weight,
            "shared": {
                "caption": [list(span) for span in self.shared],
                "neg_caption": [list(span) for span in self.neg_shared],
                "granularity": self.granularity,
            },
        }


def _identity(video: SyntheticVideo, generator: str | None) -> VideoIdentity:
    return VideoIdentity(video.sha256, video.generator or generator, video.sample)


def make_rows(
    triplets: Sequence[Triplet],
    videos: Sequence[Sequence[SyntheticVideo]],
    candidates: Sequence[Sequence[SyntheticVideo]],
    reals: Sequence[RealFile | None],
    scores: ScoreTable | None,
    *,
    generator: str | None,
    config: str,
    weighting: str,
    spans: Callable[[str, str], tuple[list[Span], list[Span]]],
    granularity: str,
    quarantine: Quarantine,
) -> list[Row]:
    """One row a synthetic sample, or one without a video for a triplet that has none.

    Args:
        triplets, videos, candidates, reals: aligned; `videos[i]` are the usable samples made from
            `triplets[i]`, `candidates[i]` all there were, `reals[i]` its real video if found.
        scores: looked up by row id, then pair id, then row number of the triplets file. Scores that do
            not say which of several samples they are of cost their rows.
        generator: of videos that do not name theirs. config: whose rows these are.
        spans: gives the shared spans of a caption and its contrast caption; `granularity` names it.
        quarantine: called with a row id and the error for a row that cannot be used.
    """
    rows = []
    # A row without a video is one of the generator that the others are of.
    makers = {video.generator or generator for samples in candidates for video in samples}
    maker = next(iter(makers)) if len(makers) == 1 else None
    if not makers and scores is not None and config in scores.generators:
        maker = config
    for triplet, samples, made, real in zip(triplets, videos, candidates, reals, strict=True):
        pair_id = triplet.pair_id
        shared, neg_shared = spans(triplet.caption, triplet.neg_caption)
        checked = {video.path: video for video in samples}
        among = [_identity(checked.get(video.path, video), generator) for video in made]
        named = granularity
        if granularity.startswith("word") and (rule := word_rule(triplet.caption, triplet.neg_caption)):
            named = f"{granularity}+{rule}"
        each: Sequence[SyntheticVideo | None] = samples or [None]
        for video in each:
            row_id = (
                make_row_id(pair_id, video.generator or generator, video.sample)
                if video
                else make_row_id(pair_id, generator, None)
            )
            try:
                found: tuple[ModelScore, ...] = ()
                if scores is not None:
                    found = scores.for_row(
                        row_id,
                        pair_id,
                        triplet.row,
                        videopath=triplet.videopath,
                        caption=triplet.caption,
                        neg_caption=triplet.neg_caption,
                        video=_identity(video, generator) if video else VideoIdentity(None, maker, 1),
                        among=among,
                    )
                value = weight(found, weighting) if found else None
            except ScoreError as error:
                quarantine(row_id, error)
                continue
            rows.append(
                Row(
                    id=row_id,
                    pair_id=pair_id,
                    triplet=triplet,
                    generator=generator,
                    synthetic=video,
                    real=real,
                    scores=found,
                    weight=value,
                    shared=tuple(shared),
                    neg_shared=tuple(neg_shared),
                    granularity=named,
                    binding=scores.bindings[row_id] if scores is not None and found else "nothing",
                )
            )
    return rows
