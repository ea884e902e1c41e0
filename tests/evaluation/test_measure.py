"""From annotation files and scores to metrics, beside scikit-learn and brute force over tie orders."""

from itertools import pairwise, permutations
from statistics import fmean

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    QUESTIONS,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    ssv2_pairs,
    write_csv,
    write_questions,
    write_ssv2,
    write_statements,
)

from synvita_data.annotations import read_annotations
from synvita_data.errors import ScoreError
from synvita_data.evaluation.results import measure
from synvita_data.tasks import get_task


def score_of(*what):
    """A number in (0, 1) on a grid of 16, so that some tie."""
    return (sum(map(ord, "".join(what))) * 7919 % 16 + 0.5) / 16


def videocon(tmp_path):
    path = write_csv(tmp_path / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    rows = [row for row in VIDEOCON_ROWS if row[5] == "test"]
    return get_task("videocon-llm"), read_annotations("videocon-llm", path), rows


def scores_for(annotations, score=score_of):
    names = [annotations.videos[code].name for code in annotations.video]
    return np.array([score(name, caption) for name, caption in zip(names, annotations.caption, strict=True)])


def name_of(videopath):
    return {
        "k600/val/eOsIGrDFuuw_000004_000014.mp4": "eOsIGrDFuuw_000004_000014",
        "msr-vtt/TrainValVideo/video12.mp4": "video12",
        "tempo/videos/7.mp4": "7",
    }[videopath]


def test_entailment_is_the_auc_of_distinct_texts(tmp_path):
    task, annotations, rows = videocon(tmp_path)
    found = measure(task, annotations, scores_for(annotations), "probability")
    texts = {(row[0], row[2], 1) for row in rows} | {(row[0], row[3], 0) for row in rows}
    labels = [label for _, _, label in texts]
    values = [score_of(name_of(path), caption) for path, caption, _ in texts]
    assert found["auc"]["value"] == pytest.approx(100 * roc_auc_score(labels, values))
    assert (found["auc"]["k"], found["auc"]["n"]) == (7, 7)

    pairs = [(score_of(name_of(row[0]), row[2]), score_of(name_of(row[0]), row[3])) for row in rows]
    paired = fmean((yes > no) + (yes == no) / 2 for yes, no in pairs)
    assert found["paired_accuracy"]["value"] == pytest.approx(100 * paired)
    strict = fmean(yes > 0.5 > no for yes, no in pairs)
    assert found["strict_accuracy"]["value"] == pytest.approx(100 * strict)
    assert set(found["groups"]["misalignment"]) == {"action", "count", "object", "flip"}
    assert "hard" not in found["groups"]
    assert found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"]


def test_human_pairs_are_also_measured_by_hardness(tmp_path):
    path = write_csv(tmp_path / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    task, annotations = get_task("videocon-human"), read_annotations("videocon-human", path)
    score = {text: number / 10 for number, text in enumerate(sorted({t for r in HUMAN_ROWS for t in r[1:3]}))}
    found = measure(task, annotations, scores_for(annotations, lambda _, text: score[text]), "probability")
    hard = [row for row in HUMAN_ROWS if row[4] == "True"]
    values = [score[row[1]] for row in hard] + [score[row[2]] for row in hard]
    expected = 100 * roc_auc_score([1, 1, 0, 0], values)
    assert found["groups"]["hard"]["True"]["auc"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["similarity", "log_odds"])
def test_strict_accuracy_needs_a_threshold(tmp_path, kind):
    task, annotations, rows = videocon(tmp_path)
    odds = scores_for(annotations) - 0.5
    found = measure(task, annotations, odds, kind)
    if kind == "similarity":
        assert found["strict_accuracy"] is None
    else:
        pairs = [(score_of(name_of(r[0]), r[2]), score_of(name_of(r[0]), r[3])) for r in rows]
        expected = 100 * fmean(yes > 0.5 > no for yes, no in pairs)
        assert found["strict_accuracy"]["value"] == pytest.approx(expected)


def test_partial_entailment_says_k_of_n(tmp_path):
    task, annotations, rows = videocon(tmp_path)
    scores = scores_for(annotations)
    scores[annotations.video_id == "tempo_7"] = np.nan
    with pytest.raises(ScoreError, match="entailment_auc cannot be computed"):
        measure(task, annotations, scores, "probability")
    found = measure(task, annotations, scores, "probability", partial=True)
    texts = {(r[0], r[2], 1) for r in rows[:-1]} | {(r[0], r[3], 0) for r in rows[:-1]}
    expected = 100 * roc_auc_score(
        [label for _, _, label in texts], [score_of(name_of(path), caption) for path, caption, _ in texts]
    )
    assert found["auc"]["value"] == pytest.approx(expected)
    assert (found["auc"]["k"], found["auc"]["n"]) == (5, 7)
    assert found["groups"]["misalignment"]["flip"]["auc"]["value"] is None


def precision_of(order):
    """Average precision of labels in ranked order."""
    places = [place for place, label in enumerate(order, start=1) if label]
    return fmean(number / place for number, place in enumerate(places, start=1))


def over_tie_orders(values, labels):
    """Average precisions of every order of the videos that respects the scores."""
    rows = list(zip(values, labels, strict=True))
    return [
        precision_of([label for _, label in order])
        for order in permutations(rows)
        if all(a[0] >= b[0] for a, b in pairwise(order))
    ]


def ssv2(tmp_path, videos=6):
    pairs = ssv2_pairs(videos)
    return (
        get_task("ssv2-temporal"),
        read_annotations("ssv2-temporal", write_ssv2(tmp_path / "pairs.csv", pairs)),
        pairs,
    )


def test_retrieval_is_the_expectation_over_orders_of_ties(tmp_path):
    task, annotations, pairs = ssv2(tmp_path)

    def coarse(name, caption):
        return (len(caption) * int(name)) % 3

    found = measure(task, annotations, scores_for(annotations, coarse), "similarity", resamples=0)
    per_caption = []
    official, sklearn = [], []
    for caption in sorted({caption for _, caption, _ in pairs}):
        rows = [(coarse(path[7:9], caption), match, path) for path, text, match in pairs if text == caption]
        values, labels = [value for value, _, _ in rows], [match for _, match, _ in rows]
        per_caption.append(over_tie_orders(values, labels))
        official.append(precision_of([m for _, m, _ in sorted(rows, key=lambda row: (-row[0], row[2]))]))
        sklearn.append(average_precision_score(labels, values))
    assert found["map"]["value"] == pytest.approx(100 * fmean(map(fmean, per_caption)))
    assert found["map"]["worst_ties"] == pytest.approx(100 * fmean(map(min, per_caption)))
    assert found["map"]["best_ties"] == pytest.approx(100 * fmean(map(max, per_caption)))
    assert found["map_official"] == pytest.approx(100 * fmean(official))
    assert found["map_sklearn"] == pytest.approx(100 * fmean(sklearn))


def test_partial_retrieval_ranks_what_is_there(tmp_path):
    task, annotations, pairs = ssv2(tmp_path)

    def fine(name, caption):
        return float(int(name) * 31 % 17 + len(caption))

    scores = scores_for(annotations, fine)
    scores[annotations.video_id == "ssv2_12"] = np.nan
    with pytest.raises(ScoreError, match="retrieval_map cannot be computed"):
        measure(task, annotations, scores, "similarity")
    found = measure(task, annotations, scores, "similarity", partial=True)
    expected = []
    for caption in sorted({caption for _, caption, _ in pairs}):
        rows = [(fine(p[7:9], caption), m) for p, text, m in pairs if text == caption and "12" not in p]
        expected.append(average_precision_score([m for _, m in rows], [value for value, _ in rows]))
    for name in ("value", "worst_ties", "best_ties"):
        assert found["map"][name] == pytest.approx(100 * fmean(expected))
    assert (found["map"]["k"], found["map"]["n"]) == (15, 18)


def test_choice_shares_a_point_among_ties(tmp_path):
    write_questions(tmp_path / "nextqa-atphard.csv")
    path = write_statements(tmp_path / "nextqa-atphard-statements.csv")
    task, annotations = get_task("atp-hard"), read_annotations("atp-hard", path)
    found = measure(task, annotations, scores_for(annotations), "probability")
    points, kinds = [], []
    for video, _, answer, _, kind, statements in QUESTIONS:
        values = [score_of(video, statement) for statement in statements]
        best = [option for option, value in enumerate(values) if value == max(values)]
        points.append((answer in best) / len(best))
        kinds.append(kind)
    assert found["accuracy"]["value"] == pytest.approx(100 * fmean(points))
    causal = [point for point, kind in zip(points, kinds, strict=True) if kind[0] == "C"]
    assert found["types"]["C"]["value"] == pytest.approx(100 * fmean(causal))
    assert found["accuracy"]["n"] == len(QUESTIONS)


def test_the_seed_moves_the_interval_alone(tmp_path):
    task, annotations, _ = videocon(tmp_path)
    scores = scores_for(annotations)

    def interval(seed):
        auc = measure(task, annotations, scores, "probability", resamples=200, seed=seed)["auc"]
        return auc.pop("low"), auc.pop("high"), auc

    assert interval(0) == interval(0)
    assert interval(0)[2] == interval(7)[2]


def test_the_published_scores(real_data):
    """The figures of shared/facts/benchmarks.md."""
    from synvita_data.evaluation.predictions import read_predictions

    folder = real_data / "ssv2-temporal"
    task, annotations = get_task("ssv2-temporal"), read_annotations("ssv2-temporal", folder)
    predictions = read_predictions(folder / "eval_ssv2_temporal_scores.csv", annotations)
    found = measure(task, annotations, predictions.scores, predictions.kind, resamples=0)
    assert found["map"]["value"] == pytest.approx(15.565456, abs=1e-6)
    assert found["map"]["worst_ties"] == pytest.approx(11.646, abs=1e-3)
    assert found["map"]["best_ties"] == pytest.approx(21.867, abs=1e-3)
    assert found["r_at_1"]["value"] == pytest.approx(16.358, abs=1e-3)
    assert found["map_official"] == pytest.approx(15.500598, abs=1e-6)
    assert found["map_sklearn"] == pytest.approx(13.566, abs=1e-3)


def test_annotations_that_no_score_can_save_are_refused_before_scoring(tmp_path):
    from synvita_data.annotations import read_annotations
    from synvita_data.errors import ScoreError
    from synvita_data.evaluation.results import check_measurable
    from synvita_data.tasks import get_task

    def annotations(lines):
        path = tmp_path / "eval_ssv2_temporal.csv"
        path.write_text("videopath,caption,match\n" + "\n".join(lines) + "\n")
        return read_annotations("ssv2-temporal", path)

    whole = ["1.avi,Turning,1", "2.avi,Turning,0", "1.avi,Pushing,0", "2.avi,Pushing,1"]
    task = get_task("ssv2-temporal")
    check_measurable(task, annotations(whole))
    for broken, caption in ((whole[:3], "Pushing"), ([*whole[:3], "2.avi,Pushing,0"], "Pushing")):
        with pytest.raises(ScoreError, match=rf"{caption}.*--partial"):
            check_measurable(task, annotations(broken))
