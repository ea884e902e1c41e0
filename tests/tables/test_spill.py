"""What does not fit into memory: digests against a dictionary, records in a file against a list, and no file left over."""

import hashlib
import random
import signal
import subprocess
import sys
from array import array

import pytest
from spill_files import open_spills

from synvita_data import files
from synvita_data.errors import StoreError
from synvita_data.files import SpillFile
from synvita_data.tables.digests import Digests, digest_of
from synvita_data.tables.spill import Spill


def test_digests_are_numbered_as_a_dictionary_does():
    rng = random.Random(1)
    texts = [str(rng.randrange(3000)) for _ in range(6000)]
    numbers: dict[str, int] = {}
    expected = [numbers.setdefault(text, len(numbers)) for text in texts]
    known = Digests()
    assert [known.add(digest_of(text)) for text in texts] == expected
    assert len(known) == len(numbers)
    assert [known.find(digest_of(text)) for text in texts] == expected
    assert known.find(digest_of("not there")) == -1


def test_digests_that_all_want_the_last_slot_go_on_from_the_first():
    # Equal first bytes whatever the size of the table; the rest tells them apart.
    digests = [b"\xff" * 8 + hashlib.sha256(bytes([n])).digest()[:8] for n in range(200)]
    known = Digests()
    assert [known.add(digest) for digest in digests] == list(range(200))
    assert [known.find(digest) for digest in digests] == list(range(200))


def test_a_digest_of_half_a_surrogate_pair():
    assert len({digest_of(text) for text in ("\ud800", "\ud801", "?")}) == 3


@pytest.mark.parametrize(("block", "held"), [(1, 0), (3, 2), (7, 100)])
def test_records_come_back_as_they_were(tmp_path, block, held):
    records = [(n, None, 0.1 * n, "\ud800 é"[: n % 4]) for n in range(50)]
    spill = Spill(tmp_path, list, tuple, block=block, held=held)
    for count, record in enumerate(records):
        assert len(spill) == count
        spill.append(record)
    assert list(spill) == records == list(spill)
    order = random.Random(0).choices(range(-50, 50), k=300)
    assert [spill[n] for n in order] == [records[n] for n in order]
    assert spill[3:40:5] == records[3:40:5]
    with pytest.raises(IndexError):
        spill[50]


def test_without_a_folder_everything_is_held():
    spill = Spill(None, pytest.fail, pytest.fail, held=1)
    for n in range(5):
        spill.append(n)
    assert list(spill) == [0, 1, 2, 3, 4]


def test_a_spill_file_has_no_name_and_ends_with_its_owner(tmp_path):
    before = open_spills()
    file = SpillFile(tmp_path / "work")
    starts = [file.append(data) for data in (b"abc", b"", b"defg")]
    assert starts == [0, 3, 3]
    assert file.read(2, 4) == b"cdef"
    assert list((tmp_path / "work").iterdir()) == []
    assert len(open_spills()) == len(before) + 1
    with pytest.raises(StoreError, match="cut off"):
        file.read(5, 9)
    del file
    assert open_spills() == before


def test_what_a_kill_leaves_goes_with_the_next_sweep(tmp_path):
    """Killed between the making of the file and the removal of its name: the only moment at which it has one."""
    script = (
        "import os, signal, sys, pathlib\n"
        "from synvita_data.files import SpillFile\n"
        "pathlib.Path.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "SpillFile(pathlib.Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".part-")
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_an_error_that_says_so(tmp_path):
    script = (
        "import pathlib, resource, signal, sys\n"
        "from synvita_data.files import SpillFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "SpillFile(pathlib.Path(sys.argv[1])).append(bytes(5000))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert "StoreError" in done.stderr
    assert "File too large" in done.stderr
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        SpillFile(tmp_path / "file")


def test_a_digest_takes_less_than_thirty_bytes():
    known, count = Digests(), 100_000
    for n in range(count):
        known.add(digest_of(str(n)))
    slots: array[int] = known._slots
    assert (len(known._digests) + len(slots) * slots.itemsize) / count < 30
