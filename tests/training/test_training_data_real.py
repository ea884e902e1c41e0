"""The real training rows of VideoCon: all checks, counts by independent arithmetic, no video opened."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from small_triplets import tiny_model

from synvita_data.schema import make_pair_id
from synvita_data.training import TripletData


@pytest.fixture(scope="module")
def videocon(real_data):
    """(rows of the published schema with empty spans, f̄ of each text [rows, 2])."""
    scores = defaultdict(list)
    with (real_data / "videocon-16k" / "vqascores.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            scores[int(line["row"])].append(line)
    rows, means = [], []
    with (real_data / "videocon-16k" / "triplets.csv").open(newline="", encoding="utf-8") as file:
        for number, line in enumerate(csv.DictReader(file)):
            pair = make_pair_id(line["source"], line["videopath"], line["caption"], line["neg_caption"])
            entries = [
                {
                    "model": score["model"],
                    "revision": None,
                    "method": None,
                    "neg_caption_score": float(score["neg_caption_score"]),
                    "caption_score": float(score["caption_score"]),
                }
                for score in scores[number]
            ]
            means.append(
                [np.mean([e[f"{side}_score"] for e in entries]) for side in ("neg_caption", "caption")]
            )
            rows.append(
                {
                    "id": f"{pair}-made-{number}",
                    "pair_id": pair,
                    "start": None,
                    "end": None,
                    "caption": line["caption"],
                    "neg_caption": line["neg_caption"],
                    "nle": None,
                    "real_video": {"bytes": None, "path": f"/nowhere/{line['videopath']}.mp4"},
                    "real_available": True,
                    "synthetic_video": {"bytes": b"never opened", "path": None},
                    "vqascores": entries,
                    "weight": None,
                    "shared": {"caption": [], "neg_caption": [], "granularity": "word"},
                }
            )
    return rows, np.array(means)


def test_all_rows_are_checked_and_counted(videocon):
    rows, means = videocon
    expected = np.maximum(0.0, means[:, 0] - means[:, 1])
    pairs = len({row["pair_id"] for row in rows})
    data = TripletData(rows, tiny_model(), weighting="difference")
    counts = data.counts
    assert counts["rows"] == len(rows) == 16_856
    assert counts["pairs"] == counts["takes_real"] == pairs == 16_854  # two rows come twice
    assert counts["takes_synthetic"] == (expected > 0).sum()
    assert counts["zero_weight"] == (expected == 0).sum()
    weights = np.zeros(len(rows))
    for triplet in data.triplets:
        weights[triplet.number] = triplet.weight
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-12)


def test_word_masks_hide_exactly_what_captions_do_not_share(videocon):
    """Every tenth row: what both masked texts show are the same words in the same order."""
    rows, _ = videocon
    data = TripletData(rows[::10], tiny_model(), weighting="fixed", granularity="word")
    assert len(data) == 1_686
    nothing = 0
    for triplet in data.triplets:
        shown = []
        for text in triplet.texts[2:]:
            visible = list(text.caption)
            for start, end in text.hidden:
                visible[start:end] = " " * (end - start)
            shown.append("".join("".join(visible).split()))
        assert shown[0] == shown[1]
        nothing += not shown[0]
    assert nothing < 20  # a few real pairs share no word: their masked texts hide all
