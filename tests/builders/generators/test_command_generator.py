"""`command:`: templates, jobs of prompts, and what becomes of a program that fails."""

import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs.kill_harness import survive_kills
from jobs.number_jobs import wait_until
from small_program import rows, told, videos, write_program

from synvita_data.builders.generators import GenerateJob, generate_videos, make_requests, open_generator
from synvita_data.builders.generators.command import fill_template, split_template
from synvita_data.errors import EngineError, SourceError
from synvita_data.jobs import Store
from synvita_data.schema import make_pair_id


def quarantine(out, name="quarantine.jsonl"):
    path = out / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class TestTemplate:
    def test_is_cut_as_a_shell_would_and_filled_once(self):
        words = split_template("""run 'a b' --in={prompts} --out "{out}/x" $HOME ; rm -rf {seed}""")
        values = {"prompts": "/p/{out}", "out": "/o o", "seed": 7, "count": 2}
        filled = ["run", "a b", "--in=/p/{out}", "--out", "/o o/x", "$HOME", ";", "rm", "-rf", "7"]
        assert fill_template(words, values) == filled

    @pytest.mark.parametrize(
        ("template", "problem"),
        [
            ("", "where the prompts are"),
            ("run {prompts}", "where videos go"),
            ("run {out}", "where the prompts are"),
            ("run {prompts} {out} {gpu}", "unknown placeholder"),
            ("run '{prompts} {out}", "cannot be cut"),
        ],
    )
    def test_faults_are_named(self, template, problem):
        with pytest.raises(SourceError, match=problem):
            open_generator(f"command:{template}")

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
    def test_a_value_is_never_cut_nor_looked_into(self, value):
        values = {"prompts": value, "out": "o", "seed": 1, "count": 1}
        assert fill_template(["a", "x{prompts}y", "{out}"], values) == ["a", f"x{value}y", "o"]

    @pytest.mark.parametrize(
        "overrides",
        [
            {"prompts_per_job": 0},
            {"prompts_per_job": "many"},
            {"timeout": 0},
            {"pattern": "video.mp4"},
            {"pattern": "../{index}.mp4"},
            {"pattern": "/{index}.mp4"},
            {"pattern": "{number}.mp4"},
            {"steps": 3},
        ],
    )
    def test_settings_that_cannot_be_used(self, overrides):
        with pytest.raises(SourceError):
            open_generator("command:run {prompts} {out}", overrides)


def test_each_video_is_of_its_own_caption_and_seed(tmp_path):
    spec = write_program(tmp_path)
    triplets = rows("a dog", "two\nlines\t and  spaces", "ein Hündchen 🐕", "a cat", "a cow")
    report = generate_videos(triplets, spec, tmp_path / "out", samples=2, overrides={"prompts_per_job": 4})
    assert (report.total, report.done, report.exit_status) == (3, 3, 0)  # keys are jobs: 4 + 4 + 2 prompts
    lines = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    wanted = [(triplet, sample) for triplet in triplets for sample in (1, 2)]
    for place, (triplet, sample) in enumerate(wanted):
        pair = make_pair_id(triplet.source, triplet.video_id, triplet.caption, triplet.neg_caption)
        [line] = [line for line in lines if (line["id"], line["sample"]) == (pair, sample)]
        prompt, seed, number, count = told(tmp_path / "out" / line["path"])
        assert line["path"] == f"{pair}_00{sample}.mp4"
        assert prompt == " ".join(triplet.neg_caption.split())
        assert line["caption"] == triplet.neg_caption
        assert (number, count) == (place % 4 + 1, 4 if place < 8 else 2)
        assert line["seed"] == int(seed) < 2**31
        assert (line["config"]["frames"], line["config"]["height"], line["config"]["fps"]) == (3, 16, 8.0)
    assert len({line["seed"] for line in lines}) == 3


@pytest.mark.slow
def test_order_of_shards_and_workers_change_nothing(tmp_path):
    spec = write_program(tmp_path)
    triplets = rows(*(f"a dog of {number} years" for number in range(7)))
    whole = {}
    for size in (1, 3):
        generate_videos(triplets, spec, tmp_path / f"one{size}", overrides={"prompts_per_job": size})
        for shard in ("1/2", "0/2"):
            generate_videos(
                triplets, spec, tmp_path / f"sharded{size}", overrides={"prompts_per_job": size}, shard=shard
            )
        whole[size] = videos(tmp_path / f"one{size}")
        assert len(whole[size]) == 7
        assert videos(tmp_path / f"sharded{size}") == whole[size]
        manifests = [(tmp_path / f"{kind}{size}/manifest.jsonl").read_bytes() for kind in ("one", "sharded")]
        assert manifests[0] == manifests[1]
    generate_videos(list(reversed(triplets)), spec, tmp_path / "reversed")
    assert videos(tmp_path / "reversed") == whole[1]  # a prompt a job: rows alone decide
    generate_videos(triplets, spec, tmp_path / "two", workers=2)
    assert videos(tmp_path / "two") == whole[1]


@pytest.mark.slow
def test_a_failing_job_costs_its_rows_and_keeps_exit_code_and_stderr(tmp_path):
    spec = write_program(tmp_path)
    out = tmp_path / "out"
    triplets = rows("a dog", "a crash", "garbage", "nothing at all", "a cat")
    report = generate_videos(triplets, spec, out)
    assert (report.done, report.failed, report.exit_status) == (2, 3, 1)
    failed = {record["row"]: record for record in quarantine(out)}
    assert set(failed) == {1, 2, 3}
    assert failed[1]["exit_code"] == 3
    assert failed[1]["found"] == "exit code 3"
    assert "out of paint" not in (out / "quarantine.jsonl").read_text()
    own = {record["row"]: record for record in quarantine(out, ".work/quarantine.jsonl")}
    assert own[1]["stderr"] == "out of paint: a crash\n"
    assert any("out of paint: a crash" in line for line in report.lines())
    assert failed[1]["id"] == triplets[1].pair_id
    assert failed[2]["reason"] == "NotAVideoError"
    assert failed[3]["problem"] == "the program made 0 of 1 videos"

    again = generate_videos(triplets, spec, out)
    assert (again.found, again.made, again.failed) == (2, 0, 3)  # stays until it is asked for
    again = generate_videos(triplets, spec, out, retry_failed=True)
    assert (again.made, again.failed) == (0, 3)

    together = generate_videos(triplets, spec, tmp_path / "jobs", overrides={"prompts_per_job": 2})
    assert (together.total, together.done, together.failed) == (3, 1, 2)
    assert [told(path)[0] for path in (tmp_path / "jobs").glob("*.mp4")] == ["a cat"]


@pytest.mark.parametrize(("first", "more"), [(0, 1), (1, 2)], ids=["from 0", "two a prompt"])
def test_files_that_are_not_numbered_as_the_prompts_are_never_given_to_them(tmp_path, first, more):
    """Counted from 0 with one video to spare, or two of each prompt: 0001 and 0002 are there, and not of their rows."""
    spec = write_program(tmp_path)
    script = tmp_path / "paint.py"
    copies = f"for copy in range({more}): (out / f'{{(number - 1) * {more} + copy + {first}:04d}}.mp4').write_bytes(data)"
    changed = script.read_text().replace('(out / f"{number:04d}.mp4").write_bytes(data)', copies)
    script.write_text(changed + f"({first} or (out / '0002.mp4').write_bytes(clip))\n")
    triplets = rows("a dog", "a cat")
    report = generate_videos(triplets, spec, tmp_path / "out", overrides={"prompts_per_job": 2})
    assert (report.done, report.failed) == (0, 1)
    for failed in quarantine(tmp_path / "out"):
        assert failed["problem"] == "the program's videos are not numbered as its prompts are"
        assert f"{'0000' if not first else '0003'}.mp4 for 2 prompts" in failed["found"]
    assert not list((tmp_path / "out").glob("*.mp4"))
    # All files of a single prompt are its own.
    report = generate_videos(triplets, spec, tmp_path / "single", overrides={"prompts_per_job": 1})
    assert report.failed == (0 if first else 2)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_that_fails_with_every_row_alike_ends_the_run_after_a_few(tmp_path, workers):
    spec = f"command:{sys.executable} {tmp_path / 'not_there.py'} {{prompts}} {{out}} {{seed}}"
    triplets = rows(*(f"a dog {number}" for number in range(40)))
    with pytest.raises(EngineError, match=r"the first \d+ failed in the same way") as caught:
        generate_videos(triplets, spec, tmp_path / "out", workers=workers)
    assert "can't open file" in str(caught.value)
    job = GenerateJob(open_generator(spec), tuple(make_requests(triplets, 1)), tmp_path / "out")
    counts = Store(job.root).scan(job.inputs()).counts
    assert 5 <= counts["quarantined"] < 40
    # A few rows are tried whatever comes of them.
    report = generate_videos(triplets[:5], spec, tmp_path / "few")
    assert (report.failed, report.exit_status) == (5, 1)


def test_a_row_that_was_made_shows_that_the_others_may_be(tmp_path):
    spec = write_program(tmp_path)
    triplets = rows("a cat", *["a crash"] * 1, *(f"garbage {number}" for number in range(7)))
    report = generate_videos(triplets, spec, tmp_path / "out")
    assert (report.done, report.failed) == (1, 8)


def test_jobs_stay_what_they_were_when_rows_and_samples_come_and_go(tmp_path):
    spec, out = write_program(tmp_path), tmp_path / "out"
    triplets = rows(*(f"a dog of {number} years" for number in range(9)))
    jobs = {"overrides": {"prompts_per_job": 3}}
    first = generate_videos(triplets[2:7], spec, out, **jobs)  # 3 + 2
    before, manifest = videos(out), (out / "manifest.jsonl").read_text().splitlines()
    assert (first.made, len(before)) == (2, 5)

    again = generate_videos(list(reversed(triplets[2:7])), spec, out, **jobs)
    assert (again.found, again.made) == (2, 0)
    more = generate_videos(triplets, spec, out, samples=2, **jobs)
    assert (more.found, more.made) == (2, 5)  # 13 new requests
    assert len(videos(out)) == 18
    assert before.items() <= videos(out).items()
    assert set(manifest) <= set((out / "manifest.jsonl").read_text().splitlines())
    whole = videos(out)
    (out / ".work/jobs.json").write_bytes(b"{")  # the store knows what is made
    assert generate_videos(triplets[::2], spec, out, **jobs).made == 0
    name = sorted(whole)[0]
    (out / name).write_bytes(b"")  # the store's file too: its whole job is made again
    assert generate_videos(triplets, spec, out, samples=2, **jobs).made == 1
    assert videos(out) == whole


def test_a_job_that_a_row_breaks_is_given_up_with_the_row(tmp_path):
    spec, out = write_program(tmp_path), tmp_path / "out"
    triplets = rows("a dog", "a crash", "a cat", "a cow")
    jobs = {"overrides": {"prompts_per_job": 2}}
    first = generate_videos(triplets, spec, out, **jobs)
    assert (first.done, first.failed) == (1, 1)
    before = videos(out)
    assert generate_videos(triplets[:1] + triplets[2:], spec, out, **jobs).made == 1
    assert before.items() <= videos(out).items()
    assert sorted(told(path)[0] for path in out.glob("*.mp4")) == ["a cat", "a cow", "a dog"]
    assert quarantine(out) == []


def test_shards_plan_the_same_jobs(tmp_path):
    spec, out = write_program(tmp_path), tmp_path / "out"
    triplets = rows(*(f"a dog of {number} years" for number in range(7)))
    jobs = {"overrides": {"prompts_per_job": 2}}
    made = [generate_videos(triplets, spec, out, shard=shard, **jobs).made for shard in ("1/3", "0/3", "2/3")]
    assert sum(made) == 4
    assert len(videos(out)) == 7
    assert sorted(told(path)[3] for path in out.glob("*.mp4")) == [1] + [2] * 6


def write_script(folder, body):
    """The SPEC of a program in which `clip` is a video, `out` the folder and `write(name)` makes an output."""
    write_program(folder)
    head = """
import os, pathlib, signal, sys
out, clip = pathlib.Path(sys.argv[2]), pathlib.Path(__file__).with_name("clip.mp4").read_bytes()
def write(name, data=clip):
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(data)
"""
    (folder / "own.py").write_text(head + body)
    return f"command:{sys.executable} -S {folder / 'own.py'} {{prompts}} {{out}}"


def test_a_broken_output_keeps_what_the_program_said_and_no_temporary_place(tmp_path):
    spec = write_script(tmp_path, "write('0001.mp4', b'junk'); print('half the weights', file=sys.stderr)")
    assert generate_videos(rows("a dog"), spec, tmp_path / "out").failed == 1
    [record] = quarantine(tmp_path / "out")
    assert (record["reason"], record["exit_code"]) == ("NotAVideoError", 0)
    [own] = quarantine(tmp_path / "out", ".work/quarantine.jsonl")
    assert own["stderr"] == "half the weights\n"
    assert "half the weights" not in json.dumps(record)
    assert "0001.mp4" in record["problem"]
    assert ".work" not in json.dumps(record)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("write('deep/er/0001.mp4')", None),
        ("write('0001.mp4'); write('deep/0001.mp4', b'other')", None),
        ("write('a/0001.mp4'); write('b/0001.mp4')", "more than one file"),
        ("write('best.mp4'); os.symlink('best.mp4', out / '0001.mp4')", None),
        ("os.symlink(pathlib.Path(__file__).with_name('clip.mp4'), out / '0001.mp4')", "is a link"),
        ("os.symlink('nowhere.mp4', out / '0001.mp4')", "made 0 of 1"),
        ("(out / '0001.mp4').mkdir()", "made 0 of 1"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", "the program failed"),
    ],
)
def test_where_outputs_are_looked_for(tmp_path, body, problem):
    spec, out = write_script(tmp_path, body), tmp_path / "out"
    report = generate_videos(rows("a dog"), spec, out)
    if problem is None:
        [content] = videos(out).values()
        assert report.done == 1
        assert content == (tmp_path / "clip.mp4").read_bytes()
        assert not next(out.glob("*.mp4")).is_symlink()
    else:
        [record] = quarantine(out)
        assert problem in record["problem"]
        if "kill" in body:
            assert f"signal {signal.SIGRTMIN + 3}" in record["found"]


def test_links_of_two_prompts_to_one_video_become_two_videos(tmp_path):
    body = "write('one.mp4'); [os.symlink('one.mp4', out / f'000{n}.mp4') for n in (1, 2)]"
    spec, out = write_script(tmp_path, body), tmp_path / "out"
    generate_videos(rows("a dog", "a cat"), spec, out, overrides={"prompts_per_job": 2})
    assert list(videos(out).values()) == [(tmp_path / "clip.mp4").read_bytes()] * 2


def running(script: Path) -> list[int]:
    """Processes that have this script on their command line."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(script) in command.read_text().split("\0"):
                found.append(int(command.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path):
    spec = write_program(tmp_path)
    report = generate_videos(rows("sleep"), spec, tmp_path / "out", overrides={"timeout": 1})
    assert (report.done, report.failed) == (0, 1)
    wait_until(lambda: not running(tmp_path / "paint.py"))
    report = generate_videos(rows("sleep", "a dog"), spec, tmp_path / "out", overrides={"timeout": 300})
    assert (report.done, report.failed) == (1, 1)
    [record] = quarantine(tmp_path / "out")
    assert record["problem"] == "the program took too long and was ended"


def test_a_program_that_cannot_start_is_no_fault_of_the_rows(tmp_path):
    with pytest.raises(EngineError, match="cannot be started"):
        generate_videos(rows("a dog"), "command:/no/such/program {prompts} {out}", tmp_path / "out")
    assert quarantine(tmp_path / "out") == []


def test_a_changed_script_is_another_generator(tmp_path):
    spec = write_program(tmp_path)
    before = open_generator(spec).recipe
    (tmp_path / "paint.py").write_text((tmp_path / "paint.py").read_text() + "\n# better\n")
    after = open_generator(spec).recipe
    assert before.revision != after.revision
    [request] = make_requests(rows("a dog"), 1)
    assert before.seed(request) != after.seed(request)
    assert open_generator(spec, {"revision": "v1"}).recipe.revision == "v1"


def test_an_empty_caption_never_reaches_the_program(tmp_path):
    spec = write_program(tmp_path)
    report = generate_videos(rows("a dog", " \n "), spec, tmp_path / "out")
    assert (report.done, report.failed) == (1, 1)
    [record] = quarantine(tmp_path / "out")
    assert (record["reason"], record["row"]) == ("CaptionError", 1)


@pytest.mark.slow
def test_five_kills(tmp_path):
    generator = open_generator(write_program(tmp_path))
    requests = tuple(make_requests(rows(*(f"a dog {number}" for number in range(12))), 1))
    survive_kills(lambda root: GenerateJob(generator, requests, root), tmp_path / "runs", kills=5)


def test_the_template_still_makes_the_key():
    """What was made by earlier versions stays: the digest is theirs (commit 79b0f4d)."""
    recipe = open_generator("command:run --key sk-1 {prompts} {out}").recipe
    assert recipe.digest == "d9492bfff24bb2d5c4cf3741df62224b6bfe01ff3b31910becae7618e77d3ce4"


def test_a_folder_of_an_earlier_version_tells_no_more_than_a_new_one(tmp_path):
    spec, out = write_program(tmp_path), tmp_path / "out"
    triplets = rows("a dog", "a crash")
    generate_videos(triplets, spec, out)
    tables = {name: (out / name).read_bytes() for name in ("manifest.jsonl", "quarantine.jsonl")}
    template = spec.removeprefix("command:")
    changed = 0
    for path in (out / ".work/generate").rglob("*.json"):
        record = json.loads(path.read_bytes())
        for fields in record.get("fields", {}).get("videos", {}).values():
            config = fields["config"]
            del config["program"], config["template_digest"]
            config["template"] = template
            changed += 1
        if "exit_code" in str(record):
            error = record.get("error", record)
            error["found"] = "exit code 3: out of paint: a crash"
            changed += 1
        path.write_text(json.dumps(record))
    assert changed == 2
    again = generate_videos(triplets, spec, out)
    assert (again.found, again.made) == (1, 0)
    assert {name: (out / name).read_bytes() for name in tables} == tables
