"""Small tokenizers of the real classes, trained in a fraction of a second on `sentences`.

Both kinds that matter for masks are here: Llama's (Metaspace, byte fallback, no rule between letters and
spaces) and byte-level BPE (Qwen, CLIP), where an offset often includes the space before a word. T5's and BERT's are
for VQAScore's models.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BertTokenizer, CLIPTokenizer, LlamaTokenizer, Qwen2Tokenizer, T5Tokenizer

VOCABULARY = 1536  # at most; the corpus gives fewer
_PRINTED = string.ascii_letters + string.digits + string.punctuation


def llama_tokenizer(
    special: Sequence[str] = (),
    corpus: tuple[str, ...] | None = None,
    size: int = VOCABULARY,
    pad: str = "<pad>",
) -> "LlamaTokenizer":
    """A `LlamaTokenizer` with `<s>` in front, `pad` on the left, and the tokens `special` at the end.

    Args:
        corpus: sentences to train it on, None for `sentences`.
        size: of the vocabulary, at most; with real captions and several thousand tokens its captions are about as
            long as a real model's.
    """
    from transformers import LlamaTokenizer

    vocabulary, merges = _trained("llama", corpus, size)
    return LlamaTokenizer(
        vocab=dict(vocabulary),
        merges=list(merges),
        pad_token=pad,
        padding_side="left",
        add_bos_token=True,
        model_max_length=4096,
        extra_special_tokens=list(special),
    )


def qwen_tokenizer(special: Sequence[str] = ()) -> "Qwen2Tokenizer":
    """A `Qwen2Tokenizer` (byte-level) with `<|im_start|>`, `<|im_end|>`, and the tokens `special`."""
    from transformers import Qwen2Tokenizer

    vocabulary, merges = _trained("qwen")
    return Qwen2Tokenizer(
        vocab=dict(vocabulary),
        merges=list(merges),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=4096,
        extra_special_tokens=["<|im_start|>", *special],
    )


def clip_tokenizer() -> "CLIPTokenizer":
    """A `CLIPTokenizer`: lower case, byte-level with `</w>` at the end of words, 77 positions."""
    from transformers import CLIPTokenizer

    vocabulary, merges = _trained("clip")
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), model_max_length=77)


def t5_tokenizer() -> "T5Tokenizer":
    """A `T5Tokenizer` (SentencePiece's unigrams): whole words of the corpus, and letters for all others."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    # A word costs less than its letters, and what is frequent comes first in the corpus.
    words = [(f"▁{word}", -2.0 - 0.001 * rank) for rank, word in enumerate(_words())]
    letters = [("▁", -8.0), *((letter, -10.0) for letter in _PRINTED)]
    return T5Tokenizer(vocab=special + words + letters, extra_ids=0)


def bert_tokenizer() -> "BertTokenizer":
    """A lower-case `BertTokenizer` (WordPiece), with BLIP's `[DEC]`."""
    from transformers import BertTokenizer

    letters = [letter for letter in _PRINTED if not letter.isupper()]
    pieces = [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"),
        *letters,
        *(f"##{letter}" for letter in letters if letter.isalnum()),
        *dict.fromkeys(word.lower() for word in _words() if len(word) > 1),
    ]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, bos_token="[DEC]")


@lru_cache
def _words() -> tuple[str, ...]:
    """Words of the corpus, each once, those that come most often first."""
    counts = Counter(word for sentence in sentences() for word in re.findall(r"[A-Za-z]+", sentence))
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


@lru_cache
def _trained(
    kind: str, corpus: tuple[str, ...] | None = None, size: int = VOCABULARY
) -> tuple[dict[str, int], list[Any]]:
    """Vocabulary and merges (pairs of strings) of BPE on the corpus, split into words as this kind does."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if kind == "llama":
        special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        # SentencePiece never merges over a space, nor letters with punctuation.
        words = pre_tokenizers.Split(Regex(r"▁?\w+|▁?[^\w▁]+|▁"), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False), words]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False
        )
        if corpus is None:  # Llama has a token for each letter after a space
            corpus = (*sentences(), *(f"{letter} {letter}." for letter in LETTERS))
    else:
        special = ["<|endoftext|>"]
        suffix = "</w>" if kind == "clip" else ""
        if suffix:
            # All bytes that end a word, named here: the trainer would add those it meets, in hash order.
            special += ["<|startoftext|>", *(f"{byte}{suffix}" for byte in sorted(alphabet))]
        tokenizer = Tokenizer(models.BPE(end_of_word_suffix=suffix))
        tokenizer.decoder = decoders.ByteLevel()
        if kind == "clip":
            tokenizer.normalizer = normalizers.Lowercase()
            split = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed", invert=True)
            byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        ending: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=special,
            initial_alphabet=alphabet,
            show_progress=False,
            **ending,
        )
    tokenizer.train_from_iterator(sentences() if corpus is None else corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def answer_ids(tokenizer: Any) -> dict[str, int]:
    """The token of each answer (Yes, No, yes, no) that is a single one at the start of a text."""
    ids = {answer: tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in ANSWERS}
    return {answer: own[0] for answer, own in ids.items() if len(own) == 1}


ANSWERS = ("Yes", "No", "yes", "no")
LETTERS = (
    "ABCDEFGH"  # of options; digits are tokens of their own, after a space that is one too, as Llama's are
)
PROMPTS = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: ",
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions. USER: ",
    "The following is a conversation between a curious human and AI assistant. Human: AI: ",
    'Does this video entail the description: "a man talks."? ASSISTANT: Yes',
    'Does this video entail the description: "a woman talks"? ASSISTANT: No',
    "Does this video entail the description: a dog runs? ASSISTANT:",
    'What is the misalignment between this video and the description: "a cat sleeps."? ASSISTANT:',
    'Does this figure show "a dog runs."? Please answer yes or no. ASSISTANT: Yes',
    "Describe this video. Describe what is shown in the video. ASSISTANT:",
    "system You are a helpful assistant. user assistant",
    "The image shows a photo of a video frame. Frame1: 0.5 seconds",
    # Words that follow a line break or a quote, without a space before them.
    '"Does" "What" "Describe" "First" "Human" "AI" "USER" "Yes" "No" "A" "The" "Two" "Three" "Four"',
)
EVERYDAY = (
    "A man is talking while another man plays a guitar on a stage.",
    "A woman cuts vegetables in a kitchen and then puts them into a pot.",
    "Two children run across a field and a dog jumps over a fence.",
    "A person throws a ball, then the girl catches it with both hands.",
    "The boy opens the door before he walks into the room.",
    "Several people are dancing in the street after the music starts.",
    "A young lady in a white shirt is riding a brown horse along the beach.",
    "The camera pans to the left and a black car comes into view for the first time.",
    "Three men in hats stand next to a table, looking at something in front of them.",
    "The baby is not crying, it is laughing.",
)
NUMBERS = ("A", "One", "Two", "Three", "Four", "a", "one", "two", "three", "four")
SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
SHAPES = ("circle", "square", "triangle", "star")
VERBS = ("moves", "grows", "shrinks", "spins", "blinks")
DIRECTIONS = ("left", "right", "up", "down")
RELATIONS = ("to the left of", "to the right of", "above", "below")
EXPLANATIONS = (
    "it is not true that it moves left.",
    "they spin, it is not true that they blink.",
    "The star is small, not large.",
    "There are two red circles, not three.",
    "The star spins before it grows, not after.",
    "There is no blue square in the video.",
    "The video does not show that it shrinks.",
    "The red shape is a circle, not a square.",
    "The blue shapes are circles, not stars.",
    "The red circle is above the blue star, not below it.",
)


def sentences() -> Iterator[str]:
    """The corpus, always the same, in a fixed order; frequent words come often, as in real text."""
    for _ in range(40):
        yield from ANSWERS
        yield from (f"ASSISTANT: {answer}" for answer in ANSWERS)
    for _ in range(8):
        yield from PROMPTS
        yield from EXPLANATIONS
    for _ in range(3):
        yield from EVERYDAY
    for number in NUMBERS:
        for size in SIZES:
            yield from (f"{number} {size} {colour}" for colour in COLOURS)
    for shape in SHAPES:
        for verb in VERBS:
            for direction in DIRECTIONS:
                yield f"First a {shape} {verb} {direction}, then some {shape}s {verb[:-1]} {direction}."
                yield f"A {shape} first {verb} and then moves {direction}."
        yield from (f"A {shape} is {relation} a {shape} while it spins." for relation in RELATIONS)
