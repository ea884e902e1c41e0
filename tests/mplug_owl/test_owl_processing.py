"""Prompts piece by piece against sentencepiece itself, masks and labels by the original's rules, and pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synvita_data.captions.prompts import PROMPTS
from synvita_data.errors import CaptionError, ContextError, TokenizerError
from synvita_data.models.mplug_owl import MplugOwlProcessor, MplugOwlVideoProcessor

SYSTEM = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
BOS, EOS = 1, 2


@pytest.fixture(scope="module")
def processor(llama):
    return MplugOwlProcessor(MplugOwlVideoProcessor(), llama)


def whole(caption, answer=""):
    question = f'Does this video entail the description: "{caption}"?'
    return f"{SYSTEM}\nHuman: <|video|>\nHuman: {question}\nAI: {answer}"


def expected_ids(pieces_of, caption, answer=None, length=256):
    """Ids and which of them are learnt, piece after piece, by sentencepiece and the original's rules."""
    words = [[i for i, _, _ in pieces_of(text)] for text in (SYSTEM, "\nHuman: ", "AI: ")]
    question = [i for i, _, _ in pieces_of(f'Does this video entail the description: "{caption}"?\n')]
    ids = [BOS, *words[0], *words[1], *[-2] * 65, *words[1], *question, *words[2]]
    learnt = [0] * len(ids)
    if answer is not None:
        own = [i for i, _, _ in pieces_of(answer)][: length - len(ids)] + [EOS]
        ids, learnt = ids + own, learnt + [1] * len(own)
    return ids, learnt


def test_the_prompt_is_that_of_the_released_scripts():
    assert PROMPTS["mplug-owl"].wrap("a dog") == whole("a dog")


def test_a_sentencepiece_model_is_read_as_sentencepiece_reads_it(llama, pieces_of):
    """`LlamaTokenizer` of this transformers, from `tokenizer.model` alone."""

    @settings(max_examples=150)
    @given(st.text(st.sampled_from('abcdeghinorst ABC.,"?!0123é東🎸[]{}\n▁'), min_size=1, max_size=30))
    def check(text):
        if text[0] not in " ▁":  # the only difference: a space in front is not doubled
            own = llama(text, add_special_tokens=False)["input_ids"]
            assert own == [i for i, _, _ in pieces_of(text)]

    check()
    assert (llama.unk_token_id, llama.bos_token_id, llama.eos_token_id, llama.pad_token_id) == (0, 1, 2, 0)


def test_ids_are_those_of_the_pieces(processor, pieces_of):
    @settings(max_examples=60)
    @given(st.text(st.sampled_from('abc dog."é東🎸[]{}<>|'), min_size=1, max_size=20))
    def check(caption):
        tokens = processor.pieces(whole(caption))
        ids, learnt = expected_ids(pieces_of, caption)
        assert tokens.ids.tolist() == ids
        assert not tokens.answer.any()
        assert learnt == [0] * len(ids)

    check()


def test_offsets_are_those_of_sentencepiece(processor, pieces_of):
    """Character by character of the prompt; ASCII, where a token is never part of a character."""

    @settings(max_examples=60)
    @given(st.text(st.sampled_from('abcdehiorst dog."?!'), min_size=1, max_size=30))
    def check(caption):
        prompt = whole(caption, "Yes it is.")
        tokens = processor.pieces(prompt)
        start, expected = 0, [(0, 0)]
        question = f'Does this video entail the description: "{caption}"?\n'
        for text in (SYSTEM, "\nHuman: ", "<|video|>", "\nHuman: ", question, "AI: ", "Yes it is."):
            if text == "<|video|>":
                expected += [(start, start + len(text))] * 65
            else:
                expected += [(start + a, start + b) for _, a, b in pieces_of(text)]
            start += len(text)
        assert start == len(prompt)
        expected.append((0, 0))
        for (a, b), (x, y) in zip(tokens.offsets.tolist(), expected, strict=True):
            # Both know the words; which of two pieces has a space of the prompt's is theirs to choose.
            assert prompt[a:b].strip() == prompt[x:y].strip()
            assert a >= x - 1
            assert b <= y + 1

    check()


def test_rows_for_scoring(processor, pieces_of):
    captions = ["a dog runs", "A woman cuts vegetables in a kitchen"]
    rows = processor.rows([whole(caption) for caption in captions])
    assert rows.input_ids.shape == (2, 257)
    for row, caption in enumerate(captions):
        ids, _ = expected_ids(pieces_of, caption)
        n = len(ids)
        assert rows.input_ids[row].tolist() == ids + [0] * (257 - n)
        assert rows.non_padding_mask[row].tolist() == [int(i < n - 1) for i in range(256)]
        assert rows.non_media_mask[row].tolist() == [int(i >= 0) for i in (ids + [0] * 257)[1:257]]
        assert not rows.prompt_mask[row].any()
        assert (rows.labels[row] == -100).all()
    assert (rows.non_media_mask == 0).sum() == 2 * 65


def test_training_rows_and_labels(processor, pieces_of):
    answers = ["Yes", "The dog does not run, it sits."]
    rows = processor.rows([whole("a dog runs", answer) for answer in answers])
    for row, answer in enumerate(answers):
        ids, learnt = expected_ids(pieces_of, "a dog runs", answer)
        padded = ids + [0] * (257 - len(ids))
        assert rows.input_ids[row].tolist() == padded
        assert rows.prompt_mask[row].tolist() == (learnt + [0] * 257)[1:257]
        labels = [token if known else -100 for token, known in zip(ids, learnt, strict=True)]
        assert rows.labels[row].tolist() == labels + [-100] * (257 - len(ids))
        assert rows.labels[row][rows.labels[row] != -100].tolist()[-1] == EOS


def test_the_fixtures_masks_give_its_labels(io):
    """The same rule on the original's own masks and labels."""
    ids = io["train.input_ids"]
    shown = io["train.non_padding_mask"] * io["train.non_media_mask"] * io["train.prompt_mask"]
    labels = io["train.out.labels"]
    assert torch.equal(labels[:, 1:], torch.where(shown.bool(), ids[:, 1:], torch.tensor(-100)))
    assert (labels[:, 1:] != -100).sum() == 4  # an answer and EOS in each row


def test_a_long_answer_is_cut_and_a_long_caption_is_not(processor, pieces_of):
    long = "The man plays a guitar. " * 60
    tokens = processor.pieces(whole("a dog", long))
    ids, _ = expected_ids(pieces_of, "a dog", long)
    assert tokens.ids.tolist() == ids
    assert len(ids) == 257
    assert ids[-1] == EOS
    room = 257 - len(expected_ids(pieces_of, "")[0])
    fits = next(n for n in range(300, 0, -1) if len(expected_ids(pieces_of, "a" + " a" * n)[0]) <= 257)
    assert len(processor.pieces(whole("a" + " a" * fits)).ids) == 257
    assert fits < room
    for prompt in (whole("a" + " a" * (fits + 1)), whole("a" + " a" * fits, "Yes"), whole("dog " * 400)):
        with pytest.raises(ContextError, match=r"does not fit.*257 tokens"):
            processor.pieces(prompt)


def test_other_limits(llama, pieces_of):
    short = MplugOwlProcessor(MplugOwlVideoProcessor(), llama, max_length=300, tokens_per_video=9)
    rows = short.rows([whole("a dog", "Yes")])
    assert rows.input_ids.shape == (1, 301)
    assert (rows.input_ids == -2).sum() == 9


def test_a_prompt_that_begins_with_its_video_is_refused(processor):
    with pytest.raises(TokenizerError, match="begins with its video"):
        processor.pieces("<|video|>\nHuman: what?\nAI: ")


def test_images_have_ids_of_their_own(processor):
    assert (processor.pieces("Look:\nHuman: <image>\nAI: ").ids == -1).sum() == 65


def test_inputs_of_the_model(processor, pieces_of):
    videos = [np.random.default_rng(i).integers(0, 256, (2, 30, 40, 3), dtype=np.uint8) for i in range(2)]
    prompts = [whole("a dog"), whole("a man plays a guitar")]
    inputs = processor(prompts, videos=videos)
    longest = max(len(expected_ids(pieces_of, caption)[0]) for caption in ("a dog", "a man plays a guitar"))
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (2, longest)
    assert inputs["attention_mask"].sum(1).tolist() == [
        len(expected_ids(pieces_of, caption)[0]) for caption in ("a dog", "a man plays a guitar")
    ]
    assert "labels" not in inputs
    assert inputs["video_pixel_values"].shape == (2, 3, 2, 224, 224)
    trained = processor(prompts, videos=videos, answers=["Yes", "No"], padding="max_length")
    assert trained["input_ids"].shape == trained["labels"].shape == (2, 257)
    assert torch.equal(
        trained["labels"], processor.rows([whole("a dog", "Yes"), whole("a man plays a guitar", "No")]).labels
    )
    with pytest.raises(CaptionError, match="does not ask"):
        processor(["What?"], answers=["Yes"])


def test_the_chat_template_writes_the_released_prompt(processor):
    def chat(*messages, **options):
        return processor.apply_chat_template(list(messages), tokenize=False, **options)

    question = {"type": "text", "text": 'Does this video entail the description: "a dog"?'}
    asked = {"role": "user", "content": [{"type": "video"}, question]}
    assert chat(asked, add_generation_prompt=True) == whole("a dog")
    assert chat(asked, {"role": "assistant", "content": "Yes"}) == whole("a dog", "Yes")


def test_pixels_of_the_models_size_are_only_normalised(processor):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    out = processor.pixels([pixels])
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    expected = ((pixels / 255.0 - mean) / std).transpose(3, 0, 1, 2)
    assert out.shape == (1, 3, 3, 224, 224)
    assert out.dtype == torch.float32
    assert np.abs(out[0].numpy() - expected).max() < 1e-5


def test_frames_of_another_shape_are_scaled_whatever_their_aspect(processor):
    """Two halves stay two halves; nothing is cropped."""
    wide = np.zeros((2, 100, 400, 3), dtype=np.uint8)
    wide[:, :, 200:] = 255
    out = processor.pixels([wide])[0, 0]
    assert out.shape == (2, 224, 224)
    assert (out[:, :, :105] < -1).all()
    assert (out[:, :, 119:] > 1).all()


def test_saving_and_loading(processor, tmp_path):
    from transformers import AutoProcessor

    changed = MplugOwlProcessor(
        MplugOwlVideoProcessor(size={"height": 28, "width": 28}), processor.tokenizer, max_length=200
    )
    changed.pieces(whole("a dog"))
    changed.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is MplugOwlProcessor
    assert type(again.video_processor) is MplugOwlVideoProcessor
    assert (again.max_length, again.tokens_per_video) == (200, 65)
    assert again.pixels([np.zeros((1, 50, 50, 3), np.uint8)]).shape == (1, 3, 1, 28, 28)
    prompts = [whole("a dog é 🎸", "Yes"), whole("a")]
    assert torch.equal(again.rows(prompts).input_ids, changed.rows(prompts).input_ids)
    assert again.chat_template == processor.chat_template
