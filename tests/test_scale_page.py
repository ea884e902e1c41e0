"""docs/scale.md: every computed figure again, from the facts that the page names."""

import csv
from collections import Counter
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
SIZES = {"two kinds": 16_856, "all seven": 55_000}
A100 = 0.4 * 312  # TFLOP/s, as the page assumes
MEAN = (0.27 + 0.44 + 1.00) / 3  # MB, the three released files


def line(*words):
    (found,) = [each for each in PAGE.splitlines() if all(word in each for word in words)]
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("model", "seconds"), [("CogVideoX-2b", 90), ("CogVideoX-5b", 180)])
def test_generation(size, model, seconds):
    hours = SIZES[size] * seconds / 3600
    cells = line(f"| {model}, {size} |")
    assert f"{SIZES[size]:,} × {seconds} s = **{hours:,.0f}**" in cells
    assert f"| {hours / 24:.1f} d |" in cells
    many, most = hours / 8, hours / 64
    assert f"| {many:.1f} h |" in cells or f"| {many:.0f} h |" in cells
    assert f"| {most:.1f} h |" in cells


@pytest.mark.parametrize(
    ("scorer", "work"),
    [("CLIP-FlanT5-xxl |", 60), ("LLaVA-1.5-13b |", 73), ("InstructBLIP-Flan-T5-xxl |", 9)],
)
def test_scoring(scorer, work):
    cells = [cell.strip() for cell in line(f"| {scorer}", "GB |").split("|")]
    seconds, *hours = map(float, cells[4:7])
    assert cells[3] == str(work)
    # The page rounds the work to whole TFLOPs and computes with the exact one.
    for found, expected, unit in (
        (seconds, work / A100, 0.01),
        *((own, rows * work / A100 / 3600, 0.1) for own, rows in zip(hours, SIZES.values(), strict=True)),
    ):
        assert abs(found - expected) <= unit / 2 + expected * 0.5 / work


def test_scoring_by_all_three_and_what_a_pass_over_jobs_takes():
    total = 60 + 73 + 9
    hours = [rows * total / A100 / 3600 for rows in SIZES.values()]
    cells = line("**all three**")
    for figure in (str(total), f"{total / A100:.2f}", *(f"{each:.1f}" for each in hours)):
        assert f"**{figure}**" in cells
    for rows in SIZES.values():
        assert f"{rows * 90 / 3600:,.0f} ÷ 32 = {rows * 90 / 3600 / 32:.1f}" in PAGE


@pytest.mark.parametrize("size", SIZES)
def test_storage(size):
    rows = SIZES[size]
    assert f"{rows * 0.27 / 1000:.1f}…{rows / 1000:.1f} GB, {rows * MEAN / 1000:.1f} GB at" in PAGE
    assert f"{rows:,} files: {rows * 4096 / 1e6:.0f} MB" in PAGE
    assert f"{3 * rows:,} files: {3 * rows * 4096 / 1e6:.0f} MB" in PAGE


def test_the_size_of_all_seven_is_what_the_checkpoints_steps_say():
    possible = [
        rows
        for rows in range(150_000, 180_000)
        if -(-rows // 4) // 8 == 5180 and -(-rows // 64) * 2 == 5182 and -(-rows // 32) == 5181
    ]
    assert f"{possible[0]:,} to {possible[-1]:,} training rows" in PAGE
    triplets = [rows // 3 for rows in possible if rows % 3 == 0]
    assert f"{triplets[0]:,} to {triplets[-1]:,} triplets" in PAGE
    assert round(triplets[0], -3) == SIZES["all seven"]


def test_two_kinds_are_the_rows_of_the_published_file(real_data):
    with (real_data / "videocon-16k" / "triplets.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    kinds, sources = (Counter(row[name] for row in rows) for name in ("misalignment", "source"))
    assert len(rows) == SIZES["two kinds"]
    assert f"action ({kinds['action']:,}) and flip ({kinds['flip']:,})" in PAGE
    assert kinds.total() == kinds["action"] + kinds["flip"]
    assert f"MSR-VTT {sources['msr-vtt']:,}, VATEX {sources['vatex']:,}, TEMPO {sources['tempo']:,}" in PAGE


def test_hours_from_measured_seconds():
    section = PAGE.partition("## Measured on an H100")[2].partition("\n## ")[0]
    rows = [each.split("|")[2:5] for each in section.splitlines() if each.startswith("| ")][1:]
    assert len(rows) == 5
    for cells in rows:
        seconds, *hours = map(float, cells)
        for found, triplets in zip(hours, SIZES.values(), strict=True):
            assert found == pytest.approx(triplets * seconds / 3600, abs=0.05)
