"""A config that is built again: what readers see meanwhile, and files of the folder that others damaged."""

import json
import os
import signal
import threading

import pyarrow.parquet as pq
import pytest
from test_build import digests

from synvita_data.builders import beside_process
from synvita_data.builders.dataset import BuildOptions, build_dataset, report
from synvita_data.errors import SynvitaError
from synvita_data.jobs import Store


def head(inputs, tmp_path, count):
    lines = inputs.triplets.read_text().splitlines()
    path = tmp_path / f"{count}.csv"
    path.write_text("\n".join(lines[: count + 1]) + "\n")
    return path


def build(triplets, tmp_path, **options):
    return build_dataset(BuildOptions(triplets=triplets, out=tmp_path / "out", config="c", **options))


@pytest.mark.slow
def test_readers_see_one_config_or_the_other(inputs, tmp_path):
    tables = [head(inputs, tmp_path, count) for count in (8, 12)]
    build(tables[0], tmp_path)
    seen, failed, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                seen.add(pq.read_metadata(tmp_path / "out" / "c" / "train-00000-of-00001.parquet").num_rows)
            except Exception as error:
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(6):
        build(tables[(k + 1) % 2], tmp_path)
    stop.set()
    reader.join()
    assert failed == []
    assert seen == {6, 9}


def test_a_kill_between_folder_and_report_is_mended_by_the_next_build(inputs, tmp_path, monkeypatch):
    build(head(inputs, tmp_path, 8), tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(report, "_write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            build(inputs.triplets, tmp_path)
    build(inputs.triplets, tmp_path)
    (tmp_path / "fresh").mkdir()
    build(inputs.triplets, tmp_path / "fresh")
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh" / "out")


def test_a_kill_before_the_quarantine_is_mended_by_the_next_build(inputs, tmp_path, monkeypatch):
    def killed(final, content, write=report.write_atomic):
        if final.name == "quarantine.jsonl":
            raise KeyboardInterrupt
        write(final, content)

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_atomic", killed)
        with pytest.raises(KeyboardInterrupt):
            build(inputs.triplets, tmp_path)
    assert not build(inputs.triplets, tmp_path).was_up_to_date
    assert (tmp_path / "out" / "quarantine.jsonl").is_file()


def test_what_a_build_left_that_was_killed_at_its_very_end_goes(inputs, tmp_path):
    build(inputs.triplets, tmp_path)
    out, before = tmp_path / "out", digests(tmp_path / "out")
    child = os.fork()
    if not child:
        with Store(out / ".work" / "finish").turn("finish"):
            (out / ".part-5bce5fa768-quarantine.jsonl").write_text("half")
            (out / ".work" / "fresh-0649faef" / "c").mkdir(parents=True)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert build(inputs.triplets, tmp_path).was_up_to_date
    left = [path for pattern in (".part-*", "fresh-*", "*.claim", "owners/*") for path in out.rglob(pattern)]
    assert left == []
    assert digests(out) == before


def test_nothing_changes_before_everything_is_ready(inputs, tmp_path, monkeypatch):
    build(head(inputs, tmp_path, 8), tmp_path)
    before = digests(tmp_path / "out")

    def no_figure(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beside_process, "save_figure", no_figure)
    with pytest.raises(OSError, match="No space"):
        build(inputs.triplets, tmp_path, vqascores=inputs.scores)
    assert digests(tmp_path / "out") == before


def test_half_a_line_of_the_quarantine_ends_no_build(inputs, tmp_path):
    build(head(inputs, tmp_path, 8), tmp_path)
    other = json.dumps({"config": "other", "stage": "videos"})
    (tmp_path / "out" / "quarantine.jsonl").write_text(f'{other}\n{{"config": "c", "sta')
    build(inputs.triplets, tmp_path)
    assert (tmp_path / "out" / "quarantine.jsonl").read_text() == f"{other}\n"


def test_a_work_folder_on_another_device_is_refused_at_once(inputs, tmp_path, monkeypatch):
    from pathlib import Path

    stat = Path.stat

    class Elsewhere:
        st_dev = -1

    def of_another_device(path, **options):
        return Elsewhere() if path.name == ".work" else stat(path, **options)

    monkeypatch.setattr(Path, "stat", of_another_device)
    with pytest.raises(SynvitaError, match="another device"):
        build(inputs.triplets, tmp_path)


def test_a_shard_whose_record_is_damaged_meanwhile_is_written_again(inputs, tmp_path):
    damaged = []

    def damage(stage, done, total):
        if stage == "writing shards" and not damaged:
            damaged.extend((tmp_path / "out").glob(".work/shards/*/??/*.files.json"))
            damaged[0].write_bytes(b'{"store": 1, "key": ' + damaged[0].read_bytes())

    options = BuildOptions(triplets=inputs.triplets, out=tmp_path / "out", config="c")
    build_dataset(options, damage)
    assert damaged
    assert digests(tmp_path / "out") == digests(build(inputs.triplets, tmp_path / "undisturbed").out)
