"""What a commit leaves when two workers do one key at once, when it stops half-way, and when the disk is full."""

import itertools
import os
import resource
import shutil
import subprocess
import sys

import pytest

from synvita_data.errors import StoreError
from synvita_data.jobs import DONE, PENDING, Store

FILES = ("a.bin", "b.bin")


def both_hold(root, contents):
    """Two open claims on one key, each with its files written: the first owner was silent for too long."""
    claims = []
    for content in contents:
        store = Store(root, sync="never")
        claim = store.claim("k")
        assert claim is not None
        for name in FILES:
            claim.path(name).write_bytes(content)
        folder = store.root / "owners" / store._owner.name
        os.utime(folder, (0, 0))  # the next one takes the claim over
        claims.append(claim)
    return claims


def steps(claim, content):
    """A commit as it happens, one rename at a time, from behind the check that the claim is ours."""
    files = claim._measure()
    for file in files:
        yield claim._place_files([file])
    yield claim._place_record({"by": content.decode()}, files)


@pytest.mark.parametrize("contents", [(b"same", b"same"), (b"one", b"two")], ids=["equal", "different"])
def test_two_commits_of_one_key_mix_in_every_order_to_one_whole_result(tmp_path, contents):
    """The check can be passed by both when the one that lost its claim passed it just before.

    All 20 orders of 3 + 3 steps; after each step a killed pair of workers would leave this state.
    """
    for number, order in enumerate(set(itertools.permutations([0, 0, 0, 1, 1, 1]))):
        root = tmp_path / str(number)
        claims = both_hold(root, contents)
        running = [steps(claim, content) for claim, content in zip(claims, contents, strict=True)]
        looker = Store(root)
        recorded = None
        taken = [0, 0]
        for who in order:
            next(running[who])
            taken[who] += 1
            if taken[who] == 3:
                recorded = contents[who]
            for check in ("names", "sizes", "contents"):
                assert (looker.scan(["k"], check).states["k"] == DONE) == (recorded is not None), order
            if recorded is not None:
                record = looker.validate("k", deep=True)
                assert record.fields == {"by": recorded.decode()}
                assert {record.path(name).read_bytes() for name in FILES} == {recorded}
        for claim in claims:
            claim.release()
        looker.clean_temporary()
        kept = sorted(path.read_bytes() for path in root.glob("??/*.bin"))
        assert kept == [recorded, recorded]
        assert len(list(root.glob("??/*"))) == 3
        for claim in claims:
            claim._store.close()


def test_a_commit_stopped_after_each_step_is_done_again_and_whole(tmp_path):
    for stop_after in range(3):
        root = tmp_path / str(stop_after)
        (claim,) = both_hold(root, [b"content"])
        running = steps(claim, b"content")
        for _ in range(stop_after):
            next(running)
        store = Store(root)
        assert store.scan(["k"]).states == {"k": PENDING}
        with store.claim("k") as again:
            for name in FILES:
                again.path(name).write_bytes(b"content")
            assert again.commit({"by": "again"})
        assert store.clean_temporary() == 1  # the silent owner's folder
        assert store.validate("k", deep=True).fields == {"by": "again"}
        assert len(list(root.glob("??/*"))) == 3
        claim._store.close()
        store.close()


def test_a_file_over_the_limit_of_the_disk_is_named_and_nothing_half_is_left(tmp_path):
    """RLIMIT_FSIZE makes the record's write stop in the middle, as a full disk does."""

    def work():
        store = Store(tmp_path / "store")
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with store.claim("big") as claim:
            claim.path("small.bin").write_bytes(b"abc")
            with pytest.raises(StoreError) as caught:
                claim.commit({"text": "x" * 10_000})
            assert "File too large" in caught.value.problem
            assert caught.value.file.endswith(".files.json")
            assert "space" in caught.value.fix
            assert claim.outcome == "open"
            assert not list((tmp_path / "store" / "owners").rglob("*.json"))
            assert claim.commit({"text": "short"})  # the cause was mended
        with store.claim("lost") as claim, pytest.raises(StoreError, match="File too large"):
            claim.commit({"text": "x" * 10_000})
        with store.claim("failed") as claim, pytest.raises(StoreError, match="File too large"):
            claim.quarantine({"reason": "x" * 10_000})

    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store = Store(tmp_path / "store")
    assert store.scan(["big", "lost", "failed"]).states == {"big": DONE, "lost": PENDING, "failed": PENDING}
    assert store.validate("big", deep=True).fields == {"text": "short"}
    assert len(list(store.root.glob("??/*.*"))) == 2
    store.clean_temporary()
    assert list((store.root / "owners").iterdir()) == []


FULL_DISK = """
import pathlib, sys
from synvita_data.errors import StoreError
from synvita_data.jobs import Store
root = pathlib.Path(sys.argv[1])
store = Store(root / "store")
with store.claim("first") as claim:
    claim.path("v.bin").write_bytes(b"x" * 100_000)
    assert claim.commit({})
ballast = root / "ballast"
said = None
with store.claim("second") as claim:
    claim.path("v.bin").write_bytes(b"y" * 100_000)
    with ballast.open("wb", buffering=0) as handle:
        try:
            while handle.write(b"0" * 512): pass
        except OSError: pass
    try:
        claim.commit({"text": "z" * 100_000})
    except StoreError as error:
        said = error
    assert claim.outcome == "open"
assert "No space left" in str(said) and said.file.endswith(".files.json"), said
assert store.scan(["first", "second"], "contents").states == {"first": "done", "second": "pending"}
assert not list((root / "store").glob("??/*.claim")), "the key was not given back"
ballast.unlink()
store.clean_temporary()
with store.claim("second") as claim:
    claim.path("v.bin").write_bytes(b"y" * 100_000)
    assert claim.commit({"text": "z" * 100_000})
assert store.scan(["first", "second"], "contents").states == {"first": "done", "second": "done"}
assert len(list((root / "store").glob("??/*"))) == 4
print("mended")
"""


def test_a_full_disk_is_named_nothing_half_is_left_and_the_next_run_mends_it(tmp_path, repo_root):
    """A file system of 1 MiB in a mount namespace of its own, where that is permitted."""
    unshare = shutil.which("unshare")
    own_mounts = [unshare, "--mount", "--map-root-user"] if unshare and os.getuid() else [unshare, "--mount"]
    mount = ["sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(tmp_path)]
    if not unshare or subprocess.run([*own_mounts, *mount, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small file system")
    done = subprocess.run(
        [*own_mounts, *mount, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=repo_root,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "mended\n", done.stderr
