"""Taking a result out of the store, and the reason of one failure."""

import pytest

from synvita_data.jobs import DONE, PENDING, Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def make(store: Store, key: str, *, with_file: bool) -> None:
    with store.claim(key) as claim:
        if with_file:
            claim.path("a.txt").write_text(key)
            claim.path("b.txt").write_text(key * 2)
        assert claim.commit({"of": key})


@pytest.mark.parametrize("with_file", [False, True])
def test_a_discarded_result_is_pending_and_leaves_no_file(store, with_file):
    make(store, "kept", with_file=True)
    make(store, "discarded", with_file=with_file)
    assert store.discard("discarded")
    assert store.scan(["kept", "discarded"], "contents").states == {"kept": DONE, "discarded": PENDING}
    assert len([path for path in store.root.glob("??/*") if path.is_file()]) == 3
    make(store, "discarded", with_file=True)
    assert store.validate("discarded", deep=True).path("b.txt").read_text() == "discarded" * 2


def test_what_a_live_worker_holds_is_left_to_it(store):
    with Store(store.root) as other, other.claim("k") as claim:
        assert not store.discard("k")
        assert claim.commit({})
    assert store.discard("k")
    assert store.discard("k"), "nothing is there, and nothing holds it"
    assert store.scan(["k"]).states == {"k": PENDING}


def test_the_reason_of_one_key(store):
    with store.claim("bad") as claim:
        claim.quarantine(ValueError("why not"))
    assert store.failure("bad").error == {"reason": "ValueError", "problem": "why not"}
    assert store.failure("good") is None
    store.retry_failed(["bad"])
    assert store.failure("bad") is None
