"""The words of a text as a text-only model reads them, and how often texts have each word and each pair of neighbours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .words import equal_as, is_plain, word_spans

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Ints = npt.NDArray[np.int64]

# scikit-learn's own: a word has two letters or more, and punctuation is none.
_WORD = re.compile(r"\b\w\w+\b")


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case; one empty word where there is none, which is a trait of a text too.

    Of scripts that need more than spaces between words they are those of `captions.words`, single characters too.

    Example:
        >>> words_of("A man's dog barks."), words_of("一个男人")
        (['man', 'dog', 'barks'], ['一', '个', '男人'])
    """
    text = text.lower()
    if is_plain(text):
        return _WORD.findall(text) or [""]
    words = (text[start:end] for start, end in word_spans(text))
    return [equal_as(word) for word in words if any(map(str.isalnum, word))] or [""]


@dataclass(frozen=True, eq=False)
class NGrams:
    """The words and pairs of neighbouring words of some texts. Each is a column of counts: first the words.

    Attributes:
        words: word -> its column; in sorted order.
        pairs: int64, sorted: the first word's column times the number of words, plus the second's.
    """

    words: dict[str, int]
    pairs: Ints

    @classmethod
    def counted(cls, texts: Sequence[Sequence[str]]) -> tuple["NGrams", "csr_matrix"]:
        """Those of these texts, and how often each text has each, as `count` gives it."""
        words = {word: column for column, word in enumerate(sorted(set(chain.from_iterable(texts))))}
        codes, text_of = _codes(texts, words)
        pairs, text_of_pair = _neighbours(codes, text_of, len(words))
        known, place = np.unique(pairs, return_inverse=True)
        ngrams = cls(words, known)
        return ngrams, ngrams._matrix(len(texts), (codes, text_of), (place, text_of_pair))

    def count(self, texts: Sequence[Sequence[str]]) -> "csr_matrix":
        """int32 [texts, n-grams], how often each text has each; what is not known is left out."""
        codes, text_of = _codes(texts, self.words)
        pairs, text_of_pair = _neighbours(codes, text_of, len(self.words))
        place = np.searchsorted(self.pairs, pairs)
        known = np.append(self.pairs, -1)[place] == pairs
        of_words = codes[codes >= 0], text_of[codes >= 0]
        return self._matrix(len(texts), of_words, (place[known], text_of_pair[known]))

    def _matrix(self, texts: int, words: tuple[Ints, Ints], pairs: tuple[Ints, Ints]) -> "csr_matrix":
        """Counts of words and of pairs, each given as columns and texts."""
        from scipy.sparse import csr_matrix

        columns = np.concatenate([words[0], len(self.words) + pairs[0]])
        rows = np.concatenate([words[1], pairs[1]])
        shape = (texts, len(self.words) + len(self.pairs))
        return csr_matrix((np.ones(len(rows), np.int32), (rows, columns)), shape=shape).sorted_indices()


def _codes(texts: Sequence[Sequence[str]], words: Mapping[str, int]) -> tuple[Ints, Ints]:
    """int64 of all words of all texts: the word's column, -1 for one that is not known, and which text it is of."""
    flat = [words.get(word, -1) for word in chain.from_iterable(texts)]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.array(flat, np.int64), np.repeat(np.arange(len(texts)), lengths)


def _neighbours(codes: Ints, text_of: Ints, words: int) -> tuple[Ints, Ints]:
    """int64 of all pairs of neighbouring words that are known, as in `NGrams.pairs`, and which text each is of."""
    inside = (text_of[1:] == text_of[:-1]) & (codes[1:] >= 0) & (codes[:-1] >= 0)
    return (codes[:-1] * words + codes[1:])[inside], text_of[1:][inside]
