"""Training with `granularity: released`: its token flags reach every place that hides tokens."""

import json
import logging

import numpy as np
import pytest
import torch
from released_reference import released
from small_triplets import mp4, row, tiny_model

from synvita_data.captions import Text
from synvita_data.models import EncodedVideo
from synvita_data.scoring import ScoringItem
from synvita_data.training import StockCollator, TripletData
from synvita_data.training.output import data_identity
from synvita_data.video import FramePolicy, decode

CAPTIONS = ("a red dog runs.", "a red cat runs")


def made(family: str = "video_llava", **options):
    rows = [row(0, caption=CAPTIONS[0], neg_caption=CAPTIONS[1])]
    return TripletData(rows, tiny_model(family), granularity="released", **options)


def released_hidden(tokenizer, ids: list[int], caption: str, other: str) -> list[int]:
    """Positions in `ids` that the released code masks."""
    own, others = (
        tokenizer(f'"{text}"?', add_special_tokens=False)["input_ids"] for text in (caption, other)
    )
    return np.flatnonzero(released(ids, own, others)).tolist()


def video(family: str):
    model = tiny_model(family)
    return model.prepare(decode(mp4(0), FramePolicy(count=8, rule="linspace")))


@pytest.mark.parametrize("family", ["video_llava", "mplug-owl"])
def test_prompts_hide_what_the_released_code_hides(family):
    model, prepared = tiny_model(family), video(family)
    texts = made(family)[0].texts
    assert [text.tokens is None for text in texts] == [True, True, False, False]
    ends = set()
    for text, other in ((texts[2], CAPTIONS[1]), (texts[3], CAPTIONS[0])):
        tokens = model.prompter.tokens(text, None, prepared)
        ids = tokens.ids.tolist()
        expected = released_hidden(model.family.tokenizer, ids, text.caption, other)
        assert np.flatnonzero(tokens.hidden).tolist() == expected
        by_spans = model.prompter.tokens(Text(text.caption, text.hidden), None, prepared)
        ends.add(len(expected) - int(by_spans.hidden.sum()))
        assert set(np.flatnonzero(by_spans.hidden)) <= set(expected)
    assert max(ends) > 0  # the question mark of at least one


@pytest.mark.parametrize("family", ["video_llava", pytest.param("mplug-owl", marks=pytest.mark.slow)])
def test_every_way_and_the_feature_cache_honour_the_flags(family):
    """The stock forward with zeros at the hidden tokens (plain) is what the other ways are held to."""
    model, prepared = tiny_model(family), video(family)
    texts = made(family)[0].texts
    bare = [Text(text.caption, text.hidden) for text in texts]
    with torch.no_grad():
        encoded = model.encode(prepared)
        as_cached = EncodedVideo(encoded.prepared, {name: v.cpu() for name, v in encoded.features.items()})
        plain = model([prepared], [texts], strategy="plain").log_odds
        for given in (prepared, encoded, as_cached):
            for way in ("plain", "packed", "cached"):
                assert (model([given], [texts], strategy=way).log_odds - plain).abs().max() < 1e-4
        by_spans = model([prepared], [bare], strategy="packed").log_odds
    assert (plain[:2] - by_spans[:2]).abs().max() < 1e-4
    assert (plain[2:] - by_spans[2:]).abs().max() > 1e-4


def test_the_stock_collator_honours_the_flags():
    model = tiny_model()
    data = made(nle_share=0, weighting="fixed")
    batch = StockCollator(model.family.model, model.family.processor)([data[0]])
    found = []
    for ids, mask in zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True):
        hidden = [i for i, seen in enumerate(mask) if not seen and ids[i] != 0]  # padding is 0
        for caption, other in (CAPTIONS, CAPTIONS[::-1]):
            own = model.family.tokenizer(f'"{caption}"?', add_special_tokens=False)["input_ids"]
            if hidden and any(ids[i : i + len(own)] == own for i in range(len(ids))):
                assert hidden == released_hidden(model.family.tokenizer, ids, caption, other)
                found.append(caption)
    # Both masked texts with both videos; the unmasked ones hide nothing.
    assert sorted(found) == sorted([*CAPTIONS, *CAPTIONS])
    assert len(batch["input_ids"]) == 8


def test_removed_words_have_no_flags():
    texts = made(masked_text="remove")[0].texts
    assert all(text.tokens is None and not text.hidden for text in texts)


def test_flags_tell_runs_and_stored_scores_apart_and_nothing_else():
    """What has no flags is named as before."""
    import hashlib

    from synvita_data.evaluation.scoring import item_key

    data = made()
    (planned,) = data.triplets
    digest = data_identity({}, [planned], {})["triplets"]

    def expected(with_flags: bool) -> str:
        texts = [
            [t.caption, t.hidden, *([t.tokens.ids, t.tokens.hidden] if with_flags and t.tokens else [])]
            for t in planned.texts
        ]
        own = (planned.number, planned.row_id, planned.pair_id, texts, planned.weight, planned.takes_real)
        own += (planned.explanation, planned.real, planned.synthetic, planned.start, planned.end)
        return hashlib.sha256(json.dumps(own).encode() + b"\n").hexdigest()

    assert digest == expected(True) != expected(False)
    masked = planned.texts[2]
    keys = {
        item_key(ScoringItem("i", "v", b"", (text,), ("t",), None, None))
        for text in (masked, Text(masked.caption, masked.hidden))
    }
    assert len(keys) == 2


def test_a_tokenizer_that_joins_the_quote_is_named(caplog):
    """Qwen's in a chat template: the quote has a space before it, which is another token."""
    with caplog.at_level(logging.WARNING):
        texts = made("qwen2_5_vl", frames=FramePolicy(count=4, rule="linspace"))[0].texts
    assert texts[2].tokens is not None
    assert any("the released code would stop" in message for message in caplog.messages)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        made()
    assert not any("released" in message for message in caplog.messages)


def test_a_hidden_last_token_is_an_error():
    """Packed rows leave hidden tokens out; an answer cannot be read at one of them."""
    from dataclasses import replace

    from synvita_data.captions.prompts import PROMPTS
    from synvita_data.errors import TokenizerError
    from synvita_data.models.prompting import Prompter

    model = tiny_model()
    ends = replace(PROMPTS["video-llava"], after='"?')
    prompter = Prompter(model.family, ends)
    text = made()[0].texts[3]
    with pytest.raises(TokenizerError, match="where the answer is read"):
        prompter.tokens(text, None, video("video_llava"))
