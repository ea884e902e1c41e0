"""The card: YAML that `datasets` reads, and text whose figures are those of the report."""

import re

import pytest
import yaml
from datasets import Features

from synvita_data.builders.dataset.card import VIEWER_ROW_BYTES, default_config, render_card
from synvita_data.schema import features


def record(rows, *, videos=0, scored=0, source="vatex", generator="lavie", largest=1000, over=0):
    return {
        "rows": rows,
        "quarantined": 3,
        "triplets": {"read": rows + 5, "duplicates": 2, "quarantined": 3},
        "options": {"weighting": "difference", "granularity": "word", "embed_real": False},
        "mean_weight": 0.25 if scored else None,
        "splits": {
            "test": {"rows": 1, "bytes": 10, "misalignment": {"flip": 1}, "shards": []},
            "train": {"rows": rows - 1, "bytes": 90, "misalignment": {"action": rows - 1}, "shards": []},
        },
        "coverage": {
            "synthetic_video": [videos, rows],
            "vqascores": [scored, rows],
            "weight_above_zero": [0, rows],
            "real_video_found": [0, rows],
            "real_video_embedded": [0, rows],
            "nle": [0, rows],
        },
        "sources": {source: rows},
        "generators": {generator: {"videos": videos, "revisions": ["abc"], "configs": ['{"steps": 50}']}},
        "scorers": [{"model": "clip-flant5-xxl", "revision": None, "method": None, "rows": scored}],
        "largest_row_bytes": largest,
        "rows_over_viewer_limit": over,
    }


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_configs_splits_and_features_are_what_datasets_reads():
    card = render_card({"configs": {"lavie": record(7), "cogvideox": record(5)}}, "owner/set")
    yaml_part = metadata(card)
    entries = {entry["config_name"]: entry for entry in yaml_part["configs"]}
    assert list(entries) == ["cogvideox", "lavie", "all"]
    assert [name for name, entry in entries.items() if entry.get("default")] == ["cogvideox"]
    assert entries["lavie"]["data_files"] == [
        {"split": "train", "path": "lavie/train-*.parquet"},
        {"split": "test", "path": "lavie/test-*.parquet"},
    ]
    assert entries["all"]["data_files"][0] == {
        "split": "train",
        "path": ["cogvideox/train-*.parquet", "lavie/train-*.parquet"],
    }
    infos = {info["config_name"]: info for info in yaml_part["dataset_info"]}
    counts = {s["name"]: s["num_examples"] for s in infos["all"]["splits"]}
    assert counts == {"train": 6 + 4, "test": 2}
    assert Features._from_yaml_list(infos["lavie"]["features"]) == features()


def test_one_config_has_no_union():
    entries = metadata(render_card({"configs": {"lavie": record(7)}}))["configs"]
    assert [(entry["config_name"], entry.get("default")) for entry in entries] == [("lavie", True)]


def test_the_text_says_what_the_report_says():
    card = render_card({"configs": {"lavie": record(1234, videos=1200, scored=1100)}}, "owner/set")
    assert "1,234 rows in 1 config, 1,200 synthetic videos" in card
    assert re.search(r"\| action \| 1,233 \| 0 \|", card)
    assert re.search(r"\| with VQAScores, of whose videos was not recorded \| 1,100 \| 1,234 \|", card)
    assert "1,239 triplets were read, 2 exact duplicates dropped, 3 rows quarantined" in card
    assert "mean weight 0.2500" in card
    assert 'load_dataset("owner/set", revision="v0.1.0")' in card
    assert '{"steps": 50}' in card
    assert "clip-flant5-xxl | not recorded" in card
    assert "vqascore-difference-lavie.png" in card


def test_scores_of_videos_that_are_not_here_are_told_apart():
    scores = {
        "with_video": 3,
        "without_video": 1097,
        "video_named_by": {"sha256": 1, "name": 0, "nothing": 2},
        "of_other_videos": 7,
    }
    built = {**record(1234, videos=5, scored=1100), "scores": scores, "equal_scores": {"cogvideox": 900}}
    card = render_card({"configs": {"lavie": built}})
    assert "| with a synthetic video and VQAScores | 3 | 1,234 |" in card
    assert "| with VQAScores of a video that is not here | 1,097 | 1,234 |" in card
    assert "| 1,100 | 1,234 |" not in card
    for sentence in (
        "1,097 of 1,100 scored rows have no synthetic video here",
        "not bound to a video in 2 of 3 scored rows",
        "scores of 7 other videos of these rows' captions",
        "900 rows have the same scores as in config cogvideox",
        "caption on the videos that were scored (3 rows here have a synthetic video)",
    ):
        assert sentence in card
    whole = {**scores, "without_video": 0, "of_other_videos": 0}
    whole["video_named_by"] = {"sha256": 3, "name": 0, "nothing": 0}
    quiet = render_card({"configs": {"lavie": {**built, "scores": whole, "equal_scores": {}}}})
    assert "**Scores:**" not in quiet
    assert "not here" not in quiet
    assert "caption on the synthetic video." in quiet


def test_what_is_not_known_is_said_to_be_unknown():
    card = render_card({"configs": {"x": record(2, source="mystery", generator="my-model", videos=1)}})
    assert "| mystery | unknown to the builder" in card
    assert re.search(r"\| my-model \| 1 \| abc \| .* \| unknown \|", card)


@pytest.mark.parametrize(
    ("largest", "over", "text"),
    [(2_900_000, 4, "4 rows embed more than 2 MB"), (100, 0, "Every row is under")],
)
def test_the_viewers_limit_is_stated(largest, over, text):
    assert VIEWER_ROW_BYTES == 2_000_000
    assert text in render_card({"configs": {"lavie": record(5, largest=largest, over=over)}})


def test_no_score_no_figure():
    assert "figures/" not in render_card({"configs": {"lavie": record(5)}})


def test_the_default_config_is_cogvideox_or_the_first():
    assert default_config(["lavie", "cogvideox", "a"]) == "cogvideox"
    assert default_config(["lavie", "b"]) == "b"
