"""`synvita errors`: the page (no script, no request, text of others as text, frames that are there or not) and the command."""

import base64
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from closed_page import Page, check_closed
from in_process import run_program
from PIL import Image
from small_annotations import VIDEOCON_HEADER, ssv2_pairs, write_csv, write_ssv2

from synvita_data.annotations import read_annotations
from synvita_data.evaluation.predictions import item_scores_table
from synvita_data.evaluation.run import evaluate_predictions
from synvita_data.mistakes.find import read_mistakes
from synvita_data.mistakes.frames import VideoFrames
from synvita_data.mistakes.page import page
from synvita_data.tasks import get_task, task_of_file
from synvita_data.video import encode_mp4

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m \u202e</style>&amp;'
ROWS = (
    ("tempo/videos/1.mp4", "tempo", "a dog runs", "a cat runs", "", "test", "object"),
    ("tempo/videos/2.mp4", "tempo", "she sits then stands", EVIL, "", "test", "flip"),
    ("tempo/videos/3.mp4", "tempo", "he swims", "he runs", "", "test", "action"),
)
SCORES = ((0.1, 0.9), (0.2, 0.8), (0.3, 0.7))  # all wrong, in this order


@pytest.fixture
def result(tmp_path):
    """A result whose score table says which frames were looked at."""
    annotations = write_csv(tmp_path / "videocon_llm_entailment.csv", ROWS, VIDEOCON_HEADER)
    scores = [
        (row[0], text, score)
        for row, pair in zip(ROWS, SCORES, strict=True)
        for text, score in zip(row[2:4], pair, strict=True)
    ]
    predictions = tmp_path / "model.parquet"
    task = get_task("videocon-llm")
    read = read_annotations(task, annotations)

    value = {(read.task, path, text): score for path, text, score in scores}
    numbers = np.array(
        [value[read.task, path, text] for path, text in zip(read.videopath, read.caption, strict=True)]
    )
    pq.write_table(item_scores_table(read, numbers, "probability"), predictions)
    path = evaluate_predictions(predictions, task, read, tmp_path / "results", resamples=0).path
    table = pq.read_table(path.with_suffix(".parquet"))
    frames = pa.array([[0, 2, 4, 6, 8, 10]] * len(table), pa.list_(pa.int64()))
    pq.write_table(table.append_column("frame_indices", frames), path.with_suffix(".parquet"))
    return path


@pytest.fixture
def videos(tmp_path):
    """The first video, whose frame i is of the grey 20·i; the second is broken, the third missing."""
    root = tmp_path / "root"
    (root / "tempo/videos").mkdir(parents=True)
    grey = np.arange(12, dtype=np.uint8)[:, None, None, None] * 20
    encode_mp4(np.broadcast_to(grey, (12, 64, 96, 3)).copy(), 8, root / "tempo/videos/1.mp4")
    (root / "tempo/videos/2.mp4").write_bytes(b"no video at all" * 100)
    return root


def annotations_of(result):
    return result.parents[2] / "videocon_llm_entailment.csv"


def test_texts_of_others_are_text(result):
    found = read_mistakes(result, annotations_of(result))
    made = check_closed("".join(page(found, 20)))
    assert len(made.articles) == 3
    assert "<script>alert(1)</script>" in made.articles[1]
    assert "</style>&amp;" in made.articles[1]
    assert "\\x1b[31mred" in made.articles[1]
    assert "\\u202e" in made.articles[1]
    assert "-0.8000" in made.articles[0]
    assert made.all("img") == []
    assert "may not be redistributed" not in made.text  # no frames


def test_frames_that_are_there_missing_and_broken(result, videos, tmp_path):
    found = read_mistakes(result, annotations_of(result))
    indices = found.frame_indices({"tempo_1"})
    assert indices == {"tempo_1": (0, 2, 4, 6, 8, 10)}
    frames = VideoFrames(videos, None, source=None, indices=indices)
    text = "".join(page(found, 20, frames))
    made = check_closed(text)
    pictures = made.all("img")
    assert [picture["alt"] for picture in pictures] == ["frame 0", "frame 2", "frame 6", "frame 10"]
    for picture, index in zip(pictures, (0, 2, 6, 10), strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2])))
        assert image.size == (int(picture["width"]), int(picture["height"])) == (216, 144)
        assert abs(np.asarray(image.convert("L")).mean() - 20 * index) < 4
    assert "No frame can be shown" in made.articles[1]
    assert "This video is not there." in made.articles[2]
    assert "may not be redistributed" in made.text
    assert str(tmp_path) not in text


def test_frames_are_even_where_the_result_names_none(result, videos):
    table = result.with_suffix(".parquet")
    pq.write_table(pq.read_table(table).drop_columns("frame_indices"), table)
    found = read_mistakes(result, annotations_of(result))
    assert found.frame_indices({"tempo_1"}) == {}
    made = check_closed("".join(page(found, 1, VideoFrames(videos, None, source=None, indices={}))))
    assert [picture["alt"] for picture in made.all("img")] == ["frame 1", "frame 4", "frame 7", "frame 10"]
    assert "evenly spaced, as the result names none" in made.text


def test_one_video_is_decoded_at_a_time_and_only_those_shown(result, videos):
    found = read_mistakes(result, annotations_of(result))
    asked = []

    class Watched(VideoFrames):
        def of(self, video):
            asked.append(video.video_id)
            return super().of(video)

    pieces = page(found, 2, Watched(videos, None, source=None, indices={}))
    for piece in pieces:
        if "<article" in piece:
            break
    assert asked == ["tempo_1"]  # the page is half written, and the second not looked at
    list(pieces)
    assert asked == ["tempo_1", "tempo_2"]


def test_the_filter_hides_all_but_one_kind(result):
    text = "".join(page(read_mistakes(result, annotations_of(result)), 20))
    made = check_closed(text)
    labels = made.all("label")
    assert [label["for"] for label in labels] == ["kall", "k0", "k1", "k2"]
    assert "all 3" in made.text
    kinds = [each["class"] for each in made.all("article")]
    for kind in ("k0", "k1", "k2"):  # action, flip, object
        assert f"#{kind}:checked ~ main article:not(.{kind}) {{ display: none }}" in text
    assert kinds == ["k2", "k1", "k0"]
    one = "".join(page(read_mistakes(result, annotations_of(result), only="flip"), 20))
    assert Page(one).all("label") == []


def test_a_ranking_shows_its_videos(tmp_path):
    pairs = ssv2_pairs()
    annotations = write_ssv2(tmp_path / "eval_ssv2_temporal.csv", pairs)
    scores = write_csv(tmp_path / "m.csv", [(path, text, 0.9 - 0.8 * match) for path, text, match in pairs])
    task = get_task("ssv2-temporal")
    read = read_annotations(task, annotations)
    result = evaluate_predictions(scores, task, read, tmp_path / "results", resamples=0).path
    root = tmp_path / "root/videos"
    root.mkdir(parents=True)
    grey = np.zeros((4, 32, 32, 3), np.uint8)
    for number in range(6):
        encode_mp4(grey, 8, root / f"{10 + number}.mp4")
    found = read_mistakes(result)
    made = check_closed("".join(page(found, 9, VideoFrames(root.parent, None, source="ssv2", indices={}))))
    assert len(made.articles) == 3
    for article in made.articles:
        assert article.count("false positive") == article.count("missed") == 2
        assert "0 of 2 among the first 2 of 6 videos" in article
    assert len(made.all("img")) == 3 * 4 * 4


@pytest.fixture
def synvita(capsys):
    """Run the program in this process: exit status, standard output and standard error."""

    def run(*arguments):
        status = run_program(*arguments)
        return status, *capsys.readouterr()

    return run


def test_table_lines_and_page(synvita, result, videos, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    status, out, err = synvita(
        "errors", result, "--annotations", annotations_of(result), "--real-root", videos,
        "--top", 2, "--jsonl", tmp_path / "new/errors.jsonl", "--html", tmp_path / "new/errors.html",
    )  # fmt: skip
    assert status == 0
    assert "3 of 3 pairs are wrong; the worst 2 are shown" in out
    assert "caption 0.1000  a dog runs" in out
    assert "contrast caption 0.9000  a cat runs" in out
    assert "\x1b" not in out
    assert "he swims" not in out
    assert "do not publish it" in err
    lines = (tmp_path / "new/errors.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["misalignment"] for line in lines] == ["object", "flip"]
    made = check_closed((tmp_path / "new/errors.html").read_text(encoding="utf-8"))
    assert len(made.articles) == 2
    assert [path.name for path in sorted((tmp_path / "new").iterdir())] == ["errors.html", "errors.jsonl"]


def test_only_lines_are_printed_where_asked_for(synvita, result):
    status, out, _ = synvita("errors", result, "--annotations", annotations_of(result), "--jsonl", "-")
    assert status == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert len(records) == 3
    assert records[1]["sides"][1]["text"] == EVIL
    assert "\x1b" not in out


def test_nothing_wrong_is_said(synvita, result, tmp_path):
    table = result.with_suffix(".parquet")
    read = pq.read_table(table)
    place = read.schema.get_field_index("score")
    pq.write_table(read.set_column(place, "score", read["label"].cast(pa.float64())), table)
    given = ("errors", result, "--annotations", annotations_of(result), "--html", tmp_path / "page.html")
    status, out, _ = synvita(*given)
    assert status == 0
    assert "Nothing is wrong: 3 of 3 pairs are right." in out
    made = check_closed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert made.articles == []
    assert "Nothing is wrong: 3 of 3 pairs are right." in made.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--real-root", "."), "--real-root is for --html"),
        (("--real-mapping", "m.csv"), "--real-mapping is for --real-root"),
        (("--misalignment", "tempo"), "unknown misalignment of this task"),
        (("--html", "p.html", "--real-root", "nowhere"), "folder of real videos does not exist"),
        (("--html", "results"), "error: results: Is a directory."),
    ],
)
def test_mistakes_of_the_user(synvita, result, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = synvita("errors", result, "--annotations", annotations_of(result), *options)
    assert status == 2
    assert said in " ".join(err.split())
    assert not (tmp_path / "p.html").exists()


def test_no_place_on_this_machine_is_on_the_page(result):
    record = json.loads(result.read_text())
    record["model"]["name"] = "/home/somebody/models/tiny"
    result.write_text(json.dumps(record))
    found = read_mistakes(result, annotations_of(result))
    text = "".join(page(found, 20))
    assert "somebody" not in text
    assert "models/tiny" in text


def test_a_group_shows_each_video_once_with_both_captions(tmp_path):
    rows = [("1.mp4", "a dog chases a cat", "g"), ("2.mp4", "a cat chases a dog", "g")]
    file = write_csv(tmp_path / "mine.csv", rows, ("video", "caption", "group"))
    task = task_of_file(file, "groups")
    read = read_annotations(task, file)
    predictions = tmp_path / "model.parquet"
    pq.write_table(item_scores_table(read, 1.0 - read.label, "log_odds"), predictions)
    result = evaluate_predictions(predictions, task, read, tmp_path / "results", resamples=0).path
    (tmp_path / "root").mkdir()
    for name in "12":
        encode_mp4(np.zeros((8, 32, 32, 3), np.uint8), 8, tmp_path / f"root/{name}.mp4")
    found = read_mistakes(result, file)
    frames = VideoFrames(tmp_path / "root", None, source=task.source or task.name, indices={})
    made = check_closed("".join(page(found, 9, frames)))
    (article,) = made.articles
    assert article.count("own caption") == article.count("other video's caption") == 2
    assert article.count("a dog chases a cat") == 2
    assert len(made.all("img")) == 8
