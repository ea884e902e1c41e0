"""One worker: keys, results, damage, quarantine. Expectations come from hashlib, json and plain files."""

import hashlib
import json
import math
import os
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import StoreError, VideoError
from synvita_data.jobs import CLAIMED, DONE, PENDING, QUARANTINED, Store, work_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def put(store: Store, key: str, fields: dict | None = None, **files: bytes) -> None:
    """Commit a result whose files are given as `video_mp4=b"…"`."""
    claim = store.claim(key)
    assert claim is not None
    with claim:
        for name, content in files.items():
            claim.path(name.replace("_", ".")).write_bytes(content)
        assert claim.commit(fields)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def test_nothing_is_created_before_the_first_claim(store):
    assert store.pending(["a", "b"]) == ["a", "b"]
    assert store.record("a") is None
    assert (list(store.records()), list(store.quarantined()), store.retry_failed()) == ([], [], 0)
    assert store.clean_temporary() == 0
    assert not store.root.exists()


def test_a_result_comes_back_with_its_files_byte_for_byte(store):
    put(store, "row 1", {"frames": 49, "seed": 7}, video_mp4=b"pixels" * 1000, preview_png=b"")
    record = store.record("row 1")
    assert record.key == "row 1"
    assert record.fields == {"frames": 49, "seed": 7}
    assert sorted(record.artefacts) == ["preview.png", "video.mp4"]
    assert record.path("video.mp4").read_bytes() == b"pixels" * 1000
    assert record.path("preview.png").read_bytes() == b""
    assert record.artefacts["video.mp4"].size == 6000
    assert record.artefacts["video.mp4"].sha256 == hashlib.sha256(b"pixels" * 1000).hexdigest()
    with pytest.raises(StoreError, match="no such file"):
        record.path("audio.wav")
    assert store.claim("row 1") is None
    assert store.validate("row 1", deep=True) == record


def test_layout_is_as_documented(store):
    put(store, "with", {"x": 1}, video_mp4=b"abc")
    put(store, "without", {"y": [1.5, None]})
    found = {path.name for path in store.root.glob("??/*")}
    sha = hashlib.sha256(b"abc").hexdigest()[:12]
    assert found == {
        f"{digest('with')}.files.json",
        f"{digest('with')}.1of1.3.{sha}.video.mp4",
        f"{digest('without')}.done.json",
    }
    document = json.loads((store.root / digest("without")[:2] / f"{digest('without')}.done.json").read_text())
    assert document == {"store": 1, "key": "without", "fields": {"y": [1.5, None]}, "artefacts": {}}


@given(st.lists(st.text(st.characters()), max_size=5, unique=True), JSON)
def test_any_string_is_a_key_and_any_json_a_field(keys, value):
    import tempfile

    with tempfile.TemporaryDirectory() as folder, Store(folder, sync="never") as store:
        for key in keys:
            put(store, key, {"value": value})
        assert {record.key for record in store.records()} == set(keys)
        assert [record.fields for record in store.records(keys)] == [{"value": value}] * len(keys)
        assert store.scan(keys).counts == Counter({DONE: len(keys)} if keys else {})


def test_records_come_in_the_order_asked_for_and_leave_out_what_is_not_done(store):
    for key in "dcba":
        put(store, key, {"letter": key})
    assert [record.key for record in store.records(["a", "missing", "c"])] == ["a", "c"]
    assert [record.key for record in store.records()] == sorted("abcd", key=digest)


def test_scan_counts_every_state_in_the_order_of_keys(store):
    put(store, "done", {}, video_mp4=b"abc")
    store.claim("failed").quarantine(ValueError("no"))
    held = store.claim("held")
    scan = store.scan(["new", "held", "failed", "done", "new"])
    assert list(scan.states.items()) == [
        ("new", PENDING),
        ("held", CLAIMED),
        ("failed", QUARANTINED),
        ("done", DONE),
    ]
    assert scan.pending == ["new"]
    assert scan.counts == {PENDING: 1, CLAIMED: 1, QUARANTINED: 1, DONE: 1}
    held.release()
    assert store.pending(["held"]) == ["held"]
    with pytest.raises(StoreError, match="unknown check"):
        store.scan(["a"], "everything")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("check", ["names", "sizes", "contents"])
@pytest.mark.parametrize(
    ("harm", "message", "seen_by"),
    [
        (Path.unlink, "missing", {"names", "sizes", "contents"}),
        (shorten, "changed its size", {"sizes", "contents"}),
        (lambda path: path.write_bytes(b"XBC"), "other bytes", {"contents"}),
    ],
    ids=["deleted", "shortened", "altered"],
)
def test_a_damaged_file_makes_the_key_pending_with_a_reason(store, harm, message, seen_by, check):
    put(store, "k", {}, video_mp4=b"abc", other_bin=b"z")
    harm(store.record("k").path("video.mp4"))
    scan = store.scan(["k"], check)
    if check in seen_by:
        assert scan.pending == ["k"]
        assert message in scan.damaged["k"]
        assert "video.mp4" in scan.damaged["k"]
        with pytest.raises(StoreError, match=message):
            store.validate("k", deep=True)
    else:
        assert scan.states == {"k": DONE}
        assert not scan.damaged


def test_a_damaged_result_is_made_again(store):
    put(store, "k", {"try": 1}, video_mp4=b"first")
    shorten(store.record("k").path("video.mp4"))
    assert store.record("k") is None
    put(store, "k", {"try": 2}, video_mp4=b"second")
    assert store.record("k").fields == {"try": 2}
    assert store.scan(["k"], "contents").states == {"k": DONE}
    assert [path.read_bytes() for path in store.root.glob("??/*.mp4")] == [b"second"]
    assert store.clean_temporary() == 0
    assert store.scan(["k"], "contents").states == {"k": DONE}


@pytest.mark.parametrize("check", ["names", "sizes", "contents"])
def test_a_file_of_an_earlier_try_does_not_stand_in_for_a_missing_one(store, check):
    put(store, "k", {}, a_bin=b"1", b_bin=b"2")
    store.record("k").path("b.bin").unlink()
    put(store, "k", {}, a_bin=b"3", b_bin=b"4")
    store.record("k").path("a.bin").unlink()
    assert store.scan(["k"], check).pending == ["k"]


def test_a_result_may_lose_or_gain_its_files_when_made_again(store):
    put(store, "k", {}, video_mp4=b"first")
    store.record("k").path("video.mp4").unlink()
    put(store, "k", {"files": "none"})
    assert store.validate("k").artefacts == {}
    (store.root / digest("k")[:2] / f"{digest('k')}.done.json").write_bytes(b"")
    put(store, "k", {}, other_bin=b"back")
    assert store.validate("k", deep=True).path("other.bin").read_bytes() == b"back"
    assert store.scan(["k"], "names").states == {"k": DONE}


WRITTEN = b'{"artefacts": {}, "fields": {"x": 1}, "key": "k", "store": 1}\n'
DAMAGED = [b"", b"{", b"[]", b"\0" * 200, b'{"store": 1, "key": "k"}']


@pytest.mark.parametrize("content", [*DAMAGED, WRITTEN[:20] + b"\0" * 20 + WRITTEN[40:]])
def test_a_record_damaged_by_a_power_cut_is_not_believed(store, content):
    put(store, "k", {"x": 1})
    path = store.root / digest("k")[:2] / f"{digest('k')}.done.json"
    path.write_bytes(content)
    assert store.record("k") is None
    with pytest.raises(StoreError, match="damaged"):
        store.validate("k")
    assert list(store.records()) == []
    scan = store.scan(["k"])
    assert scan.pending == ["k"]
    assert "a record is damaged" in scan.damaged["k"]
    put(store, "k", {"x": 2})
    assert store.validate("k").fields == {"x": 2}


def test_a_record_under_another_keys_name_is_refused(store):
    put(store, "a", {"of": "a"})
    put(store, "b", {"of": "b"})
    path_of = {key: store.root / digest(key)[:2] / f"{digest(key)}.done.json" for key in "ab"}
    path_of["a"].write_bytes(path_of["b"].read_bytes())
    with pytest.raises(StoreError, match="another key"):
        store.validate("a")
    assert store.validate("b").fields == {"of": "b"}


def test_quarantine_keeps_the_reason_until_a_retry(store):
    error = VideoError("no frame could be decoded", file="x.mp4", row=3, fix="Generate it again")
    assert store.claim("bad video").quarantine(error)
    assert store.claim("bug").quarantine(ZeroDivisionError("division by zero"))
    assert store.claim("own").quarantine({"reason": "Timeout", "problem": "after 60 s"})
    assert {failure.key: failure.error for failure in store.quarantined()} == {
        "bad video": {
            "reason": "VideoError",
            "problem": "no frame could be decoded",
            "file": "x.mp4",
            "row": 3,
            "fix": "Generate it again",
        },
        "bug": {"reason": "ZeroDivisionError", "problem": "division by zero"},
        "own": {"reason": "Timeout", "problem": "after 60 s"},
    }
    assert store.claim("bug") is None
    assert store.retry_failed(["bug", "never seen"]) == 1
    put(store, "bug", {"fixed": True})
    assert store.retry_failed() == 2
    assert list(store.quarantined()) == []
    assert store.pending(["bad video", "bug", "own"]) == ["bad video", "own"]


def test_a_damaged_result_that_cannot_be_made_again_is_in_quarantine(store):
    put(store, "k", {}, video_mp4=b"abc")
    shorten(store.record("k").path("video.mp4"))
    assert store.claim("k").quarantine(ValueError("no longer"))
    assert store.scan(["k"]).states == {"k": QUARANTINED}
    assert [failure.error["problem"] for failure in store.quarantined()] == ["no longer"]
    assert store.claim("k") is None
    assert store.retry_failed() == 1
    put(store, "k", {}, video_mp4=b"abc")
    assert list(store.quarantined()) == []


def test_leaving_a_claim_unfinished_gives_the_key_back_and_leaves_no_file(store):
    claim = store.claim("k")
    path = claim.path("video.mp4")
    path.write_bytes(b"half")
    (path.parent / "log.txt").write_text("a program's own leftovers")
    with pytest.raises(RuntimeError, match="on the way"), claim:
        raise RuntimeError("on the way")
    assert claim.outcome == "released"
    assert not path.parent.exists()
    assert store.pending(["k"]) == ["k"]
    with pytest.raises(StoreError, match="released"):
        claim.commit({})


def test_commit_twice_changes_nothing(store):
    claim = store.claim("k")
    claim.path("video.mp4").write_bytes(b"abc")
    assert claim.commit({"x": 1})
    before = {path: path.read_bytes() for path in store.root.glob("??/*")}
    assert claim.commit({"x": 2})
    assert {path: path.read_bytes() for path in store.root.glob("??/*")} == before
    with pytest.raises(StoreError, match="committed"):
        claim.quarantine(ValueError("too late"))


def test_two_stores_write_the_same_bytes_for_the_same_result(tmp_path):
    for name in ("one", "two"):
        with Store(tmp_path / name, owner=name) as store:
            put(store, "k", {"b": 1, "a": [2, 3]} if name == "one" else {"a": [2, 3], "b": 1}, v_mp4=b"abc")
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("??/*")} for name in ("one", "two")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 2


@pytest.mark.parametrize("fields", [{"x": math.nan}, {"x": Path("a")}, {"x": {1, 2}}, {"x": b"bytes"}])
def test_fields_that_are_not_json_are_refused_before_any_file_moves(store, fields):
    with store.claim("k") as claim:
        path = claim.path("video.mp4")
        path.write_bytes(b"abc")
        with pytest.raises(StoreError, match="not JSON"):
            claim.commit(fields)
        assert path.exists()
        assert claim.commit({"x": "mended"})
    assert store.record("k").fields == {"x": "mended"}


def test_a_promised_file_must_be_there_and_be_a_file(store, tmp_path):
    with store.claim("k") as claim:
        path = claim.path("video.mp4")
        with pytest.raises(StoreError, match=r"video\.mp4 .* not there"):
            claim.commit({})
        path.symlink_to(tmp_path)
        with pytest.raises(StoreError, match="not there"):
            claim.commit({})
    assert store.pending(["k"]) == ["k"]


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a\0b", "a b", "x" * 101, "é.mp4"])
def test_unsafe_artefact_names_are_refused(store, name):
    with store.claim("k") as claim, pytest.raises(StoreError, match="unusable name"):
        claim.path(name)


def test_a_failed_commit_can_be_repeated_after_some_files_moved(store):
    with store.claim("k") as claim:
        claim.path("a.bin").write_bytes(b"a")
        claim.path("b.bin").write_bytes(b"b")
        blocked = store.root / digest("k")[:2] / f"{digest('k')}.files.json"
        (blocked / "in the way").mkdir(parents=True)
        with pytest.raises(StoreError, match="cannot write the result"):
            claim.commit({})
        assert len(list(store.root.glob("??/*.bin"))) == 2, "files come before the record"
        (blocked / "in the way").rmdir()
        blocked.rmdir()
        claim.path("c.bin").write_bytes(b"c")
        assert claim.commit({})
    record = store.validate("k", deep=True)
    assert {name: record.path(name).read_bytes() for name in record.artefacts} == {
        "a.bin": b"a",
        "b.bin": b"b",
        "c.bin": b"c",
    }
    assert len(list(store.root.glob("??/*.bin"))) == 3


def test_claims_yields_each_pending_key_once_in_order(store):
    keys = [f"key {number}" for number in range(30)]
    put(store, keys[3], {})
    store.claim(keys[5]).quarantine(ValueError("x"))
    seen = []
    for claim in store.claims([*keys, *keys]):
        with claim:
            seen.append(claim.key)
            if claim.key != keys[7]:  # given up: comes again only in another call
                claim.commit({})
    assert seen == [key for key in keys if key not in (keys[3], keys[5])]
    assert [claim.key for claim in store.claims(keys)] == [keys[7]]


@pytest.mark.parametrize(
    ("sync", "json_only", "with_file"), [("never", 0, 0), ("artefacts", 0, 4), ("always", 2, 4)]
)
def test_what_is_flushed_to_the_disk(tmp_path, monkeypatch, sync, json_only, with_file):
    """With a file: the file, its name (folder), the record, its name. Alone: the record and its name."""
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (flushed.append(descriptor), real(descriptor)))
    with Store(tmp_path, sync=sync) as store:
        put(store, "json", {"x": 1})
        assert len(flushed) == json_only
        put(store, "file", {"x": 1}, video_mp4=b"abc")
        assert len(flushed) == json_only + with_file


def test_a_store_travels_to_another_process_as_the_same_folder_with_its_own_identity(store):
    put(store, "k", {"x": 1})
    held = store.claim("held")
    with pickle.loads(pickle.dumps(store)) as other:  # noqa: S301 - what multiprocessing and Ray do
        assert other.record("k").fields == {"x": 1}
        assert (other.root, other.stale_after, other.sync) == (store.root, store.stale_after, store.sync)
        assert other.claim("held") is None
        assert held.commit({})


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(StoreError, match="stale_after"):
        Store(tmp_path, stale_after=0)
    with pytest.raises(StoreError, match="sync"):
        Store(tmp_path, sync="sometimes")
    with pytest.raises(StoreError, match="not a string"):
        Store(tmp_path).claim(7)


def test_work_key_is_the_digest_of_canonical_json():
    inputs = {"caption": "a cat — 猫", "seed": 7, "settings": {"steps": 50, "guidance": 6.0}}
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    assert work_key(**inputs) == hashlib.sha256(text.encode()).hexdigest()
    assert work_key(a=1, b=2) == work_key(b=2, a=1)
    assert work_key(a=(1, 2)) == work_key(a=[1, 2])
    values = [1, 1.0, True, "1", None, [1], {"1": 1}]
    assert len({work_key(a=value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [Path("x"), math.nan, -math.inf, {1: 2}, b"x", {1}, [object()]])
def test_work_key_refuses_what_json_cannot_hold(value):
    with pytest.raises(StoreError, match="no exact JSON form"):
        work_key(caption="x", value={"deep": value})
