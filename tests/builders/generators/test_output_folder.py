"""The folder of finished videos: found by `folder:`, mended from the store, never over somebody's files."""

import hashlib
import json
import os
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_program import rows, told, videos, write_program

from synvita_data.builders.generators import GenerateJob, generate_videos, make_requests, open_generator
from synvita_data.builders.generators.base import (
    VIDEO,
    Recipe,
    Request,
    quarantining,
    request_key,
    video_fields,
)
from synvita_data.builders.generators.folder import place_videos
from synvita_data.builders.sources import SCHEMES, open_source
from synvita_data.builders.sources.registry import Scheme
from synvita_data.errors import SourceError, SynvitaError
from synvita_data.jobs import Store, run_job
from synvita_data.video import encode_mp4

CAPTIONS = ("a dog", "a cat", "a cow", "a hen")


@pytest.fixture
def made(tmp_path):
    """(spec, triplets, the folder) of a finished run."""
    spec, triplets = write_program(tmp_path / "program"), rows(*CAPTIONS)
    assert generate_videos(triplets, spec, tmp_path / "out").exit_status == 0
    return spec, triplets, tmp_path / "out"


def test_folder_source_finds_all_with_their_records(made):
    _spec, triplets, out = made
    found = open_source(f"folder:{out}").find(triplets)
    assert (found.unmatched, found.quarantined) == ([], [])
    for triplet in triplets:
        [video] = found.of(triplet)
        prompt, seed, *_ = told(video.path)
        assert (prompt, video.seed, video.sample) == (triplet.neg_caption, int(seed), 1)
        assert (video.generator, len(video.sha256)) == ("command", 64)
        template = _spec.removeprefix("command:")
        assert "template" not in video.config
        assert video.config["program"] == f"{Path(sys.executable).name} paint.py"
        assert video.config["template_digest"] == hashlib.sha256(template.encode()).hexdigest()[:16]
    manifest = (out / "manifest.jsonl").read_text().splitlines()
    paths = [json.loads(line)["path"] for line in manifest]
    assert paths == sorted(videos(out))


def test_a_second_run_makes_nothing_and_changes_nothing(made):
    spec, triplets, out = made
    before = {path: path.read_bytes() for path in out.glob("*") if path.is_file()}
    report = generate_videos(triplets, spec, out)
    assert (report.found, report.made) == (4, 0)
    assert {path: path.read_bytes() for path in out.glob("*") if path.is_file()} == before


def test_what_is_deleted_or_damaged_is_mended(made):
    spec, triplets, out = made
    before, manifest = videos(out), (out / "manifest.jsonl").read_bytes()
    names = sorted(before)
    (out / names[0]).unlink()  # the store still has it
    with (out / names[1]).open("r+b") as handle:  # in place: the store's file is the same one
        handle.truncate(100)
    (out / "manifest.jsonl").unlink()
    report = generate_videos(triplets, spec, out)
    assert (report.found, report.made, len(report.damaged), report.mended) == (3, 1, 1, 1)
    assert videos(out) == before
    assert (out / "manifest.jsonl").read_bytes() == manifest

    with (out / names[2]).open("r+b") as handle:  # the same size
        handle.seek(60)
        handle.write(bytes(40))
    assert generate_videos(triplets, spec, out).made == 0
    report = generate_videos(triplets, spec, out, verify="contents")
    assert (report.made, report.mended) == (1, 1)
    assert videos(out) == before
    assert not list(out.glob(".part-*"))


def test_a_second_name_that_a_killed_worker_was_giving_goes(made):
    spec, triplets, out = made
    before = videos(out)
    record = next(iter(Store(out / ".work" / "generate").records()))
    (fields,) = record.fields["videos"].values()
    (out / fields["path"]).unlink()
    child = os.fork()
    if child == 0:
        Path.replace = lambda self, target: os._exit(0)
        place_videos(out, record)
    os.waitpid(child, 0)
    assert len(list((out / ".work").glob(".part-*"))) == 1
    generate_videos(triplets, spec, out)
    assert list(out.rglob(".part-*")) == []
    assert videos(out) == before


def test_more_rows_and_samples_join_what_is_there(made):
    spec, triplets, out = made
    before = videos(out)
    more = [*triplets, *rows("a pig", source="msr-vtt")]
    report = generate_videos(more, spec, out, samples=2)
    assert (report.found, report.made) == (4, 6)
    after = videos(out)
    assert len(after) == 10
    assert before.items() <= after.items()
    generate_videos(triplets[:1], spec, out)  # a run on fewer rows takes nothing away
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 10


def test_other_settings_are_refused_and_told_apart(made, tmp_path):
    spec, triplets, out = made
    with pytest.raises(SourceError, match="prompts_per_job 1, now 2"):
        generate_videos(triplets, spec, out, overrides={"prompts_per_job": 2})
    with pytest.raises(SourceError, match="generator 'command', now 'sora'"):
        generate_videos(triplets, spec, out, name="sora")
    assert generate_videos(triplets, spec, out, overrides={"timeout": 60}).found == 4  # changes no pixel
    assert len(videos(out)) == 4


def test_settings_that_made_nothing_do_not_bind_the_folder(tmp_path):
    spec, triplets, out = write_program(tmp_path / "program"), rows("a dog"), tmp_path / "out"
    wrong = {"pattern": "{index}.mpeg"}
    assert generate_videos(triplets, spec, out, overrides=wrong).failed == 1
    assert (out / "quarantine.jsonl").exists()
    report = generate_videos(triplets, spec, out)
    assert (report.done, report.failed) == (1, 0)
    assert not (out / "quarantine.jsonl").exists()
    with pytest.raises(SourceError, match=r"pattern '\{index:04d\}\.mp4', now '\{index\}\.mpeg'"):
        generate_videos(triplets, spec, out, overrides=wrong)


def test_files_of_others_are_never_replaced(tmp_path):
    spec, triplets = write_program(tmp_path / "program"), rows(*CAPTIONS)
    out = tmp_path / "out"
    out.mkdir()
    (out / "holiday.mp4").write_bytes(b"mine")
    taken = out / f"{triplets[2].pair_id}_001.mp4"
    taken.write_bytes(b"mine too")
    with pytest.raises(SourceError, match="was not made here"):
        generate_videos(triplets, spec, out)
    assert taken.read_bytes() == b"mine too"
    assert not (out / "manifest.jsonl").exists()
    taken.unlink()
    assert generate_videos(triplets, spec, out).made == 4
    assert (out / "holiday.mp4").read_bytes() == b"mine"

    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.jsonl").write_text('{"id": "x", "path": "y.mp4"}\n')
    with pytest.raises(SourceError, match="not generated here"):
        generate_videos(triplets, spec, other)
    with pytest.raises(SynvitaError, match="not a folder"):
        generate_videos(triplets, spec, taken)


def test_what_is_published_keeps_its_name_when_the_store_has_another(tmp_path):
    spec, out, two = write_program(tmp_path / "program"), tmp_path / "out", {"prompts_per_job": 2}
    triplets = rows(*CAPTIONS)
    generate_videos(triplets, spec, out, overrides=two)
    before, manifest = videos(out), (out / "manifest.jsonl").read_bytes()
    generator = open_generator(spec, two)
    for size in (1, 3):  # other jobs of the same rows, as of a run that planned at the same moment
        requests = tuple(make_requests(triplets[:size], 1))
        assert run_job(GenerateJob(generator, requests, out)).made == 1
    assert videos(out) != before  # what is made last was put there
    assert generate_videos(triplets, spec, out, overrides=two).made == 0
    assert videos(out) == before
    assert (out / "manifest.jsonl").read_bytes() == manifest


def test_a_folder_in_the_place_of_a_video_is_named(made):
    spec, triplets, out = made
    name = sorted(videos(out))[1]
    (out / name).unlink()
    (out / name).mkdir()
    for wanted in (triplets, [t for t in triplets if not name.startswith(t.pair_id)]):
        with pytest.raises(SourceError, match="a folder lies") as caught:
            generate_videos(wanted, spec, out)
        assert caught.value.file == str(out / name)
    (out / name).rmdir()
    assert generate_videos(triplets, spec, out).made == 0
    assert len(videos(out)) == 4


def test_a_row_with_too_long_an_id_is_quarantined_alone(tmp_path):
    spec, out = write_program(tmp_path / "program"), tmp_path / "out"
    good = rows(*CAPTIONS)
    long = [replace(good[0], video_id="x" * size, row=10 + size) for size in (183, 184, 300)]
    assert [len(triplet.pair_id) for triplet in long] == [200, 201, 317]
    told_of = []
    report = generate_videos([*good, *long], spec, out, on_bad=told_of.append)
    assert (report.total, report.done) == (5, 5)  # the longest that is taken can be made too
    assert [error.row for error in told_of] == [194, 310]
    records = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert sorted(record["row"] for record in records) == [194, 310]
    assert {record["id"] for record in records} == {triplet.pair_id for triplet in long[1:]}
    found = open_source(spec, work=tmp_path / "work", making={}).find([good[0], long[2]])
    assert [error.row for error in found.quarantined] == [310]


def test_two_runs_at_once_share_the_work(tmp_path):
    spec, triplets = write_program(tmp_path / "program"), rows(*(f"a dog {n}" for n in range(12)))
    reports = []

    def run():
        reports.append(generate_videos(triplets, spec, tmp_path / "out"))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.done for report in reports] == [12, 12]
    assert sum(report.made for report in reports) == 12
    assert (
        len((tmp_path / "out/manifest.jsonl").read_text().splitlines()) == len(videos(tmp_path / "out")) == 12
    )


def test_without_hard_links_videos_are_copied(tmp_path, monkeypatch):
    spec, triplets, out = write_program(tmp_path / "program"), rows(*CAPTIONS), tmp_path / "out"

    def refuse(*_args, **_kwargs):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    assert generate_videos(triplets, spec, out).made == 4
    before = videos(out)
    name = sorted(before)[0]
    (out / name).write_bytes(b"broken")
    assert generate_videos(triplets, spec, out).made == 0
    assert videos(out) == before


def test_a_limit_leaves_the_rest_for_another_run(tmp_path):
    spec, triplets = write_program(tmp_path / "program"), rows(*CAPTIONS)
    report = generate_videos(triplets, spec, tmp_path / "out", limit=3)
    assert (report.made, report.held_back, len(videos(tmp_path / "out"))) == (3, 1, 3)
    assert generate_videos(triplets, spec, tmp_path / "out").made == 1


class TestSource:
    def test_makes_then_finds(self, tmp_path):
        spec, triplets = write_program(tmp_path / "program"), rows("a dog", "a crash", "a cat")
        making = {"samples": 2, "overrides": {"timeout": 30}}
        source = open_source(spec, generator="toys", work=tmp_path / "work", making=making)
        found = source.find(triplets)
        assert source.generator == "command"
        assert [len(found.of(triplet)) for triplet in triplets] == [2, 0, 2]
        assert [error.row for error in found.quarantined] == [1, 1]
        assert {error.to_record()["reason"] for error in found.quarantined} == {"ProgramError"}
        assert found.unmatched == []

        fewer = open_source(spec, work=tmp_path / "work", making={"overrides": {"timeout": 30}}).find(
            triplets[2:]
        )
        assert [video.sample for video in fewer.of(triplets[2])] == [1]
        assert (fewer.unmatched, fewer.quarantined) == ([], [])

    def test_an_unfinished_run_is_no_source(self, tmp_path):
        spec = write_program(tmp_path / "program")
        source = open_source(spec, work=tmp_path / "work", making={"limit": 1})
        with pytest.raises(SynvitaError, match="not all videos are made yet"):
            source.find(rows("a dog", "a cat"))

    def test_needs_a_folder_and_a_generator(self, tmp_path):
        with pytest.raises(SourceError, match="needs a folder"):
            open_source("command:run {prompts} {out}")
        with pytest.raises(SourceError, match="build --synthetic folder:"):
            open_generator(f"folder:{tmp_path}")


@dataclass(frozen=True)
class Painter:
    """A generator of somebody's own: the caption's length is the video's colour."""

    recipe: Recipe

    def inputs(self, requests):
        return {request_key(self.recipe.digest, request): (request,) for request in requests}

    def encoders(self):
        return None

    def open_worker(self, root, out, device):
        return PaintingWorker(self.recipe, Store(root), Path(out))


@dataclass
class PaintingWorker:
    recipe: Recipe
    store: Store
    out: Path

    def run(self, held):
        for claim, requests in held:
            with quarantining(claim, requests):
                self.make(claim, *requests)

    def make(self, claim, request: Request):
        if not request.caption:
            raise ValueError("nothing to paint")
        pixels = np.zeros((2, 16, 16, 3), np.uint8)
        pixels[:, :8] = 10 * len(request.caption)
        encode_mp4(pixels, self.recipe.settings["fps"], claim.path(VIDEO))
        fields = video_fields(self.recipe, request, self.recipe.seed(request), self.recipe.settings)
        if claim.commit({"videos": {VIDEO: fields}}):
            place_videos(self.out, self.store.validate(claim.key))

    def close(self):
        pass


def test_a_generator_of_ones_own_is_a_module_and_a_line(tmp_path, monkeypatch):
    def open_painter(argument, overrides, name, cache):
        return Painter(Recipe("painter", name or argument, "1", {"fps": 8, **overrides}, {}))

    monkeypatch.setitem(sys.modules, "my_painter", SimpleNamespace(open_generator=open_painter))
    monkeypatch.setitem(SCHEMES, "painter", Scheme("painter:NAME", "my_painter", generates=True))
    triplets = rows("a dog", "", "a cat")
    report = generate_videos(triplets, "painter:oil", tmp_path / "out", overrides=["fps=4"])
    assert (report.made, report.failed) == (2, 1)
    found = open_source(f"folder:{tmp_path / 'out'}").find(triplets)
    assert [(v.generator, v.revision, v.config) for v in found.of(triplets[0])] == [("oil", "1", {"fps": 4})]
    source = open_source("painter:oil", work=tmp_path / "work", making={"overrides": ["fps=4"]})
    made = source.find(triplets)
    assert [len(made.of(triplet)) for triplet in triplets] == [1, 0, 1]
    assert [error.problem for error in made.quarantined] == ["nothing to paint"]
