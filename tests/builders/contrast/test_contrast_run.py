"""`synvita contrast` on captions of the shapes world: same file whoever does the work, nothing twice, reasons for the rest."""

import csv
import json
import os
import random
import resource
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import run_program
from jobs.kill_harness import survive_kills

from synvita_data.builders.contrast.base import ContrastRequest
from synvita_data.builders.contrast.checks import check
from synvita_data.builders.contrast.writing import job as jobs
from synvita_data.builders.contrast.writing.registry import (
    OPTIONS,
    ContrastOptions,
    WriterSettings,
    open_writer,
)
from synvita_data.builders.contrast.writing.run import write_contrasts
from synvita_data.builders.shapes import draw_pairs
from synvita_data.builders.triplets import TripletReader
from synvita_data.commands.writer_options import WRITER_OPTIONS
from synvita_data.errors import SynvitaError
from synvita_data.jobs import RunOptions, Store
from synvita_data.schema import MISALIGNMENTS

for _module in ("kinds", "writing.report", "writing.inputs"):  # before the forks
    import_module(f"synvita_data.builders.contrast.{_module}")


@pytest.fixture
def captions(tmp_path) -> Path:
    return write_captions(tmp_path / "captions.csv", 21)


def write_captions(path: Path, count: int) -> Path:
    with path.open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["videopath", "source", "caption", "split"])
        for pair in draw_pairs(count):
            table.writerow([pair.triplet.videopath, "shapes", pair.triplet.caption, pair.triplet.split])
    return path


def write(captions: Path, out: Path, **more):
    return write_contrasts(ContrastOptions(captions=captions, out=out, writer="shapes", **more))


def files_of(out: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(out.parent.glob(f"{out.stem}.*")) if path.is_file()
    }


def test_each_request_has_its_row_or_its_reason(captions, tmp_path):
    report = write(captions, tmp_path / "out" / "t.csv")
    assert report.complete
    reader = TripletReader(tmp_path / "out" / "t.csv")
    triplets = list(reader)
    assert (len(triplets), reader.report.quarantined, reader.report.duplicates) == (report.rows, [], [])
    for each in triplets:
        assert check(each.caption, each.neg_caption, each.misalignment) is None
        assert each.contrast.writer == "shapes"
        assert [passed.name for passed in each.contrast.checks] == ["mechanical"]
        assert each.nle
    kinds = Counter(each.misalignment for each in triplets)
    quarantine = [
        json.loads(line) for line in (tmp_path / "out" / "t.quarantine.jsonl").read_text().splitlines()
    ]
    refused = Counter(line["misalignment"] for line in quarantine)
    for kind, counts in report.kinds.items():
        assert counts.asked == counts.written + sum(counts.refused.values())
        assert counts.asked + sum(counts.not_askable.values()) == 21
        assert (counts.written, sum(counts.refused.values())) == (kinds[kind], refused[kind])
    record = json.loads((tmp_path / "out" / "t.report.json").read_text())
    assert record["kinds"]["count"]["written"] == kinds["count"]
    assert record["writer"] == dict(open_writer("shapes").record())


def test_what_is_read_again_is_what_was_written(captions, tmp_path):
    """Every field of every triplet survives the file."""
    report = write(captions, tmp_path / "t.csv", candidates=3)
    first = list(TripletReader(tmp_path / "t.csv"))
    from synvita_data.builders.contrast.writing.report import triplets_csv

    (tmp_path / "again.csv").write_text(triplets_csv(first))
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()
    assert report.rows == len(first)


def test_the_file_is_the_same_whoever_does_the_work(captions, tmp_path):
    """Equal requests, cut and dealt in whatever way: one worker, three, two runs that share a folder."""
    outs = [tmp_path / str(number) / "t.csv" for number in range(2)]
    write(captions, outs[0])
    report = write(captions, outs[1], run=RunOptions(workers=3))
    assert report.jobs[0].made == report.jobs[0].total > 3
    assert files_of(outs[1]) == files_of(outs[0])


def test_the_order_of_the_rows_changes_no_row(captions, tmp_path):
    lines = captions.read_text().splitlines()
    rest = lines[1:]
    random.Random(3).shuffle(rest)
    (tmp_path / "shuffled.csv").write_text("\n".join([lines[0], *rest]) + "\n")
    write(captions, tmp_path / "a.csv")
    write(tmp_path / "shuffled.csv", tmp_path / "b.csv")
    a, b = (sorted((tmp_path / name).read_text().splitlines()) for name in ("a.csv", "b.csv"))
    assert a == b


def test_nothing_is_written_twice(captions, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK", 4)
    first = write(captions, tmp_path / "t.csv")
    before = (tmp_path / "t.csv").read_bytes()
    again = write(captions, tmp_path / "t.csv")
    assert (first.jobs[0].made, again.jobs[0].made) == (first.jobs[0].total, 0)
    assert (tmp_path / "t.csv").read_bytes() == before
    # A few captions more: most chunks stay.
    more = write(write_captions(tmp_path / "more.csv", 22), tmp_path / "t.csv")
    assert 0 < more.jobs[0].made <= len(MISALIGNMENTS)
    rows = before.decode().splitlines()
    assert (tmp_path / "t.csv").read_text().splitlines()[: len(rows)] == rows


def test_a_part_is_no_file(captions, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK", 4)
    out = tmp_path / "t.csv"
    for index in range(2):
        report = write(captions, out, run=RunOptions(shard=f"{index}/3"))
        assert not report.complete
        assert report.exit_status == 0
        assert files_of(out) == {}
    assert write(captions, out, run=RunOptions(shard="2/3")).complete
    whole = tmp_path / "whole" / "t.csv"
    write(captions, whole)
    assert files_of(out) == files_of(whole)
    assert not write(captions, tmp_path / "b.csv", run=RunOptions(limit=1)).complete


@pytest.mark.slow
def test_killed_runs_continue(captions, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK", 4)
    videos = [pair.triplet for pair in draw_pairs(14)]
    requests = tuple(
        ContrastRequest(t.caption, kind, 97 * number + place)
        for number, t in enumerate(videos)
        for place, kind in enumerate(MISALIGNMENTS)
    )
    record = open_writer("shapes").record()

    def make_job(root: Path):
        return jobs.WriteJob(root, "shapes", WriterSettings(), record, requests)

    assert len(make_job(tmp_path).inputs()) > 20
    survive_kills(make_job, tmp_path / "kills", kills=5)


@pytest.mark.slow
def test_at_most_so_many_a_caption(captions, tmp_path):
    """Of other kinds where the first have none, so that every caption gets what it can get."""
    every = write(captions, tmp_path / "all.csv")
    possible = Counter(each.caption for each in TripletReader(tmp_path / "all.csv"))
    assert every.rows > 2 * len(possible)
    for most in (1, 2):
        write(captions, tmp_path / f"{most}.csv", per_caption=most)
        rows = list(TripletReader(tmp_path / f"{most}.csv"))
        assert Counter(row.caption for row in rows) == {
            caption: min(most, count) for caption, count in possible.items()
        }
        assert len({row.misalignment for row in rows}) > 3
    # Another seed, other kinds.
    write(captions, tmp_path / "seed.csv", per_caption=1, seed=1)
    kinds = [[row.misalignment for row in TripletReader(tmp_path / f"{name}.csv")] for name in ("1", "seed")]
    assert kinds[0] != kinds[1]


def test_only_the_kinds_that_are_wanted(captions, tmp_path):
    report = write(captions, tmp_path / "t.csv", misalignments=("count", "flip"))
    assert set(report.kinds) == {"count", "flip"}
    every = write(captions, tmp_path / "all.csv")
    assert {row.misalignment for row in TripletReader(tmp_path / "t.csv")} == {"count", "flip"}
    assert report.rows == sum(every.kinds[kind].written for kind in ("count", "flip"))


def test_another_true_caption_of_the_video_is_none(tmp_path):
    (tmp_path / "c.csv").write_text(
        "video_id,caption\nv1,A red circle spins.\nv1,a red circle blinks\nv2,A red circle spins.\n"
    )
    write(tmp_path / "c.csv", tmp_path / "t.csv", misalignments=("action",), candidates=7)
    rows = [row for row in TripletReader(tmp_path / "t.csv") if row.caption == "A red circle spins."]
    assert {row.video_id: row.contrast.candidates for row in rows} == {"v1": 6, "v2": 7}


def test_bad_rows_and_other_languages_end_in_the_quarantine(tmp_path, capsys):
    (tmp_path / "c.csv").write_text(
        "video_id,caption\nv1,A red circle spins.\n,\nv2,"
        + "x" * 2001
        + '\nv3,红色的圆圈在旋转\nv4,"a ""quoted"" dog, and\na line"\nv5,Two red circles spin.\n'
    )
    assert (
        run_program(
            "contrast", "--captions", tmp_path / "c.csv", "--out", tmp_path / "t.csv", "--writer", "shapes"
        )
        == 1
    )
    assert "2 rows or captions of the input cannot be used" in " ".join(capsys.readouterr().out.split())
    lines = [json.loads(line) for line in (tmp_path / "t.quarantine.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines if line["stage"] == "captions"] == [1, 2]
    others = {line["caption"]: line["problem"] for line in lines if line["stage"] == "write"}
    assert "红色的圆圈在旋转" in others
    assert 'a "quoted" dog, and a line' in others
    assert {row.video_id for row in TripletReader(tmp_path / "t.csv")} == {"v1", "v5"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--writer", "palm"], "unknown writer"),
        (["--writer", "llm:"], "unknown writer"),
        (["--writer", "api:localhost#m"], "names its address and a model"),
        (["--writer", "shapes", "--temperature", "1"], "has no such setting"),
        (["--writer", "shapes", "--misalignment", "colour"], "unknown misalignment"),
        (["--writer", "shapes", "--frame-vqa", "m"], "go together"),
        (["--writer", "shapes", "--require-video"], "is for --frame-vqa"),
        (["--writer", "shapes", "--out", "t.parquet"], "written as CSV"),
        (["--writer", "rules:/no/such/tables"], "/no/such/tables"),
    ],
)
def test_what_cannot_be_used_is_one_error_before_the_run(captions, tmp_path, capsys, arguments, said):
    out = [] if "--out" in arguments else ["--out", tmp_path / "t.csv"]
    assert run_program("contrast", "--captions", captions, *arguments, *out) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "t.work").exists()


def test_an_address_is_shown_without_its_password():
    from synvita_data.builders.contrast.writing.registry import shown_spec

    assert shown_spec("api:https://me:hunter2@host:8000/v1?key=abc#m") == "api:https://host:8000/v1#m"


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_file(captions, tmp_path, capfd):
    """The file does not fit; what is done stays, and the next run finishes."""
    out = tmp_path / "t.csv"
    pid = os.fork()
    if not pid:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        os._exit(run_program("contrast", "--captions", captions, "--out", out, "--writer", "shapes"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert "File too large" in " ".join(capfd.readouterr().err.split())
    assert files_of(out) == {}
    assert write(captions, out).complete


def test_a_writer_that_breaks_on_a_request_loses_that_one(tmp_path, monkeypatch):
    """A chunk is asked one by one then, and the others have their answers."""
    monkeypatch.setattr(jobs, "CHUNK", 64)
    good = [pair.triplet.caption for pair in draw_pairs(14) if pair.triplet.misalignment == "object"]

    class Brittle:
        name, batch_size = "brittle", 8

        def write(self, requests):
            answers = open_writer("shapes").write(requests)
            return [
                1 / 0 if request.caption == good[0] else answer
                for request, answer in zip(requests, answers, strict=True)
            ]

        def close(self):
            pass

    monkeypatch.setattr(jobs, "open_writer", lambda *_, **__: Brittle())
    requests = tuple(ContrastRequest(caption, "object", 3) for caption in good)
    job = jobs.WriteJob(tmp_path, "shapes", WriterSettings(), {"writer": "brittle"}, requests)
    from synvita_data.jobs import run_job

    assert run_job(job).exit_status == 0
    (record,) = Store(tmp_path).records(job.inputs())
    written, _ = jobs.read_answers(record, len(requests))
    assert written[0].refused == "the writer failed: ZeroDivisionError: division by zero"
    assert all(each.contrasts for each in written[1:])


@given(st.lists(st.integers(0, 1 << 62), unique=True, max_size=60), st.integers(1, 9), st.data())
def test_chunks_hold_every_request_once_and_mostly_stay(seeds, size, data):
    requests = [ContrastRequest("a dog", MISALIGNMENTS[seed % 3], seed) for seed in seeds]
    chunks = list(jobs.cut(requests, size))
    assert sorted(r.seed for chunk in chunks for r in chunk) == sorted(seeds)
    assert all(len({r.misalignment for r in chunk}) == 1 and len(chunk) <= 4 * size for chunk in chunks)
    kinds = {kind: [r for r in requests if r.misalignment == kind] for kind in MISALIGNMENTS}
    for kind, own in kinds.items():
        assert [r for chunk in chunks for r in chunk if r.misalignment == kind] == own
    if not requests:
        return
    # Without one request, chunks of other kinds and those before it are as they were.
    lost = data.draw(st.sampled_from(requests))
    rest = list(jobs.cut([r for r in requests if r is not lost], size))
    place = next(number for number, chunk in enumerate(chunks) if lost in chunk)
    same_kind_later = [c for c in chunks[place:] if c[0].misalignment == lost.misalignment]
    assert [c for c in chunks if c not in same_kind_later] == [
        c for c in rest if c in chunks and c not in same_kind_later
    ]


def test_options_are_checked():
    for bad in ({"candidates": 0}, {"per_caption": 0}, {"seed": -1}):
        with pytest.raises(SynvitaError, match="start at 1"):
            ContrastOptions(captions="c.csv", out=Path("t.csv"), writer="shapes", **bad)


def test_settings_are_named_as_the_command_line_names_them():
    """Each option belongs to one setting, and a dtype is the writer's own only where it has weights."""
    values = {option: number for number, option in enumerate(OPTIONS)}
    llm = WriterSettings.named("llm:some/model", {**values, "nli": "other"})
    assert [getattr(llm, setting) for setting in OPTIONS.values()] == list(values.values())
    assert set(OPTIONS.values()) == set(WriterSettings.__slots__)
    assert set(OPTIONS) <= set(WRITER_OPTIONS)
    assert WriterSettings.named("api:http://x#m", {"llm_dtype": "bfloat16"}).given() == {}
    assert WriterSettings.named("rules", {}).given() == {}
