"""Text-to-video retrieval (mAP, R@K), exact under ties: a pure function of NumPy columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._shared.inputs import (
    Bools,
    Column,
    Floats,
    InputError,
    Ints,
    check_choice,
    check_ids,
    check_rows,
    first_repeat,
    first_true,
)
from .._shared.intervals import Estimate, check_bootstrap, estimate, histogram, mean_interval

TIES = ("expected", "official", "sklearn")
CANDIDATES = ("shared", "own")


def retrieval_map(
    scores: Column,
    labels: Column,
    captions: Column,
    videos: Column,
    *,
    ties: str = "expected",
    candidates: str = "shared",
    ks: Sequence[int] = (1, 5, 10),
    per_caption: bool = False,
    scored: Column | None = None,
    partial: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    r"""Mean average precision and R@K of ranking videos for each caption by their scores.

    Average precision of one caption is the mean, over its P positive videos, of the precision at each one's
    rank; mAP is the mean over captions. R@K is the share of captions with a positive among the first K.

    Tied scores leave the order open. `ties="expected"` gives the exact expectation over all orders of
    tied videos, in closed form. Take a block of n tied videos, m of them positive, behind N videos with
    Q positives. A position j = 1…n of the block is positive with probability m/n; given that, each
    of the j−1 positions before it is positive with probability (m−1)/(n−1). So the block adds to P·AP

        sum_{j=1}^{n} (m/n) · (Q + 1 + (j−1)(m−1)/(n−1)) / (N + j),

    and the first K hold no positive with probability C(n−m, r)/C(n, r), r = K − N, if rank K falls
    into a block behind Q = 0 positives (and never if Q > 0). `worst_ties` and `best_ties` put a block's positives
    last and first. These do not depend on a sort.

    `ties="official"` is one order, VideoCon's script made reproducible: ties in the order of the video paths (as
    strings, by code point). `ties="sklearn"` takes each block as one step of the precision-recall
    curve, as scikit-learn's `average_precision_score` does: every positive of a block gets the precision at the
    block's end, which no order need give (it may even exceed `best_ties`); it has no R@K.

    Intervals are percentile bootstraps over captions. Results do not depend on the order of the rows.

    Args:
        scores: float [N], one a row; a row is a (caption, video) pair.
        labels: [N], 1 where the video is positive for the caption.
        captions: [N] ids of the captions.
        videos: [N] ids of the videos; their paths, for `official`. No pair may occur twice.
        ties: `expected`, `official` or `sklearn`.
        candidates: `shared`: all captions rank the same videos, and a caption without a video that others
            have misses a pair. `own`: each caption ranks the videos it came with.
        ks: the K of R@K.
        per_caption: add `captions`, a list of each caption's AP and R@K.
        scored: bool [N], False where a score is missing (its value is not looked at); None: all are there.
        partial: allow missing pairs: rank what is there, and count k of n pairs. A caption left without a
            positive has no AP and leaves the mean (`captions_ranked` says how many stayed).
        resamples: of the bootstrap; 0 leaves `low` and `high` None, as does one caption.
        level: share of the resampled values between `low` and `high`.
        seed: of the bootstrap.

    Returns:
        `map` and `r_at_<K>`, each an `Estimate` in percent (k, n: pairs); `chance`: the same without scores,
        exactly; `candidates` (how many captions rank how many videos) and `positives` (likewise) as
        dicts of strings to counts; `captions_ranked` (k, n); `ties`; `bootstrap`; and `captions` if asked for.

    Raises:
        InputError (a ValueError): NaN, infinity, labels other than 0 and 1, a repeated pair, a missing pair
            without `partial`, a caption without positives; message and `.position` name the first at fault.

    Example:
        One caption, three videos, the positive one tied with another for the first place.

        >>> result = retrieval_map([0.9, 0.9, 0.1], [1, 0, 0], ["a"] * 3, ["v1", "v2", "v3"], resamples=0)
        >>> result["map"]["value"], result["map"]["worst_ties"], result["map"]["best_ties"]
        (75.0, 50.0, 100.0)
        >>> result["r_at_1"]["value"], round(result["chance"]["map"], 2)
        (50.0, 61.11)
    """
    check_bootstrap(resamples, level)
    check_choice("ties", ties, TIES)
    check_choice("candidates", candidates, CANDIDATES)
    if any(k < 1 for k in ks):
        raise InputError(f"ks={tuple(ks)}; every K must be at least 1")
    ks = tuple(dict.fromkeys(ks))

    # Check the columns, and turn ids into codes.
    count = len(scores)
    numbers, truth, present = check_rows(scores, labels, scored, partial)
    caption_codes, caption_ids = check_ids(captions, "captions", count)
    video_codes, video_ids = check_ids(videos, "videos", count)
    expected_pairs = _check_pairs(
        caption_codes, video_codes, caption_ids, video_ids, shared=candidates == "shared" and not partial
    )
    if candidates == "own":
        expected_pairs = count
    if not partial:
        _check_positives(truth, caption_codes, caption_ids)

    # Rank the scored videos of each caption that has a positive among them.
    rankable = np.bincount(caption_codes[present & truth], minlength=len(caption_ids)) > 0
    if not rankable.any():
        raise InputError("no caption has a scored positive")
    kept = present & rankable[caption_codes]
    tie_order = video_codes[kept] if ties == "official" else None
    ranking = _rank(numbers[kept], truth[kept], caption_codes[kept], tie_order)

    # Measure each caption, then take the means and their intervals.
    coverage = {"k": int(present.sum()), "n": expected_pairs}
    table = {"map": ranking.average_precision(ties)}
    if ties != "sklearn":
        table |= {f"r_at_{k}": ranking.recall(k, ties) for k in ks}
    interval = {"resamples": resamples, "level": level, "seed": seed}
    result: dict[str, Any] = {name: _mean(columns, coverage, interval) for name, columns in table.items()}
    result["chance"] = {
        "map": 100 * float(ranking.chance_average_precision().mean()),
        **{f"r_at_{k}": 100 * float(ranking.chance_recall(k).mean()) for k in ks},
    }
    result["candidates"] = histogram(ranking.size)
    result["positives"] = histogram(ranking.positives)
    result["captions_ranked"] = {"k": int(rankable.sum()), "n": len(caption_ids)}
    result["ties"] = ties
    result["bootstrap"] = {"unit": "caption", **interval}
    if per_caption:
        ids = [caption for caption, ranked in zip(caption_ids, rankable, strict=True) if ranked]
        result["captions"] = _per_caption(ids, ranking, table)
    return result


def _check_pairs(
    captions: Ints, videos: Ints, caption_ids: list[Any], video_ids: list[Any], *, shared: bool
) -> int:
    """Refuse repeated pairs and, where `shared`, missing ones; the size of the full rectangle."""
    rectangle = len(caption_ids) * len(video_ids)
    keys = captions * len(video_ids) + videos
    if (position := first_repeat(keys)) is not None:
        first = int(np.flatnonzero(keys == keys[position])[0])
        raise InputError(
            f"caption {caption_ids[captions[position]]!r} with video {video_ids[videos[position]]!r} "
            f"is already at position {first}",
            position,
        )
    if shared and len(keys) < rectangle:
        sizes = np.bincount(captions, minlength=len(caption_ids))
        caption = int(np.argmin(sizes))
        absent = np.ones(len(video_ids), bool)
        absent[videos[captions == caption]] = False
        raise InputError(
            f"caption {caption_ids[caption]!r} has no pair with video "
            f"{video_ids[int(np.argmax(absent))]!r}, which other captions have ({rectangle - len(keys)} of "
            f"{rectangle} pairs are missing); add them, pass partial=True to have coverage reported, or "
            "candidates='own' if every caption ranks its own videos"
        )
    return rectangle


def _check_positives(labels: Bools, captions: Ints, caption_ids: list[Any]) -> None:
    positives = np.bincount(captions[labels], minlength=len(caption_ids))
    if (caption := first_true(positives == 0)) is not None:
        raise InputError(
            f"caption {caption_ids[caption]!r} has no positive video (label 1), so it has no average precision",
            int(np.flatnonzero(captions == caption)[0]),
        )


@dataclass(frozen=True)
class _Ranking:
    """Rows sorted by caption, then falling score (then `tie_order`). `start`, `size`, `positives` are per
    caption; the rest is per row: `rank` (from 1) in the caption, and of the row's block of ties `place` (from 1),
    `block` and `hits` (the n and m of the docstring) and `hits_before` (Q)."""

    label: Bools
    start: Ints
    size: Ints
    positives: Ints
    rank: Ints
    place: Ints
    block: Ints
    hits: Ints
    hits_before: Ints

    def average_precision(self, ties: str) -> tuple[Floats, Floats, Floats]:
        """AP of each caption: by the rule, in the worst and in the best order."""
        first_of_worst = self.block - self.hits  # of a block, the worst order puts this many negatives first
        worst = np.where(
            self.place > first_of_worst, (self.hits_before + self.place - first_of_worst) / self.rank, 0.0
        )
        best = np.where(self.place <= self.hits, (self.hits_before + self.place) / self.rank, 0.0)
        if ties == "official":
            hits_so_far = np.cumsum(self.label, dtype=np.int64)
            hits_so_far -= np.repeat((hits_so_far - self.label)[self.start], self.size)
            value = np.where(self.label, hits_so_far / self.rank, 0.0)
        elif ties == "sklearn":
            block_end = self.rank - self.place + self.block
            value = self.hits / self.block * (self.hits_before + self.hits) / block_end
        else:
            others = (self.place - 1) * (self.hits - 1) / np.maximum(self.block - 1, 1)
            value = self.hits / self.block * (self.hits_before + 1 + others) / self.rank
        return self._mean_of_positives(value), self._mean_of_positives(worst), self._mean_of_positives(best)

    def recall(self, k: int, ties: str) -> tuple[Floats, Floats, Floats]:
        """Whether (or with what probability) a positive is among each caption's first `k`; worst and best."""
        last = self.start + np.minimum(k, self.size) - 1  # the row of rank k, or the last one
        certain = self.hits_before[last] > 0
        block, hits, place = self.block[last], self.hits[last], self.place[last]
        worst = certain | (place > block - hits)
        best = certain | (hits > 0)
        if ties == "official":
            hit_ranks = np.where(self.label, self.rank, np.iinfo(np.int64).max)
            value = np.minimum.reduceat(hit_ranks, self.start) <= k
        else:
            value = np.where(certain, 1.0, 1 - _miss(block, hits, place))
        return value.astype(np.float64), worst.astype(np.float64), best.astype(np.float64)

    def chance_average_precision(self) -> Floats:
        """The expectation with all scores tied, of each caption: (H_n + (n − H_n)(m−1)/(n−1)) / n."""
        n, m = self.size, self.positives
        harmonic = np.cumsum(1 / np.arange(1, int(n.max()) + 1))[n - 1]
        return (harmonic + (n - harmonic) * (m - 1) / np.maximum(n - 1, 1)) / n

    def chance_recall(self, k: int) -> Floats:
        return 1 - _miss(self.size, self.positives, np.minimum(k, self.size))

    def _mean_of_positives(self, per_row: Floats) -> Floats:
        return np.add.reduceat(per_row, self.start) / self.positives


def _rank(scores: Floats, labels: Bools, captions: Ints, tie_order: Ints | None) -> _Ranking:
    """The ranking of each caption; the order inside a block of ties is `tie_order`, or None where any will do."""
    falling = np.argsort(-scores) if tie_order is None else np.lexsort((tie_order, -scores))
    few = np.uint16 if int(captions.max()) < 1 << 16 else np.int64  # NumPy sorts 16 bits by radix
    order = falling[np.argsort(captions[falling].astype(few), kind="stable")]
    label, caption, score = labels[order], captions[order], scores[order]
    row = np.arange(len(order))
    new_caption = np.diff(caption, prepend=-1) > 0
    new_block = new_caption.copy()
    new_block[1:] |= score[1:] != score[:-1]
    start, block_start = np.flatnonzero(new_caption), np.flatnonzero(new_block)
    size, block = np.diff(start, append=len(row)), np.diff(block_start, append=len(row))
    hits_up_to = np.concatenate([[0], np.cumsum(label)])
    block_hits = hits_up_to[block_start + block] - hits_up_to[block_start]
    caption_hits_before = np.repeat(hits_up_to[start], size)
    return _Ranking(
        label=label,
        start=start,
        size=size,
        positives=hits_up_to[start + size] - hits_up_to[start],
        rank=row - np.repeat(start, size) + 1,
        place=row - np.repeat(block_start, block) + 1,
        block=np.repeat(block, block),
        hits=np.repeat(block_hits, block),
        hits_before=np.repeat(hits_up_to[block_start], block) - caption_hits_before,
    )


def _miss(block: Ints, hits: Ints, draws: Ints) -> Floats:
    """C(n−m, r) / C(n, r): no positive in `draws` of `block` places, `hits` of which are positive."""
    miss = np.ones(len(block))
    for drawn in range(int(draws.max())):
        left = np.maximum(block - hits - drawn, 0) / np.maximum(block - drawn, 1)
        miss = np.where(drawn < draws, miss * left, miss)
    return miss


def _mean(columns: tuple[Floats, Floats, Floats], coverage: dict[str, int], bootstrap: Any) -> Estimate:
    value, worst, best = columns
    means = float(value.mean()), float(worst.mean()), float(best.mean())
    return estimate(means, mean_interval(value, **bootstrap), **coverage)


def _per_caption(
    ids: list[Any], ranking: _Ranking, table: dict[str, tuple[Floats, Floats, Floats]]
) -> list[dict[str, Any]]:
    return [
        {
            "caption": caption,
            "candidates": int(ranking.size[index]),
            "positives": int(ranking.positives[index]),
            **{
                name: {
                    "value": 100 * float(columns[0][index]),
                    "worst_ties": 100 * float(columns[1][index]),
                    "best_ties": 100 * float(columns[2][index]),
                }
                for name, columns in table.items()
            },
        }
        for index, caption in enumerate(ids)
    ]
