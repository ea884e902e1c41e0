"""`synvita doctor` of what has contrast captions written."""

import pytest
from doctor_reports import said


@pytest.fixture
def captions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "captions.csv"
    path.write_text("video_id,caption\nv1,two dogs run on the beach\nv2,a man sings\nv3,\n")
    return path


def test_captions_and_a_writer_that_are_there(doctor, captions, tmp_path):
    before = set(tmp_path.rglob("*"))
    status, text, report = doctor(
        "contrast", "--captions", captions, "--out", tmp_path / "t.csv", "--writer", "rules"
    )
    assert status == 0, text
    assert "2 captions of 2 videos; 1 cannot be used" in said(report, "captions", "warn")
    assert "count 1" in said(report, "kinds", "ok")
    assert "rules, revision" in said(report, "writer", "ok")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "subject", "problem"),
    [
        (["--writer", "palm"], "writer", "unknown writer"),
        (["--writer", "shapes", "--temperature", "1"], "writer", "has no such setting"),
        (["--writer", "llm:/no/such"], "model", "no such folder"),
        (["--writer", "api:http://127.0.0.1:9/v1#m", "--timeout", "1"], "writer", "127.0.0.1:9"),
        (["--writer", "rules", "--frame-vqa", "/no/such"], "videos", "--real-root"),
        (["--writer", "rules", "--out", "t.parquet"], "out", "not named as a CSV file"),
    ],
)
def test_what_is_missing(doctor, captions, arguments, subject, problem):
    out = [] if "--out" in arguments else ["--out", "t.csv"]
    status, _, report = doctor("contrast", "--captions", captions, *arguments, *out)
    assert status == 1
    assert problem in said(report, subject, "bad")


def test_a_build_from_captions_alone(doctor, captions, tmp_path):
    line = ["build", "--captions", captions, "--synthetic", "shapes:", "--out", tmp_path / "new"]
    status, text, report = doctor(*line, "--writer", "shapes")
    assert status == 0, text
    assert said(report, "writer", "ok").startswith("ok shapes")
    status, _, report = doctor(*line)
    assert status == 1
    assert "none is named" in said(report, "writer", "bad")
