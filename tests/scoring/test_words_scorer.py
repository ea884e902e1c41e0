"""The scorer `words`: one number a text and video, from labels of other videos, and what it cannot be fitted on."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_annotations import HUMAN_HEADER, TEMPLATES, ssv2_pairs, write_csv, write_ssv2

from synvita_data.annotations import read_annotations
from synvita_data.captions.text_only import deal_folds, out_of_fold
from synvita_data.errors import ScoreError, SynvitaError
from synvita_data.evaluation.run import evaluate_scorer
from synvita_data.evaluation.scoring import score_task
from synvita_data.leaderboard.table import make_leaderboard, read_results
from synvita_data.scoring import Scorer
from synvita_data.scoring.open import open_scorer
from synvita_data.scoring.words import WordsScorer, fold_units
from synvita_data.tasks import get_task

TASK = get_task("videocon-human")


def human(path, videos=40, planted="instead"):
    rng, rows = random.Random(0), []
    for n in range(2 * videos):
        words = [
            rng.choice(["man", "dog", "runs", "sits", "red", "ball", "before", "after"]) for _ in range(6)
        ]
        other = [rng.choice(words) for _ in words]
        rows.append(
            (
                f"https://b.example/anet/v_{n // 2:03}.mp4",
                " ".join(words),
                " ".join([*other, planted]),
                "",
                str(n % 2 == 0),
            )
        )
    return write_csv(path / "videocon_human.csv", rows, HUMAN_HEADER)


@pytest.fixture
def annotations(tmp_path):
    return read_annotations(TASK, human(tmp_path))


def test_scores_are_out_of_fold_log_odds_in_any_company(annotations):
    scorer = open_scorer("words")
    assert isinstance(scorer, Scorer)
    assert (scorer.kind, scorer.frames, scorer.prompt) == ("log_odds", None, None)
    scorer.fit(annotations)
    items = list(annotations.items(lambda video: b""))
    found = np.full(len(annotations), np.nan)
    for item, answer in zip(items, scorer.score(items), strict=True):
        annotations.place(found, item, answer.scores.tolist())
    expected = out_of_fold(annotations.caption.tolist(), annotations.label, annotations.video_id.tolist())
    np.testing.assert_array_equal(found, expected)
    for item in items[::7]:  # alone, and by another object
        other = WordsScorer()
        other.fit(annotations)
        (alone,) = other.score([item])
        (again,) = scorer.score([item])
        assert alone.scores.tolist() == again.scores.tolist()


def test_a_planted_word_is_found_and_the_result_is_a_baseline(annotations, tmp_path):
    out = tmp_path / "results"
    done = evaluate_scorer(open_scorer("words"), TASK, annotations, None, out, resamples=20)
    assert done.result.main_score["value"] > 99
    evaluate_scorer(open_scorer("chance"), TASK, annotations, None, out, resamples=20)
    settings = json.loads(done.path.read_text())["model"]["settings"]
    assert {"video": "none", "folds": 5, "min_texts": 2, "C": 3.0, "rule": 1}.items() <= settings.items()
    results = read_results(out)
    for result in results:  # as on the published file
        result.record.update(official=True, why_not_official=[])
    board = make_leaderboard(results, published=False)
    rows = {row.label: row for row in board.rows}
    assert set(rows) == {"chance", "words (no video)"}
    cell = rows["words (no video)"].cells[TASK.name]
    assert cell.official
    assert cell.standing is None  # it learned from the benchmark's own labels


@pytest.mark.slow
def test_part_of_a_run_has_the_scores_of_the_whole(annotations, tmp_path):
    whole = score_task(WordsScorer(), TASK, annotations, lambda video: b"", tmp_path / "whole").scores
    part = score_task(WordsScorer(), TASK, annotations, lambda video: b"", tmp_path / "part", limit=9).scores
    scored = ~np.isnan(part)
    assert 0 < scored.sum() < len(part)
    np.testing.assert_array_equal(part[scored], whole[scored])
    rest = score_task(WordsScorer(), TASK, annotations, lambda video: b"", tmp_path / "part").scores
    np.testing.assert_array_equal(rest, whole)
    other = score_task(WordsScorer(seed=1), TASK, annotations, lambda video: b"", tmp_path / "part").scores
    assert (other != whole).any()


@pytest.mark.slow  # three processes
def test_two_processes_share_the_work_and_write_what_one_writes(tmp_path):
    human(tmp_path)
    line = [
        sys.executable,
        "-m",
        "synvita_data.cli",
        "evaluate",
        "words",
        "--task",
        TASK.name,
        "--annotations",
        str(tmp_path),
        "--resamples",
        "0",
    ]

    def start(out, **env):
        return subprocess.Popen(
            [*line, "--out", str(out)], env={**os.environ, **env}, stdout=subprocess.DEVNULL
        )

    pair = [
        start(tmp_path / "two", RANK=str(rank), WORLD_SIZE="2", PYTHONHASHSEED=str(rank)) for rank in (0, 1)
    ]
    assert [process.wait() for process in pair] == [0, 0]
    assert start(tmp_path / "one").wait() == 0
    one, two = (
        json.loads((tmp_path / name / "words" / f"{TASK.name}.json").read_text()) for name in ("one", "two")
    )
    assert one.pop("run")["processes"] == 1
    assert two.pop("run")["processes"] == 2
    assert one == two


def test_retrieval_is_at_its_chance_level(tmp_path):
    """Words cannot tell videos apart, so every text has one score, and mAP is that of random orders."""
    task = get_task("ssv2-temporal")
    annotations = read_annotations(task, write_ssv2(tmp_path / "eval_ssv2_temporal.csv", ssv2_pairs()))
    assert fold_units(annotations) is None
    done = evaluate_scorer(open_scorer("words"), task, annotations, None, tmp_path / "out", resamples=0)
    metrics = done.result.record["metrics"]
    assert metrics["map"]["value"] == pytest.approx(metrics["chance"]["map"])
    scored = score_task(WordsScorer(), task, annotations, lambda video: b"", tmp_path / "work").scores
    assert len(set(scored.tolist())) <= len(TEMPLATES)


def test_both_videos_of_a_group_are_in_one_fold(tmp_path):
    """A 2×2 group has each caption once right and once wrong: the other video's row would give the answer away."""
    task = get_task("vinoground")
    rng = random.Random(0)
    rows = []
    for n in range(30):
        one, two = rng.sample(["a dog runs", "a man sits", "a ball falls", "it stops"], 2)
        rows.append((f"{one} before {two} {n}", f"{two} before {one} {n}", "object"))
    path = write_csv(tmp_path / "vinoground.csv", rows, ("pos_cap", "neg_cap", "major"))
    annotations = read_annotations(task, path)
    units = fold_units(annotations)
    by_group = {}
    for unit, group in zip(units, annotations.group.tolist(), strict=True):
        by_group.setdefault(group, set()).add(unit)
    assert all(len(own) == 1 for own in by_group.values())
    assert len(set(units)) == len(by_group)
    done = evaluate_scorer(open_scorer("words"), task, annotations, None, tmp_path / "out", resamples=0)
    # s(V0, C0) = s(V1, C0), so every group is a matter of ties: a quarter of them by expectation.
    metrics = done.result.record["metrics"]
    assert metrics["video"]["value"] == pytest.approx(25)
    assert metrics["text"]["value"] <= 25


def test_what_it_cannot_learn_from_is_refused_before_anything_is_scored(tmp_path):
    few = read_annotations(TASK, human(tmp_path, videos=4))
    with pytest.raises(
        ScoreError, match=r"words cannot be scored on videocon-human: too few videos.*4 videos"
    ):
        evaluate_scorer(open_scorer("words"), TASK, few, None, tmp_path / "out")
    assert not (tmp_path / "out" / ".work").exists()


def test_it_is_fitted_before_it_scores(annotations):
    items = list(annotations.items(lambda video: b""))
    with pytest.raises(ScoreError, match="not fitted"):
        next(WordsScorer().score(items))
    scorer = WordsScorer()
    scorer.fit(annotations)
    with pytest.raises(ScoreError, match="not fitted on"):
        next(scorer.score([replace(items[0], video_id="another")]))


@pytest.mark.parametrize("options", [{"control": "frame"}, {"video_llm": {"prompt": "x"}}])
def test_options_of_models_are_refused(options):
    with pytest.raises(SynvitaError, match=r"words|Video LLMs"):
        open_scorer("words", **options)


def test_folds_are_those_of_the_videos(annotations):
    assert set(fold_units(annotations)) == set(annotations.video_id)
    assert len(set(deal_folds(annotations.video_id.tolist()).values())) == 5
