"""Scorers and texts with a question: a Video LLM answers, others say by name that they cannot, and keys tell questions apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synvita_data.captions import Question, QuotedTokens, Text
from synvita_data.errors import CaptionError, SynvitaError, TokenizerError
from synvita_data.evaluation.scoring import item_key
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.scoring.open import open_scorer
from synvita_data.testing import make_tiny
from synvita_data.video import decode, encode_mp4


def options(words, answers):
    return tuple(
        Text(f"{words} {answer}", question=Question(words, tuple(answers), i))
        for i, answer in enumerate(answers)
    )


TEXTS = (
    *options("Which way? A. left B. right C. up", "ABC"),
    Text("A dog runs."),
    *options("Does a dog run?", ("Yes", "No")),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(make_tiny("video_llava", tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture(scope="module")
def item(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    encode_mp4(np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8), 4, path)
    return ScoringItem("item", "v", path, TEXTS, tuple("abcdef"))


@pytest.mark.parametrize("strategy", [None, "plain", "packed", "cached"])
def test_a_video_llm_answers(checkpoint, item, strategy):
    """Each option by itself, one forward each; Yes and No are opposites, and the kind stays."""
    made = AlignmentScorer.open(checkpoint, device="cpu", strategy=strategy)
    made.check_texts(TEXTS)
    (answer,) = made.score([item])
    frames = decode(item.video, made.frames)
    with torch.no_grad():
        alone = [made.model([frames], [[text]], strategy="plain").log_odds.item() for text in TEXTS]
    assert answer.scores.dtype == np.float32
    assert np.abs(answer.scores - alone).max() < 1e-5
    assert answer.scores[4] == -answer.scores[5]
    assert len(set(answer.scores[:3].tolist())) == 3
    assert made.kind == "log_odds"


def test_mirrored_options_are_asked_of_the_mirror_image(checkpoint, item):
    made = AlignmentScorer.open(checkpoint, device="cpu", flips="seed0")
    plain, turned, both = made.score(
        [item, replace(item, mirrored=(True,) * 6), replace(item, mirrored=(True, False) * 3)]
    )
    assert np.abs(plain.scores - turned.scores).min() > 1e-6
    mixed = np.where([True, False] * 3, turned.scores, plain.scores)
    assert np.abs(both.scores - mixed).max() < 1e-5


def test_questions_are_checked_before_long_work(checkpoint):
    made = AlignmentScorer.open(checkpoint, device="cpu")
    with pytest.raises(TokenizerError, match="List the options by letters"):
        made.check_texts([*TEXTS, *options("Which way?", ("left", "to the right"))])
    with pytest.raises(CaptionError, match="a question holds a special token"):
        made.check_texts(options("Which </s> way?", "AB"))


def test_the_released_read_out_refuses_questions(checkpoint, item):
    made = AlignmentScorer.open(checkpoint, device="cpu", readout="released")
    made.check_texts(TEXTS[3:4])
    with pytest.raises(SynvitaError, match=r"Which way.*answers A, B, C.*--readout float32"):
        made.check_texts(TEXTS)
    with pytest.raises(SynvitaError, match="released read-out"):
        list(made.score([item]))


def test_a_clip_refuses_questions_by_name(item, tmp_path):
    made = open_scorer(str(make_tiny("clip", tmp_path)), device="cpu")
    made.check_texts(TEXTS[3:4])
    for ask in (lambda: made.check_texts(TEXTS), lambda: list(made.score([item]))):
        with pytest.raises(SynvitaError, match=r"a clip compares .*Which way.*statements") as caught:
            ask()
        assert caught.value.file == str(tmp_path)


@pytest.mark.parametrize("model", ["chance", "words"])
@pytest.mark.parametrize("given", [{"frames": {"fps": 2.0}}, {"revision": "main"}])
def test_baselines_refuse_what_they_would_not_look_at(model, given):
    with pytest.raises(
        SynvitaError, match=f"{model} has no weights and looks at no video.*(fps 2.0|revision main)"
    ):
        open_scorer(model, **given)


def test_chance_goes_by_caption(item):
    (answer,) = open_scorer("chance").score([item])
    assert len(set(answer.scores.tolist())) == len(TEXTS)


def test_a_question_enters_an_items_key_where_there_is_one():
    def key(text):
        return item_key(ScoringItem("i", "v", b"", (text,), ("t",)))

    asked = Text("w A", question=Question("w", ("A", "B"), 0))
    changed = [
        replace(asked, question=question)
        for question in (
            None,
            Question("x", ("A", "B"), 0),
            Question("w", ("A", "C"), 0),
            Question("w", ("A", "B"), 1),
        )
    ]
    flagged = Text("w A", tokens=QuotedTokens((1, 2), (True, False)))
    assert len({key(text) for text in (asked, *changed, flagged)}) == 6
    assert key(asked) == key(Text("w A", question=Question("w", ("A", "B"))))
    # Without a question the parts of a key are what they were.
    assert Text("a cat", ((2, 5),)).key_parts() == [((2, 5),)]
    assert flagged.key_parts() == [(), (1, 2), (True, False)]
