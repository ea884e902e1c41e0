"""`EvaluationPairs`: videos of a held-out split with both captions and the truth."""

import pytest
import torch
from small_triplets import CAPTIONS, expected_pixels, mp4, pixels, row, tiny_model
from torch.utils.data import DataLoader

from synvita_data.captions import Text
from synvita_data.training.evaluation import EvaluationPairs

ROWS = [
    row(0),
    row(0, "lavie"),  # the same real video
    row(1, real_video=None, real_available=False),
    row(2, synthetic_video=None, weight=None, shared=None),
    row(3, real_video={"bytes": b"no video", "path": None}),
]


def test_real_videos_once_a_pair():
    pairs = EvaluationPairs(ROWS, tiny_model())
    assert [item.row_id for item in pairs] == [ROWS[i]["id"] for i in (0, 3, 4)]
    first = pairs[0]
    assert (first.kind, first.labels) == ("real", (True, False))
    assert first.texts == (Text(CAPTIONS[0]), Text(CAPTIONS[1]))
    assert torch.equal(pixels(first.video), expected_pixels(mp4(0)))
    assert pairs[2].video is None
    assert pairs.counts == {
        "rows": 5,
        "pairs": 4,
        "videos": 3,
        "without_real": 1,
        "without_synthetic": 0,
        "unreadable": 1,
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_synthetic_videos_have_the_other_truth(workers):
    pairs = EvaluationPairs(ROWS, tiny_model(), synthetic=True)
    loader = DataLoader(pairs, batch_size=None, num_workers=workers)
    found = [(item.row_id, item.kind, item.labels) for item in loader]
    real, synthetic = (True, False), (False, True)
    ids = [each["id"] for each in ROWS]
    assert found == [
        (ids[0], "real", real),
        (ids[0], "synthetic", synthetic),
        (ids[1], "synthetic", synthetic),
        (ids[2], "synthetic", synthetic),
        (ids[3], "real", real),
        (ids[4], "real", real),
        (ids[4], "synthetic", synthetic),
    ]
    assert pairs.counts["without_synthetic"] == 1
    assert pairs.counts["unreadable"] == 1  # a worker's find is known here
