"""Many real processes on one store: forked, killed, stopped, raced."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from synvita_data.errors import StoreError
from synvita_data.jobs import CLAIMED, DONE, PENDING, Claim, Store
from synvita_data.jobs.lease import Owner


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child; its exit status is 0 only if it returns."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def join(pids: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())  # one write: lines of several processes do not mix
    os.close(descriptor)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def other_process(root: Path, keys: list[str], **settings: float):
    """A child that claims `keys` and sleeps; yields its PID once it holds them. Killed at the end."""
    ready, told = os.pipe()

    def work() -> None:
        store = Store(root, **settings)
        claims = [store.claim(key) for key in keys]
        assert all(claims)
        os.write(told, b"x")
        signal.pause()

    pid = fork(work)
    os.close(told)  # so that a child that fails ends the wait
    try:
        assert os.read(ready, 1) == b"x"
        yield pid
    finally:
        os.close(ready)
        for number in (signal.SIGKILL, signal.SIGCONT):
            os.kill(pid, number)
        os.waitpid(pid, 0)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


def wait_for_heartbeats(root: Path, seconds: float) -> None:
    """Until owners' folders have been touched for longer than so many seconds."""
    folders = list((root / "owners").iterdir())
    first = {folder: folder.stat().st_mtime for folder in folders}
    wait_until(lambda: max(folder.stat().st_mtime - first[folder] for folder in folders) > seconds)


def test_four_processes_share_two_hundred_keys_and_do_each_once(tmp_path):
    keys = [f"row {number}" for number in range(200)]

    def work() -> None:
        with Store(tmp_path / "store") as store:
            for claim in store.claims(keys):
                with claim:
                    append(tmp_path / "begun", claim.key)
                    claim.path("result.txt").write_text(claim.key)
                    if claim.commit({"key": claim.key}):
                        append(tmp_path / "done", claim.key)

    assert join([fork(work) for _ in range(4)]) == [0] * 4
    assert sorted(lines(tmp_path / "begun")) == sorted(keys)
    assert sorted(lines(tmp_path / "done")) == sorted(keys)
    store = Store(tmp_path / "store")
    assert store.scan(keys, "contents").counts == {DONE: 200}
    assert [record.path("result.txt").read_text() for record in store.records(keys)] == keys
    assert store.clean_temporary() == 0


def content(key: str) -> bytes:
    return random.Random(key).randbytes(20_000)


def test_twenty_sigkills_lose_nothing_and_show_no_half_file(tmp_path):
    keys = [f"row {number}" for number in range(160)]
    expected = {digest(key): content(key) for key in keys}
    root, log = tmp_path / "store", tmp_path / "done"

    def work() -> None:
        with Store(root, sync="never") as store:
            for claim in store.claims(keys):
                with claim:
                    if claim.key.endswith("7"):  # some results have no file
                        time.sleep(0.002)
                    else:
                        with claim.path("video.bin").open("wb", buffering=0) as handle:
                            whole = content(claim.key)
                            for start in range(0, len(whole), 5000):
                                handle.write(whole[start : start + 5000])
                                time.sleep(0.001)
                                while enough is not None and len(lines(log)) >= enough:
                                    time.sleep(0.001)  # until it is killed, however late
                    if claim.commit({"size": len(content(claim.key))}):
                        append(log, claim.key)

    enough: int | None = None
    chance = random.Random(0)
    for _ in range(20):
        goal = len(lines(log)) + chance.randint(0, 3)
        enough = goal + 2
        pids = [fork(work), fork(work)]
        wait_until(lambda goal=goal: len(lines(log)) >= goal)
        time.sleep(chance.uniform(0, 0.01))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        join(pids)
        # Nothing under a final name is less than whole, and what was reported done is done.
        for path in root.glob("??/*.video.bin"):
            assert path.read_bytes() == expected[path.name[:40]]
        store = Store(root)
        assert set(lines(log)) <= {record.key for record in store.records(keys)}
    states = Store(root).scan(keys).counts
    assert 20 <= states[DONE] < len(keys), "the kills came too late or too early to mean anything"
    assert states[CLAIMED] == 0  # whoever held a claim is known to be gone

    enough = None
    assert join([fork(work)]) == [0]
    assert max(Counter(lines(log)).values()) == 1, "a key reported done was done again"
    store = Store(root)
    assert store.scan(keys, "contents").counts == {DONE: 160}
    for record in store.records(keys):
        if record.artefacts:
            assert record.path("video.bin").read_bytes() == content(record.key)
    store.clean_temporary()
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    records = {name for name in left if name.endswith((".files.json", ".done.json"))}
    assert len(records) == 160
    assert left - records - {"clock"} == {name for name in left if name.endswith(".video.bin")}
    assert len(left - records - {"clock"}) == 144
    assert list(root.glob("??/*.claim")) == list((root / "owners").iterdir()) == []


def test_claims_of_a_killed_process_are_free_at_once(tmp_path):
    with other_process(tmp_path, ["a", "b"], stale_after=3600) as pid:
        store = Store(tmp_path, stale_after=3600)
        assert store.claim("a") is None
        assert store.scan(["a", "b"]).counts == {CLAIMED: 2}
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie, not yet reaped
        store = Store(tmp_path, stale_after=3600)
        assert store.scan(["a", "b"]).counts == {PENDING: 2}
        with store.claim("a") as claim:
            assert claim.commit({})
        assert store.clean_temporary() == 2  # the claim on b and the owner's folder
    assert store.scan(["a", "b"]).states == {"a": DONE, "b": PENDING}


def test_files_of_a_killed_commit_do_not_stand_in_for_those_of_the_next(tmp_path):
    def work() -> None:
        claim = Store(tmp_path).claim("k")
        claim.path("video.bin").write_bytes(b"of the killed")
        claim._place_files(claim._measure())
        os.kill(os.getpid(), signal.SIGKILL)

    assert join([fork(work)]) == [-signal.SIGKILL]
    with Store(tmp_path) as store:
        assert store.pending(["k"]) == ["k"]
        with store.claim("k") as claim:
            claim.path("video.bin").write_bytes(b"of the next")
            assert claim.commit({})
        assert [path.read_bytes() for path in tmp_path.glob("??/*.bin")] == [b"of the next"]
        store.record("k").path("video.bin").unlink()
        assert store.scan(["k"], "names").pending == ["k"]


def test_only_one_of_many_takers_gets_each_claim_of_the_dead(tmp_path):
    keys = [str(number) for number in range(60)]
    with other_process(tmp_path / "store", keys, stale_after=3600) as victim:
        start, go = os.pipe()

        def work() -> None:
            os.close(go)
            store = Store(tmp_path / "store")
            os.read(start, 1)
            for key in keys:
                if store.claim(key) is not None:
                    append(tmp_path / "won", key)
            append(tmp_path / "finished", "x")
            wait_until(lambda: len(lines(tmp_path / "finished")) == 4)  # give nothing back while others try

        os.kill(victim, signal.SIGKILL)
        os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
        takers = [fork(work) for _ in range(4)]
        os.close(start)
        os.close(go)
        assert join(takers) == [0] * 4
    assert sorted(lines(tmp_path / "won")) == sorted(keys)


def test_a_stopped_process_loses_its_claim_after_stale_after_and_notices(tmp_path):
    answer = tmp_path / "answer"
    ready, told = os.pipe()

    def work() -> None:
        with Store(tmp_path / "store", stale_after=1).claim("k") as claim:
            claim.path("video.bin").write_bytes(b"from the slow worker")
            os.write(told, b"x")
            wait_until((tmp_path / "go").exists)
            answer.write_text(f"{claim.is_ours()} {claim.commit({'by': 'slow'})} {claim.outcome}")

    pid = fork(work)
    os.close(told)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    wait_for_heartbeats(tmp_path / "store", 1.5)
    assert Store(tmp_path / "store", stale_after=60).claim("k") is None
    os.kill(pid, signal.SIGSTOP)
    store = Store(tmp_path / "store", stale_after=1)
    taken: list[Claim] = []
    wait_until(lambda: taken.append(store.claim("k")) or taken[-1] is not None)
    claim = taken[-1]
    (tmp_path / "go").touch()
    os.kill(pid, signal.SIGCONT)
    assert join([pid]) == [0]
    assert answer.read_text() == "False False lost"
    with claim:
        claim.path("video.bin").write_bytes(b"from the taker")
        assert claim.commit({"by": "taker"})
    record = store.validate("k", deep=True)
    assert record.fields == {"by": "taker"}
    assert record.path("video.bin").read_bytes() == b"from the taker"
    assert len(list((tmp_path / "store").glob("??/*"))) == 2


def rename_owner(root: Path, change: Callable[[list[str]], None]) -> None:
    """Give the store's only owner another identity, in its folder's name and in its claims."""
    (folder,) = (root / "owners").iterdir()
    parts = folder.name.split(".")
    change(parts)
    folder.rename(folder.with_name(".".join(parts)))
    for token in root.glob("??/*.claim/*"):
        token.rename(token.with_name(".".join([*parts, token.name.rsplit(".", 1)[1]])))


def test_a_reused_pid_is_not_taken_for_the_owner(tmp_path):
    with other_process(tmp_path, ["k"], stale_after=3600) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        def reuse(parts: list[str]) -> None:
            parts[2] = str(os.getpid())  # a live process, but it began at another time

        rename_owner(tmp_path, reuse)
        assert Store(tmp_path).claim("k") is not None


def test_another_machine_is_judged_by_its_heartbeat_and_its_own_patience(tmp_path):
    with other_process(tmp_path, ["k"], stale_after=600) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        def move(parts: list[str]) -> None:
            parts[1] = "0123456789ab"

        rename_owner(tmp_path, move)
        (owner,) = (tmp_path / "owners").iterdir()
        assert Store(tmp_path, stale_after=1).claim("k") is None
        now = owner.stat().st_mtime
        os.utime(owner, (now, now - 500))
        assert Store(tmp_path, stale_after=1).claim("k") is None, "its owner promised 600 s"
        os.utime(owner, (now, now - 700))
        assert Store(tmp_path, stale_after=1000).claim("k") is None, "the judge is more patient"
        assert Store(tmp_path, stale_after=1).claim("k") is not None


def test_a_claim_whose_owner_has_no_folder_is_judged_by_its_token(tmp_path):
    with other_process(tmp_path, ["k"], stale_after=600):
        (owner,) = (tmp_path / "owners").iterdir()
        owner.rmdir()
        (token,) = tmp_path.glob("??/*.claim/*")  # its heartbeat would make the folder anew after 100 s
        assert Store(tmp_path).claim("k") is None
        now = token.stat().st_mtime
        os.utime(token, (now, now - 700))
        assert Store(tmp_path).claim("k") is not None


def test_the_clock_of_this_machine_does_not_matter(tmp_path, monkeypatch):
    real = time.time
    with other_process(tmp_path, ["k"], stale_after=60):
        for skew in (-1e6, 1e6):
            monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
            assert Store(tmp_path, stale_after=60).claim("k") is None


def test_a_forked_child_has_claims_of_its_own_and_leaves_its_parents_alone(tmp_path):
    store = Store(tmp_path / "store", stale_after=1)
    claim = store.claim("parent's")
    claim.path("video.bin").write_bytes(b"abc")

    def work() -> None:
        with pytest.raises(StoreError, match="belongs to another process"):
            claim.commit({})
        assert not claim.is_ours()
        assert store.claim("parent's") is None
        with store.claim("child's") as mine, claim:  # leaving `with claim` must not release it
            assert mine.commit({})
        assert store.claim("left by the child") is not None

    assert join([fork(work)]) == [0]
    assert Store(tmp_path / "store").claim("left by the child") is not None, "taken for the parent's"
    wait_for_heartbeats(tmp_path / "store", 1.5)  # the parent's go on
    assert Store(tmp_path / "store", stale_after=60).claim("parent's") is None
    assert claim.commit({})
    assert store.scan(["parent's", "child's"]).counts == {DONE: 2}
    store.close()


def test_a_child_that_exits_in_the_ordinary_way_ends_none_of_its_parents_claims(tmp_path, repo_root):
    program = """
import os, sys
from synvita_data.jobs import Store
claim = Store(sys.argv[1]).claim("k")
pid = os.fork()
if not pid:
    sys.exit(0)  # runs the exit functions that the child inherited
os.waitpid(pid, 0)
print(claim.is_ours(), claim.commit({}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True True\n", done.stderr
    assert list((tmp_path / "owners").iterdir()) == []


def test_threads_of_one_process_share_a_store(tmp_path):
    keys = [str(number) for number in range(100)]
    done: list[str] = []

    def work() -> None:
        for claim in store.claims(keys):
            with claim:
                if claim.commit({}):
                    done.append(claim.key)

    with Store(tmp_path) as store:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(done) == sorted(keys)


def test_closing_releases_claims_and_ends_the_heartbeat(tmp_path):
    store = Store(tmp_path)
    claim = store.claim("k")
    assert [thread.name for thread in threading.enumerate()].count("store-heartbeat") >= 1
    before = threading.active_count()
    store.close()
    wait_until(lambda: threading.active_count() < before)
    assert list((tmp_path / "owners").iterdir()) == []
    assert not claim.commit({})
    assert claim.outcome == "lost"
    with store.claim("k") as claim:  # the store can be used again
        assert claim.commit({})
    store.close()


def test_cleaning_takes_files_of_no_result_but_not_those_of_a_commit_under_way(tmp_path):
    store = Store(tmp_path)
    with store.claim("under way") as claim, store.claim("abandoned") as other:
        for which in (claim, other):
            which.path("video.bin").write_bytes(which.key.encode())
            which._place_files(which._measure())  # killed here, or not yet further
        other.release()
        assert Store(tmp_path).clean_temporary() == 1
        assert [path.read_bytes() for path in tmp_path.glob("??/*.video.bin")] == [b"under way"]
        assert claim.commit({})
    assert store.validate("under way", deep=True)
    store.close()


class Interrupted(BaseException):
    pass


def test_an_interrupt_between_any_two_lines_leaves_nothing_behind(tmp_path):
    """As a handler of SIGTERM raises: wherever it strikes, closing gives back what was being taken."""
    at = 0
    while True:
        at += 1
        left = at

        def trace(frame, event, argument):
            nonlocal left
            if frame.f_code.co_filename.endswith(("jobs/lease.py", "jobs/store.py")):
                if event == "line":
                    left -= 1
                    if left == 0:
                        raise Interrupted
                return trace
            return None

        root = tmp_path / str(at)
        store = Store(root)

        def interrupted(trace=trace, store=store):
            try:
                sys.settrace(trace)
                first = store.claim("a")
                first.commit({})
                store.claim("b")
            except Interrupted:
                pass

        # In a thread: an exception that a trace raises at the end of a handler stays the handled one of its thread for
        # good (CPython 3.11), the context of whatever a later test raises.
        thread = threading.Thread(target=interrupted)
        thread.start()
        thread.join()
        store.close()
        assert list(root.glob("??/*.claim")) == list(root.glob("owners/*")) == [], f"at line {at}"
        if left > 0:
            break
    assert at > 50


def test_a_slot_that_another_thread_takes_first_is_made_anew(tmp_path):
    class TakenMeanwhile(list):
        def __bool__(self):
            return True  # there was one a moment ago

    owner = Owner(str(tmp_path), None, 60.0)
    owner.start()
    try:
        owner._slots = TakenMeanwhile()
        name = f"{owner.name}.1"
        assert [path.name for path in Path(owner.take_slot(name)).iterdir()] == [name]
    finally:
        owner.close()
