"""The order of frames under a control, and a frame rate with a bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import FramePolicyError, SynvitaError
from synvita_data.video import FramePolicy, Frames, decode, encode_mp4
from synvita_data.video.controls import CONTROLS, Control
from synvita_data.video.sampling import look_times, select_frames

INDICES = st.lists(st.integers(0, 5), min_size=1, max_size=9).map(sorted)


@given(INDICES, st.integers(0, 3), st.text(max_size=5))
def test_orders(indices, seed, video):
    count = len(indices)
    assert Control("reverse").order(indices, video) == [count - 1 - k for k in range(count)]
    (middle,) = set(Control("frame").order(indices, video))
    # As many before it as behind it; of an even number one more before it.
    assert middle - (count - 1 - middle) in (0, 1)
    assert len(Control("frame").order(indices, video)) == count
    order = Control("shuffle", seed).order(indices, video)
    assert sorted(order) == list(range(count))
    assert ([indices[place] for place in order] == indices) == (len(set(indices)) == 1)
    assert order == Control("shuffle", seed).order(tuple(indices), video)


def test_a_shuffle_is_of_its_seed_and_video_and_any_order_comes():
    indices = (0, 4, 8, 12)
    orders = [
        tuple(Control("shuffle", seed).order(indices, f"v{n}")) for seed in range(20) for n in range(20)
    ]
    counts = {order: orders.count(order) for order in orders}
    assert len(counts) == 23  # all of 4! but the frames' own
    assert max(counts.values()) < 40  # of 400: none is much liked
    # What is written down is found again in every release of Python.
    assert Control("shuffle", 0).order(range(8), "ssv2_10") == [7, 2, 0, 5, 6, 1, 4, 3]


def test_only_pixels_move():
    pixels = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    frames = Frames(pixels, (3, 6, 9), (0.3, 0.6, 0.9), 10.0, "x", "none", (0.35, 0.6, 0.9))
    moved, shown = Control("reverse").apply(frames, "v")
    assert moved.pixels[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert shown == (9, 6, 3)
    for name in ("indices", "timestamps", "look_times", "fps"):
        assert getattr(moved, name) == getattr(frames, name)
    still, shown = Control("frame").apply(frames, "v")
    assert still.pixels[:, 0, 0, 0].tolist() == [1, 1, 1]
    assert shown == (6, 6, 6)


def test_settings_say_what_frames_depend_on():
    for name in CONTROLS:
        seeded = name == "shuffle"
        assert Control(name, 7).settings == {"control": name, **({"control_seed": 7} if seeded else {})}
        assert ("control_video" in Control(name).settings_of("v")) == seeded
        assert Control(name).watches == (name != "text")
    with pytest.raises(SynvitaError, match="unknown control"):
        Control("blind")


# A rate with a bound


@given(
    count=st.integers(1, 60),
    fps=st.floats(0.1, 40),
    bound=st.integers(1, 20),
    window=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_at_most_so_many_frames_over_the_same_seconds(count, fps, bound, window):
    times, duration = [k / 10 for k in range(count)], count / 10
    start, end = (None, None) if window[0] == window[1] else sorted(share * duration for share in window)
    if end is not None and end - start < 1e-3:
        start = end = None
    free, bounded = FramePolicy(fps=fps), FramePolicy(fps=fps, max_frames=bound)
    whole = select_frames(free, times, start=start, end=end, duration=duration)
    found = select_frames(bounded, times, start=start, end=end, duration=duration)
    looks = look_times(bounded, times, found, start, end, duration)
    assert len(found) == len(looks) == min(len(whole), bound)
    if len(whole) <= bound:
        assert found == whole
        return
    first, last = 0.0 if start is None else start, duration if end is None else end
    assert np.allclose(np.diff([*looks, last]), (last - first) / bound)  # each stands for as long
    # The frame on show at each time, by looking at all of them.
    assert found == [max(k for k in range(count) if times[k] <= look + 6e-7) for look in looks]


def test_a_bound_needs_a_rate_and_enters_keys_only_where_it_is_set():
    with pytest.raises(FramePolicyError, match="max_frames bounds a frame rate"):
        FramePolicy(max_frames=4)
    with pytest.raises(FramePolicyError, match="max_frames must be a whole number"):
        FramePolicy(fps=1, max_frames=0)
    assert "max_frames" not in FramePolicy(fps=2).to_dict()
    policy = FramePolicy(fps=2, max_frames=4)
    assert policy.to_dict()["max_frames"] == 4
    assert FramePolicy.from_dict(policy.to_dict()) == policy


def test_a_rate_takes_the_place_of_a_count_and_back():
    by_rate = FramePolicy(count=8, rule="linspace", size=28).changed(fps=3, max_frames=5)
    assert by_rate == FramePolicy(fps=3, max_frames=5, size=28)
    assert by_rate.changed(count=4) == FramePolicy(count=4, rule="linspace", size=28)
    assert by_rate.changed(fps=1) == FramePolicy(fps=1, max_frames=5, size=28)
    assert FramePolicy(fps=2).changed(max_frames=3) == FramePolicy(fps=2, max_frames=3)
    for own in (FramePolicy(), FramePolicy(fps=2)):
        with pytest.raises(FramePolicyError):
            own.changed(count=4, fps=2)


def test_a_file_by_rate_with_a_bound(tmp_path):
    path = tmp_path / "clip.mp4"
    encode_mp4(np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), 8, path)
    assert decode(path, FramePolicy(fps=4)).indices == (0, 2, 4, 6, 8, 10, 12, 14)
    frames = decode(path, FramePolicy(fps=4, max_frames=4))
    assert frames.indices == (0, 4, 8, 12)
    assert np.allclose(frames.look_times, (0, 0.5, 1, 1.5))
