"""Text, video and group score of groups of two videos and two captions: a pure function of NumPy columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._shared.inputs import (
    Bools,
    Column,
    Floats,
    InputError,
    Ints,
    check_constant,
    check_ids,
    check_labels,
    check_scored,
    check_scores,
    first_repeat,
    first_true,
)
from .._shared.intervals import Estimate, check_bootstrap, estimate, mean_interval, no_estimate

# What a model scores that knows nothing: one of four outcomes, and one of the six orders of two and two.
CHANCE = {"text": 25.0, "video": 25.0, "group": 100 / 6}


def group_score(
    scores: Column,
    video: Column,
    caption: Column,
    groups: Column,
    *,
    breakdown: Mapping[str, Column] | None = None,
    per_group: bool = False,
    scored: Column | None = None,
    partial: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How well scores match two captions with two videos, as Winoground and Vinoground ask.

    A group has two videos V0, V1 and two captions C0, C1; C0 belongs to V0 and C1 to V1. With s(V, C) the score
    of a caption with a video,

        text:   s(V0, C0) > s(V0, C1) and s(V1, C1) > s(V1, C0)   each video finds its caption
        video:  s(V0, C0) > s(V1, C0) and s(V1, C1) > s(V0, C1)   each caption finds its video
        group:  both

    and each score is the share of groups for which it holds. Tied scores of a group count by the exact
    expectation over their random orders: 1/2 a tied comparison of text or video (whose two comparisons share
    no score), and for the group, where s(V0, C0) and s(V1, C1) must both be above the two others,
    1 / C(p + q, p) where p of the former and q of the latter share the deciding score. `worst_ties` gives ties
    nothing, `best_ties` gives them everything. Four equal scores give what chance gives: 25, 25 and 16.7.

    Intervals are percentile bootstraps over groups. Results do not depend on the order of the rows, to the bit.

    Args:
        scores: float [N], one a row; a row is a caption shown with a video of its group.
        video: [N], 0 for V0 and 1 for V1.
        caption: [N], 0 for C0 and 1 for C1.
        groups: [N] ids of the groups, of four rows each.
        breakdown: named columns [N], for example `{"major": […], "minor": […]}`; None in a column leaves the
            row out of that breakdown. The rows of a group must agree.
        per_group: add `groups`, a list of each group's `id` and three values.
        scored: bool [N], False where a score is missing (its value is not looked at); None: all are there.
        partial: leave out groups that miss a score or a row, and count them in `n` but not in `k`.
        resamples: of the bootstrap; 0 leaves `low` and `high` None, as does one group.
        level: share of the resampled values between `low` and `high`.
        seed: of the bootstrap.

    Returns:
        `text`, `video`, `group`, each an `Estimate` in percent (k, n: groups); `breakdown`: column -> value ->
        the same three; `chance` of the three; `bootstrap`; and `groups` if asked for.

    Raises:
        InputError (a ValueError): NaN, infinity, a video or caption other than 0 and 1, a group with a row twice or
            with fewer than four, a group with two values of a breakdown; the message and `.position` name
            the first entry at fault.

    Example:
        One group in which every video finds its caption, but the first caption ties between the videos.

        >>> result = group_score([0.9, 0.1, 0.9, 0.95], [0, 0, 1, 1], [0, 1, 0, 1], ["g"] * 4)
        >>> [result[name]["value"] for name in ("text", "video", "group")]
        [100.0, 50.0, 50.0]
        >>> result["group"]["worst_ties"], result["group"]["best_ties"]
        (0.0, 100.0)
    """
    check_bootstrap(resamples, level)
    # Check the columns, turn ids into codes, and lay out each group's four scores.
    count = len(scores)
    mask = check_scored(scored, count, partial)
    numbers = check_scores(scores, mask)
    cells = 2 * check_labels(video, count, "video", "video") + check_labels(
        caption, count, "caption", "caption"
    )
    codes, ids = check_ids(groups, "groups", count)
    columns = {
        name: check_ids(column, name, count, optional=True) for name, column in (breakdown or {}).items()
    }
    complete = _check_cells(codes, ids, cells, partial)
    for name, (values, _) in columns.items():
        check_constant(codes, values, ids, "group", f"values of {name!r}")
    if mask is not None:
        complete[codes[~mask]] = False
    if not complete.any():
        raise InputError("no group has a score for each of its four rows")
    table = np.zeros((len(ids), 4))
    table[codes, cells] = numbers
    twelfths = _twelfths(table)

    first = np.unique(codes, return_index=True)[1]  # of each group, for what its rows agree in
    options: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}

    def measure(chosen: Bools) -> dict[str, Estimate]:
        return {name: _estimate(values, chosen, complete, options) for name, values in twelfths.items()}

    result: dict[str, Any] = {
        **measure(np.ones(len(ids), bool)),
        "breakdown": {
            name: {str(value): measure(values[first] == code) for code, value in enumerate(distinct)}
            for name, (values, distinct) in columns.items()
        },
        "chance": dict(CHANCE),
        "bootstrap": {"unit": "group", **options},
    }
    if per_group:
        result["groups"] = [
            {
                "id": ids[index],
                **{name: 100 * int(values[index, 0]) / 12 for name, values in twelfths.items()},
            }
            for index in np.flatnonzero(complete).tolist()
        ]
    return result


def _check_cells(groups: Ints, ids: list[Any], cells: Ints, partial: bool) -> Bools:
    """bool [groups]: which have all four rows. A row that comes twice is always an error."""
    if (position := first_repeat(4 * groups + cells)) is not None:
        video, caption = divmod(int(cells[position]), 2)
        raise InputError(
            f"group {ids[groups[position]]!r} has video {video} with caption {caption} twice", position
        )
    sizes = np.bincount(groups)
    if not partial and (group := first_true(sizes != 4)) is not None:
        rows = np.flatnonzero(groups == group)
        missing = min({0, 1, 2, 3} - set(cells[rows].tolist()))
        raise InputError(
            f"group {ids[group]!r} has {sizes[group]} of 4 rows: none of video {missing // 2} with caption "
            f"{missing % 2}; complete it, or pass partial=True to have coverage reported",
            int(rows[0]),
        )
    return sizes == 4


def _twelfths(table: Floats) -> dict[str, Ints]:
    """Of each group twelve times its value by the rule for ties, in the worst and in the best order, which are
    whole numbers, so that their sums are exact: name -> int64 [groups, 3].

    Args:
        table: float64 [groups, 4]: s(V0, C0), s(V0, C1), s(V1, C0), s(V1, C1).
    """
    first, first_wrong, second_wrong, second = table.T

    def both(wrong_of_first: Floats, wrong_of_second: Floats) -> Ints:
        above = (first > wrong_of_first) & (second > wrong_of_second)
        not_below = (first >= wrong_of_first) & (second >= wrong_of_second)
        ties = (first == wrong_of_first).astype(np.int64) + (second == wrong_of_second)
        share = 12 * not_below // 2**ties
        return np.stack([share, 12 * above, 12 * not_below], axis=1).astype(np.int64)

    # The group holds where the lower of the right scores is above the higher of the wrong ones. Where they are
    # equal, all `right` and `wrong` scores of that value are in random order.
    lower, higher = np.minimum(first, second), np.maximum(first_wrong, second_wrong)
    right = (first == higher).astype(np.int64) + (second == higher)
    wrong = (first_wrong == higher).astype(np.int64) + (second_wrong == higher)
    orders = np.array([[1, 1, 1], [1, 2, 3], [1, 3, 6]])[right, wrong]  # C(right + wrong, right)
    share = np.where(lower == higher, 12 // orders, np.where(lower > higher, 12, 0))
    group = np.stack([share, 12 * (lower > higher), 12 * (lower >= higher)], axis=1)
    return {
        "text": both(first_wrong, second_wrong),
        "video": both(second_wrong, first_wrong),
        "group": group.astype(np.int64),
    }


def _estimate(twelfths: Ints, chosen: Bools, complete: Bools, options: dict[str, Any]) -> Estimate:
    """The mean over the chosen groups that are complete."""
    kept = twelfths[chosen & complete]
    if not len(kept):
        return no_estimate(k=0, n=int(chosen.sum()))
    value, worst, best = (int(total) / (12 * len(kept)) for total in kept.sum(axis=0))
    interval = mean_interval(kept[:, 0] / 12, **options)
    return estimate((value, worst, best), interval, k=len(kept), n=int(chosen.sum()))
