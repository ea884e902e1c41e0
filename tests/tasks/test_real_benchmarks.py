"""VITATECS and TempCompass from their real files, where these are here; small files of their form elsewhere."""

from collections import Counter

import pytest
from declared import cells, write_json, write_jsonl

from synvita_data.annotations import read_annotations
from synvita_data.errors import SynvitaError
from synvita_data.real_videos.find import RealVideos
from synvita_data.real_videos.names import name_in_scheme
from synvita_data.tasks import TASKS

TEMPCOMPASS = {"multi-choice": 1580, "yes-no": 2453, "caption-matching": 1503}
ASPECTS = {
    "Type": 6605,
    "Direction": 3800,
    "Compositionality": 1450,
    "Localization": 1053,
    "Intensity": 779,
    "Sequence": 151,
}


def test_vitatecs(real_data):
    found = read_annotations("vitatecs", real_data / "vitatecs")
    report = found.report
    assert (report.rows, report.duplicates, report.contradictions) == (13_838, 27, 0)
    assert (report.mismatches, report.left_out) == ((), [])
    assert all(each["same"] for each in report.checked["checked_against"])
    # By aspect, with the rows that repeat.
    repeats = {"Type": 17, "Direction": 4, "Compositionality": 2, "Intensity": 4}
    assert Counter(found.breakdown["aspect"]) == {
        aspect: 2 * (count - repeats.get(aspect, 0)) for aspect, count in ASPECTS.items()
    }
    # Every video is called as its source calls its videos, so that it is found wherever it lies.
    assert {video.source for video in found.videos} == {"msr-vtt", "vatex"}
    assert all(name_in_scheme(video.source, video.name) is not None for video in found.videos)
    assert len(found.videos) == 2351 + 4105


@pytest.mark.parametrize("name", TEMPCOMPASS)
def test_tempcompass(real_data, name):
    found = read_annotations(f"tempcompass-{name}", real_data / "tempcompass")
    assert found.report.mismatches == ()
    assert found.report.checked["checked_against"][0]["same"] is True
    assert (found.counts()["groups"], len(found.videos)) == (TEMPCOMPASS[name], 410)
    assert set(found.breakdown["aspect"]) == {"action", "direction", "speed", "order", "attribute_change"}
    assert sum("_reverse" in video.name for video in found.videos) == 95
    assert sum("_concat_" in video.name for video in found.videos) == 54
    prompts = {"yes-no": "\nPlease answer yes or no:"}
    ending = prompts.get(name, "\nPlease directly give the best option:")
    assert all(question.words.endswith(ending) for question in found.questions)
    answers = Counter(question.answers for question in found.questions)
    assert (
        answers.keys()
        <= {
            "multi-choice": {("A", "B"), ("A", "B", "C"), ("A", "B", "C", "D")},
            "yes-no": {("Yes", "No")},
            "caption-matching": {("A", "B"), ("1", "2")},
        }[name]
    )


def test_one_file_of_another_is_refused(real_data):
    with pytest.raises(SynvitaError, match=r"levels are of nested JSON.*a \.json file"):
        read_annotations("tempcompass-yes-no", real_data / "vitatecs" / "Sequence.jsonl")
    found = read_annotations("vitatecs", real_data / "vitatecs" / "Sequence.jsonl")
    assert [line.split(":")[0] for line in found.report.mismatches] == ["rows", "groups", "videos"]
    # Questions with options are no yes/no questions.
    with pytest.raises(SynvitaError, match=r"row 1034419625/action/0: the answer is not yes or no"):
        read_annotations("tempcompass-yes-no", real_data / "tempcompass" / "multi-choice.json")


def test_vitatecs_small(tmp_path):
    """Rows of its form, from videos that are found by the names of MSR-VTT and VATEX in any folder."""
    rows = [
        ("MSRVTT", "video8836.mp4", "a woman cooks", "a man cooks", "Type"),
        ("VATEX", "zgIeNdl_LDY_000010_000020.mp4", "he opens a door", "he closes a door", "Direction"),
    ]
    names = ("src_dataset", "video_name", "caption", "counterfactual", "aspect")
    path = write_jsonl(tmp_path / "rows.jsonl", [dict(zip(names, row, strict=True)) for row in rows])
    found = read_annotations("vitatecs", path)
    assert [video.video_id for video in found.videos] == [
        "msr-vtt_video8836",
        "vatex_zgIeNdl_LDY_000010_000020",
    ]
    for place in ("msrvtt/TestVideo/video8836.mp4", "vatex/zgIeNdl_LDY_000010_000020.mp4"):
        (tmp_path / "videos" / place).parent.mkdir(parents=True)
        (tmp_path / "videos" / place).write_bytes(b"not looked into")
    videos = RealVideos(tmp_path / "videos", source=TASKS["vitatecs"].source)
    assert [item.video.name for item in found.items(videos)] == [
        "video8836.mp4",
        "zgIeNdl_LDY_000010_000020.mp4",
    ]


def test_tempcompass_small(tmp_path):
    questions = {
        "12_reverse": {
            "direction": [{"question": "Which way?\nA. left\n B. right", "answer": "B. right"}],
            "order": [],
        }
    }
    found = read_annotations(
        "tempcompass-multi-choice", write_json(tmp_path / "multi-choice.json", questions)
    )
    assert [row[0] for row in cells(found)] == ["tempcompass_12_reverse"] * 2
    assert found.questions[0].words == (
        "Which way?\nA. left\n B. right\nPlease directly give the best option:"
    )
    assert found.report.checked["checked_against"][0]["same"] is False
    (tmp_path / "12_reverse.mp4").write_bytes(b"not looked into")
    (item,) = found.items(RealVideos(tmp_path, source="tempcompass"))
    assert item.video.name == "12_reverse.mp4"


def test_vinoground_and_velociti_read_what_was_described(tmp_path):
    """Neither file was ever read here: both are unchecked, and say so."""
    from declared import write_csv

    rows = [{"index": 0, "major": "object", "pos_cap": "x then y", "neg_cap": "y then x"}]
    found = read_annotations("vinoground", write_csv(tmp_path / "vinoground.csv", rows))
    assert [video.videopath for video in found.videos] == [
        "vinoground_videos/0_neg.mp4",
        "vinoground_videos/0_pos.mp4",
    ]
    names = ("test_name", "video_id", "event", "pos", "neg")
    row = dict(zip(names, ("agent_iden", "v1.mp4", "Ev1", "she runs", "he runs"), strict=True))
    other = read_annotations("velociti", write_jsonl(tmp_path / "test.jsonl", [row]))
    assert other.breakdown["test_name"].tolist() == ["agent_iden"] * 2
    assert found.report.checked == other.report.checked == {"unchecked": True}
    assert TASKS["velociti"].train == "never"
