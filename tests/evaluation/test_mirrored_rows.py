"""One score a row: rows of one text that see other sides of their video, from the order of the file to the result."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from file_scorer import FileScorer, expected_score
from hypothesis import given
from hypothesis import strategies as st
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    QUESTIONS,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    ssv2_pairs,
    write_csv,
    write_options,
    write_questions,
    write_ssv2,
    write_statements,
)
from test_official_join import CHOICE, merged, official

from synvita_data.annotations import read_annotations
from synvita_data.annotations.packed import FILE_NAME, write_packed
from synvita_data.errors import CaptionError, SchemaError, ScoreError, StoreError
from synvita_data.evaluation.run import evaluate_scorer
from synvita_data.evaluation.scoring import mirrored_rows, run_key, score_task
from synvita_data.scoring import ItemScores
from synvita_data.scoring.released import draw_flips
from synvita_data.tasks import get_task


class SideScorer(FileScorer):
    """Scores depend on the side too; `asked` counts what it was asked."""

    kind = "probability"

    def __init__(self, *arguments, flips="seed0", **options):
        super().__init__(*arguments, **options)
        self.flips = flips
        self.settings = {"flips": flips}
        self.asked = []

    def answer(self, item):
        sides = item.mirrored or (False,) * len(item.texts)
        self.asked += [
            (item.video_id, text.caption, side) for text, side in zip(item.texts, sides, strict=True)
        ]
        content = item.video if isinstance(item.video, bytes) else item.video.read_bytes()
        values = [side_score(content, t.caption, side) for t, side in zip(item.texts, sides, strict=True)]
        return ItemScores(item.item_id, np.array(values), (0,), {"backend": "none"})


def side_score(content, caption, side):
    return expected_score(content + (b"mirrored" if side else b""), caption) % 1.0


def by_name(video):
    return video.name.encode()


# The question with two equal statements first: their draws, the fourth and the fifth, differ.
REVERSED = QUESTIONS[::-1]


def choice(folder, *, options=False, questions=REVERSED):
    write_questions(folder / "nextqa-atphard.csv", questions)
    if options:
        return write_options(folder / "eval-nextqa-atphard.csv", questions)
    return write_statements(folder / "nextqa-atphard-statements.csv", questions)


def test_the_files_order_is_known_in_every_form(tmp_path):
    """file_order against the rows of the file, read by the standard library."""
    pairs = ssv2_pairs()[::-1]
    path = write_ssv2(tmp_path / "pairs.csv", [*pairs[:5], pairs[2], *pairs[5:]])
    a = read_annotations("ssv2-temporal", path)
    rows = [*pairs[:5], pairs[2], *pairs[5:]]  # the repeat is dropped, and keeps its place
    assert len(a) == len(pairs)
    for place, video, caption in zip(a.file_order, a.videopath, a.caption, strict=True):
        assert rows[place][:2] == (video, caption)

    for options in (False, True):
        a = read_annotations("atp-hard", choice(tmp_path, options=options))
        rows = [(q[0], text) for q in REVERSED for text in q[5]]
        assert sorted(a.file_order) == list(range(len(rows)))
        for place, video, caption in zip(a.file_order, a.video_id, a.caption, strict=True):
            assert rows[place] == (video.removeprefix("next-qa_"), caption)

    extra = [
        VIDEOCON_ROWS[4],
        VIDEOCON_ROWS[0],
        *VIDEOCON_ROWS,
    ]  # a row of another split, and one that repeats
    path = write_csv(tmp_path / "videocon_llm_entailment.csv", extra, VIDEOCON_HEADER)
    a = read_annotations("videocon-llm", path)
    rows = [(row[0], text) for row in extra if row[5] == "test" for text in row[2:4]]
    for place, video, caption in zip(a.file_order, a.videopath, a.caption, strict=True):
        assert rows[place] == (video, caption)
    assert len(set(a.file_order)) == len(a) == len(rows) - 2

    # Hard rows are a part of what the released code scores: they keep their places among all.
    path = write_csv(tmp_path / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    whole = read_annotations("videocon-human", path)
    hard = read_annotations(replace(get_task("videocon-human"), only_hard=True), path)
    rows = [text for row in HUMAN_ROWS for text in row[1:3]]
    for a in (whole, hard):
        assert [rows[place] for place in a.file_order] == list(a.caption)
    assert len(hard) == 4


def test_rows_get_the_score_of_their_side(tmp_path):
    annotations = read_annotations("atp-hard", choice(tmp_path))
    scorer = SideScorer()
    found = score_task(scorer, get_task("atp-hard"), annotations, by_name, tmp_path / "work")
    rows = [(q[0], text) for q in REVERSED for text in q[5]]
    flips = draw_flips("seed0", len(rows))
    expected = [side_score(v.encode(), t, f) for (v, t), f in zip(rows, flips, strict=True)]
    assert found.scores.tolist() == [expected[place] for place in annotations.file_order]
    # Two rows of one text see other sides.
    assert flips[3] != flips[4]
    assert rows[3] == rows[4]
    assert found.scores[annotations.file_order == 3] != found.scores[annotations.file_order == 4]
    # A text is scored once a side, not once a row, and its sides are in one item.
    assert (
        len(scorer.asked)
        == len(set(scorer.asked))
        == len({(*r, f) for r, f in zip(rows, flips, strict=True)})
    )
    # Without flips nothing is mirrored.
    plain = SideScorer(flips="none")
    score_task(plain, get_task("atp-hard"), annotations, by_name, tmp_path / "work")
    assert {side for *_, side in plain.asked} == {False}
    assert mirrored_rows(plain, annotations) is None


@pytest.mark.slow
@given(st.integers(0, 6))
def test_a_part_is_scored_as_in_the_whole_run(tmp_path_factory, limit):
    folder = tmp_path_factory.mktemp("part")
    annotations = read_annotations("atp-hard", choice(folder))
    task = get_task("atp-hard")
    whole = score_task(SideScorer(), task, annotations, by_name, folder / "whole").scores
    # The first videos only; and without some of them.
    part = score_task(SideScorer(), task, annotations, by_name, folder / "part", limit=limit + 1).scores
    there = ~np.isnan(part)
    assert part[there].tolist() == whole[there].tolist()
    gone = {annotations.videos[limit % len(annotations.videos)].name}

    def some(video):
        return None if video.name in gone else by_name(video)

    rest = score_task(SideScorer(), task, annotations, some, folder / "rest").scores
    there = ~np.isnan(rest)
    assert not there.all()
    assert rest[there].tolist() == whole[there].tolist()
    # What was scored in part is reused.
    resumed = SideScorer()
    again = score_task(resumed, task, annotations, by_name, folder / "part")
    assert again.scores.tolist() == whole.tolist()
    assert again.reused == min(limit + 1, len(annotations.videos))


@pytest.mark.slow
def test_a_run_that_failed_is_resumed_with_the_same_rows(tmp_path):
    """And several processes: each takes what is left in the store, whoever scored the rest."""
    annotations = read_annotations("atp-hard", choice(tmp_path))
    task = get_task("atp-hard")
    whole = score_task(SideScorer(), task, annotations, by_name, tmp_path / "whole").scores
    with pytest.raises(RuntimeError, match="out of memory"):
        score_task(SideScorer(fails_at=1), task, annotations, by_name, tmp_path / "work")
    other, first = SideScorer(), SideScorer()
    assert score_task(other, task, annotations, by_name, tmp_path / "work", wait=False) is None
    found = score_task(first, task, annotations, by_name, tmp_path / "work")
    assert other.asked
    assert not first.asked
    assert found.scores.tolist() == whole.tolist()


@pytest.mark.slow
def test_another_order_of_rows_finds_no_old_scores(tmp_path):
    """The annotations are the same, but other rows are mirrored."""
    task, scorer = get_task("ssv2-temporal"), SideScorer()
    pairs = ssv2_pairs()
    found = []
    for number, rows in enumerate((pairs, pairs[::-1])):
        annotations = read_annotations(task, write_ssv2(tmp_path / f"{number}.csv", rows))
        scores = score_task(scorer, task, annotations, by_name, tmp_path / "work")
        flips = draw_flips("seed0", len(rows))
        expected = {
            (path, text): side_score(path.rpartition("/")[2].removesuffix(".avi").encode(), text, flip)
            for (path, text, _), flip in zip(rows, flips, strict=True)
        }
        keys = zip(annotations.videopath, annotations.caption, strict=True)
        assert scores.scores.tolist() == [expected[key] for key in keys]
        found.append((run_key(scorer, task, annotations), scores.scores.tolist()))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
    assert run_key(SideScorer(flips="none"), task, annotations) != found[0][0]


def test_packed_annotations_do_not_know_the_order(tmp_path):
    annotations = read_annotations("ssv2-temporal", write_ssv2(tmp_path / "pairs.csv", ssv2_pairs()))
    write_packed(annotations, tmp_path / FILE_NAME)
    packed = read_annotations("ssv2-temporal", tmp_path)
    assert packed.revision == annotations.revision
    assert mirrored_rows(SideScorer(flips="none"), packed) is None
    with pytest.raises(SchemaError, match=r"order in the published file.*--annotations"):
        evaluate_scorer(SideScorer(), get_task("ssv2-temporal"), packed, None, tmp_path / "out")


@pytest.mark.parametrize("make", ["atp", "llm", "ssv2"])
def test_the_result_is_the_released_scripts_own(tmp_path, make):
    """Against the scripts' merge in pandas, from a score file with a row for each row of the annotations."""
    if make == "atp":
        questions = CHOICE[::-1]
        name, path = "atp-hard", choice(tmp_path, questions=questions)
        table = [(q[0], q[1], q[2], option, text) for q in questions for option, text in enumerate(q[5])]
        truth = pd.DataFrame(table, columns=["videopath", "question", "answer", "option", "caption"])
    elif make == "llm":
        name = "videocon-llm"
        path = write_csv(tmp_path / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)
        rows = [row for row in VIDEOCON_ROWS if row[5] == "test"]
        table = [(row[0], row[2 + k], 1 - k) for row in rows for k in range(2)]
        truth = pd.DataFrame(table, columns=["videopath", "caption", "label"])
    else:
        name, path = "ssv2-temporal", write_ssv2(tmp_path / "eval_ssv2_temporal.csv", ssv2_pairs())
        truth = pd.DataFrame(ssv2_pairs(), columns=["videopath", "caption", "match"])
    task, annotations = get_task(name), read_annotations(name, path)
    done = evaluate_scorer(SideScorer(), task, annotations, None, tmp_path / "out", resamples=0)
    # The scorer is given b"" for a video where there is no folder.
    flips = draw_flips("seed0", len(truth))
    scores = truth[["videopath", "caption"]].copy()
    scores["entailment"] = [side_score(b"", c, f) for c, f in zip(scores["caption"], flips, strict=True)]
    expected, over = official(name, truth, scores)
    record = json.loads(done.path.read_text())
    if make == "llm":
        assert record["metrics"]["auc"]["value"] == pytest.approx(expected)
        assert record["metrics"]["auc"]["k"] == len(merged(truth, scores, distinct=True)) == over
    else:
        score = record["main_score"]
        assert score["worst_ties"] - 1e-9 <= expected <= score["best_ties"] + 1e-9
        if make == "atp":
            assert (score["k"], score["n"]) == (over, 4)
    several = scores.drop_duplicates().groupby(["videopath", "caption"]).size().gt(1).sum()
    assert record["flips"]["name"] == "seed0"
    assert record["flips"]["texts_with_several_scores"] == several == {"atp": 1, "llm": 1, "ssv2": 0}[make]
    assert any("several scores" in reason for reason in record["why_not_official"]) == bool(several)
    # Every score of a row is in the table.
    kept = set(pq.read_table(done.path.with_suffix(".parquet"))["score"].to_pylist())
    assert kept == set(scores["entailment"])


class Picky(SideScorer):
    """A scorer that cannot take a caption, and says so when it is asked before long work."""

    def check_texts(self, texts):
        for text in texts:
            if "drops" in text.caption:
                raise CaptionError("a caption holds a special token", found=text.caption)


def test_evaluate_scorer_checks_before_the_first_video(tmp_path):
    path = write_csv(tmp_path / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    task, annotations = get_task("videocon-human"), read_annotations("videocon-human", path)
    scorer = Picky()
    with pytest.raises(CaptionError, match="special token"):
        evaluate_scorer(scorer, task, annotations, None, tmp_path / "out")
    # A folder that is a file.
    (tmp_path / "file").write_text("")
    scorer = SideScorer()
    with pytest.raises(StoreError, match="folder of results cannot be written"):
        evaluate_scorer(scorer, task, annotations, None, tmp_path / "file")
    # A grid with a hole cannot be ranked, whatever the scores.
    holes = read_annotations("ssv2-temporal", write_ssv2(tmp_path / "holes.csv", ssv2_pairs()[:-1]))
    with pytest.raises(ScoreError, match="cannot be computed"):
        evaluate_scorer(scorer, get_task("ssv2-temporal"), holes, None, tmp_path / "out")
    assert scorer.asked == []
    assert not list((tmp_path / "out").rglob("*.json"))
    # Checked already, as by the command for several tasks: not once more.
    assert (
        evaluate_scorer(Picky(), task, annotations, None, tmp_path / "out", resamples=0, checked=True)
        is not None
    )
