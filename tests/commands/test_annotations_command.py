"""`synvita annotations`: what it packs reads back as what was published."""

import csv

from typer.testing import CliRunner

from synvita_data.annotations import read_annotations
from synvita_data.cli import app


def test_packed_annotations_are_the_published_ones(tmp_path):
    published = tmp_path / "eval_ssv2_temporal.csv"
    with published.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["videopath", "caption", "match"])
        for video in range(4):
            for caption in range(2):
                writer.writerow([f"videos/{video}.avi", f"Doing thing {caption}", int(video % 2 == caption)])
    out = tmp_path / "packed"
    done = CliRunner().invoke(
        app, ["annotations", "--task", "ssv2-temporal", "--annotations", str(published), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "8 texts of 4 videos" in done.output
    assert "expected 3,888" in done.output  # not the published file, and the user is told so
    packed, original = read_annotations("ssv2-temporal", out), read_annotations("ssv2-temporal", published)
    assert packed.revision == original.revision
    assert not list(out.rglob("*.avi"))
