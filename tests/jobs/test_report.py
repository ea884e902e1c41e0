"""What people read at the end of a run."""

from synvita_data.jobs import Crash, Failure, JobReport
from synvita_data.jobs.report import SHOWN


def test_a_clean_run_is_one_line():
    report = JobReport("generating", 1200, 1200, 200, made=1000, seconds=7200.0)
    assert report.lines() == ["generating: 1,200 of 1,200 done (200 found done, 1,000 made now) in 2 h 0 min"]
    assert report.exit_status == 0


def test_everything_that_went_wrong_is_told():
    failures = tuple(
        Failure(f"{number:064x}", {"reason": "VideoError", "problem": "no frames", "file": "a.mp4", "row": 7})
        for number in range(3)
    ) + (Failure("short", {"reason": "ValueError", "problem": "two\nlines"}),)
    report = JobReport(
        "scoring",
        total=100,
        done=60,
        found=10,
        made=30,
        by_others=20,
        failed=9,
        failures=failures,
        held_back=5,
        unfinished=26,
        damaged=(("k", "cut"), ("m", "missing")),
        mended=1,
        crashes=(Crash(1, "killed by SIGKILL", ("a",)), Crash(0, "MemoryError: none")),
        lost_workers=1,
        seconds=30.0,
    )
    assert report.exit_status == 1
    assert report.lines() == [
        "scoring: 60 of 100 done (10 found done, 30 made now, 20 made by other runs) in 30 s",
        "5 left for another run by the limit",
        "2 results were damaged, 1 of them are mended:",
        "  k: cut",
        "  m: missing",
        "workers broke or were killed 2 times, 1 given up:",
        "  worker 1: killed by SIGKILL",
        "  worker 0: MemoryError: none",
        "9 failed and are in quarantine (--retry-failed does them again):",
        "  000000000000…: VideoError: no frames (a.mp4, row 7) (and 2 alike)",
        "  short: ValueError: two lines",
        "  and 5 more",
        "26 are still to do; run again to continue",
    ]


def test_long_lists_are_cut():
    damaged = tuple((f"k{number}", "cut") for number in range(SHOWN + 3))
    lines = JobReport("x", 20, 20, 12, made=8, damaged=damaged, mended=8).lines()
    assert lines[-1] == "  and 3 more"
    assert len(lines) == 2 + SHOWN + 1
