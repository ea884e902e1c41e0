"""The report: every text is text, every number stands where it belongs, and nothing is loaded or run."""

import base64
import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from closed_page import check_closed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synvita_data.demo.clips import animated, choose_rows
from synvita_data.demo.page import SHOWS, SHOWS_NOT, changes, page
from synvita_data.demo.report import Arm, Example, Report, Score
from synvita_data.display import plain

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m ‮</style>&amp;'
BEFORE = Score(90.0, 85.0, 95.0, 280)
DOWN = Score(70.04, 64.0, 76.0, 280, -19.96, -25.0, -15.0, 0.001)
SAME = Score(91.0, 86.0, 96.0, 280, 1.0, -2.0, 4.0, 0.6)


@cache
def clip(grey=100):
    pixels = np.full((6, 32, 48, 3), grey, np.uint8)
    pixels += (np.arange(6, dtype=np.uint8) * 20)[:, None, None, None]
    return animated(pixels, 8.0)


def report(**changed):
    arms = (
        Arm("before", "before fine-tuning", {"unseen": BEFORE}, {"star": (9, 10)}),
        Arm("none", "captions only", {"unseen": DOWN}, {"star": (4, 10)}, {"last loss": "1.234"}),
        Arm("synvita", "SynViTA", {"unseen": SAME}, {"star": (10, 10)}),
    )
    example = Example(
        row_id="a",
        misalignment="object",
        caption="A red circle spins.",
        contrast="A red star spins.",
        hidden=((6, 12),),
        hidden_contrast=((6, 10),),
        real=clip(),
        synthetic=clip(20),
        right=False,
        faults=("action",),
        shown="A red star blinks.",
        weight=0.25,
        difference=-0.125,
        unseen=("star",),
    )
    values = {
        "facts": {"Seed": "7"},
        "sets": {"unseen": "unseen concepts"},
        "metric": {"unseen": "AUC"},
        "arms": arms,
        "examples": (example, replace(example, misalignment="flip", right=True, faults=())),
        "wrong": (3, 8),
        "weights": (0.2, 0.05),
        "steps": (("Film", "synvita build", 1.5),),
    }
    return Report(**values | changed)


def test_every_number_stands_on_the_page():
    made = check_closed("".join(page(report())))
    for text in (
        "unseen concepts AUC, 280 texts",
        "90.0 [85.0, 95.0]",
        "70.0 [64.0, 76.0]",
        "-20.0 [-25.0, -15.0]",
        "+1.0 [-2.0, +4.0]",
        "40% 4 of 10",
        "100% 10 of 10",
        "ω 0.250 · f̄ difference -0.125",
        "3 of 8 synthetic clips do not show",
        "ω is 0.050, that of the others 0.200",
        "Wrong (action): shows “A red star blinks.”",
        "Right: shows what its caption says.",
        "last loss 1.234",
        "1.5 s",
    ):
        assert text in made.text, text
    for text in (*SHOWS, *SHOWS_NOT):
        assert text in made.text
    assert "it proves nothing about real videos" in made.text


def test_only_what_an_interval_tells_apart_has_a_colour():
    text = "".join(page(report()))
    assert text.count('class="down"') == 1
    assert text.count('class="up"') == 0
    assert changes(report().arms, "unseen") == [
        "captions only: 90.0 before, 70.0 after (-20.0 [-25.0, -15.0]).",
        "SynViTA: 90.0 before, 91.0 after (+1.0 [-2.0, +4.0]: no change that these clips can tell).",
    ]


def test_points_and_intervals_are_drawn_where_the_numbers_are():
    """The axis goes from 60 to 100."""
    text = "".join(page(report()))
    assert "60 to 100" in text
    assert '<i class="span" style="left:10.00%;width:30.00%"></i>' in text
    assert '<i class="point" style="left:25.10%"></i>' in text
    assert text.count('<i class="base" style="left:75.00%"></i>') == 3


def test_what_the_masks_hide_is_marked():
    text = "".join(page(report()))
    assert "<p>A red <mark>circle</mark> spins.</p>" in text
    assert "<p>A red <mark>star</mark> spins.</p>" in text


def test_clips_move_and_have_a_still_form():
    made = check_closed("".join(page(report())))
    pictures = [picture for picture in made.all("img") if "svg" not in picture["src"]]
    assert len(pictures) == 8
    moving, still = (
        Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))) for picture in pictures[:2]
    )
    assert moving.n_frames == 6
    assert moving.size == (48, 32)
    assert still.size == (4 * 48, 32)
    assert moving.info["loop"] == 0
    # Frame k is 20 grey levels brighter than the one before; the still shows the first, third, fourth and last.
    levels = []
    for place in range(6):
        moving.seek(place)
        levels.append(float(np.asarray(moving.convert("L")).mean()))
    assert np.allclose(levels, 100 + 20 * np.arange(6), atol=4)
    strip = np.asarray(still.convert("L"), np.float64).reshape(32, 4, 48).mean(axis=(0, 2))
    assert np.allclose(strip, [100, 140, 160, 200], atol=2)


def test_without_webp_clips_are_gifs(monkeypatch):
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: False)
    made = clip.__wrapped__()
    assert made.kind == "gif"
    assert Image.open(io.BytesIO(made.moving)).n_frames == 6


def test_the_page_without_arms_says_why():
    made = check_closed("".join(page(report(arms=(), sets={}, missing="Fine-tuning needs torch."))))
    assert "Fine-tuning needs torch." in made.text
    assert "Pairs in the right order" not in made.text


def test_the_filter_hides_all_but_one_kind():
    made = check_closed("".join(page(report())))
    assert [label["for"] for label in made.all("label")] == ["mmoving", "mstill", "kall", "k0", "k1"]
    shown = [each["class"] for each in made.all("article") if each.get("class", "").startswith("k")]
    assert shown == ["k0", "k1"]


def told(text):
    """A report in which every text of others is this one."""
    made = report(examples=())
    example = Example(
        row_id=text,
        misalignment=text,
        caption=text,
        contrast=text,
        hidden=((0, len(text)),),
        right=False,
        faults=(text,),
        shown=text,
        unseen=(text,),
    )
    return replace(
        made,
        arms=tuple(
            replace(arm, title=text, concepts={text: (1, 2)}, facts={text: text}) for arm in made.arms
        ),
        examples=(example,),
        facts={text: text},
        sets={"unseen": text},
        metric={"unseen": text},
        steps=((text, text, 1.0),),
    )


HARMLESS = [tag for tag, _ in check_closed("".join(page(told("x")))).elements]


@settings(max_examples=40)
@given(st.text(min_size=1, max_size=60) | st.just(EVIL))
def test_texts_are_text(text):
    """Whatever stands in a title, a caption, a fault or a command is on the page as that text and as nothing else."""
    found = check_closed("".join(page(told(text))))
    assert found.text.count(plain(text)) >= 10
    assert [tag for tag, _ in found.elements] == HARMLESS


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "misalignment": st.sampled_from(["flip", "count", "object"]),
            "wrong": st.booleans(),
            "unseen": st.sampled_from([(), ("star",)]),
        }
    ),
    max_size=30,
)


@given(ROWS, st.integers(1, 5))
def test_rows_to_look_at(rows, each):
    """At most `each` of a misalignment, as many as there are, half of them wrong where there are enough."""
    chosen = choose_rows(rows, each)
    assert len(set(chosen)) == len(chosen)
    for kind in {row["misalignment"] for row in rows}:
        own = [row for row in rows if row["misalignment"] == kind]
        shown = [rows[place] for place in chosen if rows[place]["misalignment"] == kind]
        assert len(shown) == min(each, len(own))
        wrong = sum(row["wrong"] for row in own)
        right = len(own) - wrong
        found = sum(row["wrong"] for row in shown)
        assert found >= min(wrong, each // 2)
        assert len(shown) - found >= min(right, each - each // 2)
        # No one without an unseen concept where one of the same sort with it is left out.
        for sort in (True, False):
            out = [
                rows[place]["unseen"]
                for place in range(len(rows))
                if place not in chosen
                and rows[place]["misalignment"] == kind
                and rows[place]["wrong"] == sort
            ]
            if any(out):
                assert all(row["unseen"] for row in shown if row["wrong"] == sort)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(frames):
    made = animated(np.zeros((frames, 16, 16, 3), np.uint8), 8.0)
    assert Image.open(io.BytesIO(made.still)).size == (64, 16)
