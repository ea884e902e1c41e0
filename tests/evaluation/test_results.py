"""Result files: what stands in them, what is official, where they go, and what they refuse to replace."""

import json
import string

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_annotations import ssv2_pairs, write_ssv2

from synvita_data.annotations import read_annotations
from synvita_data.errors import SchemaError, StoreError
from synvita_data.evaluation.predictions import read_predictions
from synvita_data.evaluation.results import make_result, measure, read_result, safe_name, write_result
from synvita_data.tasks import get_task
from synvita_data.versions import versions

TASK = get_task("ssv2-temporal")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """As large as the real task, so that its expected counts are met: 18 captions, 216 videos, 12 each."""
    folder = tmp_path_factory.mktemp("annotations")
    pairs = [
        (f"videos/{video}.avi", f"caption {caption}", int(video // 12 == caption))
        for video in range(216)
        for caption in range(18)
    ]
    return read_annotations(TASK.name, write_ssv2(folder / "pairs.csv", pairs))


def made(annotations, scores=None, model="some/model", control=None, **record):
    scores = np.linspace(0.1, 0.9, len(annotations)) if scores is None else scores
    result = make_result(
        task=TASK,
        annotations=annotations,
        metrics=measure(TASK, annotations, scores, "probability", partial=True, resamples=0),
        model={"name": model, "revision": "abc", "kind": "probability", "prompt": None, "settings": {}},
        scores=scores,
        frames=None,
        run={"wall_seconds": 1.5},
        notes={"videos_missing": ["ssv2_7"]} | record,
        control=control,
    )
    return result, scores


def written(folder, annotations, **how):
    result, scores = made(annotations, **how)
    return write_result(folder, result, annotations, scores, "probability")


def refuse(name):
    raise AssertionError(f"{name} in JSON")


def test_the_file_reads_back_as_it_was_made(tmp_path, annotations):
    result, scores = made(annotations)
    path = write_result(tmp_path, result, annotations, scores, "probability")
    assert path == tmp_path / "some--model" / "ssv2-temporal.json"
    again = read_result(path)
    assert again == result
    assert json.loads(path.read_text(), parse_constant=refuse) == result.record
    assert again.main_score["name"] == "map"
    assert again.main_score["value"] == result.record["metrics"]["map"]["value"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "ssv2-temporal.json",
        "ssv2-temporal.parquet",
    ]


def test_the_scores_beside_it_read_back_to_the_bit(tmp_path, annotations):
    rng = np.random.default_rng(3)
    scores = rng.random(len(annotations))
    path = written(tmp_path, annotations, scores=scores)
    predictions = read_predictions(path.with_suffix(".parquet"), annotations, TASK)
    assert predictions.scores.tobytes() == scores.tobytes()
    assert predictions.kind == "probability"


def test_frames_stand_beside_every_score(tmp_path, annotations):
    result, scores = made(annotations)
    scores[:18] = np.nan  # the first video
    frames = {video.video_id: (1, int(video.name)) for video in annotations.videos[1:]}
    path = write_result(tmp_path, result, annotations, scores, "probability", frames)
    table = pq.read_table(path.with_suffix(".parquet")).to_pylist()
    assert len(table) == 3888 - 18
    assert all(row["frame_indices"] == [1, int(row["video_id"].removeprefix("ssv2_"))] for row in table)
    found = read_predictions(path.with_suffix(".parquet"), annotations, TASK, allow_missing=True)
    np.testing.assert_array_equal(found.scores, scores)


def test_whole_and_as_published_is_official(annotations):
    result, _ = made(annotations)
    assert result.official
    assert result.record["why_not_official"] == []
    assert result.record["coverage"] == {"k": 3888, "n": 3888}
    assert not result.record["partial"]


def test_a_missing_score_makes_it_partial_and_not_official(annotations):
    _, scores = made(annotations)
    scores[5] = np.nan
    result, _ = made(annotations, scores=scores)
    assert not result.official
    assert result.record["partial"]
    assert result.record["coverage"] == {"k": 3887, "n": 3888}
    assert result.record["why_not_official"] == ["3,887 of 3,888 texts were scored"]
    json.dumps(result.record, allow_nan=False)


def test_other_annotations_than_the_papers_are_not_official(tmp_path):
    small = read_annotations(TASK.name, write_ssv2(tmp_path / "pairs.csv", ssv2_pairs()))
    result, _ = made(small)
    assert not result.official
    assert not result.record["partial"]
    assert "rows: found 18, expected 3,888" in result.record["why_not_official"]


def test_versions_are_those_that_are_installed():
    import platform

    found = versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__


def test_nan_is_never_written(tmp_path, annotations):
    result, scores = made(annotations, broken=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, result, annotations, scores, "probability")
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"schema_version": "1.0"}',
        b'{"schema_version": "1.0", "model": "m", "task": {"name": "t"}}',
        b'{"schema_version": "1.0", "model": {"name": 1}, "task": {"name": "t"}}',
    ],
)
def test_what_is_no_result_is_refused_by_name(tmp_path, content):
    path = tmp_path / "ssv2-temporal.json"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="not a result file") as caught:
        read_result(path)
    assert caught.value.file == str(path)


def test_edited_results_are_refused(tmp_path, annotations):
    path = written(tmp_path, annotations)
    text = path.read_text()
    for wrong, match in (
        (text[: len(text) // 2], "not a result file"),
        (text.replace('"coverage"', '"covers"'), "coverage"),
        (text.replace("1.5", "NaN"), "NaN is not JSON"),
        (text.replace('"schema_version": "1.0"', '"schema_version": "7.0"'), "another schema version"),
    ):
        assert wrong != text
        path.write_text(wrong)
        with pytest.raises(SchemaError, match=match):
            read_result(path)
    with pytest.raises(SchemaError, match="not a result file"):
        read_result(tmp_path / "absent.json")


def test_a_newer_result_replaces_an_older_one(tmp_path, annotations):
    written(tmp_path, annotations, note="first")
    path = written(tmp_path, annotations, note="second")
    assert read_result(path).record["note"] == "second"


def test_a_trial_never_replaces_an_official_result(tmp_path, annotations):
    path = written(tmp_path, annotations)
    before = {each: each.read_bytes() for each in path.parent.iterdir()}
    _, scores = made(annotations)
    scores[5] = np.nan
    with pytest.raises(SchemaError, match="would replace an official one"):
        written(tmp_path, annotations, scores=scores)
    assert {each: each.read_bytes() for each in path.parent.iterdir()} == before


def test_a_trial_never_replaces_a_whole_result_that_is_not_official(tmp_path, annotations):
    """As those of control runs and of annotations other than the published ones are."""
    path = written(tmp_path, annotations, control="text")
    before = {each: each.read_bytes() for each in path.parent.iterdir()}
    assert not read_result(path).official
    _, scores = made(annotations)
    scores[5] = np.nan
    with pytest.raises(SchemaError, match=r"some texts would replace one of all.*3,887 of 3,888 texts"):
        written(tmp_path, annotations, scores=scores, control="text")
    assert {each: each.read_bytes() for each in path.parent.iterdir()} == before
    written(tmp_path, annotations, control="text")


def test_a_whole_result_replaces_a_trial(tmp_path, annotations):
    _, scores = made(annotations)
    scores[5] = np.nan
    assert not read_result(written(tmp_path, annotations, scores=scores)).official
    assert read_result(written(tmp_path, annotations)).official


def test_no_model_replaces_another(tmp_path, annotations):
    """As on a file system that takes `Model` and `model` for one name."""
    path = written(tmp_path, annotations, model="Model")
    (tmp_path / "model").symlink_to(path.parent)
    with pytest.raises(SchemaError, match="taken by another model") as caught:
        written(tmp_path, annotations, model="model")
    assert caught.value.found == "Model"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, annotations):
    (tmp_path / "some--model").write_text("a file")
    with pytest.raises(StoreError, match="some--model: cannot write the result"):
        written(tmp_path, annotations)


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("chance", "chance"),
        ("LanguageBind/Video-LLaVA-7B-hf", "LanguageBind--Video-LLaVA-7B-hf"),
        ("openai/clip-vit-base-patch32", "openai--clip-vit-base-patch32"),
        ("v1.5_b", "v1.5_b"),
    ],
)
def test_usual_names_stay_readable(model, folder):
    assert safe_name(model) == folder


def test_names_that_would_collide_do_not():
    names = [
        "a/b",
        "a--b",
        "a b",
        "a_b",
        "/a/b",
        "a/b/",
        "./a/b",
        "../a/b",
        ".a/b",
        "a:b",
        "a\\b",
        "",
        ".",
        "..",
    ]
    names += ["x" * 150, "x" * 151, "x" * 152, "模型", "型模"]
    assert len({safe_name(name) for name in names}) == len(names)


@given(st.text(max_size=300))
def test_every_name_is_a_plain_folder(model):
    folder = safe_name(model)
    assert set(folder) <= set(string.ascii_letters + string.digits + "._-")
    assert folder[0] != "."
    assert len(folder) <= 160


@given(st.text("aA-/._ ", max_size=6), st.text("aA-/._ ", max_size=6))
def test_no_two_names_share_a_folder(first, second):
    assert (safe_name(first) == safe_name(second)) == (first == second)
