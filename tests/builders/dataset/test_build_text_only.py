"""The text-only AUC of a build: in the report, on the card, and worked out of the rows as well."""

import csv
import json
import random

import pytest

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.captions.text_only import CaptionPair, text_only_auc
from synvita_data.dataset.built import open_dataset
from synvita_data.dataset.inspection import text_only

HEADER = ("videopath", "source", "caption", "neg_caption", "split", "misalignment")
WORDS = ("man", "woman", "dog", "runs", "sits", "red", "blue", "before", "after", "table")


def triplets(path, count):
    rng = random.Random(0)
    rows = [
        (
            f"video{n}",
            "msr-vtt",
            " ".join(rng.choices(WORDS, k=7)),
            " ".join([*rng.choices(WORDS, k=6), "instead" if n % 2 else "then"]),
            "test" if n % 5 == 0 else "train",
            ("flip", "action")[n % 2],
        )
        for n in range(count)
    ]
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([HEADER, *rows])
    return rows


@pytest.fixture
def built(tmp_path):
    rows = triplets(tmp_path / "triplets.csv", 240)
    options = BuildOptions(triplets=tmp_path / "triplets.csv", config="tiny", out=tmp_path / "out")
    return rows, options, build_dataset(options)


def line_of(out):
    (line,) = [line for line in (out / "README.md").read_text().splitlines() if "Text-only AUC" in line]
    return line


def test_report_card_and_rows_say_the_same(built):
    rows, options, result = built
    expected = text_only_auc(CaptionPair(row[0], row[2], row[3], row[5]) for row in rows)
    assert expected.overall.auc > 90
    found = result.record["text_only"]
    assert found["pairs"] == 240
    # Ids of videos carry their source here, so other videos share a fold.
    assert found["auc"] == pytest.approx(expected.overall.auc, abs=5)
    assert line_of(options.out).startswith(
        f"**Text-only AUC:** {found['auc']:.1f} ({found['pairs_right']:.1f}% of 240 pairs right); action "
    )
    opened = open_dataset(str(options.out))
    stored = text_only(opened, "tiny")
    assert stored.to_record() == found
    assert text_only(opened, "tiny", ["test"]).overall.auc is None  # 48 pairs
    (options.out / "build.json").unlink()
    assert text_only(opened, "tiny") == stored


def test_a_build_of_before_says_it_when_it_is_built_again(built):
    _, options, result = built
    report, card = options.out / "build.json", line_of(options.out)
    content = json.loads(report.read_text())
    del content["configs"]["tiny"]["text_only"]
    report.write_text(json.dumps(content))
    again = build_dataset(options)
    assert again.was_up_to_date
    assert again.record["text_only"] == result.record["text_only"]
    assert json.loads(report.read_text())["configs"]["tiny"]["text_only"] == result.record["text_only"]
    assert line_of(options.out) == card


def test_a_small_build_has_no_number(tmp_path):
    triplets(tmp_path / "triplets.csv", 20)
    out = tmp_path / "out"
    result = build_dataset(BuildOptions(triplets=tmp_path / "triplets.csv", config="tiny", out=out))
    assert result.record["text_only"]["auc"] is None
    assert line_of(out) == "**Text-only AUC:** too few rows for a text-only AUC."
