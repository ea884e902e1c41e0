"""What a model got most wrong: hand-made scores whose order is known, brute force, and the metrics as references."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_annotations import (
    QUESTIONS,
    TEMPLATES,
    VIDEOCON_HEADER,
    VIDEOCON_ROWS,
    ssv2_pairs,
    write_csv,
    write_questions,
    write_ssv2,
    write_statements,
)

from synvita_data.annotations import find_form, read_annotations
from synvita_data.errors import SchemaError, ScoreError
from synvita_data.evaluation.predictions import item_scores_table
from synvita_data.evaluation.results import measure
from synvita_data.evaluation.run import evaluate_predictions
from synvita_data.mistakes.find import read_mistakes, to_record
from synvita_data.tasks import get_task, task_of_file


def videocon(folder):
    return write_csv(folder / "videocon_llm_entailment.csv", VIDEOCON_ROWS, VIDEOCON_HEADER)


def evaluated(folder, task, annotations, rows, **how):
    """The result file of scores: (video, text, score) a row."""
    scores = write_csv(folder / "model.csv", rows)
    task = get_task(task)
    read = read_annotations(task, annotations)
    return evaluate_predictions(scores, task, read, folder / "results", resamples=0, **how).path


RUNNER, DOG, SITS = (VIDEOCON_ROWS[row][0] for row in (0, 2, 3))
SCORES = [
    (RUNNER, "A man runs.", 0.3),
    (RUNNER, "A man swims.", 0.9),  # action, -0.6
    (RUNNER, "Two men run.", 0.1),  # count, right
    (DOG, 'a "dog", barking', 0.5),
    (DOG, "a cat barking", 0.5),  # object, a tie
    (SITS, "she sits then stands", 0.2),
    (SITS, "she stands then sits", 0.4),  # flip, -0.2
]


def test_pairs_come_the_most_wrong_first_and_ties_last(tmp_path):
    annotations = videocon(tmp_path)
    found = read_mistakes(evaluated(tmp_path, "videocon-llm", annotations, SCORES), annotations)
    mistakes = list(found.worst(10))
    assert [mistake.tags["misalignment"] for mistake in mistakes] == ["action", "flip", "object"]
    assert [mistake.measure for mistake in mistakes] == pytest.approx([-0.6, -0.2, 0.0])
    assert [mistake.place for mistake in mistakes] == [1, 2, 3]
    own, contrast = mistakes[0].sides
    assert (own.role, own.text, own.score, own.right) == ("caption", "A man runs.", 0.3, True)
    assert (contrast.role, contrast.text, contrast.score) == ("contrast caption", "A man swims.", 0.9)
    assert own.video.name == "eOsIGrDFuuw_000004_000014"
    assert (found.wrong, found.ties, found.not_scored, len(found.judged.ids)) == (3, 1, 0, 4)
    assert [mistake.group for mistake in found.worst(2)] == [mistake.group for mistake in mistakes[:2]]


def test_only_one_misalignment(tmp_path):
    annotations = videocon(tmp_path)
    result = evaluated(tmp_path, "videocon-llm", annotations, SCORES)
    found = read_mistakes(result, annotations, only="flip")
    assert [mistake.tags for mistake in found.worst(9)] == [{"misalignment": "flip"}]
    assert (len(found), found.wrong) == (1, 3)
    assert len(read_mistakes(result, annotations, only="count")) == 0
    with pytest.raises(SchemaError, match="one of action, count, flip, object"):
        read_mistakes(result, annotations, only="tempo")


def test_pairs_without_a_score_are_counted_and_not_judged(tmp_path):
    annotations = videocon(tmp_path)
    result = evaluated(tmp_path, "videocon-llm", annotations, SCORES[1:], partial=True)
    found = read_mistakes(result, annotations)
    assert [mistake.tags["misalignment"] for mistake in found.worst(9)] == ["flip", "object"]
    assert found.not_scored == 2


def test_wrong_pairs_are_those_of_paired_accuracy(tmp_path):
    """Few different scores, so that many tie: a tie is half a pair there, and a mistake here."""
    task = get_task("videocon-llm")
    annotations = read_annotations(task, videocon(tmp_path))
    judge = find_form(task).judge
    draw = np.random.default_rng(5)
    for _ in range(50):
        scores = draw.integers(0, 3, int(annotations.pair.max()) + 1)[annotations.pair].astype(float)
        judged = judge(annotations, scores, "similarity")
        ties = (judged.measure == 0).sum()
        right = len(judged.ids) - judged.wrong.sum() + ties / 2
        metrics = measure(task, annotations, scores, "similarity", resamples=0)
        assert metrics["paired_accuracy"]["value"] == pytest.approx(100 * right / len(judged.ids))


def questions_scored(folder):
    write_questions(folder / "nextqa-atphard.csv")
    annotations = write_statements(folder / "nextqa-atphard-statements.csv")
    draw, rows, numbers = random.Random(3), [], {}
    for video, _, answer, number, _, statements in QUESTIONS:
        for text in dict.fromkeys(statements):
            numbers[video, text] = numbers.get((video, text)) or round(draw.random(), 3)
        right = numbers[video, statements[answer]]
        wrong = max((numbers[video, text], text) for place, text in enumerate(statements) if place != answer)
        rows.append((f"{video}_{number}", right - wrong[0], statements[answer], wrong[1]))
    scores = [(video, text, score) for (video, text), score in numbers.items()]
    return annotations, scores, sorted((row for row in rows if row[1] <= 0), key=lambda row: row[1])


def test_questions_with_the_right_and_the_chosen_option(tmp_path):
    annotations, scores, expected = questions_scored(tmp_path)
    found = read_mistakes(evaluated(tmp_path, "atp-hard", annotations, scores), annotations)
    mistakes = list(found.worst(10))
    assert len(expected) > 1
    shown = [(each.group, each.measure, *(side.text for side in each.sides[:2])) for each in mistakes]
    assert shown == expected
    for mistake in mistakes:
        assert [side.role for side in mistake.sides] == ["right option", "chosen", *["other option"] * 3]
        assert mistake.sides[1].score == max(side.score for side in mistake.sides[1:])
        assert mistake.tags["type"] in ("CH", "TN", "CW")


def rankings_scored():
    pairs = ssv2_pairs(videos=9, positives=3)
    draw = random.Random(1)
    return pairs, [
        (path, text, draw.choice([0.1, 0.2, 0.3, 0.4, 0.5]) + match / 5) for path, text, match in pairs
    ]


def by_hand(pairs, scores, caption):
    """Names of the false positives and missed videos of a caption, ties against the model."""
    rows = [
        (-score, match, Path(path).stem)
        for (path, text, match), (_, _, score) in zip(pairs, scores, strict=True)
        if text == caption
    ]
    rows.sort(key=lambda row: row[:2])
    return (
        {name for _, match, name in rows[:3] if not match},
        {name for _, match, name in rows[3:] if match},
    )


def test_captions_with_false_positives_and_missed_videos(tmp_path):
    pairs, scores = rankings_scored()
    annotations = write_ssv2(tmp_path / "eval_ssv2_temporal.csv", pairs)
    result = evaluated(tmp_path, "ssv2-temporal", annotations, scores)
    found = read_mistakes(result, annotations)
    mistakes = list(found.worst(10))
    assert {mistake.sides[0].text for mistake in mistakes} <= set(TEMPLATES)
    assert len(mistakes) > 1
    assert [each.measure for each in mistakes] == sorted(each.measure for each in mistakes)
    for mistake in mistakes:
        caption = mistake.sides[0].text
        shown = {
            role: {side.video.name for side in mistake.sides if side.role == role}
            for role in ("false positive", "missed")
        }
        assert (shown["false positive"], shown["missed"]) == by_hand(pairs, scores, caption)
        assert f"{3 - len(shown['missed'])} of 3 among the first 3 of 9 videos" == mistake.note
        assert all(side.rank <= 3 for side in mistake.sides if side.role == "false positive")
    # Each caption that is not listed has its three first, whatever the ties.
    for caption in set(TEMPLATES) - {mistake.sides[0].text for mistake in mistakes}:
        assert by_hand(pairs, scores, caption) == (set(), set())
    precisions = measure(found.task, found.annotations, found.scores, "probability", resamples=0)["map"]
    if len(mistakes) == len(TEMPLATES):
        assert np.mean([each.measure for each in mistakes]) == pytest.approx(precisions["value"])


def test_captions_need_no_annotations(tmp_path):
    pairs, scores = rankings_scored()
    annotations = write_ssv2(tmp_path / "eval_ssv2_temporal.csv", pairs)
    result = evaluated(tmp_path, "ssv2-temporal", annotations, scores)
    whole, alone = read_mistakes(result, annotations), read_mistakes(result)
    assert (whole.whole, alone.whole) == (True, False)
    records = [[to_record(each, found) for each in found.worst(9)] for found in (whole, alone)]
    assert records[0] == records[1]


def test_pairs_and_questions_need_annotations(tmp_path):
    annotations = videocon(tmp_path)
    result = evaluated(tmp_path, "videocon-llm", annotations, SCORES)
    with pytest.raises(SchemaError, match=r"score table alone does not tell.*--annotations"):
        read_mistakes(result)


def test_other_annotations_are_refused(tmp_path):
    annotations = videocon(tmp_path)
    result = evaluated(tmp_path, "videocon-llm", annotations, SCORES)
    revision = json.loads(result.read_text())["task"]["annotations"]
    other = write_csv(tmp_path / "other.csv", VIDEOCON_ROWS[:3], VIDEOCON_HEADER)
    with pytest.raises(ScoreError, match=f"on other annotations.*Expected: revision {revision}"):
        read_mistakes(result, other)


def test_a_result_without_scores_and_a_file_that_is_none(tmp_path):
    annotations = videocon(tmp_path)
    result = evaluated(tmp_path, "videocon-llm", annotations, SCORES)
    with pytest.raises(SchemaError, match="not a result file"):
        read_mistakes(annotations, annotations)
    table = result.with_suffix(".parquet")
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SchemaError, match="not a readable Parquet file"):
        read_mistakes(result, annotations)
    table.unlink()
    with pytest.raises(SchemaError, match="no score table beside it"):
        read_mistakes(result, annotations)


def test_the_table_of_another_result_is_refused(tmp_path):
    annotations = videocon(tmp_path)
    result = evaluated(tmp_path, "videocon-llm", annotations, SCORES)
    table = result.with_suffix(".parquet")
    read = pq.read_table(table)
    other = pa.array(["atp-hard"] * read.num_rows)
    pq.write_table(read.set_column(read.schema.get_field_index("task"), "task", other), table)
    with pytest.raises(SchemaError, match=r"does not belong to its result.*task atp-hard"):
        read_mistakes(result, annotations)
    # Scores of another kind have other margins.
    pq.write_table(read.replace_schema_metadata({**read.schema.metadata, b"kind": b"similarity"}), table)
    with pytest.raises(SchemaError, match=r"does not belong to its result.*kind similarity"):
        read_mistakes(result, annotations)


def test_of_texts_with_several_scores_the_first_counts(tmp_path):
    annotations = videocon(tmp_path)
    again = [*SCORES, (RUNNER, "A man swims.", 0.1)]
    result = evaluated(tmp_path, "videocon-llm", annotations, again, join="official")
    found = read_mistakes(result, annotations)
    assert found.several == 1
    assert next(found.worst(1)).measure == pytest.approx(-0.6)


def test_nothing_wrong(tmp_path):
    annotations = videocon(tmp_path)
    right = {text for row in VIDEOCON_ROWS for text in row[2:3]}
    scores = [(video, text, 0.8 if text in right else 0.2) for video, text, _ in SCORES]
    found = read_mistakes(evaluated(tmp_path, "videocon-llm", annotations, scores), annotations)
    assert (len(found), found.wrong, list(found.worst(5))) == (0, 0, [])


def test_only_what_is_shown_is_made(tmp_path):
    """Of very many mistakes only the first are turned into texts."""
    annotations = videocon(tmp_path)
    found = read_mistakes(evaluated(tmp_path, "videocon-llm", annotations, SCORES), annotations)
    made = []
    show = found.judged.show

    def counted(place):
        made.append(place)
        return show(place)

    object.__setattr__(found.judged, "show", counted)
    assert len(list(found.worst(2))) == 2
    assert made == found.chosen[:2].tolist()


def test_a_line_of_json_says_all(tmp_path):
    annotations = videocon(tmp_path)
    found = read_mistakes(evaluated(tmp_path, "videocon-llm", annotations, SCORES), annotations)
    record = json.loads(json.dumps(to_record(next(found.worst(1)), found)))
    assert record["model"] == "model"
    assert record["task"] == "videocon-llm"
    assert record["annotations"] == found.annotations.revision
    assert record["misalignment"] == "action"
    assert record["margin"] == pytest.approx(-0.6)
    assert record["kind"] == "probability"
    assert [side["text"] for side in record["sides"]] == ["A man runs.", "A man swims."]


# --- forms that a user's file may have ---------------------------------------------------------------


def declared(folder, form, header, rows):
    """A task without a declaration, and its annotations."""
    file = write_csv(folder / "mine.csv", rows, header)
    task = task_of_file(file, form)
    return task, read_annotations(task, file), file


def evaluated_items(folder, task, annotations, scores, kind="log_odds"):
    """The result file of scores that are aligned with the annotations."""
    table = folder / "model.parquet"
    pq.write_table(item_scores_table(annotations, np.asarray(scores, float), kind), table)
    return evaluate_predictions(table, task, annotations, folder / "results", resamples=0).path


GROUPS = [
    ("a1.mp4", "a dog chases a cat", "a", "swap"),
    ("a2.mp4", "a cat chases a dog", "a", "swap"),
    ("b1.mp4", "he sits, then stands", "b", "order"),
    ("b2.mp4", "he stands, then sits", "b", "order"),
]


def test_groups_are_wrong_where_their_group_score_is(tmp_path):
    from synvita_data.evaluate_metrics.group_score.group import group_score

    task, a, _ = declared(tmp_path, "groups", ("video", "caption", "group", "kind"), GROUPS)
    draw = np.random.default_rng(2)
    seen = set()
    for _ in range(60):
        scores = draw.permutation(len(a)).astype(float)  # no ties
        judged = find_form(task).judge(a, scores, "log_odds")
        video = np.where(a.label == 1, a.option, 1 - a.option)
        found = group_score(scores, video, a.option, a.group, resamples=0)["group"]["value"]
        assert found == 50 * (~judged.wrong).sum()
        seen.add(found)
        for place in range(2):
            shown = judged.show(place)
            own = [scores[row] for role, row, _ in shown if role == "own caption"]
            other = [scores[row] for role, row, _ in shown if role == "other video's caption"]
            assert judged.measure[place] == min(own) - max(other)
            assert (len(own), len(other)) == (2, 2)
    assert len(seen) > 1


def test_a_group_through_its_result(tmp_path):
    task, a, file = declared(tmp_path, "groups", ("video", "caption", "group", "kind"), GROUPS)
    scores = np.where(a.label == 1, 2.0, 1.0)
    scores[(a.group == "b") & (a.label == 0)] = 4.0
    found = read_mistakes(evaluated_items(tmp_path, task, a, scores), file)
    (mistake,) = found.worst(5)
    assert (mistake.group, mistake.measure) == ("b", -2.0)
    assert [(side.video.name, side.role) for side in mistake.sides] == [
        ("b1", "own caption"),
        ("b1", "other video's caption"),
        ("b2", "own caption"),
        ("b2", "other video's caption"),
    ]


QUESTIONS_YES_NO = [
    ("v1.mp4", "Is it a dog?", "yes"),
    ("v1.mp4", "Is it red?", "no"),
    ("v2.mp4", "Does it run?", "yes"),
    ("v2.mp4", "Does it fly?", "no"),
]


@pytest.mark.parametrize(("kind", "threshold"), [("log_odds", 0.0), ("probability", 0.5)])
def test_questions_asked_yes_or_no_lie_on_the_wrong_side(tmp_path, kind, threshold):
    task, a, file = declared(tmp_path, "yes_no", ("video", "question", "answer"), QUESTIONS_YES_NO)
    by_words = {"Is it a dog?": -0.2, "Is it red?": 0.4, "Does it run?": 0.3, "Does it fly?": 0.0}
    scores = [by_words[caption] + threshold for caption in a.caption]
    found = read_mistakes(evaluated_items(tmp_path, task, a, scores, kind), file)
    mistakes = list(found.worst(9))
    assert [(each.sides[0].text, each.sides[0].role) for each in mistakes] == [
        ("Is it red?", "answer: no"),
        ("Is it a dog?", "answer: yes"),
        ("Does it fly?", "answer: no"),
    ]
    assert [each.measure for each in mistakes] == pytest.approx([-0.4, -0.2, 0.0])
    assert found.ties == 1
    accuracy = measure(task, a, found.scores, kind, resamples=0)["accuracy"]["value"]
    assert accuracy == pytest.approx(100 * (len(a) - found.wrong + found.ties / 2) / len(a))


PAIRS = [
    ("v1.mp4", "What moves?", "dog", "cat", 0, "p"),
    ("v2.mp4", "What moves?", "dog", "cat", 1, "p"),
    ("v3.mp4", "Which way?", "left", "right", 0, "q"),
    ("v4.mp4", "Which way?", "left", "right", 1, "q"),
]


def test_a_pair_is_wrong_where_one_of_its_questions_is(tmp_path):
    header = ("video", "question", "option_a", "option_b", "answer", "pair")
    file = write_csv(tmp_path / "mine.csv", PAIRS, header)
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nform: pairs\nfiles: [mine.csv]\nunchecked: true\ntitle: Mine\n"
        "columns:\n  video: video\n  question: question\n  options: [option_a, option_b]\n"
        "  answer: answer\n  pair: pair\n"
    )
    task = get_task(tmp_path / "mine.yaml")
    a = read_annotations(task, file)
    scores = np.where(a.label == 1, 1.0, 0.0)
    chosen = np.array([video.startswith("mine_v4") for video in a.video_id])
    scores[chosen] = 0.5 - scores[chosen]
    result = evaluated_items(tmp_path, task, a, scores)
    found = read_mistakes(result, file, task=task)
    (mistake,) = found.worst(9)
    assert (mistake.group, mistake.measure) == ("q", -1.0)
    assert [(side.video.name, side.role) for side in mistake.sides] == [
        ("v4", "right option"),
        ("v4", "chosen"),
        ("v3", "right option"),
        ("v3", "best wrong option"),
    ]
    assert (found.wrong, found.judged.total) == (1, 2)
    metric = measure(task, a, found.scores, "log_odds", resamples=0)["pair_accuracy"]["value"]
    assert metric == 50.0
    # Without a score of one question its pair is not judged.
    judged = find_form(task).judge(a, np.where(chosen, np.nan, scores), "log_odds")
    assert (judged.ids, judged.total) == (["p"], 2)
    with pytest.raises(SchemaError, match="not one of ours"):
        read_mistakes(result, tmp_path)
