"""`complete`: every key ends done or in quarantine, once, whoever works, fails or dies."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter

import pytest

from synvita_data.errors import EngineError
from synvita_data.jobs import DONE, QUARANTINED, Store, complete, run

KEYS = [f"key {number}" for number in range(12)]


def commit(claim):
    claim.commit({"key": claim.key})


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.mark.parametrize("threads", [1, 4])
def test_every_key_is_done_once_and_counted_once(store, threads):
    done, counted, lock = Counter(), [], threading.Lock()

    def work(claim):
        with lock:
            done[claim.key] += 1
        commit(claim)

    complete(store, [*KEYS, *KEYS[:3]], work, threads=threads, on_done=counted.append)
    assert done == Counter(KEYS)
    assert sum(counted) == len(KEYS)
    assert min(counted) > 0
    assert [record.fields["key"] for record in store.records(KEYS)] == KEYS

    complete(store, KEYS, lambda claim: pytest.fail("nothing is left to do"), threads=threads)


def test_a_key_that_ends_while_the_store_is_scanned_is_counted_once(store, monkeypatch):
    first, slow, last = KEYS[:3]
    let_go, looks = threading.Event(), iter(range(100))

    def work(claim):
        if claim.key == slow:
            assert let_go.wait(300)
        commit(claim)

    def is_look_due(
        self,
    ):  # asked at each event: opened, `first`, `slow` and, once `first` has ended, `last` claimed
        if next(looks) != 3:
            return False
        let_go.set()
        while store.record(slow) is None:
            time.sleep(0.01)
        return True

    monkeypatch.setattr(run._Run, "_is_look_due", is_look_due)
    monkeypatch.setattr(run, "SAY_EVERY", 0.0)
    counted = []
    complete(store, [first, slow, last], work, threads=2, on_done=counted.append)
    assert let_go.is_set()
    assert sum(counted) == 3


@pytest.mark.parametrize("threads", [1, 4])
def test_what_is_done_already_counts_at_once(store, threads):
    complete(store, KEYS[:5], commit)
    counted = []
    complete(store, KEYS, commit, threads=threads, on_done=counted.append)
    assert counted[0] == 5
    assert sum(counted) == len(KEYS)


def test_quarantined_keys_count_too(store):
    def work(claim):
        if claim.key == KEYS[3]:
            claim.quarantine(ValueError("no"))
        else:
            commit(claim)

    counted = []
    complete(store, KEYS, work, on_done=counted.append)
    assert sum(counted) == len(KEYS)
    states = store.scan(KEYS).states
    assert [key for key, state in states.items() if state == QUARANTINED] == [KEYS[3]]
    assert Counter(states.values())[DONE] == len(KEYS) - 1


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_stops_the_run_and_gives_its_key_back(store, threads):
    def work(claim):
        if claim.key == KEYS[4]:
            raise ValueError("broken")
        commit(claim)

    with pytest.raises(ValueError, match="broken"):
        complete(store, KEYS, work, threads=threads)
    states = store.scan(KEYS).states
    assert states[KEYS[4]] == "pending"
    assert "claimed" not in states.values()
    complete(store, KEYS, commit)
    assert store.scan(KEYS).counts[DONE] == len(KEYS)


def test_work_without_a_result_is_a_fault(store):
    with pytest.raises(EngineError, match="ended without a result"):
        complete(store, KEYS[:1], lambda claim: None)


def test_no_keys_at_all(store):
    complete(store, [], commit)
    assert not store.root.exists()


def complete_slowly(root, log, die):
    def work(claim):
        with log.open("a") as handle:
            handle.write(f"{claim.key}\n")
        if die:  # once all other keys are done, and somebody waits for this one
            while store.scan(KEYS).counts[DONE] < len(KEYS) - 1:
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        commit(claim)

    run.POLL = 0.02
    with Store(root) as store:
        complete(store, KEYS, work)


def start(*arguments):
    process = multiprocessing.get_context("spawn").Process(target=complete_slowly, args=arguments)
    process.start()
    return process


def test_two_processes_share_the_keys_and_both_return_at_the_end(tmp_path):
    log = tmp_path / "log"
    processes = [start(tmp_path / "store", log, False) for _ in range(2)]
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert Counter(log.read_text().splitlines()) == Counter(KEYS)


def test_the_key_of_a_killed_process_is_waited_for_and_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "POLL", 0.02)
    log = tmp_path / "log"
    killed = start(tmp_path / "store", log, True)
    while not log.exists():
        assert killed.exitcode is None
        time.sleep(0.01)
    with Store(tmp_path / "store") as store:
        complete(store, KEYS, commit)
        assert store.scan(KEYS).counts[DONE] == len(KEYS)
    killed.join(300)
    assert killed.exitcode == -signal.SIGKILL
    assert log.read_text().splitlines() == KEYS[:1]
