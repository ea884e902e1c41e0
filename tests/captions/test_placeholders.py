"""What follows `<image>` and `<video>`: against sentencepiece itself, part by part, as the original code reads."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_vocabulary import llama_js, save_llama
from small_sentencepiece import pieces, train

from synvita_data.builders.vqascore.base import VICUNA
from synvita_data.captions.prompts import (
    PROMPTS,
    behind,
    check_placeholder_space,
    describe,
    tokenize_in_parts,
)
from synvita_data.errors import SynvitaError, TokenizerError

LEGACY = {"absent": {}, "false": {"legacy": False}, "true": {"legacy": True}}
BOS, LINE_BREAK = 1, "<0x0A>"
WORDINGS = {
    "vqascore": (VICUNA.wrap("a man runs.") + "Yes</s>", "<image>"),
    "video-llava": (PROMPTS["video-llava"].wrap("a man runs."), "<video>"),
    "video-llava-train": (
        PROMPTS["video-llava-train"].wrap("a man runs.").replace("<video>", "<video>" * 8),
        "<video>",
    ),
    "video-llava-eval": (
        PROMPTS["video-llava-eval"].wrap("a man runs.").replace("<video>", " ".join(["<video>"] * 8)),
        "<video>",
    ),
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return train(tmp_path_factory.mktemp("sentencepiece"))


@pytest.fixture(scope="module")
def pieces_of(model_file):
    return pieces(model_file)


@pytest.fixture(scope="module", params=LEGACY)
def tokenizer(request, model_file, tmp_path_factory):
    """A checkpoint's tokenizer as transformers loads it, with the two placeholders."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    shutil.copy(model_file, folder / "tokenizer.model")
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | LEGACY[request.param]))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<image>", "<video>"], special_tokens=True)
    tokenizer.wording = request.param
    return tokenizer


def chunked(encode, text: str, placeholder: str, number: int, eos: int = 2) -> list[int]:
    """The original's `tokenizer_image_token`: parts by themselves, BOS once, placeholders between."""
    ids = [BOS]
    for k, part in enumerate(text.split(placeholder)):
        ids += [number] if k else []
        ended = part.endswith("</s>")
        ids += encode(part.removesuffix("</s>")) if part.removesuffix("</s>") else []
        ids += [eos] if ended else []
    return ids


@pytest.mark.parametrize("name", WORDINGS)
def test_original_is_what_sentencepiece_makes_of_the_parts(tokenizer, pieces_of, name):
    text, placeholder = WORDINGS[name]
    number = tokenizer.convert_tokens_to_ids(placeholder)
    expected = chunked(lambda part: [i for i, _, _ in pieces_of(part)], text, placeholder, number)
    found = tokenize_in_parts(tokenizer, text, placeholder, number)
    assert found.ids == expected
    first = tokenizer.convert_ids_to_tokens(behind(found.ids, number))
    assert first[:2] == ["▁", LINE_BREAK]
    # The processor's whole string: `▁` follows only where the checkpoint says `legacy: true`.
    whole = tokenizer(text)["input_ids"]
    after = tokenizer.convert_ids_to_tokens(behind(whole, number))
    assert after[:2] == (["▁", LINE_BREAK] if tokenizer.wording == "true" else [LINE_BREAK, after[1]])


def test_any_text_in_parts(tokenizer, pieces_of):
    number = tokenizer.convert_tokens_to_ids("<video>")

    @settings(max_examples=80)
    @given(
        st.text(st.sampled_from('abc dog. "é東🎸\n'), max_size=12),
        st.lists(st.sampled_from(["", " ", "\n", " a"]), max_size=3),
    )
    def check(end, gaps):
        text = "USER: " + "".join(f"<video>{gap}" for gap in [*gaps, end])
        found = tokenize_in_parts(tokenizer, text, "<video>", number)
        assert found.ids == chunked(lambda part: [i for i, _, _ in pieces_of(part)], text, "<video>", number)
        # Every character is in the token that holds it; the space before a part goes with its first character.
        for i, character in enumerate(text):
            if character.isascii() and not character.isspace():
                holders = [found.ids[k] for k, (a, b) in enumerate(found.offsets) if a <= i < b]
                assert any(character in tokenizer.convert_ids_to_tokens(holder) for holder in holders)
                assert len(holders) <= 2
        assert all(0 <= a <= b <= len(text) for a, b in found.offsets)

    check()


@pytest.mark.parametrize("legacy", LEGACY)
def test_llamas_own_vocabulary(tmp_path, legacy):
    """The ids that the original code of LLaVA-1.5 and Video-LLaVA gives: 29871 13 25125 behind the placeholder."""
    from transformers import AutoTokenizer

    llama_js()
    tokenizer = AutoTokenizer.from_pretrained(save_llama(tmp_path, ("<image>", "<video>"), **LEGACY[legacy]))
    for name, (text, placeholder) in WORDINGS.items():
        number = tokenizer.convert_tokens_to_ids(placeholder)
        ids = tokenize_in_parts(tokenizer, text, placeholder, number).ids
        assert behind(ids, number) == [29871, 13, 25125]
        whole = tokenizer(text)["input_ids"]
        assert behind(whole, number) == ([29871, 13, 25125] if legacy == "true" else [13, 25125, 445])
        assert len(ids) - len(whole) == (0 if legacy == "true" else 1)
        if name == "video-llava-eval":  # sentencepiece keeps both spaces of the gap between two frames
            assert ids.count(259) == 7


def test_a_tokenizer_of_another_kind_is_refused():
    from small_tokenizers import small_tokenizer
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=small_tokenizer("byte-level"))
    with pytest.raises(TokenizerError, match="a space before"):
        tokenize_in_parts(other, "a<video>b", "<video>", 7)


def test_names():
    assert check_placeholder_space("original") == "original"
    with pytest.raises(SynvitaError, match="unknown placeholder_space"):
        check_placeholder_space("legacy")
    with pytest.raises(SynvitaError, match="unknown placeholder_space for this model"):
        check_placeholder_space("original", ("processor",))


def test_a_line_for_people_shows_no_control_character():
    assert (
        describe("original", [1, 2], ["▁", "\x1b[2J"])
        == r"behind the placeholder (original): 1 '▁', 2 '\x1b[2J'"
    )
