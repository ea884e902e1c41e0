"""Which frames a policy chooses, against formulas written out again here and against NumPy."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.video import RULES, FramePolicy, FramePolicyError, NoFramesError, select_frames
from synvita_data.video.sampling import look_times

many = st.integers(1, 2000)
few = st.integers(1, 64)


def at_rate(frames: int, fps: float) -> list[float]:
    return [i / fps for i in range(frames)]


def test_the_rules_that_segment_midpoints_is_not():
    """docs/video.md: our choice for f̄, neither VQAScore's rule for image models nor the one for InternVideo."""
    text = (Path(__file__).parents[2] / "docs" / "video.md").read_text(encoding="utf-8")
    ours, images, internvideo = ([rule(32, k) for k in range(4)] for rule in (
        lambda n, k: round((k + 0.5) * n / 4), lambda n, k: k * (n // 4), lambda n, k: 3 + round((n - 1) / 4 * k)
    ))  # fmt: skip
    assert RULES["segment-midpoints"](32, 4) == ours
    assert RULES["mplug-owl"](32, 4) == internvideo
    assert len({tuple(each) for each in (ours, images, internvideo)}) == 3
    for each in (ours, images, internvideo):
        assert ", ".join(map(str, each)) in text


@given(frames=many, count=few)
def test_segment_midpoints_is_the_frame_in_the_middle_of_each_segment(frames: int, count: int) -> None:
    chosen = select_frames(FramePolicy(count=count), at_rate(frames, 8))
    for k, index in enumerate(chosen):
        middle = frames * (k + 0.5) / count  # in frames; frame i covers [i, i + 1)
        assert index <= middle + 1e-9
        assert middle < index + 1 + 1e-9
    assert len(chosen) == count
    assert min(chosen) >= 0
    assert max(chosen) < frames


@given(frames=many, count=few)
def test_linspace_is_numpy(frames: int, count: int) -> None:
    policy = FramePolicy(count=count, rule="linspace")
    assert select_frames(policy, at_rate(frames, 8)) == list(np.linspace(0, frames - 1, count, dtype=int))


@given(frames=many)
def test_mplug_owl_is_its_released_formula(frames: int) -> None:
    segment = float(frames - 1) / 32
    expected = np.array([int(segment / 2) + int(np.round(segment * k)) for k in range(32)])
    chosen = select_frames(FramePolicy(rule="mplug-owl"), at_rate(frames, 8))
    assert chosen == expected.tolist()
    assert max(chosen) < frames


def test_rules_on_known_numbers() -> None:
    times = at_rate(100, 10)
    assert select_frames(FramePolicy(rule="mplug-owl"), times)[:7] == [1, 4, 7, 10, 13, 16, 20]
    assert select_frames(FramePolicy(count=4), at_rate(49, 8)) == [6, 18, 30, 42]
    assert select_frames(FramePolicy(rule="linspace"), at_rate(32, 8)) == [0, 4, 8, 13, 17, 22, 26, 31]
    assert select_frames(FramePolicy(rule="all"), at_rate(5, 8)) == [0, 1, 2, 3, 4]
    assert select_frames(FramePolicy(indices=(4, 0, 4)), at_rate(5, 8)) == [4, 0, 4]


def test_a_short_video_repeats_frames_so_that_the_count_holds() -> None:
    assert select_frames(FramePolicy(count=8), at_rate(3, 8)) == [0, 0, 0, 1, 1, 2, 2, 2]
    assert select_frames(FramePolicy(count=5), [0.0]) == [0] * 5


@given(frames=many, rate=st.sampled_from([8.0, 24.0, 30000 / 1001]), fps=st.floats(0.5, 60))
def test_fps_takes_the_frame_on_show(frames: int, rate: float, fps: float) -> None:
    times, duration = at_rate(frames, rate), frames / rate
    chosen = select_frames(FramePolicy(fps=fps), times, duration=duration)
    assert abs(len(chosen) - duration * fps) < 1 + 1e-6
    for k, index in enumerate(chosen):
        assert times[index] <= k / fps + 1e-5
        assert index == frames - 1 or times[index + 1] > k / fps - 1e-5


def test_start_equal_to_a_rounded_timestamp_includes_it() -> None:
    times = at_rate(300, 30000 / 1001)
    assert select_frames(FramePolicy(rule="all"), times, start=round(times[10], 7), end=times[12]) == [10, 11]


def test_fps_within_a_window_starts_at_the_window() -> None:
    assert select_frames(FramePolicy(fps=2), at_rate(80, 8), start=2.0, end=4.0) == [16, 20, 24, 28]


@pytest.mark.parametrize("index", [5, 100])
def test_an_index_that_is_not_there_is_an_error(index: int) -> None:
    with pytest.raises(NoFramesError, match=rf"clip.mp4: .*index {index}.*0 to 4"):
        select_frames(FramePolicy(indices=(0, index)), at_rate(5, 8), file="clip.mp4")


def test_an_index_outside_the_window_is_an_error() -> None:
    with pytest.raises(NoFramesError, match="8 to 15"):
        select_frames(FramePolicy(indices=(0,)), at_rate(80, 8), start=1.0, end=2.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rule": "uniform"},
        {"backend": "opencv"},
        {"count": 0},
        {"count": 2.5},
        {"count": True},
        {"size": 0},
        {"size": (224, -1)},
        {"size": (1, 2, 3)},
        {"fps": 0.0},
        {"fps": math.nan},
        {"fps": math.inf},
        {"fps": 2, "count": 8},
        {"fps": 2, "indices": (1,)},
        {"indices": ()},
        {"indices": (-1,)},
        {"indices": (1.5,)},
        {"indices": (1,), "rule": "linspace"},
        {"rule": "all", "count": 8},
    ],
)
def test_contradictions_are_refused(arguments: dict) -> None:
    with pytest.raises(FramePolicyError):
        FramePolicy(**arguments)


@given(
    st.one_of(
        st.builds(
            FramePolicy, count=few, rule=st.sampled_from(["segment-midpoints", "linspace", "mplug-owl"])
        ),
        st.builds(FramePolicy, fps=st.floats(0.1, 100), size=st.integers(1, 999)),
        st.builds(FramePolicy, indices=st.lists(st.integers(0, 99), min_size=1).map(tuple)),
        st.builds(FramePolicy, rule=st.just("all"), size=st.tuples(st.integers(1, 9), st.integers(1, 9))),
        st.builds(FramePolicy, backend=st.sampled_from(["pyav", "decord", "torchcodec"])),
    )
)
def test_a_policy_survives_json_and_hashes_by_value(policy: FramePolicy) -> None:
    again = FramePolicy.from_dict(json.loads(json.dumps(policy.to_dict())))
    assert again == policy
    assert hash(again) == hash(policy)


def test_defaults_are_resolved_so_that_equal_policies_have_equal_keys() -> None:
    assert FramePolicy() == FramePolicy(count=8)
    assert FramePolicy().count == 8
    assert FramePolicy(rule="mplug-owl").count == 32
    assert FramePolicy(rule="all").count is None
    assert FramePolicy(fps=2).rule == "fps"
    assert FramePolicy(indices=[np.int64(3)]).to_dict()["indices"] == [3]
    assert FramePolicy(size=[2, 3]).size == (2, 3)
    assert set(RULES) == {"segment-midpoints", "linspace", "mplug-owl", "all"}


def test_unknown_keys_of_a_stored_policy_are_refused() -> None:
    with pytest.raises(FramePolicyError, match="cuont"):
        FramePolicy.from_dict({"cuont": 8})


@pytest.mark.parametrize(
    ("size", "stored", "expected"),
    [
        (None, (480, 720), (480, 720)),
        (224, (480, 720), (224, 336)),
        (224, (720, 480), (336, 224)),
        (224, (320, 512), (224, 358)),  # 358.4, rounded down
        (224, (224, 224), (224, 224)),
        ((224, 224), (480, 720), (224, 224)),
        ((32, 64), (480, 720), (32, 64)),
        (1, (1, 1000), (1, 1000)),
        (1, (1000, 1), (1000, 1)),
    ],
)
def test_target_size(size: object, stored: tuple[int, int], expected: tuple[int, int]) -> None:
    assert FramePolicy(size=size).target_size(*stored) == expected


def test_more_frames_than_a_video_may_have_are_refused_before_they_are_listed():
    shown = [k / 10 for k in range(12)]
    for policy in (FramePolicy(fps=1e9), FramePolicy(fps=1.7e308), FramePolicy(fps=200_000)):
        with pytest.raises(FramePolicyError, match=r"x.mp4: a frame rate asks for more frames"):
            select_frames(policy, shown, duration=1.2, file="x.mp4")
    assert len(select_frames(FramePolicy(fps=100_000), shown, duration=1.2)) == 120_000
    # A rate with a most is a rate of that most.
    for fps in (1e9, 1e300):
        assert select_frames(FramePolicy(fps=fps, max_frames=4), shown, duration=1.2) == [0, 3, 6, 9]
    with pytest.raises(FramePolicyError, match="at most 216,000"):
        FramePolicy(count=10**9)


@given(st.floats(0.1, 50), st.integers(1, 30), st.floats(0.05, 4))
def test_a_most_chooses_as_if_all_looks_were_listed(fps, most, duration):
    shown = [0.0, duration / 3]
    every = [k / fps for k in range(300) if k == 0 or k / fps < duration - 6e-7]
    wanted = every if len(every) <= most else [k * duration / most for k in range(most)]
    policy = FramePolicy(fps=fps, max_frames=most)
    assert look_times(policy, shown, [], None, None, duration) == pytest.approx(wanted)
