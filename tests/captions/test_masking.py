"""Hidden tokens against the rule written out character by character."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizers import AFTER, BEFORE, KINDS, captions, hard_pairs, small_tokenizer
from tokenizers import Tokenizer

from synvita_data.captions import Text, hidden_spans, masking
from synvita_data.captions.lcs import shared_spans
from synvita_data.captions.masking import hidden_tokens, mask_prompt
from synvita_data.errors import CaptionError, TokenizerError

PAIRS = [*hard_pairs()[::3], *captions(120)]
PROMPTS = [
    (BEFORE, AFTER),
    ("", ""),
    ("日本 😀 says ", " 😀"),
    ('USER: <video>\nIs "', '" shown? ASSISTANT:'),
]


def by_characters(prompt: str, start: int, text: Text, offsets) -> list[bool]:
    """The rule of the design: does the token hold a non-white caption character that is hidden?"""
    flags = []
    for a, b in offsets:
        flag = False
        for position in range(a, b):
            in_caption = position - start
            if 0 <= in_caption < len(text.caption) and not prompt[position].isspace():
                flag = flag or any(first <= in_caption < last for first, last in text.hidden)
        flags.append(flag)
    return flags


@st.composite
def texts(draw) -> Text:
    caption = draw(st.text(st.sampled_from("ab .\u00a0é\u0301😀日"), max_size=15))
    edges = draw(st.lists(st.integers(0, len(caption)), unique=True).map(sorted))
    return Text(caption, tuple(zip(edges[::2], edges[1::2], strict=False)))


@given(texts(), st.text(max_size=4), st.text(max_size=4), st.data())
def test_any_offsets(text, before, after, data):
    prompt = before + text.caption + after
    place = st.integers(0, len(prompt))
    offsets = data.draw(st.lists(st.tuples(place, place).map(sorted)))
    hidden = hidden_tokens(prompt, len(before), text, offsets)
    assert hidden.dtype == np.bool_
    assert hidden.shape == (len(offsets),)
    assert hidden.tolist() == by_characters(prompt, len(before), text, offsets)
    as_array = np.array(offsets, dtype=np.int32).reshape(-1, 2)
    assert hidden_tokens(prompt, len(before), text, as_array).tolist() == hidden.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), PROMPTS)
def test_real_tokenizers(kind, before, after):
    tokenizer = small_tokenizer(kind)
    for caption, neg_caption in PAIRS:
        for own, spans in zip((caption, neg_caption), shared_spans(caption, neg_caption), strict=True):
            text = Text(own, hidden_spans(own, spans))
            masked = mask_prompt(tokenizer, before, text, after)
            prompt = before + own + after
            encoding = tokenizer.encode(prompt)
            assert masked.prompt == prompt
            assert masked.caption_start == len(before)
            assert masked.input_ids.tolist() == encoding.ids
            assert masked.offsets.tolist() == [list(offset) for offset in encoding.offsets]
            assert masked.hidden.tolist() == by_characters(prompt, len(before), text, encoding.offsets)
            # What remains visible says nothing of the hidden characters.
            seen = {p for a, b in masked.offsets[~masked.hidden] for p in range(a, b)}
            secret = {len(before) + c for a, b in text.hidden for c in range(a, b) if not own[c].isspace()}
            assert not seen & secret


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_hidden_and_everything_hidden(kind):
    tokenizer = small_tokenizer(kind)
    for caption, _ in PAIRS:
        assert not mask_prompt(tokenizer, BEFORE, Text(caption), AFTER).hidden.any()
        masked = mask_prompt(tokenizer, BEFORE, Text(caption, hidden_spans(caption, [])), AFTER)
        start, end = len(BEFORE), len(BEFORE) + len(caption)
        for (a, b), is_hidden in zip(masked.offsets, masked.hidden, strict=True):
            assert is_hidden == bool(masked.prompt[max(a, start) : min(b, end)].strip())


def test_byte_level_examples():
    tokenizer = small_tokenizer("byte-level")

    def hidden_text(before: str, text: Text, after: str) -> list[str]:
        masked = mask_prompt(tokenizer, before, text, after)
        return [masked.prompt[a:b] for a, b in masked.offsets[masked.hidden]]

    # The offsets of " man" begin with the space, which does not hide " a" before it.
    assert hidden_text('Is "', Text("a man is", ((2, 5),)), '"?') == [" man"]
    # The last token is half caption, half closing quote: it goes with the full stop.
    assert hidden_text('Is "', Text("a man.", ((5, 6),)), '"?\nAI: ') == ['."?']
    assert hidden_text('Is "', Text("a man.", ((2, 5),)), '"?\nAI: ') == [" man"]
    # All four bytes of an emoji, and nothing beside it.
    assert hidden_text('Is "', Text("a 😀 man", ((2, 3),)), '"?') == ["😀"] * 4


def test_llama_dummy_prefix_and_special_tokens():
    tokenizer = small_tokenizer("llama metaspace")
    masked = mask_prompt(tokenizer, "", Text("a man is", ((0, 1),)), "")
    assert tokenizer.id_to_token(masked.input_ids[0]) == "<s>"
    assert masked.offsets[0].tolist() == [0, 0]
    tokens = [tokenizer.id_to_token(number) for number in masked.input_ids[masked.hidden]]
    assert "".join(tokens) == "▁a"
    bare = mask_prompt(tokenizer, "", Text("a man is", ((0, 1),)), "", add_special_tokens=False)
    assert bare.input_ids.tolist() == masked.input_ids[1:].tolist()


def test_same_caption_twice_in_a_prompt_is_hidden_at_its_place_only():
    tokenizer = small_tokenizer("byte-level")
    masked = mask_prompt(tokenizer, "a man is. ", Text("a man is.", ((2, 5),)), " a man is.")
    assert [tuple(offset) for offset in masked.offsets[masked.hidden]] == [(11, 15)]


def test_fast_tokenizer_of_transformers():
    transformers = pytest.importorskip("transformers")
    backend = small_tokenizer("llama normaliser")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(backend.to_str()), bos_token="<s>", pad_token="</s>"
    )
    fast(["a man is", "a"], padding="max_length", max_length=50)  # leaves padding behind in the backend
    fast(["a man is"], truncation=True, max_length=2)
    for caption, neg_caption in PAIRS[:30]:
        spans, _ = shared_spans(caption, neg_caption)
        text = Text(caption, hidden_spans(caption, spans))
        own, expected = (mask_prompt(t, BEFORE, text, AFTER) for t in (fast, backend))
        assert own.input_ids.tolist() == expected.input_ids.tolist()
        assert own.hidden.tolist() == expected.hidden.tolist()
    with pytest.raises(TokenizerError, match="ByT5Tokenizer"):
        mask_prompt(transformers.ByT5Tokenizer(), "", Text("a"), "")


@pytest.mark.parametrize(
    ("prompt", "start"), [("xa cat", 0), ("a cat", -5), ("a ca", 0), ("a cat", 1), ("", 0)]
)
def test_caption_elsewhere(prompt, start):
    with pytest.raises(CaptionError, match="not where the prompt should have it"):
        hidden_tokens(prompt, start, Text("a cat", ((2, 5),)), [])


@pytest.mark.parametrize(
    "offsets",
    [[(0, 6)], [(3, 2)], [(-1, 2)], [0, 1], [[(0, 1)]], [(0.0, 1.0)], [(0, 1, 2)]],
)
def test_offsets_of_something_else(offsets):
    with pytest.raises(CaptionError, match="token offsets"):
        hidden_tokens("a cat", 0, Text("a cat", ((2, 5),)), offsets)


def test_no_tokens():
    assert hidden_tokens("a", 0, Text("a", ((0, 1),)), []).tolist() == []
    assert hidden_tokens("", 0, Text(""), np.zeros((0, 2), dtype=np.int64)).shape == (0,)


def test_example_in_the_docstring():
    result = doctest.testmod(masking)
    assert result.attempted > 0
    assert result.failed == 0
