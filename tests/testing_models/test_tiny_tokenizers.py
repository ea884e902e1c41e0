"""The tiny tokenizers: whole words where it matters, nothing unknown, the same in every process."""

import hashlib
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synvita_data.builders.shapes import draw_pairs
from synvita_data.captions.prompts import PROMPTS
from synvita_data.testing.tokenizer import (
    _trained,
    answer_ids,
    clip_tokenizer,
    llama_tokenizer,
    qwen_tokenizer,
)

MAKERS = {
    "llama": lambda: llama_tokenizer(["<image>", "<video>"]),
    "qwen": lambda: qwen_tokenizer(["<|video_pad|>"]),
    "clip": clip_tokenizer,
}


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: make() for kind, make in MAKERS.items()}


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_the_answer_is_one_token_wherever_it_stands(tokenizers, kind):
    tokenizer = tokenizers[kind]
    for answer in ("Yes", "No", "yes", "no"):
        for before in ("ASSISTANT:", "AI:", "answer yes or no. ASSISTANT:"):
            alone, whole = tokenizer(before)["input_ids"], tokenizer(f"{before} {answer}")["input_ids"]
            assert len(whole) == len(alone) + 1
            assert whole[:-1] == alone
            assert tokenizer.decode(whole[-1:]).strip() == answer
    ids = answer_ids(tokenizer)
    assert set(ids) == {"Yes", "No", "yes", "no"}
    assert len(set(ids.values())) == 4


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_letters_of_options_are_one_token_and_digits_stand_alone(tokenizers, kind):
    """As in Llama's and Qwen's own vocabularies: ` A` is one of Llama's tokens, ` 1` a space and a digit."""
    tokenizer = tokenizers[kind]
    before, gap = ("ASSISTANT:", " ") if kind == "llama" else ("assistant\n", "")
    alone = tokenizer(before)["input_ids"]
    behind = {
        answer: tokenizer(before + gap + answer)["input_ids"]
        for answer in ("A", "B", "C", "D", "E", "1", "2", "3")
    }
    assert all(ids[: len(alone)] == alone for ids in behind.values())
    digits = [behind[digit][len(alone) :] for digit in "123"]
    assert len({ids[-1] for ids in behind.values()}) == len(behind)
    assert all(len(behind[letter]) == len(alone) + 1 for letter in "ABCDE")
    assert [tokenizer.convert_ids_to_tokens(ids[:-1]) for ids in digits] == [["▁"] if gap else []] * 3


@pytest.mark.parametrize("kind", MAKERS)
def test_captions_of_the_shapes_world_are_whole_words(tokenizers, kind):
    for pair in draw_pairs(70):
        for caption in (pair.triplet.caption, pair.triplet.neg_caption):
            pieces = tokenizers[kind](caption, add_special_tokens=False)["input_ids"]
            assert len(pieces) == len(re.findall(r"\w+|[.,]", caption)), (
                caption,
                tokenizers[kind].tokenize(caption),
            )


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_prompts_are_mostly_whole_words(tokenizers, kind):
    for prompt in PROMPTS.values():
        text = prompt.wrap("A red star spins.").replace("<video>", "").replace("<|video|>", "")
        assert len(tokenizers[kind](text)["input_ids"]) < 1.2 * len(re.findall(r"\w+|[^\w\s]+|\n", text)) + 2


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_the_closing_quote_merges_with_the_caption(tokenizers, kind):
    """As in 61–99% of real captions, the last token of a quoted caption reaches past its end."""
    text = 'the description: "A red star spins."? ASSISTANT:'
    end = text.index('"?')
    offsets = tokenizers[kind](text, return_offsets_mapping=True)["offset_mapping"]
    assert any(start < end < stop for start, stop in offsets)


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@settings(max_examples=60)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="▁"), max_size=40))
def test_no_text_is_unknown(tokenizers, kind, text):
    import unicodedata

    text = unicodedata.normalize("NFC", text)  # Qwen's tokenizer does
    if kind == "llama":
        text = "a" + text  # Llama's decoder drops a leading space, its own or the text's
    tokenizer = tokenizers[kind]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    if kind == "llama":
        assert tokenizer.unk_token_id not in ids


def test_special_tokens_stand_where_the_real_ones_do(tokenizers):
    llama, qwen, clip = (tokenizers[kind] for kind in MAKERS)
    assert (llama.unk_token_id, llama.bos_token_id, llama.eos_token_id) == (0, 1, 2)
    assert llama("Yes")["input_ids"][0] == llama.bos_token_id
    assert llama.convert_ids_to_tokens(3 + 0x0A) == "<0x0A>"  # as in Llama's own vocabulary
    assert qwen.bos_token is None
    assert clip("yes")["input_ids"][0] == clip.bos_token_id
    assert clip("yes")["input_ids"][-1] == clip.eos_token_id
    for tokenizer, special in ((llama, "<video>"), (qwen, "<|video_pad|>")):
        assert tokenizer.convert_tokens_to_ids(special) >= len(
            _trained("llama" if special == "<video>" else "qwen")[0]
        )
        assert tokenizer(f"a {special} b")["input_ids"].count(tokenizer.convert_tokens_to_ids(special)) == 1
    assert (llama.padding_side, qwen.padding_side) == ("left", "left")


def test_training_gives_the_same_in_every_process():
    code = (
        "import hashlib, json; from synvita_data.testing.tokenizer import _trained; "
        "print([hashlib.sha256(json.dumps(_trained(k)).encode()).hexdigest() for k in ('llama', 'qwen', 'clip')])"
    )
    here = [hashlib.sha256(json.dumps(_trained(kind)).encode()).hexdigest() for kind in MAKERS]
    for _ in range(2):
        there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert there.stdout.strip() == str(here)
