"""`granularity: released` masks what the released code masks, token for token.

The reference is `released_reference`.
"""

from itertools import product

import pytest
from llama_vocabulary import llama_js, llama_tokenizer
from released_reference import released
from small_tokenizers import captions, hard_pairs, small_tokenizer
from transformers import PreTrainedTokenizerFast

from synvita_data.captions import QuotedTokens, Text, hidden_spans
from synvita_data.captions.lcs import released_masks, shared_spans
from synvita_data.captions.masking import hidden_tokens, mask_prompt
from synvita_data.captions.prompts import PROMPTS
from synvita_data.errors import CaptionError
from synvita_data.models.mplug_owl.processing import PieceTokenizer

VIDEO_LLAVA = PROMPTS["video-llava-train"]
OWL = PROMPTS["mplug-owl"]


def as_hugging_face(tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def compare(tokenizer, pairs) -> dict[str, int]:
    """Every text of the pairs in both released prompts. Counts: texts, those whose mask spans alone could not give,
    and those at which the released code would stop."""
    fast = as_hugging_face(tokenizer)
    owl = PieceTokenizer(fast, max_length=4096, media={"<|video|>": -2}, media_tokens=65)
    counts = dict.fromkeys(("texts", "beyond spans", "stops"), 0)
    for pair in pairs:
        alone = [tokenizer.encode(f'"{text}"?', add_special_tokens=False).ids for text in pair]
        masks = released_masks(*pair, fast)
        for caption, own, other, (spans, flags) in zip(pair, alone, alone[::-1], masks, strict=True):
            shown = Text(caption, hidden_spans(caption, spans), flags)
            masked = mask_prompt(fast, VIDEO_LLAVA.before, shown, VIDEO_LLAVA.after)
            expected = released(masked.input_ids.tolist(), own, other)
            counts["texts"] += 1
            if expected is None:
                counts["stops"] += 1
            else:
                assert masked.hidden.tolist() == expected.tolist(), caption
                by_spans = mask_prompt(
                    fast, VIDEO_LLAVA.before, Text(caption, shown.hidden), VIDEO_LLAVA.after
                ).hidden
                counts["beyond spans"] += by_spans.tolist() != expected.tolist()
            prompt = OWL.wrap(caption)
            pieces = owl(prompt)
            expected = released(pieces.ids.tolist(), own, other)
            if expected is not None:
                found = hidden_tokens(prompt, len(OWL.before), shown, pieces.offsets, pieces.ids)
                assert found.tolist() == expected.tolist(), caption
    return counts


@pytest.mark.parametrize("kind", ["llama normaliser", "llama metaspace"])
def test_masks_are_the_released_codes(kind):
    counts = compare(small_tokenizer(kind), [*captions(200), *hard_pairs()[::5]])
    assert counts["stops"] < counts["texts"] / 2
    assert counts["beyond spans"] > 0  # where only one of two captions ends in a full stop


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama normaliser", "llama metaspace"])
def test_masks_of_5000_real_pairs(kind, real_data):
    counts = compare(small_tokenizer(kind), captions(16_856)[:10_000:2])
    assert counts["texts"] == 10_000


@pytest.mark.slow
def test_masks_of_5000_real_pairs_with_llamas_own_vocabulary(real_data):
    llama_js()
    counts = compare(llama_tokenizer(), captions(16_856)[:10_000:2])
    assert counts["stops"] == 0
    # The audit of the released code counted 33.3% of 12,000 texts.
    assert counts["beyond spans"] / counts["texts"] == pytest.approx(0.33, abs=0.02)


def test_llamas_own_vocabulary():
    """Vectors of the package's own tests, and what the paper's prompts need."""
    tokenizer = llama_tokenizer()
    assert tokenizer.encode("grabbed").ids == [1, 2646, 1327, 287]
    assert tokenizer.encode(" grabbed").ids == [1, 29871, 2646, 1327, 287]
    assert tokenizer.encode("🦙").ids == [1, 29871, 243, 162, 169, 156]
    assert tokenizer.encode("ax\n####\nboo").ids == [1, 4853, 13, 4136, 13, 833, 29877]
    assert [tokenizer.encode(word, add_special_tokens=False).ids for word in ("Yes", "No")] == [
        [3869],
        [1939],
    ]
    compare(tokenizer, captions(60))


def test_the_end_of_the_question_is_hidden_too():
    """Only one caption ends in a full stop, so the quote and question mark are other tokens."""
    tokenizer = llama_tokenizer()
    (_, flags), (_, neg_flags) = released_masks("a man runs.", "a man walks", tokenizer)
    assert [tokenizer.id_to_token(i) for i in flags.ids][-2:] == ['."', "?"]
    assert [tokenizer.id_to_token(i) for i in neg_flags.ids][-1] == '"?'
    assert flags.hidden[-2:] == (True, True)
    assert neg_flags.hidden[-1] is True
    # A wording without quotes has no such token, so caption alone is hidden.
    masked = mask_prompt(tokenizer, "Q ", Text("a man walks", (), neg_flags), "? ASSISTANT:")
    hidden = [tokenizer.id_to_token(i) for i in masked.input_ids[masked.hidden].tolist()]
    assert hidden == ["▁wal", "ks"]


def by_characters(prompt: str, caption: str, start: int, flags: QuotedTokens, alone_offsets, offsets):
    """Where the tokens of the quoted caption stand nowhere: a token that overlaps what a hidden one stands for."""
    whole = f'"{caption}"?'
    dark = set()
    for (a, b), is_hidden in zip(alone_offsets, flags.hidden, strict=True):
        if is_hidden:
            dark |= {start - 1 + i for i in range(a, b) if not whole[i].isspace()}
    dark = {i for i in dark if 0 <= i < len(prompt) and prompt[i] == whole[i - start + 1]}
    return [any(i in dark for i in range(a, b)) for a, b in offsets]


def test_other_tokens_inside_a_prompt_go_by_characters():
    tokenizer = small_tokenizer("byte-level")
    counts = {True: 0, False: 0}
    frames = product(
        ('the description: "', 'the description:"', "the description: "),
        ('"?\nAI:', '"? No', "? ASSISTANT:", ' "?'),
    )
    for (before, after), pair in product(frames, captions(20)):
        for caption, (spans, flags) in zip(pair, released_masks(*pair, tokenizer), strict=True):
            masked = mask_prompt(tokenizer, before, Text(caption, hidden_spans(caption, spans), flags), after)
            alone = tokenizer.encode(f'"{caption}"?', add_special_tokens=False)
            assert tuple(alone.ids) == flags.ids
            inside = released(masked.input_ids.tolist(), alone.ids, alone.ids) is not None
            counts[inside] += 1
            if not inside:
                assert masked.hidden.tolist() == by_characters(
                    masked.prompt, caption, len(before), flags, alone.offsets, masked.offsets.tolist()
                )
    assert min(counts.values()) > 20


def test_flags_and_ids_must_fit():
    with pytest.raises(CaptionError, match="flags"):
        QuotedTokens((1, 2), (True,))
    text = Text("a", (), QuotedTokens((1, 2), (True, False)))
    with pytest.raises(CaptionError, match="needs the ids"):
        hidden_tokens('"a"?', 1, text, [(0, 1), (1, 4)])
    with pytest.raises(CaptionError, match="3 ids for 2"):
        hidden_tokens('"a"?', 1, text, [(0, 1), (1, 4)], [1, 2, 3])
    assert hidden_tokens('"a"?', 1, text, [(0, 1), (1, 4)], [1, 2]).tolist() == [True, False]


def test_published_spans_are_those_of_the_flags():
    tokenizer = small_tokenizer("llama metaspace")
    for pair in captions(30):
        (spans, _), (neg_spans, _) = released_masks(*pair, tokenizer)
        assert shared_spans(*pair, granularity="released", tokenizer=tokenizer) == (spans, neg_spans)
