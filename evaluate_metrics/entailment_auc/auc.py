"""ROC-AUC of entailment scores, paired and strict accuracy: a pure function of NumPy columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._shared.inputs import (
    THRESHOLDS,
    Bools,
    Column,
    InputError,
    Ints,
    check_choice,
    check_constant,
    check_ids,
    check_probabilities,
    check_rows,
    first_true,
)
from .._shared.intervals import Estimate, Values, check_bootstrap, estimate, no_estimate, percentile_interval


def entailment_auc(
    scores: Column,
    labels: Column,
    videos: Column | None = None,
    *,
    texts: Column | None = None,
    pairs: Column | None = None,
    groups: Mapping[str, Column] | None = None,
    kind: str = "probability",
    strict: bool | None = None,
    scored: Column | None = None,
    partial: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How well scores tell captions (label 1) from contrast captions (label 0) of their videos.

    With P captions of scores x and N contrast captions of scores y,

        AUC = (#{x > y} + #{x = y} / 2) / (P N)

    pooled over all videos: the area under the ROC curve, what scikit-learn's `roc_auc_score` gives. Half a
    point a tie is also the expectation over random orders of tied scores; `worst_ties` gives ties nothing,
    `best_ties` gives them everything.

    *Paired accuracy* is the same ratio over comparisons inside one pair only. *Strict accuracy* is the share
    of those comparisons with the caption above the threshold and the contrast caption below it (yes > .5 and
    no < .5; a score at the threshold is wrong for both, so no order of ties changes it).

    Intervals are percentile bootstraps over *videos* (over pairs or rows where no videos are given), with all texts of a drawn video, because texts of
    one video are not independent; each group draws among its own videos. Results do not depend on the order
    of the rows, to the bit.

    Args:
        scores: float [N], one a row; a row is a text shown with a video.
        labels: [N], 1 for a caption and 0 for a contrast caption.
        videos: [N] ids of the videos, the units of the bootstrap. None: not known; the units are then the `pairs`,
            or where there are none the rows, and `bootstrap` in the result names them. Rows of one video are not
            independent, so such intervals are too narrow where videos have several texts.
        texts: [N] ids of the texts or the texts themselves. Given, rows with equal video, text and label are
            one text of the AUC, as VideoCon's official script drops duplicates; their scores must agree. They
            stay separate rows of the pairs. None: every row is a text of its own.
        pairs: [N] ids; the rows of a pair are of one video and hold both labels (several of each are allowed:
            all are compared). None: the pairs are the videos, and a video without both labels only lowers
            `k` of the paired accuracy; without videos too, nothing is paired: `k` and `n` are 0.
        groups: named columns [N], for example `{"misalignment": […], "hard": […]}`; None in a column leaves
            the row out of that breakdown. The rows of one of `pairs` must agree.
        kind: `probability` (in [0, 1]), `log_odds` (logit of it) or `similarity` (no threshold).
        strict: None computes strict accuracy where the kind has a threshold; True insists; False leaves it out.
        scored: bool [N], False where a score is missing (its value is not looked at); None: all are there.
        partial: allow missing scores and pairs with one label only, and count them in `n` but not in `k`.
        resamples: of the bootstrap; 0 leaves `low` and `high` None, as does a single video.
        level: share of the resampled values between `low` and `high`.
        seed: of the bootstrap.

    Returns:
        `auc` (k, n: texts), `paired_accuracy` (k, n: pairs), `strict_accuracy` (None where not computed), each
        an `Estimate` in percent; `groups`: column -> value -> the same three (AUC None for one class only);
        `chance` (50.0), `videos` (None where they are not given), `repeated_texts`, `contradictory_texts` (captions of a video that are also
        its contrast captions), `bootstrap`.

    Raises:
        InputError (a ValueError): NaN, infinity, labels other than 0 and 1, one class only, a pair with one
            label or two videos, `texts` of neither videos nor pairs, a probability outside [0, 1], `strict=True` for similarities, and the like;
            the message and `.position` name the first entry at fault.

    Example:
        Two videos, each with a caption and a contrast caption; 0.9 ties across the videos.

        >>> result = entailment_auc([0.9, 0.4, 0.95, 0.9], [1, 0, 1, 0], ["a", "a", "b", "b"], resamples=0)
        >>> result["auc"]["value"], result["auc"]["worst_ties"], result["auc"]["best_ties"]
        (87.5, 75.0, 100.0)
        >>> result["paired_accuracy"]["value"], result["strict_accuracy"]["value"]
        (100.0, 50.0)
    """
    check_bootstrap(resamples, level)
    check_choice("kind", kind, THRESHOLDS)
    if strict and THRESHOLDS[kind] is None:
        raise InputError(
            f"strict accuracy needs a threshold, which {kind} scores do not have; use paired accuracy"
        )
    strict = THRESHOLDS[kind] is not None if strict is None else strict
    unit, units = _units(len(scores), videos, texts, pairs)
    rows, columns, _ = _read(scores, labels, units, texts, pairs, groups or {}, kind, scored, partial)
    repeated, contradictory = _repeats(rows.texts)
    options: dict[str, Any] = {"strict": strict, "resamples": resamples, "level": level, "seed": seed}
    options["paired"] = unit != "row"
    return {
        **_measure(rows, **options),
        "groups": {
            name: {
                str(value): _measure(rows.take(codes == code), **options)
                for code, value in enumerate(distinct)
            }
            for name, (codes, distinct) in columns.items()
        },
        "chance": 50.0,
        "videos": _count_distinct(rows.videos[rows.scored]) if unit == "video" else None,
        "repeated_texts": repeated,
        "contradictory_texts": contradictory,
        "bootstrap": {"unit": unit, "resamples": resamples, "level": level, "seed": seed},
    }


def _units(
    count: int, videos: Column | None, texts: Column | None, pairs: Column | None
) -> tuple[str, Column]:
    """What the bootstrap draws, and the column that says so: videos, else pairs, else rows.

    Raises:
        InputError: texts, and nothing says which of equal ones are shown with one video.
    """
    if videos is not None:
        return "video", videos
    if pairs is not None:
        return "pair", pairs
    if texts is not None:
        raise InputError(
            "`texts` counts equal texts of one video once; without `videos` or `pairs` nothing says which they are"
        )
    return "row", np.arange(count)


def entailment_by_video(
    scores: Column,
    labels: Column,
    videos: Column,
    *,
    texts: Column | None = None,
    pairs: Column | None = None,
    kind: str = "probability",
    scored: Column | None = None,
    partial: bool = False,
) -> "EntailmentByVideo":
    """The same metrics as functions of how often each video counts: two models are compared on equal resamples.

    Args:
        scores, labels, videos, texts, pairs, kind, scored, partial: as of `entailment_auc`.

    Raises:
        InputError (a ValueError): as of `entailment_auc`.

    Example:
        >>> found = entailment_by_video([0.9, 0.4, 0.95, 0.9], [1, 0, 1, 0], ["a", "a", "b", "b"])
        >>> found.videos, found.weighted(np.array([1, 1])), found.weighted(np.array([0, 2]))
        (['a', 'b'], (0.875, 1.0, 0.5), (1.0, 1.0, 0.0))
    """
    check_choice("kind", kind, THRESHOLDS)
    rows, _, (video_ids, pair_ids) = _read(scores, labels, videos, texts, pairs, {}, kind, scored, partial)
    used = rows if rows.scored.all() else rows.take(rows.scored)
    return EntailmentByVideo(used, video_ids, pair_ids)


def _read(
    scores: Column,
    labels: Column,
    videos: Column,
    texts: Column | None,
    pairs: Column | None,
    groups: Mapping[str, Column],
    kind: str,
    scored: Column | None,
    partial: bool,
) -> tuple["_Rows", dict[str, tuple[Ints, list[Any]]], tuple[list[Any], list[Any]]]:
    """Checked columns; codes and values of each of `groups`; the distinct ids of videos and pairs."""
    threshold = THRESHOLDS[kind]

    # Check the columns, and turn ids into codes.
    count = len(scores)
    numbers, truth, present = check_rows(scores, labels, scored, partial)
    check_probabilities(numbers, kind)
    video_codes, video_ids = check_ids(videos, "videos", count)
    pair_codes, pair_ids = (video_codes, None) if pairs is None else check_ids(pairs, "pairs", count)
    columns = {name: check_ids(column, name, count, optional=True) for name, column in groups.items()}
    rows = _Rows(
        ranks=np.unique(numbers, return_inverse=True)[1],
        labels=truth,
        videos=video_codes,
        texts=None if texts is None else _text_codes(video_codes, check_ids(texts, "texts", count)[0], truth),
        pairs=pair_codes,
        yes=numbers > (threshold or 0.0),
        no=numbers < (threshold or 0.0),
        scored=present,
    )

    # Rows that belong together must agree, and both classes must be there.
    if pair_ids is not None:
        check_constant(pair_codes, video_codes, pair_ids, "pair", "videos")
        for name, (codes, _) in columns.items():
            check_constant(pair_codes, codes, pair_ids, "pair", f"values of {name!r}")
        if not partial:
            _check_both_labels(rows, pair_ids)
    _check_agreement(rows)
    used = rows.labels[rows.scored]
    if used.all() or not used.any():
        raise InputError(
            f"all {len(used)} labels are {int(used[0])}; an AUC needs both captions (1) and contrast captions (0)"
        )
    return rows, columns, (video_ids, video_ids if pair_ids is None else pair_ids)


@dataclass(frozen=True)
class _Rows:
    """Checked columns of equal length; integers are codes. `ranks` orders the scores, ties equal."""

    ranks: Ints
    labels: Bools
    videos: Ints
    texts: Ints | None  # equal for equal (video, text, label); None: all differ
    pairs: Ints
    yes: Bools  # above the threshold
    no: Bools  # below it
    scored: Bools

    def take(self, rows: Bools | Ints) -> "_Rows":
        kept: dict[str, Any] = {
            name: None if column is None else column[rows] for name, column in vars(self).items()
        }
        return _Rows(**kept)


def _check_both_labels(rows: _Rows, pair_ids: list[Any]) -> None:
    lonely = ~_both_labels(rows, len(pair_ids))
    if (pair := first_true(lonely)) is not None:
        position = int(np.flatnonzero(rows.pairs == pair)[0])
        missing = "contrast caption (label 0)" if rows.labels[position] else "caption (label 1)"
        raise InputError(
            f"pair {pair_ids[pair]!r} has no {missing} ({lonely.sum()} such pairs); "
            "complete it, or pass partial=True to have coverage reported",
            position,
        )


def _text_codes(videos: Ints, texts: Ints, labels: Bools) -> Ints:
    return 2 * np.unique(videos * (int(texts.max()) + 1) + texts, return_inverse=True)[1] + labels


def _check_agreement(rows: _Rows) -> None:
    """Rows of the same video, text and label must have the same score, or none of them one."""
    if rows.texts is None:
        return
    _, first, inverse = np.unique(rows.texts, return_index=True, return_inverse=True)
    same = first[inverse]
    differs = (rows.scored != rows.scored[same]) | (rows.scored & (rows.ranks != rows.ranks[same]))
    if (position := first_true(differs)) is not None:
        raise InputError(f"the same video and text has another score at position {same[position]}", position)


def _repeats(texts: Ints | None) -> tuple[int, int]:
    """How many rows repeat a text, and how many texts have both labels."""
    if texts is None:
        return 0, 0
    distinct = _count_distinct(texts)
    return len(texts) - distinct, distinct - _count_distinct(texts // 2)


def _count_distinct(codes: Ints) -> int:
    return int(np.count_nonzero(np.bincount(codes)))


def _both_labels(rows: _Rows, count: int) -> Bools:
    """bool [count]: which pairs have a row of each label."""
    captions = np.bincount(rows.pairs[rows.labels], minlength=count)
    return (captions > 0) & (np.bincount(rows.pairs[~rows.labels], minlength=count) > 0)


def _measure(
    rows: _Rows, *, strict: bool, paired: bool, resamples: int, level: float, seed: int
) -> dict[str, Any]:
    """The three estimates of these rows, all from the same resamples of their videos."""
    texts = len(rows.labels) if rows.texts is None else _count_distinct(rows.texts)
    pairs = _count_distinct(rows.pairs) if paired else 0
    scored = rows if rows.scored.all() else rows.take(rows.scored)
    if not len(scored.labels):
        none = no_estimate(k=0, n=pairs)
        return {
            "auc": no_estimate(k=0, n=texts),
            "paired_accuracy": none,
            "strict_accuracy": none if strict else None,
        }
    by_video = EntailmentByVideo(scored)
    auc, in_pairs = by_video.auc, by_video.paired
    covered = int(_both_labels(scored, int(rows.pairs.max()) + 1).sum())

    resampled = np.full((3, resamples), np.nan)
    count = len(by_video.codes)
    if resamples and count > 1:
        generator = np.random.default_rng(seed)
        for resample in range(resamples):
            weights = np.bincount(generator.integers(0, count, count), minlength=count)
            resampled[:, resample] = by_video.weighted(weights)

    def finish(values: Values | None, row: int, k: int, n: int) -> Estimate:
        if values is None:
            return no_estimate(k=k, n=n)
        return estimate(values, percentile_interval(resampled[row], level), k=k, n=n)

    return {
        "auc": finish(auc.values() if auc.comparisons else None, 0, auc.count, texts),
        "paired_accuracy": finish(in_pairs.values() if covered else None, 1, covered, pairs),
        "strict_accuracy": finish(in_pairs.strict_values() if covered else None, 2, covered, pairs)
        if strict
        else None,
    }


class EntailmentByVideo:
    """The three metrics of scored rows, when each video counts as often as its weight says.

    Attributes:
        videos: ids of the videos that have a row, sorted; the places of the weights.
        pairs: ids of the pairs that have a comparison, sorted.
        pair_values: float64 [pairs], the share of each one's comparisons that the caption wins, ties half.
    """

    def __init__(
        self, rows: _Rows, video_ids: list[Any] | None = None, pair_ids: list[Any] | None = None
    ) -> None:
        self.codes = np.flatnonzero(np.bincount(rows.videos))
        once = rows if rows.texts is None else rows.take(np.unique(rows.texts, return_index=True)[1])
        self.auc, self.paired = _Auc(once).located(self.codes), _Paired(rows).located(self.codes)
        if video_ids is None or pair_ids is None:
            return
        self.videos = [video_ids[code] for code in self.codes]
        won, all_ = (
            np.bincount(self.paired.pairs, counts, minlength=len(pair_ids))
            for counts in (self.paired.counts[0], self.paired.counts[2])
        )
        compared = np.flatnonzero(all_)
        self.pairs, self.pair_values = [pair_ids[code] for code in compared], won[compared] / all_[compared]

    def weighted(self, weights: Ints) -> tuple[float, float, float]:
        """AUC, paired and strict accuracy as fractions; NaN where undefined.

        Args:
            weights: int64 [videos], how often each video was drawn.
        """
        return (self.auc.weighted(weights), *self.paired.weighted(weights))


class _Auc:
    """Pooled AUC. For each caption, the contrast captions strictly below it are the first `below` of the
    contrast captions in ascending order, those at most equal the first `up_to`; so a resample needs one
    cumulative sum of weights and no sorting. All sums are of int64, hence exact (and NumPy's own loops, which
    unlike BLAS on this size do not suffer when several processes share the cores)."""

    def __init__(self, rows: _Rows) -> None:
        self.count = len(rows.ranks)
        self.contrast_ranks = rows.ranks[~rows.labels]
        caption_ranks = rows.ranks[rows.labels]
        at_most = np.cumsum(np.bincount(self.contrast_ranks, minlength=int(rows.ranks.max()) + 1))
        self.up_to = at_most[caption_ranks]
        self.below = np.where(caption_ranks > 0, at_most[caption_ranks - 1], 0)
        self.captions, self.contrasts = rows.videos[rows.labels], rows.videos[~rows.labels]
        self.comparisons = len(self.captions) * len(self.contrasts)

    def values(self) -> Values:
        wins, at_least = int(self.below.sum()), int(self.up_to.sum())
        total = self.comparisons
        return (wins + at_least) / (2 * total), wins / total, at_least / total

    def located(self, videos: Ints) -> "_Auc":
        self.captions = np.searchsorted(videos, self.captions)
        self.contrasts = np.searchsorted(videos, self.contrasts[np.argsort(self.contrast_ranks)])
        self.cumulative = np.zeros(len(self.contrasts) + 1, np.int64)
        return self

    def weighted(self, weights: Ints) -> float:
        np.cumsum(weights[self.contrasts], out=self.cumulative[1:])
        captions = weights[self.captions]
        total = captions.sum() * self.cumulative[-1]
        if not total:
            return np.nan
        wins = captions @ (self.cumulative[self.below] + self.cumulative[self.up_to])
        return float(wins / (2 * total))


class _Paired:
    """Comparisons inside pairs, counted for each caption: won, won or tied, strictly right, all."""

    def __init__(self, rows: _Rows) -> None:
        # Contrast captions sorted by (pair, score); inside a pair count as `_Auc` does.
        scale = int(rows.ranks.max()) + 1
        keys = rows.pairs * scale + rows.ranks
        contrast = np.sort(keys[~rows.labels])
        captions = rows.take(np.flatnonzero(rows.labels)[np.argsort(keys[rows.labels])])
        in_pair = np.bincount(rows.pairs[~rows.labels], minlength=int(rows.pairs.max()) + 1)
        before = (np.cumsum(in_pair) - in_pair)[captions.pairs]
        caption_keys = captions.pairs * scale + captions.ranks
        won = np.searchsorted(contrast, caption_keys, "left") - before
        not_lost = np.searchsorted(contrast, caption_keys, "right") - before
        all_ = in_pair[captions.pairs]
        refused = np.bincount(rows.pairs[rows.no & ~rows.labels], minlength=len(in_pair))
        right = captions.yes * refused[captions.pairs]
        self.videos, self.pairs = captions.videos, captions.pairs
        self.counts = np.stack([won + not_lost, 2 * right, 2 * all_, won, not_lost])

    def values(self) -> Values:
        halves, _, doubled, won, not_lost = self.counts.sum(axis=1)
        return halves / doubled, 2 * won / doubled, 2 * not_lost / doubled

    def strict_values(self) -> Values:
        right, doubled = self.counts[1].sum(), self.counts[2].sum()
        return (float(right / doubled),) * 3

    def located(self, videos: Ints) -> "_Paired":
        at = np.searchsorted(videos, self.videos)
        sums = [np.bincount(at, row, minlength=len(videos)) for row in self.counts[:3]]
        self.per_video = np.stack(sums).astype(np.int64)
        return self

    def weighted(self, weights: Ints) -> tuple[float, float]:
        halves, right, doubled = self.per_video @ weights
        return (float(halves / doubled), float(right / doubled)) if doubled else (np.nan, np.nan)
