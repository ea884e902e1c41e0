"""Score files with two scores of one text: an error that names the mode, and the official scripts' own merge, which is
written out here in pandas once more."""

import json

import numpy as np
import pandas as pd
import pytest
from in_process import run_program
from sklearn.metrics import roc_auc_score
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
from synvita_data.evaluation.predictions import item_scores_table, read_predictions
from synvita_data.evaluation.results import measure
from synvita_data.tasks import get_task

# As it is published, but for the words of one question: the official script takes two questions of one video with
# equal words for one of ten rows.
CHOICE = [(*q[:1], f"{q[1]} {place}", *q[2:]) for place, q in enumerate(QUESTIONS)]
PAIRS = ssv2_pairs()


def llm(folder):
    path = write_csv(folder / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
    rows = [row for row in VIDEOCON_ROWS if row[5] == "test"]
    table = [(row[0], row[2 + k], 1 - k) for row in rows for k in range(2)]
    return "videocon-llm", path, pd.DataFrame(table, columns=["videopath", "caption", "label"])


def human(folder):
    path = write_csv(folder / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    table = [
        (f"anet/{row[0].rpartition('/')[2]}", row[1 + k], 1 - k, row[4] == "True")
        for row in HUMAN_ROWS
        for k in range(2)
    ]
    return "videocon-human", path, pd.DataFrame(table, columns=["videopath", "caption", "label", "hard"])


def atp(folder):
    path = write_statements(folder / "nextqa-atphard-statements.csv", CHOICE)
    write_questions(folder / "nextqa-atphard.csv", CHOICE)
    table = [
        (f"videos/{video}.mp4", words, answer, option, text)
        for video, words, answer, _, _, statements in CHOICE
        for option, text in enumerate(statements)
    ]
    return (
        "atp-hard",
        path,
        pd.DataFrame(table, columns=["videopath", "question", "answer", "option", "caption"]),
    )


def ssv2(folder):
    path = write_ssv2(folder / "eval_ssv2_temporal.csv", PAIRS)
    return "ssv2-temporal", path, pd.DataFrame(PAIRS, columns=["videopath", "caption", "match"])


def merged(truth, scores, *, distinct):
    """The scripts' join; `calc_ssv2.py` alone drops no duplicates."""
    if distinct:
        truth, scores = truth.drop_duplicates(), scores.drop_duplicates()
    found = truth.merge(scores, on=["videopath", "caption"], how="inner")
    return found.drop_duplicates() if distinct else found


def average_precision(frame):
    order = frame.sort_values("videopath")
    ranked = order["match"].to_numpy()[np.argsort(-order["entailment"].to_numpy(), kind="stable")]
    places = np.flatnonzero(ranked) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places))


def official(task, truth, scores):
    """(the script's number in percent, how many questions or captions it is over)."""
    if task.startswith("videocon"):
        table = merged(truth, scores, distinct=True)
        return 100 * roc_auc_score(table["label"], table["entailment"]), len(table)
    if task == "atp-hard":
        table = merged(truth, scores, distinct=True)
        groups = [group for _, group in table.groupby(["videopath", "question"]) if len(group) == 5]
        right = [int(np.argmax(g["entailment"].tolist())) == g.iloc[0]["answer"] for g in groups]
        return 100 * np.mean(right), len(groups)
    table = merged(truth, scores, distinct=False)
    groups = [group for _, group in table.groupby("caption") if len(group) == 6]
    return 100 * np.mean([average_precision(group) for group in groups]), len(groups)


def score_file(truth, seed, repeats):
    """A row for each row of the annotations, as the scripts score them, and some of them once more, some with another
    score; no two scores tie."""
    rng = np.random.default_rng(seed)
    rows = truth[["videopath", "caption"]].drop_duplicates().reset_index(drop=True)
    rows["entailment"] = rng.permutation(np.arange(1, len(rows) + 1)) / 1000
    again = rows.iloc[rng.choice(len(rows), repeats, replace=False)].copy()
    moved = rng.random(repeats) < 0.6
    again.loc[moved, "entailment"] += 0.5 + np.arange(moved.sum()) / 10_000
    return pd.concat([rows, again, again.iloc[:1]]).sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("make", [llm, human, atp, ssv2])
def test_the_official_join_is_the_scripts_own(tmp_path, make, seed):
    name, path, truth = make(tmp_path)
    task, annotations = get_task(name), read_annotations(name, path)
    scores = score_file(truth, seed, repeats=2)
    file = write_csv(tmp_path / "scores.csv", scores.itertuples(index=False))
    try:
        expected, over = official(name, truth, scores)
    except ValueError:  # nothing is left to measure
        pytest.skip("the script leaves out every group")
    found = read_predictions(file, annotations, name, join="official")
    metrics = measure(task, annotations, found.scores, found.kind, official=found.official, resamples=0)
    if task.form == "entailment":
        assert metrics["auc"]["value"] == pytest.approx(expected)
        assert metrics["auc"]["k"] == over
        if name == "videocon-human":
            hard = merged(truth, scores, distinct=True).query("hard")
            wanted = 100 * roc_auc_score(hard["label"], hard["entailment"])
            assert metrics["groups"]["hard"]["True"]["auc"]["value"] == pytest.approx(wanted)
    elif task.form == "choice":
        # Two statements of one question are equal, so that their score ties: the script takes the first of them.
        accuracy = metrics["accuracy"]
        assert accuracy["worst_ties"] <= expected + 1e-9
        assert expected <= accuracy["best_ties"] + 1e-9
        if accuracy["worst_ties"] == accuracy["best_ties"]:
            assert accuracy["value"] == pytest.approx(expected)
        assert (accuracy["k"], accuracy["n"]) == (over, len(QUESTIONS))
    else:
        assert metrics["map"]["value"] == metrics["map_official"] == pytest.approx(expected)
        assert metrics["captions_ranked"]["k"] == over

    # What is written beside the result says the same when it is read again.
    import pyarrow.parquet as pq

    again = tmp_path / "again.parquet"
    pq.write_table(item_scores_table(annotations, found.scores, found.kind, found.official), again)
    copy = read_predictions(again, annotations, join="official")
    if (
        task.form != "retrieval"
    ):  # whose script counts rows that repeat their score, of which the table has one
        assert (
            measure(task, annotations, copy.scores, copy.kind, official=copy.official, resamples=0) == metrics
        )
    else:
        assert copy.official.texts == found.official.texts


@pytest.mark.parametrize("make", [llm, human, atp, ssv2])
def test_without_two_scores_both_joins_are_one(tmp_path, make):
    name, path, truth = make(tmp_path)
    task, annotations = get_task(name), read_annotations(name, path)
    rows = truth[["videopath", "caption"]].drop_duplicates().reset_index(drop=True)
    rows["entailment"] = np.linspace(0.1, 0.9, len(rows))
    file = write_csv(tmp_path / "scores.csv", rows.itertuples(index=False))
    strict = read_predictions(file, annotations)
    joined = read_predictions(file, annotations, join="official")
    assert np.array_equal(strict.scores, joined.scores)
    assert strict.official is None
    assert (joined.official.texts, joined.official.groups, joined.official.doubts()) == (0, 0, [])
    assert measure(task, annotations, strict.scores, strict.kind) == measure(
        task, annotations, joined.scores, joined.kind, official=joined.official
    )


@pytest.mark.parametrize("header", [None, ("videopath", "caption", "entailment")])
def test_released_video_llava_files_with_and_without_a_header(tmp_path, header):
    """Its script writes absolute paths and bare captions; a header only where it scores one by one, which then breaks
    the official scripts (`split(data_dir)[1]`)."""
    name, path, truth = atp(tmp_path)
    annotations = read_annotations(name, path)
    scores = score_file(truth, 3, 1)
    expected, over = official(name, truth, scores)
    rows = [(f"/data/nextqa/{video}", *rest) for video, *rest in scores.itertuples(index=False)]
    file = write_csv(tmp_path / "scores.csv", rows, header)
    found = read_predictions(file, annotations, join="official")
    assert (found.counts.header, found.counts.rows) == (header is not None, len(rows))
    metrics = measure(get_task(name), annotations, found.scores, found.kind, official=found.official)
    assert metrics["accuracy"]["k"] == over
    assert metrics["accuracy"]["worst_ties"] - 1e-9 <= expected <= metrics["accuracy"]["best_ties"] + 1e-9


def test_two_scores_are_an_error_that_names_the_mode(tmp_path):
    name, path, truth = atp(tmp_path)
    annotations = read_annotations(name, path)
    file = write_csv(tmp_path / "scores.csv", score_file(truth, 1, 2).itertuples(index=False))
    with pytest.raises(ScoreError, match=r"two different scores.*--join official"):
        read_predictions(file, annotations)
    with pytest.raises(ScoreError, match=r"unknown join.*'outer'.*strict, official"):
        read_predictions(file, annotations, join="outer")
    # A text that is missing is missing in either.
    short = write_csv(tmp_path / "short.csv", score_file(truth, 1, 2).iloc[:6].itertuples(index=False))
    with pytest.raises(ScoreError, match="have no score"):
        read_predictions(short, annotations, join="official")


def test_from_the_command_line(tmp_path, capsys):
    def synvita(*arguments):
        status = run_program(*arguments)
        said = capsys.readouterr()
        return status, " ".join((said.out + said.err).split())

    name, path, truth = atp(tmp_path)
    rows = truth[["videopath", "caption"]].drop_duplicates().reset_index(drop=True)
    rows["entailment"] = np.arange(1, len(rows) + 1) / 100
    looks_away = rows[rows["caption"] == "It looks away."].copy()
    looks_away["entailment"] += 0.3
    scores = pd.concat([rows, looks_away])
    file = write_csv(tmp_path / "scores.csv", scores.itertuples(index=False))
    common = (
        "evaluate",
        "--predictions",
        file,
        "--task",
        name,
        "--annotations",
        path,
        "--out",
        tmp_path / "r",
    )
    status, said = synvita(*common)
    assert status == 2
    assert "--join official" in said
    status, said = synvita(*common, "--join", "official")
    assert status == 0, said
    assert (
        "joined as the official script does: 1 texts have several scores, and 1 questions are left out"
        in said
    )
    record = json.loads((tmp_path / "r" / "scores" / "atp-hard.json").read_text())
    expected, over = official(name, truth, scores)
    assert (record["main_score"]["value"], record["main_score"]["k"], record["main_score"]["n"]) == (
        pytest.approx(expected),
        over,
        4,
    )
    assert over == 3
    assert record["official"] is False
    assert record["coverage"] == {"k": len(rows), "n": len(rows)}
    assert record["score_file"]["join"] == "official"
    assert record["score_file"]["texts_with_several_scores"] == 1
    assert record["score_file"]["groups_left_out"] == 1
    # The scores beside it hold both, and say so to whoever reads them strictly.
    beside = tmp_path / "r" / "scores" / "atp-hard.parquet"
    again = (
        "evaluate",
        "--predictions",
        beside,
        "--task",
        name,
        "--annotations",
        path,
        "--out",
        tmp_path / "s",
    )
    assert "--join official" in synvita(*again)[1]
    assert synvita(*again, "--join", "official")[0] == 0
    copy = json.loads((tmp_path / "s" / "atp-hard" / "atp-hard.json").read_text())
    assert copy["metrics"] == record["metrics"]
    assert synvita("evaluate", "chance", "--task", name, "--annotations", path, "--join", "official")[0] == 2
