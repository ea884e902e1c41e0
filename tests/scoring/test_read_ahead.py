"""Reading ahead: in order, not too far, and with errors where they belong."""

import threading
import time
from pathlib import Path

import pytest

from synvita_data.captions import Text
from synvita_data.errors import VideoError
from synvita_data.models.runtime import read_ahead
from synvita_data.scoring import ScoringItem
from synvita_data.video import FramePolicy, MissingBackendError, MissingVideoError, decode


def items(count):
    return [ScoringItem(str(n), str(n), Path(f"{n}.mp4"), (Text("a"),), ("t",)) for n in range(count)]


def test_answers_come_in_order_whatever_takes_long():
    def read(item):
        time.sleep(0.02 if int(item.item_id) % 3 == 0 else 0)
        return item.item_id * 2

    found = [(item.item_id, value) for item, value in read_ahead(items(20), read, workers=4)]
    assert found == [(str(n), str(n) * 2) for n in range(20)]


def test_it_reads_in_other_threads_and_no_further_ahead_than_twice_the_workers():
    asked, threads = [], set()

    def stream():
        for item in items(30):
            asked.append(item)
            yield item

    def read(item):
        threads.add(threading.get_ident())
        return None

    for done, _ in enumerate(read_ahead(stream(), read, workers=3), start=1):
        assert len(asked) <= done + 6
    assert len(asked) == 30
    assert threading.get_ident() not in threads


def test_a_video_error_takes_its_place_and_others_end_the_stream():
    broken = VideoError("broken")

    def read(item):
        if item.item_id == "1":
            raise broken
        if item.item_id == "3":
            raise MissingBackendError("no decoder")
        return "frames"

    reading = read_ahead(items(6), read, workers=1)
    assert [next(reading)[1] for _ in range(3)] == ["frames", broken, "frames"]
    with pytest.raises(MissingBackendError):
        next(reading)


def test_stopping_early_leaves_no_thread_behind():
    before = set(threading.enumerate())
    reading = read_ahead(items(50), lambda item: time.sleep(0.01), workers=4)
    next(reading)
    reading.close()
    assert set(threading.enumerate()) <= before


def test_a_video_that_is_not_there(tmp_path):
    item = ScoringItem("x", "x", tmp_path / "none.mp4", (Text("a"),), ("t",))
    ((found, error),) = read_ahead([item], lambda each: decode(each.video, FramePolicy(count=2)), workers=1)
    assert found is item
    assert isinstance(error, MissingVideoError)
