"""What a report says of the rows of a config, counted as they are joined: of a row two numbers are kept."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synvita_data.dataset.inspection import KINDS, UNKNOWN, DrawnRows, score_difference

from .rows import Row, config_text

# Settings of a generator that a report shows.
_CONFIGS_SHOWN = 5
_KIND = {None if name == UNKNOWN else name: place for place, name in enumerate(KINDS)}


@dataclass(slots=True)
class GeneratorTotals:
    """The videos of one generator.

    Attributes:
        videos: how many.
        revisions: of its weights.
        configs: the first few settings, in the order of the rows.
    """

    videos: int = 0
    revisions: set[str] = field(default_factory=set)
    configs: list[str] = field(default_factory=list)

    def more_configs(self, configs: list[str]) -> None:
        """Add those that are not there, as long as there are few."""
        for config in configs:
            if len(self.configs) < _CONFIGS_SHOWN and config not in self.configs:
                self.configs.append(config)


@dataclass(slots=True)
class SplitTotals:
    """The rows of one split.

    Attributes:
        sizes: about how many bytes each takes, with the videos that it embeds.
        kinds, have_videos, differences: of each, as of `DrawnRows`.
        weights: of those that have one.
        synthetic: those with a synthetic video. referred: of them those that refer to it.
        real: those whose real video was found.
        nle: those with an explanation.
        scored: those with scores. scored_here: of them those with a synthetic video.
        bindings: of these, how the score table names the video.
        prompts: videos of which it is known how much of the caption the generator read. cut: of them those that read a part.
        misalignments, sources, granularities: rows by name.
        scorers: rows by model, revision and method.
        generators: by name.
    """

    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    kinds: "array[int]" = field(default_factory=lambda: array("b"))
    have_videos: bytearray = field(default_factory=bytearray)
    differences: "array[float]" = field(default_factory=lambda: array("d"))
    weights: "array[float]" = field(default_factory=lambda: array("d"))
    synthetic: int = 0
    referred: int = 0
    real: int = 0
    nle: int = 0
    scored: int = 0
    scored_here: int = 0
    prompts: int = 0
    cut: int = 0
    bindings: Counter[str] = field(default_factory=Counter)
    misalignments: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    granularities: Counter[str] = field(default_factory=Counter)
    scorers: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    generators: dict[str, GeneratorTotals] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, row: Row, size: int) -> None:
        """Count one more row."""
        video, triplet = row.synthetic, row.triplet
        self.sizes.append(size)
        if row.weight is not None:
            self.weights.append(row.weight)
        self.real += row.real is not None
        self.nle += triplet.nle is not None
        self.kinds.append(_KIND[triplet.misalignment])
        self.have_videos.append(video is not None and video.sha256 is not None)
        self.differences.append(
            score_difference(
                [score.neg_caption_score for score in row.scores],
                [score.caption_score for score in row.scores],
            )
        )
        self.misalignments[triplet.misalignment or UNKNOWN] += 1
        self.sources[triplet.source] += 1
        self.granularities[row.granularity] += 1
        if row.scores:
            self.scored += 1
            for score in row.scores:
                self.scorers[score.model, score.revision, score.method] += 1
        if video is None:
            return
        self.synthetic += 1
        self.referred += video.reference is not None
        if row.scores:
            self.scored_here += 1
            self.bindings[row.binding] += 1
        if video.prompt:
            self.prompts += 1
            self.cut += "cut_at" in video.prompt
        made = self.generators.setdefault(video.generator or row.generator or "unknown", GeneratorTotals())
        made.videos += 1
        if video.revision:
            made.revisions.add(video.revision)
        if video.config and len(made.configs) < _CONFIGS_SHOWN:
            made.more_configs([config_text(video)])


@dataclass(slots=True)
class WriterTotals:
    """The pairs whose contrast captions one writer wrote.

    Attributes:
        pairs: how many.
        misalignments: pairs by kind.
        checks: name, model, revision and threshold of each that some have passed.
    """

    pairs: int = 0
    misalignments: Counter[str] = field(default_factory=Counter)
    checks: set[tuple[str, str | None, str | None, float | None]] = field(default_factory=set)


class Totals:
    """The rows of a config, by split.

    Attributes:
        splits: by name, in no order.
        pairs: of captions; one has several rows where it has several synthetic videos.
        writers: of contrast captions, by name, revision and digest of the prompts.
    """

    def __init__(self) -> None:
        self.splits: dict[str, SplitTotals] = {}
        self.pairs = 0
        self.writers: dict[tuple[str | None, str | None, str | None], WriterTotals] = {}
        self._pair: str | None = None

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))

    def add(self, row: Row, size: int) -> None:
        """Count one more row; those of a pair follow each other."""
        self.splits.setdefault(row.triplet.split, SplitTotals()).add(row, size)
        if row.pair_id == self._pair:
            return
        self.pairs, self._pair = self.pairs + 1, row.pair_id
        if (record := row.triplet.contrast) is not None:
            own = self.writers.setdefault((record.writer, record.revision, record.prompts), WriterTotals())
            own.pairs += 1
            own.misalignments[row.triplet.misalignment or UNKNOWN] += 1
            own.checks |= {(each.name, each.model, each.revision, each.threshold) for each in record.checks}

    def in_order(self) -> list[tuple[str, SplitTotals]]:
        """The splits by name: the order of the shards."""
        return sorted(self.splits.items())

    def drawn(self) -> DrawnRows:
        """What the figure is drawn from, in the order of the shards."""
        splits = [split for _, split in self.in_order()]
        return DrawnRows(
            np.concatenate([np.frombuffer(split.kinds, np.int8) for split in splits]),
            np.concatenate([np.frombuffer(split.have_videos, np.uint8) for split in splits]),
            np.concatenate([np.frombuffer(split.differences, np.float64) for split in splits]),
        )

    def sum(self, name: str) -> int:
        """Of all splits, what `SplitTotals` counts under a name."""
        return sum(getattr(split, name) for split in self.splits.values())

    def counter(self, name: str) -> Counter[Any]:
        """Of all splits, the rows that `SplitTotals` counts by something."""
        found: Counter[Any] = Counter()
        for split in self.splits.values():
            found.update(getattr(split, name))
        return found

    def generators(self) -> dict[str, GeneratorTotals]:
        """Of all splits, by name."""
        found: dict[str, GeneratorTotals] = {}
        for _, split in self.in_order():
            for name, own in split.generators.items():
                made = found.setdefault(name, GeneratorTotals())
                made.videos += own.videos
                made.revisions |= own.revisions
                made.more_configs(own.configs)
        return found
