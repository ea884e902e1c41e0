"""Expectations come from plain dynamic programmes and brute force written here."""

import os
import random
import subprocess
import sys
from functools import cache
from itertools import combinations, pairwise
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizers import KINDS, captions, hard_pairs, small_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers

from synvita_data.captions import Text, check_spans, hidden_spans
from synvita_data.captions.lcs import matching_blocks, released_shared_tokens, shared_spans, word_spans
from synvita_data.captions.masking import hidden_tokens
from synvita_data.errors import SynvitaError, TokenizerError

PAIRS = [*hard_pairs(), *captions(150)]
# Words by the plain rule; tests/test_words.py has the scripts and signs that need more.
WORDS = ("a", "b", "A", "cat", "Cat", "é", "ñ", "😀", "👩", "한국", "ß", "ss", ",", ".", "_x1", "—", "3½")
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["", " ", "  ", "\n", "\u00a0"]))).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
PLAIN = st.characters(
    exclude_categories=["Lo", "Lm", "Nl", "Mn", "Mc", "Me", "Cf", "Cs", "Co", "Cn", "Sk"]
).filter(lambda c: normalize("NFC", c) == c and not 0x1F1E6 <= ord(c) < 0x1F200)
ANY_TEXT = TEXTS | st.text(PLAIN, max_size=20)
SEQUENCES = st.lists(st.integers(0, 3), max_size=12)


def words_of(text: str) -> list[str]:
    """A second reading of `\\w+|[^\\w\\s]`, without regular expressions."""
    words, inside = [], False
    for character in text:
        is_word = character.isalnum() or character == "_"
        if is_word and inside:
            words[-1] += character
        elif not character.isspace():
            words.append(character)
        inside = is_word
    return words


def lcs_length(a, b) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b):
            diagonal, row[j + 1] = row[j + 1], diagonal + 1 if x == y else max(row[j], row[j + 1])
    return row[-1]


def is_subsequence(short, long) -> bool:
    rest = iter(long)
    return all(any(x == y for y in rest) for x in short)


def stated_choice(a: list, b: list) -> list[tuple[int, int]]:
    """The matched positions that the module's docstring promises, by trying every possibility."""
    if (len(b), b) < (len(a), a):
        return [(i, j) for j, i in stated_choice(b, a)]
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1

    @cache
    def best(i: int, j: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Minus the length, and the pairs from last to first: the smallest is the longest match."""
        found = (0, ())
        for p in range(head, i):
            for q in range(head, j):
                if a[p] == b[q]:
                    length, rest = best(p, q)
                    found = min(found, (length - 1, ((p, q), *rest)))
        return found

    middle = best(len(a) - tail, len(b) - tail)[1][::-1]
    pairs = [(i, i) for i in range(head)] + list(middle)
    return pairs + [(len(a) - k, len(b) - k) for k in range(tail, 0, -1)]


def matched(blocks) -> list[tuple[int, int]]:
    return [(a + k, b + k) for a, b, size in blocks for k in range(size)]


@given(SEQUENCES, SEQUENCES)
def test_blocks_are_a_longest_common_subsequence_and_the_stated_one(a, b):
    pairs = matched(matching_blocks(a, b))
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(i < next_i and j < next_j for (i, j), (next_i, next_j) in pairwise(pairs))
    assert len(pairs) == lcs_length(a, b)
    assert pairs == stated_choice(a, b)


@given(st.lists(st.integers(0, 2), max_size=7), st.lists(st.integers(0, 2), max_size=7))
def test_no_longer_subsequence_exists(a, b):
    longest = max(k for k in range(len(a) + 1) if any(is_subsequence(c, b) for c in combinations(a, k)))
    assert len(matched(matching_blocks(a, b))) == longest


@given(SEQUENCES, SEQUENCES)
def test_swapping_the_sides_swaps_the_blocks(a, b):
    assert matching_blocks(b, a) == [(j, i, size) for i, j, size in matching_blocks(a, b)]


@given(SEQUENCES, SEQUENCES)
def test_blocks_are_maximal(a, b):
    for (i, j, size), following in pairwise(matching_blocks(a, b)):
        assert (i + size, j + size) != following[:2]


def test_long_sequences():
    """Beyond 64 elements rapidfuzz works in several machine words."""
    rng = random.Random(0)
    for n, m, letters in [(64, 64, 3), (65, 200, 5), (130, 131, 2), (300, 90, 40)]:
        a = [rng.randrange(letters) for _ in range(n)]
        b = [rng.randrange(letters) for _ in range(m)]
        pairs = matched(matching_blocks(a, b))
        assert len(pairs) == lcs_length(a, b)
        assert all(a[i] == b[j] for i, j in pairs)
        assert matched(matching_blocks(b, a)) == [(j, i) for i, j in pairs]


@given(ANY_TEXT)
def test_words(text):
    spans = word_spans(text)
    check_spans(text, spans)
    assert [text[start:end] for start, end in spans] == words_of(text)
    covered = {i for start, end in spans for i in range(start, end)}
    assert all((i in covered) != character.isspace() for i, character in enumerate(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n", []),
        ("It's a_b-c, 3.5!", ["It", "'", "s", "a_b", "-", "c", ",", "3", ".", "5", "!"]),
        ("café niño", ["café", "niño"]),
        ("👩👧한국", ["👩", "👧", "한국"]),
    ],
)
def test_words_of_examples(text, words):
    assert [text[start:end] for start, end in word_spans(text)] == words


@given(ANY_TEXT, ANY_TEXT, st.booleans())
def test_word_level(caption, neg_caption, ignore_case):
    spans, neg_spans = shared_spans(caption, neg_caption, ignore_case=ignore_case)
    check_spans(caption, spans)
    check_spans(neg_caption, neg_spans)
    fold = str.casefold if ignore_case else str

    def folded(text: str) -> list[str]:
        return [fold(word) for word in words_of(text)]

    def pieces(text: str, spans) -> list[list[str]]:
        assert all(text[start:end] == text[start:end].strip() for start, end in spans)
        return [folded(text[start:end]) for start, end in spans]

    kept, neg_kept = pieces(caption, spans), pieces(neg_caption, neg_spans)
    assert kept == neg_kept  # the k-th spans hold the same words
    assert sum(map(len, kept)) == lcs_length(folded(caption), folded(neg_caption))
    # whole words only: a span never begins or ends inside one
    edges = {edge for span in word_spans(caption) for edge in span}
    assert edges.issuperset(edge for span in spans for edge in span)
    assert shared_spans(neg_caption, caption, ignore_case=ignore_case) == (neg_spans, spans)


def pieces(caption: str, neg_caption: str, **how) -> tuple[list[str], list[str]]:
    spans, neg_spans = shared_spans(caption, neg_caption, **how)
    return [caption[a:b] for a, b in spans], [neg_caption[a:b] for a, b in neg_spans]


def test_examples():
    assert pieces("a man eats", "a man sleeps") == (["a man"], ["a man"])
    assert pieces("a  man eats.", "a man\tsleeps.") == (["a  man", "."], ["a man", "."])
    assert pieces("cat,", "cat today,") == (["cat", ","], ["cat", ","])
    assert pieces("Man", "man") == ([], [])
    assert pieces("Man", "man", ignore_case=True) == (["Man"], ["man"])
    assert pieces("Straße", "STRASSE", ignore_case=True) == (["Straße"], ["STRASSE"])
    assert pieces("one two", "three") == ([], [])
    assert pieces("", "three") == ([], [])
    assert pieces("", "") == ([], [])
    same = "A red 😀, twice: a red 😀."
    assert pieces(same, same) == ([same], [same])
    assert pieces(f" {same}\n", same) == ([same], [same])
    # Several longest ones: the head "a b" goes first, and of "c" and "d" the one that ends earlier.
    assert shared_spans("a b c d", "a b d c") == ([(0, 3), (4, 5)], [(0, 3), (6, 7)])


def test_neither_hash_seed_nor_process_changes_the_result():
    code = (
        "from synvita_data.captions.lcs import shared_spans\n"
        "print([shared_spans(a, b) for a in ('x y z w x y', 'éa b 😀 b éa') for b in ('y x w z y x', 'b éa 😀 éa b')])"
    )
    results = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        results.add(run.stdout)
    assert len(results) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_token_level_keeps_a_longest_common_subsequence_of_tokens(kind):
    tokenizer, exact = small_tokenizer(kind), 0
    for caption, neg_caption in PAIRS:
        spans, neg_spans = shared_spans(caption, neg_caption, granularity="token", tokenizer=tokenizer)
        encoded = [tokenizer.encode(text, add_special_tokens=False) for text in (caption, neg_caption)]
        unknown = tokenizer.token_to_id("<unk>" if kind != "bert" else "[UNK]")
        ids = [
            [
                (number, text[slice(*offset)].strip() if number == unknown else None)
                for number, offset in zip(encoding.ids, encoding.offsets, strict=True)
            ]
            for text, encoding in zip((caption, neg_caption), encoded, strict=True)
        ]
        longest = lcs_length(*ids)
        for text, own, encoding in [(caption, spans, encoded[0]), (neg_caption, neg_spans, encoded[1])]:
            check_spans(text, own)
            assert all(text[a:b] == text[a:b].strip() for a, b in own)
            hidden = hidden_tokens(text, 0, Text(text, hidden_spans(text, own)), encoding.offsets)
            visible = [o for o, is_hidden in zip(encoding.offsets, hidden, strict=True) if not is_hidden]
            blank = [o for o in visible if not text[slice(*o)].strip()]  # never hidden, shared or not
            assert len(visible) - len(blank) <= longest
            if all(end <= start for (_, end), (start, _) in pairwise(encoding.offsets)):
                # (Otherwise tokens that share a character are hidden together.)
                assert len(visible) >= longest
                exact += 1
    assert exact > 50


@pytest.mark.parametrize("kind", KINDS)
def test_token_level_of_equal_and_of_swapped_captions(kind):
    tokenizer = small_tokenizer(kind)
    for caption, neg_caption in PAIRS:
        how = {"granularity": "token", "tokenizer": tokenizer}
        spans, neg_spans = shared_spans(caption, neg_caption, **how)
        assert shared_spans(neg_caption, caption, **how) == (neg_spans, spans)
        same, _ = shared_spans(caption, caption, **how)
        start = len(caption) - len(caption.lstrip())
        if kind not in ("bert", "unigram"):  # these drop characters, at the ends too
            assert same == [(start, start + len(caption.strip()))]


def test_a_character_spread_over_tokens_is_shared_as_a_whole():
    tokenizer = small_tokenizer("byte-level")  # an emoji is four tokens, of which three are the same
    how = {"granularity": "token", "tokenizer": tokenizer}
    assert len(tokenizer.encode("😀", add_special_tokens=False).ids) == 4
    assert shared_spans("😀", "😁", **how) == ([], [])
    assert shared_spans("a 😀 b", "a 😁 b", **how) == ([(0, 1), (4, 5)], [(0, 1), (4, 5)])


def test_unknown_tokens_are_equal_only_with_equal_text():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "eats": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    how = {"granularity": "token", "tokenizer": tokenizer}
    assert pieces("a dog eats", "a cat eats", **how) == (["a", "eats"], ["a", "eats"])
    assert pieces("a dog eats", "a dog eats", **how) == (["a dog eats"], ["a dog eats"])


def test_padding_and_truncation_of_a_tokenizer():
    tokenizer = Tokenizer.from_str(small_tokenizer("byte-level").to_str())
    a, b = "a man runs", "a man walks"
    plain = shared_spans(a, b, granularity="token", tokenizer=tokenizer)
    tokenizer.enable_padding(length=40)
    assert shared_spans(a, b, granularity="token", tokenizer=tokenizer) == plain
    tokenizer.enable_truncation(max_length=2)
    with pytest.raises(TokenizerError, match="truncates"):
        shared_spans(a, b, granularity="token", tokenizer=tokenizer)


def test_tokenizers_of_transformers():
    transformers = pytest.importorskip("transformers")
    backend = small_tokenizer("llama metaspace")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(backend.to_str()))
    fast(["a man"], truncation=True, max_length=2)  # leaves truncation behind in the backend
    for granularity in ("token", "released"):
        for a, b in PAIRS[:40]:
            assert shared_spans(a, b, granularity=granularity, tokenizer=fast) == shared_spans(
                a, b, granularity=granularity, tokenizer=backend
            )
    with pytest.raises(TokenizerError, match="ByT5Tokenizer"):
        shared_spans("a", "b", granularity="token", tokenizer=transformers.ByT5Tokenizer())


def matched_as_pylcs(a: str, b: str) -> list[bool]:
    """Plain table, then from the end: match where equal, otherwise up if that is not shorter."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    matches, i, j = [False] * len(a), len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            matches[i] = True
        elif table[i - 1][j] >= table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return matches


def released_reference(ids: list[int], other: list[int], match=matched_as_pylcs) -> list[bool]:
    text = " ".join(map(str, ids))
    matches = match(text, " ".join(map(str, other)))
    flags, token = [], True
    for character, is_matched in [*zip(text, matches, strict=True), (" ", True)] if ids else []:
        if character == " ":
            flags.append(token)
            token = True
        else:
            token &= is_matched
    return flags


@given(*[st.lists(st.integers(0, 3000) | st.sampled_from([29, 2629, 9, 0]), max_size=8)] * 2)
def test_released_tokens(ids, other):
    assert released_shared_tokens(ids, other) == released_reference(ids, other)
    assert all(released_shared_tokens(ids, ids))


def test_released_tokens_agree_with_pylcs_itself():
    pylcs = pytest.importorskip("pylcs")
    rng = random.Random(1)

    def match(a: str, b: str) -> list[bool]:
        return [j != -1 for j in pylcs.lcs_sequence_idx(a, b)]

    for _ in range(300):
        ids, other = ([rng.randrange(200) for _ in range(rng.randrange(1, 25))] for _ in range(2))
        assert released_shared_tokens(ids, other) == released_reference(ids, other, match)


def test_released_fault_is_reproduced():
    assert released_shared_tokens([29], [2629]) == [True]
    assert released_shared_tokens([2629], [29]) == [False]
    # pylcs 0.1.1: lcs_sequence_idx("376 319 29", "376 2629 319") == [0, 1, 5, 8, 9, 10, -1, -1, -1, 11]
    assert released_shared_tokens([376, 319, 29], [376, 2629, 319]) == [True, False, False]
    # and the other way round [0, 1, 2, 3, -1, -1, -1, 6, 7, -1, -1, 9].
    assert released_shared_tokens([376, 2629, 319], [376, 319, 29]) == [True, False, False]
    # lcs_sequence_idx("5 12 7", "12 57") == [-1, -1, 0, 1, 2, 4]
    assert released_shared_tokens([5, 12, 7], [12, 57]) == [False, True, True]
    assert released_shared_tokens([], [1]) == []
    assert released_shared_tokens([1, 2], []) == [False, False]


@pytest.mark.parametrize("kind", ["llama normaliser", "llama metaspace", "byte-level"])
def test_released_spans_hide_what_the_released_code_hides(kind):
    """On `"caption"?` alone, every token with a caption character gets the released code's flag."""
    tokenizer = small_tokenizer(kind)
    for caption, neg_caption in [*captions(60), *hard_pairs()[::2]]:
        encoded = [
            tokenizer.encode(f'"{text}"?', add_special_tokens=False) for text in (caption, neg_caption)
        ]
        all_spans = shared_spans(caption, neg_caption, granularity="released", tokenizer=tokenizer)
        for own, other, text, spans in [
            (encoded[0], encoded[1], caption, all_spans[0]),
            (encoded[1], encoded[0], neg_caption, all_spans[1]),
        ]:
            check_spans(text, spans)
            expected = released_reference(own.ids, other.ids)
            got = hidden_tokens(f'"{text}"?', 1, Text(text, hidden_spans(text, spans)), own.offsets)
            for (start, end), is_shared, is_hidden in zip(own.offsets, expected, got, strict=True):
                inside = text[max(start - 1, 0) : max(end - 1, 0)]
                if inside.strip() and inside.isascii():
                    assert is_hidden != is_shared
                elif inside.strip() and not is_shared:
                    assert is_hidden


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"granularity": "char"}, "unknown granularity.*word, token, released"),
        ({"granularity": "token"}, "needs a tokenizer"),
        ({"granularity": "released"}, "needs a tokenizer"),
        ({"granularity": "token", "tokenizer": "gpt2"}, "fast tokenizer"),
        ({"tokenizer": "gpt2"}, "take no tokenizer"),
        ({"granularity": "token", "tokenizer": "gpt2", "ignore_case": True}, "words only"),
    ],
)
def test_options_that_do_not_go_together(how, message):
    with pytest.raises(SynvitaError, match=message):
        shared_spans("a", "b", **how)


def test_real_pairs(real_data):
    for caption, neg_caption in captions(16_856)[::40]:
        spans, neg_spans = shared_spans(caption, neg_caption)
        kept = [word for a, b in spans for word in words_of(caption[a:b])]
        assert kept == [word for a, b in neg_spans for word in words_of(neg_caption[a:b])]
        assert len(kept) == lcs_length(words_of(caption), words_of(neg_caption))


def test_benchmark_runs(repo_root):
    command = [sys.executable, str(repo_root / "benchmarks" / "lcs.py"), "--small"]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert "word-level shared spans: " in output
    assert "goal <= 1" in output
    assert "pylcs" in output
