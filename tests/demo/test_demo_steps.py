"""Steps of a long command: found again, done again where something is gone, and never those of other settings."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs.number_jobs import wait_until

from synvita_data.demo import steps as module
from synvita_data.demo.steps import Course, Step
from synvita_data.errors import SynvitaError
from synvita_data.progress import Progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Work:
    """Three steps; each leaves a file and takes `pace` times its seconds on the clock."""

    def __init__(self, folder, made_of=None, pace=1.0):
        self.folder, self.clock, self.pace = folder, Clock(), pace
        self.did, self.said = [], []
        self.steps = [
            Step(name, name.title(), seconds, (folder / name,))
            for name, seconds in (("film", 30.0), ("train", 60.0), ("write", 10.0))
        ]
        self.course = Course(
            folder / "demo.json",
            made_of or {"seed": 0},
            self.steps,
            say=lambda title, note: self.said.append(f"{title} | {note}"),
            clock=self.clock,
        )

    def do(self, name, fail=False):
        def body(at):
            self.did.append(name)
            step = next(step for step in self.steps if step.name == name)
            self.clock.now += step.seconds * self.pace
            if fail:
                raise KeyboardInterrupt
            (self.folder / name).write_text("made")
            return {"name": name}

        return self.course.run(name, body)

    def all(self):
        return [self.do(step.name) for step in self.steps]


def test_what_is_done_is_found_again(tmp_path):
    first = Work(tmp_path)
    assert [done.found for done in first.all()] == [False, False, False]
    again = Work(tmp_path)
    done = again.all()
    assert again.did == []
    assert [each.found for each in done] == [True, True, True]
    assert [each.facts for each in done] == [{"name": "film"}, {"name": "train"}, {"name": "write"}]
    assert again.said[1] == "2 of 3  Train | done before, in 60 s"


def test_an_interrupted_step_is_done_again_and_those_before_it_are_not(tmp_path):
    first = Work(tmp_path)
    first.do("film")
    with pytest.raises(KeyboardInterrupt):
        first.do("train", fail=True)
    again = Work(tmp_path)
    again.all()
    assert again.did == ["train", "write"]


def test_what_was_made_of_a_lost_result_is_made_again(tmp_path):
    Work(tmp_path).all()
    (tmp_path / "film").unlink()
    again = Work(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        again.do("film", fail=True)
    (tmp_path / "film").write_text("half")  # of the killed step: its record is gone, so it counts for nothing
    third = Work(tmp_path)
    third.all()
    assert third.did == ["film", "train", "write"]


def test_other_settings_are_refused_by_name(tmp_path):
    Work(tmp_path, {"seed": 0, "pairs": 70}).do("film")
    with pytest.raises(SynvitaError, match="other settings") as caught:
        Work(tmp_path, {"seed": 1, "pairs": 70})
    assert "seed 0" in str(caught.value)
    assert "seed 1" in str(caught.value)
    assert "pairs" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "made_of": 3, "steps": {}}'])
def test_a_damaged_record_is_an_error(tmp_path, text):
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(SynvitaError, match=r"demo\.json"):
        Work(tmp_path)


def test_a_record_of_another_form_is_of_another_demo(tmp_path):
    record = {"format": 99, "made_of": {"seed": 0}, "steps": {}}
    (tmp_path / "demo.json").write_text(json.dumps(record))
    with pytest.raises(SynvitaError, match="format 99"):
        Work(tmp_path)


def test_steps_come_in_their_order(tmp_path):
    with pytest.raises(ValueError, match="next step is film"):
        Work(tmp_path).do("train")


@settings(max_examples=10)
@given(st.floats(0.1, 50.0))
def test_the_time_left_follows_the_pace_of_this_machine(tmp_path_factory, pace):
    work = Work(tmp_path_factory.mktemp("pace"), pace=pace)
    assert work.course.seconds_left() == pytest.approx(100.0)
    work.do("film")
    # 20 s at the pace where it was measured, and the 30 s of the first step as they were here.
    assert work.course.seconds_left() == pytest.approx(70.0 * (20 + 30 * pace) / 50)
    work.do("train")
    work.do("write")
    assert work.course.seconds_left() == 0.0


def test_a_step_that_takes_longer_than_expected_has_time_left(tmp_path):
    """Thrice its 30 s on the clock: a tenth of it is said to be left, and the other steps take as much longer."""
    work = Work(tmp_path)

    def slow(at):
        work.clock.now += 90.0
        pace = (20 + 90) / (20 + 30)
        assert work.course.seconds_left() == pytest.approx((70 + 3) * pace)
        at(0.95)
        assert work.course.seconds_left() == pytest.approx((70 + 1.5) * pace)
        return {}

    work.course.run("film", slow)


def test_found_steps_take_no_time(tmp_path):
    first = Work(tmp_path)
    first.do("film")
    first.do("train")
    assert Work(tmp_path).course.seconds_left() == pytest.approx(10.0)


def test_percent_and_time_left_are_shown_while_a_step_is_done(tmp_path, monkeypatch):
    """The clock jumps by itself; what is shown is waited for, never a time."""
    monkeypatch.setattr(module, "TICK", 0.001)
    out, clock, shown = io.StringIO(), Clock(), Clock()

    class Shown(Progress):
        def at(self, *arguments, **options):
            shown.now += 16.0  # so that every line is due
            super().at(*arguments, **options)

    course = Course(
        tmp_path / "demo.json",
        {},
        [Step("film", "Film", 30.0), Step("train", "Train", 70.0)],
        progress=lambda: Shown("demo", stream=out, clock=shown),
        clock=clock,
    )

    def body(at):
        at(0.5)
        # Lines may have come before it was told.
        wait_until(lambda: "percent: 15 of 100" in out.getvalue())
        return {}

    course.run("film", body)
    assert "percent: 15 of 100, 85 s left" in out.getvalue()
