"""Any sequence of claims, commits, failures, retries, damage and takeovers, against a plain dictionary."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from synvita_data.jobs import CLAIMED, DONE, PENDING, QUARANTINED, Claim, Store

KEYS = ("", "a", "b", "../c")
NAMES = ("one.bin", "two.bin")
FILES = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=20))


class StoreMachine(RuleBasedStateMachine):
    """`done[key]` is (number, files) of a whole result, `holder[key]` the claim that holds the key."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.stores = [Store(self.root / "store", sync="never") for _ in range(2)]
        self.done: dict[str, tuple[int, dict[str, bytes]]] = {}
        self.failed: dict[str, int] = {}
        self.holder: dict[str, Claim] = {}
        self.number = 0

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.root)

    @rule(target=claims, key=st.sampled_from(KEYS), which=st.integers(0, 1))
    def claim(self, key: str, which: int) -> Claim | None:
        claim = self.stores[which].claim(key)
        free = key not in self.done and key not in self.failed and key not in self.holder
        assert (claim is not None) == free
        if claim is not None:
            self.holder[key] = claim
        return claim

    @rule(target=claims, key=st.sampled_from(KEYS))
    def take_over(self, key: str) -> Claim | None:
        """The holder is silent for a day, a new worker takes the key, then the old one wakes."""
        if key not in self.holder:
            return None
        folder = self.root / "store" / "owners" / self.holder[key]._store._owner.name
        now = folder.stat().st_mtime
        os.utime(folder, (now, now - 86_400))
        taker = Store(self.root / "store", sync="never")
        self.stores.append(taker)
        claim = taker.claim(key)
        os.utime(folder, (now, now))
        assert claim is not None
        self.holder[key] = claim
        return claim

    @rule(claim=consumes(claims), files=FILES)
    def commit(self, claim: Claim | None, files: dict[str, bytes]) -> None:
        if claim is None:
            return
        ours = self.holder.get(claim.key) is claim
        assert claim.is_ours() == ours
        for name, content in files.items():
            claim.path(name).write_bytes(content)
        self.number += 1
        assert claim.commit({"number": self.number}) == ours
        assert claim.outcome == ("committed" if ours else "lost")
        if ours:
            self.done[claim.key] = (self.number, files)
            del self.holder[claim.key]

    @rule(claim=consumes(claims))
    def quarantine(self, claim: Claim | None) -> None:
        if claim is None:
            return
        ours = self.holder.get(claim.key) is claim
        self.number += 1
        assert claim.quarantine({"number": self.number}) == ours
        if ours:
            self.failed[claim.key] = self.number
            del self.holder[claim.key]

    @rule(claim=consumes(claims), files=FILES)
    def give_up(self, claim: Claim | None, files: dict[str, bytes]) -> None:
        if claim is None:
            return
        with claim:
            for name, content in files.items():
                claim.path(name).write_bytes(content)
        if self.holder.get(claim.key) is claim:
            del self.holder[claim.key]

    @rule(keys=st.none() | st.lists(st.sampled_from(KEYS), unique=True))
    def retry(self, keys: list[str] | None) -> None:
        retried = [key for key in self.failed if keys is None or key in keys]
        assert self.stores[0].retry_failed(keys) == len(retried)
        for key in retried:
            del self.failed[key]

    @rule(key=st.sampled_from(KEYS), name=st.sampled_from(NAMES), delete=st.booleans())
    def damage(self, key: str, name: str, delete: bool) -> None:
        content = self.done.get(key, (0, {}))[1].get(name)
        if content is None or not (content or delete):
            return
        path = self.stores[0].record(key).path(name)
        if delete:
            path.unlink()
        else:
            os.truncate(path, len(content) - 1)
        del self.done[key]

    @rule()
    def clean(self) -> None:
        self.stores[0].clean_temporary()

    @invariant()
    def agrees(self) -> None:
        store = self.stores[0]
        expected = {
            key: DONE
            if key in self.done
            else CLAIMED
            if key in self.holder
            else QUARANTINED
            if key in self.failed
            else PENDING
            for key in KEYS
        }
        assert store.scan(KEYS).states == store.scan(KEYS, "contents").states == expected
        assert {failure.key: failure.error["number"] for failure in store.quarantined()} == self.failed
        found = {
            record.key: (
                record.fields["number"],
                {name: record.path(name).read_bytes() for name in record.artefacts},
            )
            for record in store.records()
        }
        assert found == self.done


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
