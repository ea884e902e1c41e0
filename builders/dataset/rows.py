"""Join triplets with their synthetic videos, scores, weight and masks into the rows of a dataset.

Nothing here opens a video: the rows are what the annotation files say.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from synvita_data.captions import Span
from synvita_data.captions.words import word_rule
from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.real_videos.find import RealVideo
from synvita_data.schema import (
    MISALIGNMENTS,
    ContrastCheck,
    ContrastRecord,
    Triplet,
    make_row_id,
)
from synvita_data.tables.scores import Binding, Found, ScoreTable, VideoIdentity
from synvita_data.tables.spill import Spill
from synvita_data.weights import DEFAULT_WEIGHTING, ModelScore, weight

from ..contrast_columns import contrast_struct
from ..sources import SyntheticVideo
from ..training_csv import scores_of
from .options import BuildOptions

# What a training CSV's `alignment` and `alignment_diff` are called among scores of VQA models.
RELEASED_MODEL = "synvita-release"
RELEASED_METHOD = "mean of the release's VQA models, from alignment and alignment_diff of its training CSV"

# Columns that say what the annotation says.
_OF_TRIPLET = [
    "source",
    "video_id",
    "videopath",
    "start",
    "end",
    "youtube_key",
    "video_url",
    "caption",
    "neg_caption",
    "nle",
    "misalignment",
    "hard",
]
_OF_SCORE = [each.name for each in fields(ModelScore)]
_PLAIN = [each.name for each in fields(Triplet) if each.name != "contrast"]


@dataclass(frozen=True, slots=True)
class Material:
    """A triplet and the videos that its rows may be made of.

    Attributes:
        triplet: the annotation.
        videos: synthetic videos made from its contrast caption that can be used, with their SHA-256.
        made: all there were.
        real: the real video, None where it was not found.
        real_sha256: of the real video's bytes, known where it was checked because it is going to be embedded.
    """

    triplet: Triplet
    videos: Sequence[SyntheticVideo]
    made: Sequence[SyntheticVideo]
    real: RealVideo | None
    real_sha256: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the dataset before its videos are read.

    Attributes:
        id, pair_id: of the dataset.
        triplet: the annotation.
        generator: name of the config's generator.
        synthetic: the synthetic video, None where there is none.
        real, real_sha256: as in `Material`.
        scores: one entry a VQA model, empty where nothing was scored.
        weight: None without scores; of a training CSV also where `alignment` is not known.
        shared, neg_shared: spans kept in the caption and in the contrast caption.
        granularity: how they were found; of words that need more than the plain rule, with the libraries that
            cut them and their versions (`words.word_rule`).
        binding: how the score table says that they are of the row's video.
    """

    id: str
    pair_id: str
    triplet: Triplet
    generator: str | None
    synthetic: SyntheticVideo | None
    real: RealVideo | None
    real_sha256: str | None
    scores: tuple[ModelScore, ...]
    weight: float | None
    shared: list[Span]
    neg_shared: list[Span]
    granularity: str
    binding: Binding = "nothing"

    def columns(self) -> dict[str, Any]:
        """All columns but the two videos, in the types of `schema.features()`; `contrast` only where it is known."""
        columns = {name: getattr(self.triplet, name) for name in _OF_TRIPLET}
        if columns["misalignment"] is not None:
            columns["misalignment"] = MISALIGNMENTS.index(columns["misalignment"])
        # An embedded clip that was cut already must not be cut again by whoever decodes it.
        if self.real is not None and self.real_sha256 is not None and not self.real.times_apply:
            columns["start"] = columns["end"] = None
        video, contrast = self.synthetic, self.triplet.contrast
        return {
            "id": self.id,
            "pair_id": self.pair_id,
            **columns,
            "generation": None
            if video is None
            else {
                "generator": video.generator or self.generator,
                "revision": video.revision,
                "sample": video.sample,
                "seed": video.seed,
                "config": None if video.config is None else config_text(video),
                "sha256": video.sha256,
            },
            "vqascores": [{name: getattr(score, name) for name in _OF_SCORE} for score in self.scores],
            "weight": self.weight,
            "shared": {
                "caption": [list(span) for span in self.shared],
                "neg_caption": [list(span) for span in self.neg_shared],
                "granularity": self.granularity,
            },
            **({} if contrast is None else {"contrast": contrast_struct(contrast)}),
        }


def config_text(video: SyntheticVideo) -> str:
    """The settings that a video was made with, as the published JSON."""
    return json.dumps(video.config, sort_keys=True, ensure_ascii=False)


def held_triplets(triplets: Iterable[Triplet], folder: Path) -> Spill[Triplet]:
    """Triplets to go over several times, the first in memory and the others in a file.

    Args:
        triplets: as a reader gives them.
        folder: of the file.
    """
    held: Spill[Triplet] = Spill(folder, _triplet_values, _triplet)
    for triplet in triplets:
        held.append(triplet)
    return held


def _triplet_values(triplet: Triplet) -> list[Any]:
    contrast = None if triplet.contrast is None else contrast_struct(triplet.contrast)
    return [*(getattr(triplet, name) for name in _PLAIN), contrast]


def _triplet(values: list[Any]) -> Triplet:
    *plain, contrast = values
    if contrast is not None:
        checks = tuple(ContrastCheck(**check) for check in contrast["checks"])
        contrast = ContrastRecord(**{**contrast, "checks": checks})
    return Triplet(**dict(zip(_PLAIN, plain, strict=True)), contrast=contrast)


class ScoresLeft(NamedTuple):
    """What no row took of a score table; nothing without one.

    Attributes:
        unused: ids and row numbers of it that no row asked for.
        of_other_videos: videos whose scores are under ids that rows asked for.
    """

    unused: int = 0
    of_other_videos: int = 0

    @classmethod
    def of(cls, scores: ScoreTable | None) -> Self:
        return cls() if scores is None else cls(len(scores.unused()), scores.of_other_videos())


def usual_maker(options: BuildOptions) -> str | None:
    """The generator of videos that do not name theirs."""
    return options.config if options.synthetic else None


def make_rows(
    materials: Iterable[Material],
    scores: ScoreTable | None,
    options: BuildOptions,
    *,
    makers: Collection[str | None],
    spans: Callable[[str, str], tuple[list[Span], list[Span]]],
    quarantine: Callable[[str, SynvitaError], None],
) -> Iterator[Row]:
    """One row a synthetic sample, or one without a video for a triplet that has none.

    Args:
        materials: the triplets that keep a row, with their videos.
        scores: looked up by row id, then pair id, then row number of the triplets file. Scores that do
            not say which of several samples they are of cost their rows. Without a table, what a training CSV says.
        options: name the config, its weighting and its granularity.
        makers: who made the synthetic videos of all materials.
        spans: gives the shared spans of a caption and its contrast caption.
        quarantine: called with a row id and the error for a row that cannot be used.
    """
    generator = usual_maker(options)

    def identity(video: SyntheticVideo) -> VideoIdentity:
        return VideoIdentity(video.sha256, video.generator or generator, video.sample)

    # A row without a video is one of the generator that the others are of.
    maker = next(iter(makers)) if len(makers) == 1 else None
    if not makers and scores is not None and options.config in scores.generators:
        maker = options.config
    for material in materials:
        triplet, pair_id = material.triplet, material.triplet.pair_id
        shared, neg_shared = spans(triplet.caption, triplet.neg_caption)
        granularity = options.granularity_name
        if options.granularity == "word" and (rule := word_rule(triplet.caption, triplet.neg_caption)):
            granularity += f"+{rule}"
        checked = {video.path: video for video in material.videos}
        among = [identity(checked.get(video.path, video)) for video in material.made]
        for video in material.videos or (None,):
            named = (video.generator or generator, video.sample) if video else (generator, None)
            row_id = make_row_id(pair_id, *named)
            found, binding = Found()
            try:
                if scores is not None:
                    found, binding = scores.find(
                        row_id,
                        pair_id,
                        triplet.row,
                        videopath=triplet.videopath,
                        caption=triplet.caption,
                        neg_caption=triplet.neg_caption,
                        video=identity(video) if video else VideoIdentity(None, maker, 1),
                        among=among,
                    )
                value = weight(found, options.weighting) if found else None
                if scores is None and triplet.alignment_diff is not None:
                    found, value = released_scores(triplet, options.weighting)
                    # A training CSV names the video whose scores it gives, and is of one generator.
                    binding = "name" if found else "nothing"
            except ScoreError as error:
                quarantine(row_id, error)
                continue
            yield Row(
                id=row_id,
                pair_id=pair_id,
                triplet=triplet,
                generator=generator,
                synthetic=video,
                real=material.real,
                real_sha256=material.real_sha256,
                scores=found,
                weight=value,
                shared=shared,
                neg_shared=neg_shared,
                granularity=granularity,
                binding=binding,
            )


def released_scores(triplet: Triplet, weighting: str) -> tuple[tuple[ModelScore, ...], float | None]:
    """Scores and weight of a triplet of a training CSV.

    The weight of Eq. 4 is its `alignment_diff`, clamped at 0, to the letter; other weightings need `alignment` too.

    Returns:
        One entry, the mean of the release's models, where both columns are known, else none; and the weight, None
        where it is not known.
    """
    difference = triplet.alignment_diff
    assert difference is not None
    known = scores_of(triplet)
    # An empty alignment_diff was read as 1.0: there is a weight, but nothing was scored.
    found = () if known is None else (ModelScore(RELEASED_MODEL, *known, method=RELEASED_METHOD),)
    if weighting == DEFAULT_WEIGHTING:
        return found, max(0.0, difference)
    if weighting == "fixed":
        return found, 1.0
    return found, weight(found, weighting) if found else None
