"""Progress of a long job, with a clock of our own."""

import io
import subprocess
import sys
import threading

import pytest

from synvita_data.jobs import JobProgress
from synvita_data.progress import Progress, duration, readable_rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock():
    return Clock()


def test_a_log_gets_a_line_now_and_then(clock):
    """2 a second from 100 that were done; one failure after 20 s: lines after 15, 30 and 45 s."""
    out = io.StringIO()
    with Progress("generate", stream=out, clock=clock) as progress:
        for second in range(50):
            progress.at(100 + 2 * second, 1000, reused=100, quarantined=int(second > 20))
            clock.now += 1
    assert out.getvalue().splitlines() == [
        "generate: 130 of 1,000, 100 reused, 2/s, 7 min left",
        "generate: 160 of 1,000, 1 quarantined, 100 reused, 2/s, 7 min left",
        "generate: 190 of 1,000, 1 quarantined, 100 reused, 2/s, 7 min left",
    ]


def test_whoever_knows_better_says_how_long_the_rest_takes(clock):
    out = io.StringIO()
    with Progress("demo", stream=out, clock=clock) as progress:
        for second in range(16):
            progress.at(second, 100, "percent", left=200.0 - second)
            clock.now += 1
    assert out.getvalue() == "percent: 15 of 100, 3 min left\n"


def test_a_short_job_is_silent(clock):
    out = io.StringIO()
    with Progress("probe", stream=out, clock=clock) as progress:
        for done in range(4):
            progress.at(done, 3)
            clock.now += 1
    assert out.getvalue() == ""


def test_nothing_done_yet_promises_nothing(clock):
    out = io.StringIO()
    with Progress("score", stream=out, clock=clock) as progress:
        progress.at(500, 1000)
        clock.now += 60
        progress.at(500, 1000)
        progress.at(0, 0, "empty")
        clock.now += 60
        progress.at(0, 0, "empty")
    assert out.getvalue() == "score: 500 of 1,000\nempty: 0 of 0\n"


def test_another_title_begins_another_count(clock):
    out = io.StringIO()
    with Progress("build", stream=out, clock=clock) as progress:
        for title, speed in (("checking", 10), ("writing", 1)):
            for second in range(16):
                progress.at(second * speed, 160, title)
                clock.now += 1
    assert out.getvalue().splitlines() == [
        "checking: 150 of 160, 10/s, 1 s left",
        "writing: 15 of 160, 1/s, 2 min left",
    ]


def test_the_rate_follows_a_change_of_speed(clock):
    """An hour at 10 a second, then 1 a second: ten minutes later only the new speed is left."""
    out = io.StringIO()
    progress = Progress("score", stream=out, clock=clock)
    done = 0
    for second in range(4200):
        progress.at(done, 46_600)
        clock.now += 1
        done += 10 if second < 3600 else 1
    last = out.getvalue().splitlines()[-1]
    assert last == "score: 36,585 of 46,600, 1/s, 2 h 47 min left"
    assert len(progress._samples) < 400, "memory stays flat"


def test_slow_work_has_a_rate_too(clock):
    """One piece in ten minutes, twice as long as the window."""
    out = io.StringIO()
    progress = Progress("generate", stream=out, clock=clock)
    for done in range(5):
        progress.at(done, 10)
        clock.now += 600
    assert out.getvalue().splitlines()[-1] == "generate: 4 of 10, 6/h, 60 min left"


def test_a_terminal_gets_a_bar(clock):
    out = Terminal()
    with Progress("build [x]", stream=out, clock=clock) as progress:
        progress.at(0, 10)
        clock.now += 20
        progress.at(10, 10, quarantined=1)
    text = out.getvalue()
    assert "build [x]" in text
    assert "10/10" in text
    assert "1 quarantined" in text


def test_a_run_of_a_job_is_followed(clock):
    """News at once, counts now and then; what failed needs no more work."""
    out = io.StringIO()
    with Progress("?", stream=out, clock=clock) as progress:
        for second in range(17):
            news = ("worker 1 is lost",) if second == 3 else ()
            progress.follow(JobProgress("scoring", 1000, 100 + second, second // 8, 100, news))
            clock.now += 1
    assert out.getvalue().splitlines() == [
        "scoring: worker 1 is lost",
        "scoring: 116 of 1,000, 1 quarantined, 100 reused, 1.07/s, 14 min left",
    ]


def test_news_stay_above_the_bar(clock):
    out = Terminal()
    with Progress("scoring", stream=out, clock=clock) as progress:
        progress.follow(JobProgress("scoring", 10, 1, 0, 0, ("worker [1] is lost",)))
    assert "scoring: worker [1] is lost" in out.getvalue()


def test_disabled_means_silent(clock):
    out = Terminal()
    with Progress("build", enabled=False, stream=out, clock=clock) as progress:
        progress.at(0, 10)
        clock.now += 100
        progress.at(5, 10)
    assert out.getvalue() == ""


def test_threads_may_share_one(clock):
    out = io.StringIO()
    progress = Progress("score", stream=out, clock=clock)

    def work() -> None:
        for done in range(500):
            clock.now += 0.5
            progress.at(done, 500)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(line.startswith("score: ") for line in out.getvalue().splitlines())
    assert out.getvalue().endswith("\n")


def test_rich_is_not_imported_without_a_terminal(repo_root):
    program = (
        "import sys\n"
        "from synvita_data.progress import Progress\n"
        "with Progress('x') as progress: progress.at(1, 2)\n"
        "print('rich' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (45.2, "45 s"), (720, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.4, "1,234/s"), (12.34, "12.3/s"), (0.521, "0.521/s"), (0.05, "3/min"), (14 / 3600, "14/h")],
)
def test_readable_rate(rate, text):
    assert readable_rate(rate) == text
