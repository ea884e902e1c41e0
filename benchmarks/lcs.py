"""Shared spans of caption pairs: ours, a plain dynamic programme in Python, and pylcs, in one run.

    python benchmarks/lcs.py [--small] [--rounds N]

Inputs: the 16,856 real pairs of ../shared/data/videocon-16k; where they are absent, as many pairs made
here of the same lengths; with --small, 300 of them. Word level is timed from two captions to the spans
of both. The plain programme fills the same table for the same words and traces it back. pylcs does
what the released code asks of it: `lcs_sequence_idx` on space-joined token ids, once in each direction;
ours of granularity `released` does the same and must mark the same tokens. The ids come from a small
BPE tokenizer trained here, and tokenising is not timed. Rounds are interleaved and the best of each is
taken, because other work on the machine only ever adds time.
"""

import argparse
import csv
import random
import time
from collections.abc import Callable
from pathlib import Path

from synvita_data.captions.lcs import released_shared_tokens, shared_spans, word_spans

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "videocon-16k" / "triplets.csv"
GOAL_SECONDS = 1.0
Pair = tuple[str, str]


def real_pairs() -> list[Pair]:
    with REAL.open(encoding="utf-8-sig", newline="") as handle:
        return [(row["caption"], row["neg_caption"]) for row in csv.DictReader(handle)]


def made_pairs(count: int = 16_856) -> list[Pair]:
    """Sentences of 8 to 20 words and a copy with one word changed or two halves exchanged."""
    rng = random.Random(0)
    words = ["".join(rng.choices("aeioubdfglmnprst", k=rng.randint(1, 8))) for _ in range(5000)]
    pairs = []
    for _ in range(count):
        caption = rng.choices(words, k=rng.randint(8, 20))
        contrast = caption.copy()
        if rng.random() < 0.5:
            contrast[rng.randrange(len(contrast))] = rng.choice(words)
        else:
            half = len(contrast) // 2
            contrast = contrast[half:] + contrast[:half]
        pairs.append((" ".join(caption) + ".", " ".join(contrast) + "."))
    return pairs


def plain_spans(caption: str, neg_caption: str) -> list[tuple[int, int]]:
    """The textbook table over words, traced back; spans of single words in the caption."""
    spans = word_spans(caption)
    a = [caption[start:end] for start, end in spans]
    b = [neg_caption[start:end] for start, end in word_spans(neg_caption)]
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        above, row = table[i], table[i + 1]
        for j, y in enumerate(b):
            row[j + 1] = above[j] + 1 if x == y else max(above[j + 1], row[j])
    kept, i, j = [], len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            kept.append(spans[i])
        elif table[i - 1][j] >= table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return kept[::-1]


def token_ids(pairs: list[Pair]) -> list[tuple[list[int], list[int]]]:
    """Ids of `"{caption}"?`, as the released code tokenises it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    quoted = [[f'"{text}"?' for text in pair] for pair in pairs]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(vocab_size=32_000, show_progress=False)
    tokenizer.train_from_iterator((text for pair in quoted for text in pair), trainer)
    return [(tokenizer.encode(a).ids, tokenizer.encode(b).ids) for a, b in quoted]


def as_pylcs(
    lcs_sequence_idx: Callable[[str, str], list[int]], ids: list[int], other: list[int]
) -> list[bool]:
    text = " ".join(map(str, ids))
    matches = lcs_sequence_idx(text, " ".join(map(str, other)))
    flags, start = [], 0
    for number in ids:
        end = start + len(str(number))
        flags.append(-1 not in matches[start:end])
        start = end + 1
    return flags


def best_of(rounds: int, runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of the fastest round of each."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="300 pairs, one round: does it run at all")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pairs = real_pairs() if REAL.is_file() else made_pairs()
    if options.small:
        pairs, options.rounds = pairs[:300], 1
    print(f"pairs: {len(pairs)} ({'real' if REAL.is_file() else 'made here'})")

    for caption, neg_caption in pairs[:300]:
        ours = [caption[slice(*span)] for span in shared_spans(caption, neg_caption)[0]]
        plain = plain_spans(caption, neg_caption)
        if sum(len(word_spans(piece)) for piece in ours) != len(plain):
            raise SystemExit(f"not equally long: {caption!r}, {neg_caption!r}")

    words = best_of(
        options.rounds,
        {
            "ours": lambda: [shared_spans(a, b) for a, b in pairs],
            "plain": lambda: [plain_spans(a, b) for a, b in pairs],
        },
    )
    verdict = "ok" if words["ours"] <= GOAL_SECONDS else "short"
    print(f"word-level shared spans: {words['ours']:.3f} s (goal <= {GOAL_SECONDS:g}) {verdict}")
    print(f"plain dynamic programme, words: {words['plain']:.3f} s")
    print(f"plain / ours, words: {words['plain'] / words['ours']:.2f}x")

    try:
        from pylcs import lcs_sequence_idx
    except ImportError:
        print("pylcs: not installed")
        return
    ids = token_ids(pairs)
    if any(released_shared_tokens(a, b) != as_pylcs(lcs_sequence_idx, a, b) for a, b in ids):
        raise SystemExit("released granularity and pylcs disagree")
    joined = [(" ".join(map(str, a)), " ".join(map(str, b))) for a, b in ids]
    tokens = best_of(
        min(options.rounds, 2),
        {
            "pylcs": lambda: [(lcs_sequence_idx(a, b), lcs_sequence_idx(b, a)) for a, b in joined],
            "ours": lambda: [(released_shared_tokens(a, b), released_shared_tokens(b, a)) for a, b in ids],
        },
    )
    print(f"pylcs on joined token ids: {tokens['pylcs']:.3f} s")
    print(f"ours on joined token ids (granularity released, same tokens): {tokens['ours']:.3f} s")
    print(f"pylcs / ours, joined token ids: {tokens['pylcs'] / tokens['ours']:.2f}x")
    print(f"pylcs on joined token ids / ours on words: {tokens['pylcs'] / words['ours']:.2f}x")


if __name__ == "__main__":
    main()
