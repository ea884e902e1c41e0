"""Small tokenizers of the classes that VQAScore's T5 and Q-Former have, from the words of `corpus.sentences`."""

import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING

from .corpus import sentences

if TYPE_CHECKING:
    from transformers import BertTokenizer, T5Tokenizer

_PRINTED = string.ascii_letters + string.digits + string.punctuation


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
    counts: dict[str, int] = {}
    for sentence in sentences():
        for word in re.findall(r"[A-Za-z]+", sentence):
            counts[word] = counts.get(word, 0) + 1
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))
