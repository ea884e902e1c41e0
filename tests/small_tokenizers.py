"""Small tokenizers of the kinds that models use, trained in a second on captions."""

import csv
from functools import cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

BEFORE, AFTER = 'Human: Does this video entail the description: "', '"?\nAI: '
KINDS = ("byte-level", "byte-level trimmed", "llama normaliser", "llama metaspace", "unigram", "bert")

# Used where the real captions are absent. Written for these tests.
BUILT_IN = (
    "a man is talking about a red bicycle.",
    "a woman is talking about a red motorcycle.",
    "Two dogs run on the grass, then one dog jumps over a fence.",
    "One dog jumps over a fence, then two dogs run on the grass.",
    "A child plays the guitar while people watch and clap.",
    "A child plays the drums while nobody watches.",
    "the boy in the blue shirt pours water before he cuts the bread",
    "the girl in the green shirt cuts the bread after she pours water",
    "It's raining; a person walks a dog and a person rides a horse.",
    "Three women are dancing in a kitchen and laughing at the camera.",
)
# What breaks byte arithmetic: several bytes a character, several characters a glyph.
HARD = (
    "a man 😀 eats sushi 寿司 in a café.",
    "a man 😂 eats ramen 拉麺 in a cafe\u0301!",
    "👩‍👧 walk  their\tdog — slowly\u00a0on ice",
    "👩‍👦 walk their dog – quickly on ice",
    "naïve ﬁsh",
    "naive fish?",
    " leading and trailing ",
    "Ünïcödé ẞtraße",
    "日本語の字幕",
    "日本の字幕です",
    "a",
)


@cache
def captions(limit: int = 3000) -> tuple[tuple[str, str], ...]:
    """Pairs of captions: the first `limit` real ones where they are, otherwise the built-in list."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "videocon-16k" / "triplets.csv"
    if not path.is_file():
        return tuple((a, b) for a in BUILT_IN for b in BUILT_IN)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = [(row["caption"], row["neg_caption"]) for row in csv.DictReader(handle)]
    return tuple(rows[:limit])


def hard_pairs() -> tuple[tuple[str, str], ...]:
    return tuple((a, b) for a in HARD for b in HARD)


@cache
def small_tokenizer(kind: str) -> Tokenizer:
    """One of KINDS. Prompts are in the training text, so that `."` and the like become one token."""
    lines = [f"{BEFORE}{caption}{AFTER}" for pair in captions(1500) for caption in pair]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    if kind.startswith("byte-level"):  # GPT-2, Qwen; trimmed offsets: RoBERTa
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=kind.endswith("trimmed"))
        trainer = trainers.BpeTrainer(
            vocab_size=1200,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<s>"],
            show_progress=False,
        )
    elif kind.startswith("llama"):  # SentencePiece BPE with byte fallback, in its two conversions
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
        trainer = trainers.BpeTrainer(
            vocab_size=1400, special_tokens=["<unk>", "<s>", "</s>", *byte_tokens], show_progress=False
        )
    elif kind == "unigram":  # T5; normalises, has no byte fallback
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=900, unk_token="<unk>", special_tokens=["<unk>", "</s>"], show_progress=False
        )
    elif kind == "bert":  # lower-cases, strips accents, one unknown token for any word
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=900, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
        )
    else:
        raise ValueError(kind)
    tokenizer.train_from_iterator(lines, trainer)
    if kind == "llama normaliser":  # as LLaMA's own tokenizer.json: spaces replaced before, no splitting
        tokenizer.pre_tokenizer = None
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    if kind.startswith("llama"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    return tokenizer
