"""Questions, pairs and groups: how rows become texts, what is measured of them by hand, and bad input."""

import numpy as np
import pytest
from declared import cells, declare, read, write_jsonl
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.annotations import find_form, make_text_id, read_annotations
from synvita_data.annotations.questions import _place
from synvita_data.captions import Question
from synvita_data.errors import SynvitaError
from synvita_data.evaluation.results import measure

CHOICE = "form: choice\ncolumns: {video: v, question: q, options: [o1, o2, o3], answer: a}\nbreakdown: [t]"
QUESTIONS = [
    {"v": "one", "q": "Who runs?", "o1": "a dog", "o2": "a cat", "o3": "none", "a": "none", "t": "who"},
    {"v": "one", "q": "Where?", "o1": "here", "o2": "there", "o3": "", "a": "B", "t": "where"},
    {"v": "two", "q": "Who runs?", "o1": "a dog", "o2": "a cat", "o3": "none", "a": "0", "t": "who"},
]


def values(metrics, *names):
    return [metrics[name]["value"] for name in names]


def test_letters(tmp_path):
    found = read(tmp_path, CHOICE, QUESTIONS)
    words = "Who runs?\nA. a dog\nB. a cat\nC. none\nAnswer with the letter of the right option:"
    dog = Question(words, ("A", "B", "C"), 0)
    place = found.questions.index(dog)
    assert found.captions[place] == "Who runs? a dog"
    assert found.text_ids[place] == make_text_id("Who runs? a dog", dog) != make_text_id("Who runs? a dog")
    assert found.counts() | {"texts": 8, "pairs": 8, "groups": 3, "positives": 3} == found.counts()
    right = [row[1] for row in cells(found) if row[4]]
    assert sorted(right) == ["Where? there", "Who runs? a dog", "Who runs? none"]
    # What a scorer is asked of the first video: its questions, each with all its answers.
    item, _ = found.items(lambda video: b"")
    assert sorted((text.question.answers, text.question.place) for text in item.texts) == [
        *((("A", "B"), place) for place in (0, 1)),
        *((("A", "B", "C"), place) for place in (0, 1, 2)),
    ]


def test_statements(tmp_path):
    found = read(tmp_path, CHOICE + "\nscored_as: statement", QUESTIONS)
    assert found.questions == ()
    assert sorted({row[1] for row in cells(found)}) == [
        "Where? here",
        "Where? there",
        "Who runs? a cat",
        "Who runs? a dog",
        "Who runs? none",
    ]
    assert found.revision != read(tmp_path, CHOICE, QUESTIONS).revision


def test_accuracy_and_its_breakdown(tmp_path):
    found = read(tmp_path, CHOICE, QUESTIONS)
    task = declare(tmp_path, CHOICE)
    scores = np.where(found.label == 1, 1.0, 0.0)
    scores[(found.group == found.group[-1]) & (found.label == 1)] = -1.0
    metrics = measure(task, found, scores, "log_odds", resamples=0)
    wrong = found.declared["t"][-1]
    assert metrics["accuracy"]["value"] == pytest.approx(200 / 3)
    by_type = {name: each["value"] for name, each in metrics["groups"]["t"].items()}
    assert by_type == ({"where": 100.0, "who": 50.0} if wrong == "who" else {"where": 0.0, "who": 100.0})


def test_options_in_a_list_and_in_lines(tmp_path):
    rows = [{"v": "one", "q": "Who?", "o": ["a dog", "a cat"], "a": "a cat"}]
    task = declare(tmp_path, "form: choice\ncolumns: {video: v, question: q, options: o, answer: a}")
    listed = read_annotations(task, write_jsonl(tmp_path / "rows.jsonl", rows))
    assert cells(listed)[1][1:] == ("Who? a cat", listed.group[0], 1, 1)
    cell = read(
        tmp_path,
        "form: choice\ncolumns: {video: v, question: q, options: o, answer: a}",
        [{**rows[0], "o": '["a dog", "a cat"]'}],
    )
    assert cell.revision == listed.revision
    lines = "form: choice\ncolumns: {video: v, question: q, answer: a}\noption_lines: true\nanswer_prompt: '\n Go:'"
    for text, answer, letters in (
        ("Who?\nA. a dog\n B. a cat", "B. a cat", ("A", "B")),
        ("Who?\nSentence A: a dog\nSentence B: a cat", "Sentence B: a cat", ("A", "B")),
        ("Who?\nOption 1: a dog\nOption 2: a cat", "Option 2: a cat", ("1", "2")),
    ):
        found = read(tmp_path, lines, [{"v": "one", "q": text, "a": answer}])
        assert [row[1] for row in cells(found) if row[4]] == ["Who? a cat"]
        assert {q.answers for q in found.questions} == {letters}
        assert found.questions[0].words.startswith(text)
    for text in ("Who?", "Who?\na dog\na cat", "Who?\nA. a dog\nA. a cat", "\nA. a\nB. b"):
        with pytest.raises(SynvitaError, match=r"rows\.csv, row 0"):
            read(tmp_path, lines, [{"v": "one", "q": text, "a": "A"}])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"a": ""}, "row 1: the question has no answer"),
        ({"a": "nowhere"}, "row 1: the answer is none of the options.*'here', 'there'"),
        ({"a": "3"}, "row 1: the answer is none of the options"),
        ({"a": "D"}, "row 1: the answer is none of the options"),
        ({"o2": "here"}, "row 1: an option stands twice"),
        ({"o2": ""}, "row 1: a question has too few options"),
        ({"q": ""}, "row 1: the question is empty"),
    ],
)
def test_bad_questions(tmp_path, change, says):
    rows = [QUESTIONS[0], {**QUESTIONS[1], **change}, QUESTIONS[2]]
    with pytest.raises(SynvitaError, match=says):
        read(tmp_path, CHOICE, rows)
    assert read(tmp_path, CHOICE, rows, skip_bad=True).counts()["groups"] == 2


def test_ids(tmp_path):
    text = CHOICE.replace("answer: a", "answer: a, id: i")
    rows = [{**row, "i": str(at)} for at, row in enumerate(QUESTIONS)]
    assert sorted(read(tmp_path, text, rows).groups) == ["0", "1", "2"]
    rows[2]["i"] = "0"
    with pytest.raises(SynvitaError, match=r"row 2: two rows have one id.*0, as row 0"):
        read(tmp_path, text, rows)
    # Without ids, a question that one video asks twice is two.
    twice = read(tmp_path, CHOICE, [*QUESTIONS, QUESTIONS[0]])
    assert twice.counts()["groups"] == 4
    assert twice.counts()["pairs"] == 8


def test_yes_no(tmp_path):
    text = "form: yes_no\ncolumns: {video: v, question: q, answer: a}"
    rows = [
        {"v": video, "q": question, "a": answer}
        for video, question, answer in (
            ("one", "Fast?", "yes"),
            ("one", "Slow?", "No."),
            ("two", "Fast?", "0"),
            ("two", "Slow?", "True"),
        )
    ]
    found = read(tmp_path, text, rows)
    said = {(row[0][-3:], row[1]): row[4] for row in cells(found)}
    assert said == {("one", "Fast?"): 1, ("one", "Slow?"): 0, ("two", "Fast?"): 0, ("two", "Slow?"): 1}
    assert found.questions[0] == Question("Fast?\nAnswer yes or no:", ("Yes", "No"), 0)
    # One wrong answer of four, though every yes is above every no.
    scores = np.where(found.label == 1, 2.0, np.where(found.video_id == "mine_two", 1.0, -1.0))
    metrics = measure(declare(tmp_path, text), found, scores, "log_odds", resamples=0)
    assert values(metrics, "accuracy", "auc") == [75.0, 100.0]
    only = read(tmp_path, text, [row for row in rows if row["a"] in ("yes", "True")])
    assert measure(declare(tmp_path, text), only, np.ones(2), "log_odds", resamples=0)["auc"] is None
    with pytest.raises(SynvitaError, match="row 1: the question has no answer"):
        read(tmp_path, text, [rows[0], {**rows[1], "a": ""}])
    with pytest.raises(SynvitaError, match="minimal_pair_accuracy cannot be computed"):
        measure(declare(tmp_path, text), found, scores, "similarity", resamples=0)


PAIRS = "form: pairs\ncolumns: {video: v, question: q, answer: a, pair: p}"


def test_pairs(tmp_path):
    rows = [
        {"v": "one", "q": "Fast?", "a": "yes", "p": "x"},
        {"v": "two", "q": "Fast?", "a": "no", "p": "x"},
        {"v": "one", "q": "Slow?", "a": "no", "p": "y"},
        {"v": "two", "q": "Slow?", "a": "yes", "p": "y"},
    ]
    found = read(tmp_path, PAIRS, rows)
    right = np.where(found.label == 1, 1.0, -1.0)
    scores = np.where((found.minimal_pair == "x") & (found.label == 1), -1.0, right)
    metrics = measure(declare(tmp_path, PAIRS), found, scores, "log_odds", resamples=0)
    assert values(metrics, "accuracy", "pair_accuracy") == [75.0, 50.0]
    with pytest.raises(SynvitaError, match=r"row 4: a pair has 3 questions. Found: x"):
        read(tmp_path, PAIRS, [*rows, {"v": "one", "q": "Red?", "a": "no", "p": "x"}])
    kept = read(tmp_path, PAIRS, [*rows, {"v": "one", "q": "Red?", "a": "no", "p": "x"}], skip_bad=True)
    assert set(kept.minimal_pair) == {"y"}
    # Every question of the pair of three is counted, whichever row is named first.
    assert sorted(error.row for error in kept.report.left_out) == [
        at for at, row in enumerate([*rows, {"p": "x"}]) if row["p"] == "x"
    ]


@pytest.mark.parametrize(("form", "main"), [("choice", "accuracy"), ("pairs", "pair_accuracy")])
def test_questions_of_one_video_are_drawn_together(tmp_path, form, main):
    rows = [
        {
            "v": f"v{video}",
            "q": f"q{number}",
            "o1": "yes",
            "o2": "no",
            "o3": "",
            "a": "A",
            "p": f"{video} {number // 2}",
        }
        for video in range(2)
        for number in range(8)
    ]
    text = CHOICE.replace("choice", form).replace("\nbreakdown: [t]", "")
    if form == "pairs":
        text = text.replace("answer: a", "answer: a, pair: p")
    found = read(tmp_path, text, rows)
    # The first video has every question right, the second none: 25% of the draws give 0, and 25% give 100.
    right = (found.label == 1) == (found.video_id == "mine_v0")
    metrics = measure(declare(tmp_path, text), found, right.astype(float), "log_odds", resamples=200)
    assert (metrics[main]["value"], metrics[main]["low"], metrics[main]["high"]) == (50, 0, 100)
    assert metrics["bootstrap"]["unit"] == "cluster"


def test_pairs_with_options(tmp_path):
    text = "form: pairs\ncolumns: {video: v, question: q, options: [o1, o2], answer: a, pair: p}"
    rows = [
        {"v": video, "q": "Which?", "o1": "left", "o2": "right", "a": answer, "p": "x"}
        for video, answer in (("one", "left"), ("two", "right"))
    ]
    found = read(tmp_path, text, rows)
    scores = np.where(found.label == 1, 1.0, 0.0)
    assert values(
        measure(declare(tmp_path, text), found, scores, "log_odds", resamples=0), "pair_accuracy"
    ) == [100.0]
    scores[found.video_id == "mine_two"] = 0.5
    assert values(
        measure(declare(tmp_path, text), found, scores, "log_odds", resamples=0), "pair_accuracy"
    ) == [50.0]


GROUPS = "form: groups\ncolumns: {video: [v0, v1], caption: [c0, c1]}\nbreakdown: [m]"
GROUP = {"v0": "a", "v1": "b", "c0": "x then y", "c1": "y then x", "m": "order"}


def test_groups_in_one_row_and_in_two(tmp_path):
    found = read(tmp_path, GROUPS + "\nexpected: {groups: 1}", [GROUP])
    assert [(row[0], row[1], row[3], row[4]) for row in cells(found)] == [
        ("mine_a", "x then y", 0, 1),
        ("mine_a", "y then x", 1, 0),
        ("mine_b", "x then y", 0, 0),
        ("mine_b", "y then x", 1, 1),
    ]
    two = read(
        tmp_path,
        "form: groups\ncolumns: {video: v, caption: c, group: g}\nbreakdown: [m]",
        [
            {"v": "a", "c": "x then y", "g": found.groups[0], "m": "order"},
            {"v": "b", "c": "y then x", "g": found.groups[0], "m": "order"},
        ],
    )
    assert two.revision == found.revision


def test_group_scores_by_hand(tmp_path):
    rows = [GROUP, {**GROUP, "v0": "c", "v1": "d"}]
    found, task = read(tmp_path, GROUPS, rows), declare(tmp_path, GROUPS)
    # Group of a and b: each video finds its caption, the second caption does not find its video.
    table = {"a": (3.0, 2.0), "b": (0.0, 1.0), "c": (2.0, 1.0), "d": (1.0, 2.0)}
    scores = np.array([table[row[0][-1]][row[3]] for row in cells(found)])
    metrics = measure(task, found, scores, "similarity", resamples=0)
    assert values(metrics, "text", "video", "group") == [100.0, 50.0, 50.0]
    assert metrics["breakdown"]["m"]["order"]["group"]["value"] == 50.0


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"g": "1", "v": v, "c": v * 2} for v in "abc"], "row 2: a group has 3 rows"),
        ([{"g": "1", "v": "a", "c": "x"}], "row 0: a group has 1 rows"),
        (
            [{"g": "1", "v": "a", "c": c} for c in "xy"],
            "row 1: the two videos or captions of a group are the same",
        ),
        (
            [{"g": "1", "v": v, "c": "x"} for v in "ab"],
            "row 1: the two videos or captions of a group are the same",
        ),
    ],
)
def test_bad_groups(tmp_path, rows, says):
    text = "form: groups\ncolumns: {video: v, caption: c, group: g}"
    with pytest.raises(SynvitaError, match=says):
        read(tmp_path, text, rows)
    good = [{"g": "2", "v": v, "c": v * 3} for v in "ab"]
    found = read(tmp_path, text, [*rows, *good], skip_bad=True)
    assert (found.groups, len(found.report.left_out)) == (("2",), len(rows))  # every row of the group


def test_retrieval(tmp_path):
    text = "form: retrieval\ncolumns: {video: v, caption: c, label: y}"
    rows = [{"v": v, "c": c, "y": int(v == c)} for v in "ab" for c in "ab"]
    found = read(tmp_path, text, rows)
    scores = np.where(found.label == 1, 1.0, 0.0)
    assert values(measure(declare(tmp_path, text), found, scores, "similarity", resamples=0), "map") == [
        100.0
    ]
    with pytest.raises(SynvitaError, match=r"row 4: a video and caption stand with match 0 and with match 1"):
        read(tmp_path, text, [*rows, {"v": "a", "c": "a", "y": 0}])


def test_a_wrong_main_score(tmp_path):
    task = declare(tmp_path, GROUPS + "\nmain_score: groups")
    found = read(tmp_path, GROUPS + "\nmain_score: groups", [GROUP])
    with pytest.raises(SynvitaError, match=r"mine\.yaml: the task's main score.*text, video, group"):
        measure(task, found, np.arange(4.0), "similarity", resamples=0)


@pytest.mark.parametrize("text", [CHOICE, PAIRS, GROUPS])
def test_packed_forms_come_back(tmp_path, text):
    from synvita_data.annotations.packed import write_packed

    rows = {
        CHOICE: QUESTIONS,
        GROUPS: [GROUP],
        PAIRS: [{"v": v, "q": "Fast?", "a": a, "p": "x"} for v, a in (("one", "yes"), ("two", "no"))],
    }[text]
    found = read(tmp_path, text, rows)
    path = tmp_path / "packed.parquet"
    write_packed(found, path)
    again = read_annotations(declare(tmp_path, text), path)
    assert again.revision == found.revision
    assert (again.questions, again.captions) == (found.questions, found.captions)
    assert find_form(again) is find_form(found)


def test_predictions_of_a_users_task_come_back(tmp_path):
    """What joins scores with annotations knows the form without knowing the task."""
    import pyarrow.parquet as pq

    from synvita_data.evaluation.predictions import item_scores_table, read_predictions
    from synvita_data.reproduce.noise import main_estimate

    found = read(tmp_path, CHOICE, QUESTIONS)
    scores = np.round(np.random.default_rng(0).normal(size=len(found)), 3)
    scores = scores[np.unique(found.pair, return_index=True)[1]][found.pair]
    pq.write_table(item_scores_table(found, scores, "log_odds"), tmp_path / "scores.parquet")
    for join in ("strict", "official"):
        read_back = read_predictions(tmp_path / "scores.parquet", found, "mine", join=join)
        assert read_back.scores.tolist() == scores.tolist()
    task = declare(tmp_path, CHOICE)
    expected = measure(task, found, scores, "log_odds", resamples=0)["accuracy"]["value"]
    assert main_estimate(found, scores, "log_odds", None)["value"] == expected


@given(
    st.lists(
        st.text("abcdefghij ", min_size=2).map(str.strip).filter(len), min_size=2, max_size=6, unique=True
    ),
    st.data(),
)
def test_an_answer_is_found_by_words_letter_and_place(options, data):
    """Unless an option is itself a letter of the list, which its words then are."""
    place = data.draw(st.integers(0, len(options) - 1))
    letters = "ABCDEF"[: len(options)]
    for answer in (
        options[place],
        letters[place],
        f"({letters[place]})",
        f"{letters[place]}.",
        place,
        float(place),
    ):
        assert _place(answer, letters, options, lines=()) == place
    for answer in (letters[-1] + "A", len(options), -1, "zzz", None, ""):
        with pytest.raises(SynvitaError):
            _place(answer, letters, options, lines=())
