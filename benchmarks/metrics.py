"""The metrics' pure functions on a million scores, and their exact answers beside the usual ways to get them.

    python benchmarks/metrics.py [--small] [--rounds N]

Scores have three decimals, so they tie; ids are strings. Point estimates are timed without a bootstrap
(`resamples=0`), the interval at the size of VideoCon's LLM test (27,000 pairs, 1,000 resamples). Beside them, in the same
run: scikit-learn on the same columns (which gives one number and checks no ids), the interval by
`roc_auc_score` on copied rows (timed on some resamples and scaled), and the expectation under ties by
sampling orders. Each pair of numbers must agree. The best of the rounds is taken, because other work on
the machine only ever adds time.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import argument_parser, figure
from sklearn.metrics import average_precision_score, roc_auc_score

from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc
from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy
from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map


def best_time(rounds: int, function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest of `rounds` calls, and what the last one returned."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def agree(name: str, ours: float, other: float, tolerance: float) -> None:
    if abs(ours - other) > tolerance:
        raise SystemExit(f"{name}: {ours} here, {other} the other way; they differ by more than {tolerance}")


def entailment(rows: int, rounds: int) -> None:
    generator = np.random.default_rng(0)
    labels = np.tile([1, 0], rows // 2)
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1).round(3)
    videos = [f"videos/{i}.mp4" for i in np.repeat(generator.integers(0, rows // 10 + 1, rows // 2), 2)]
    seconds, result = best_time(rounds, lambda: entailment_auc(scores, labels, videos, resamples=0))
    other, area = best_time(rounds, lambda: roc_auc_score(labels, scores))
    agree("entailment_auc", result["auc"]["value"], 100 * area, 1e-9)
    figure(
        f"entailment_auc of {rows} scores, with paired and strict accuracy", seconds, "s", 1.0, at_most=True
    )
    figure("  scikit-learn, AUC alone", other, "s")


def interval(pairs: int, resamples: int, rounds: int) -> None:
    generator = np.random.default_rng(1)
    labels = np.tile([1, 0], pairs)
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1).round(3)
    videos = np.repeat(generator.integers(0, pairs // 3, pairs), 2)
    seconds, result = best_time(rounds, lambda: entailment_auc(scores, labels, videos, resamples=resamples))

    names, inverse = np.unique(videos, return_inverse=True)
    rows_of = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    draws, few = np.random.default_rng(0), min(resamples, 20)

    def copied() -> list[float]:
        areas = []
        for _ in range(few):
            chosen = np.concatenate([rows_of[i] for i in draws.integers(0, len(names), len(names))])
            areas.append(roc_auc_score(labels[chosen], scores[chosen]))
        return areas

    other, areas = best_time(1, copied)
    width = (result["auc"]["high"] - result["auc"]["low"]) / 3.92
    agree("interval", result["auc"]["value"], 100 * float(np.mean(areas)), 5 * width)
    figure(f"interval by {resamples} resamples of videos, {2 * pairs} texts", seconds, "s", 5.0, at_most=True)
    figure(f"  roc_auc_score on copied rows ({few} resamples, scaled)", other * resamples / few, "s")
    figure("  ratio", other * resamples / few / seconds, "x", 10.0)


def retrieval(captions: int, videos: int, rounds: int) -> None:
    generator = np.random.default_rng(2)
    labels = (generator.random((captions, videos)) < 0.05).astype(int)
    labels[:, 0] = 1
    scores = (generator.random((captions, videos)) + 0.3 * labels).round(3)
    caption_ids = [f"caption {i}" for i in range(captions) for _ in range(videos)]
    video_ids = [f"videos/{i}.webm" for _ in range(captions) for i in range(videos)]

    def ours(ties: str) -> dict[str, Any]:
        columns = scores.ravel(), labels.ravel(), caption_ids, video_ids
        return retrieval_map(*columns, ties=ties, resamples=0)

    def steps() -> float:
        return float(np.mean([average_precision_score(y, x) for x, y in zip(scores, labels, strict=True)]))

    orders = 10

    def sampled() -> list[float]:
        """mAP of some random orders of the tied videos."""
        values = []
        for _ in range(orders):
            order = np.lexsort((generator.random(scores.shape), -scores), axis=1)
            ranked = np.take_along_axis(labels, order, axis=1)
            precision = ranked.cumsum(axis=1) / np.arange(1, videos + 1)
            values.append(float(((precision * ranked).sum(axis=1) / ranked.sum(axis=1)).mean()))
        return values

    seconds, result = best_time(rounds, lambda: ours("expected"))
    other, precision = best_time(rounds, steps)
    agree("sklearn", ours("sklearn")["map"]["value"], 100 * precision, 1e-9)
    sampling, values = best_time(1, sampled)
    spread = 100 * float(np.std(values))
    agree("expectation", result["map"]["value"], 100 * float(np.mean(values)), 5 * spread + 1e-9)
    figure(f"retrieval_map of {captions} captions x {videos} videos, exact", seconds, "s", 1.0, at_most=True)
    figure("  scikit-learn, ties as one step, mAP alone", other, "s")
    figure(f"  {orders} sampled orders, mAP alone (standard deviation {spread:.2g} percent)", sampling, "s")


def choice(questions: int, rounds: int) -> None:
    generator = np.random.default_rng(3)
    scores = generator.random((questions, 5)).round(3)
    labels = np.zeros((questions, 5), int)
    labels[np.arange(questions), generator.integers(0, 5, questions)] = 1
    ids = [f"question {i}" for i in range(questions) for _ in range(5)]
    numbers = np.tile(np.arange(5), questions)
    types = np.repeat(generator.choice(["CW", "CH", "TN", "TC", "TP"], questions), 5).tolist()

    def ours() -> dict[str, Any]:
        return multiple_choice_accuracy(
            scores.ravel(), labels.ravel(), ids, options=numbers, types=types, resamples=0
        )

    seconds, result = best_time(rounds, ours)
    first = labels[np.arange(questions), scores.argmax(axis=1)].mean()
    span = result["accuracy"]["best_ties"] - result["accuracy"]["worst_ties"]
    agree("accuracy", result["accuracy"]["value"], 100 * float(first), span + 1e-9)
    figure(
        f"multiple_choice_accuracy of {5 * questions} options, with types", seconds, "s", 1.0, at_most=True
    )


def main() -> None:
    arguments = argument_parser(__doc__, rounds=5).parse_args()
    small, rounds = arguments.small, arguments.rounds
    entailment(4_000 if small else 1_000_000, rounds)
    interval(300 if small else 27_000, 50 if small else 1000, min(rounds, 2))
    retrieval(20 if small else 1000, 200 if small else 1000, rounds)
    choice(800 if small else 200_000, rounds)


if __name__ == "__main__":
    main()
