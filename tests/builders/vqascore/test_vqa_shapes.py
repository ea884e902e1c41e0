"""The shapes world's scorers in the job of VQAScore: the numbers of `make_shapes`, which never goes through it."""

import csv
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from synvita_data.builders.shapes import make_shapes
from synvita_data.builders.shapes.vqa import VQA_MODELS
from synvita_data.builders.triplets import TripletReader
from synvita_data.builders.vqascore import find_model, score_videos
from synvita_data.builders.vqascore.models import is_vqa_only
from synvita_data.errors import SynvitaError

NAMES = [model.name for model in VQA_MODELS]


@pytest.mark.slow
def test_the_job_gives_the_worlds_own_scores(tmp_path):
    world = make_shapes(tmp_path / "world", pairs=3, size=48)
    rows = list(TripletReader(world.triplets))
    out = tmp_path / "scores.parquet"
    report = score_videos(rows, f"folder:{world.synthetic}", [find_model(name) for name in NAMES], out)
    assert report.complete
    assert report.exit_status == 0
    # The mean over the frames of each video and model, beside the world's own table.
    found = defaultdict(list)
    for row in pq.read_table(out).to_pylist():
        found[row["model"], row["id"]].append((row["neg_caption_score"], row["caption_score"]))
        assert row["method"].startswith("first-token score; shapes prompt")
    with world.vqascores.open() as file:
        expected = {
            (row["model"], int(row["row"])): (float(row["neg_caption_score"]), float(row["caption_score"]))
            for row in csv.DictReader(file)
        }
    assert len(expected) == len(found) == 9
    ids = {triplet.pair_id: triplet.row for triplet in rows}
    for (model, row_id), frames in found.items():
        assert len(frames) == 4
        pair = next(pair for pair in ids if row_id.startswith(pair))
        np.testing.assert_allclose(np.mean(frames, axis=0), expected[model, ids[pair]], atol=1e-8)


def test_a_version_of_the_world_is_another_revision():
    first, second = find_model("shapes-vqa-a"), find_model("shapes-vqa-a@2")
    assert first.label == second.label == "shapes-vqa-a"
    assert first.revision != second.revision
    assert find_model("shapes-vqa-a", "2") == second
    assert is_vqa_only("shapes-vqa-b@2")
    assert second.default_score == "first-token"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("shapes-vqa-a@9", {}, r"unknown version of the world.*one of 1, 2"),
        ("shapes-vqa-a", {"whole_video": True}, "cannot see a whole video"),
    ],
)
def test_what_a_scorer_of_the_world_cannot_be(name, options, message):
    with pytest.raises(SynvitaError, match=message):
        find_model(name, **options)
