"""A build's memory is flat in rows, and where rows lie meanwhile is nothing that its files show."""

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from small_annotations import write_scored
from spill_files import open_spills
from test_build import digests, options

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.dataset.joined import JoinedRows
from synvita_data.errors import SynvitaError
from synvita_data.tables.spill import Spill


@pytest.fixture
def spilling(monkeypatch):
    """Sets how many rows are written at once; nothing is held."""

    def change(batch: int) -> None:
        monkeypatch.setattr(JoinedRows.__init__, "__kwdefaults__", {"batch": batch, "held": 0})
        monkeypatch.setattr(Spill.__init__, "__kwdefaults__", {"block": batch, "held": 0})

    return change


class Enough(Exception):
    """Ends a build when its shards are written: AUC and figure need room of their own."""


def written(inputs: dict[str, Path], out: Path) -> None:
    """A build until its shards are written."""

    def stop(stage: str, more: int, total: int) -> None:
        if stage == "writing shards":
            raise Enough

    with pytest.raises(Enough):
        build_dataset(BuildOptions(out=out, config="tiny", **inputs), stop)


def bytes_a_row(folder: Path, few: int, many: int) -> float:
    """How many bytes more Python holds at most for each row more, until the shards are written."""
    written(write_scored(folder / "first", 10), folder / "first" / "out")  # which imports
    peaks = []
    for rows in (few, many):
        inputs = write_scored(folder / str(rows), rows)
        gc.collect()
        tracemalloc.start()
        written(inputs, folder / str(rows) / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[1] - peaks[0]) / (many - few)


@pytest.mark.slow
def test_a_row_adds_a_few_hundred_bytes(tmp_path, spilling):
    spilling(32)
    assert bytes_a_row(tmp_path, 200, 800) < 600


@pytest.mark.slow
def test_a_row_adds_a_few_hundred_bytes_with_the_sizes_of_a_real_build(tmp_path):
    assert bytes_a_row(tmp_path, 25_000, 60_000) < 600


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_tiny_batches_give_the_same_bytes(inputs, tmp_path, spilling, batch):
    changes = {"embed_real": True, "real_root": inputs.videos, "max_shard_bytes": 12_000}
    with inputs.triplets.open("a") as handle:  # a bad row, and one twice
        handle.write("video20,msr-vtt,same,same,train,action\n")
        handle.write("video1,msr-vtt,a dog runs 1 times,a cat runs 1 times,train,attribute\n")
    expected = build_dataset(options(inputs, tmp_path / "held", **changes))
    assert len(digests(tmp_path / "held")) > 6
    spilling(batch)
    found = build_dataset(options(inputs, tmp_path / "spilled", **changes))
    assert digests(tmp_path / "spilled") == digests(tmp_path / "held")
    assert found.record == expected.record
    assert found.quarantine == expected.quarantine
    assert build_dataset(options(inputs, tmp_path / "held", **changes)).was_up_to_date


@pytest.mark.slow
def test_the_spill_is_gone_after_success_and_after_an_error(inputs, tmp_path, spilling):
    spilling(1)
    seen: list[tuple[int, list[Path]]] = []

    def look(stage: str, more: int, total: int) -> None:
        if stage == "writing shards":
            seen.append((len(open_spills()), list((tmp_path / "out" / ".work").rglob("*-spill"))))

    build_dataset(options(inputs, tmp_path / "out"), look)
    assert seen
    assert all(number >= 1 and named == [] for number, named in seen)
    gc.collect()
    assert open_spills() == []

    inputs.scores.write_text("row,model,neg_caption_score,caption_score\n900,m,0.5,0.5\n")
    with pytest.raises(SynvitaError, match="does not belong to these triplets"):
        build_dataset(options(inputs, tmp_path / "other"))
    gc.collect()
    assert open_spills() == []
    assert not list((tmp_path / "other").rglob("*-spill"))


@pytest.mark.slow  # a process that imports everything
def test_a_build_that_is_killed_with_rows_on_the_disk_leaves_nothing_to_the_next(inputs, tmp_path, spilling):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from synvita_data.builders.dataset import BuildOptions, build_dataset\n"
        "from synvita_data.builders.dataset.joined import JoinedRows\n"
        "JoinedRows.__init__.__kwdefaults__ = {'batch': 1, 'held': 0}\n"
        "triplets, scores, spec, out = sys.argv[1:]\n"
        "def stop(stage, more, total):\n"
        "    if stage == 'writing shards': os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_dataset(BuildOptions(triplets=Path(triplets), vqascores=Path(scores), synthetic=spec,\n"
        "    out=Path(out), config='tiny', max_shard_bytes=12_000), stop)\n"
    )
    out = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", script, inputs.triplets, inputs.scores, inputs.spec(), out])
    assert done.returncode == -9
    assert not list(out.rglob("*-spill"))
    (out / ".work" / ".part-spill").write_text("")  # and what a kill a moment earlier would leave
    os.utime(out / ".work" / ".part-spill", (0, 0))
    spilling(1)
    build_dataset(options(inputs, out, max_shard_bytes=12_000))
    assert not list(out.rglob("*-spill"))
    build_dataset(options(inputs, tmp_path / "undisturbed", max_shard_bytes=12_000))
    assert digests(out) == digests(tmp_path / "undisturbed")
