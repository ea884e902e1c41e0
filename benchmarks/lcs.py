"""Shared spans of caption pairs: ours, a plain dynamic programme in Python, and pylcs, in one run.

    python benchmarks/lcs.py [--small] [--rounds N]

Inputs: the 16,856 real pairs of VideoCon (`measure.py` says where); where they are absent, as many pairs made
here of the same lengths; with --small, 300 of them. Word level is timed from two captions to the spans
of both. The plain programme fills the same table for the same words and traces it back. pylcs does
what the released code asks of it: `lcs_sequence_idx` on space-joined token ids, once in each direction;
ours of granularity `released` does the same and must mark the same tokens. The ids come from a small
BPE tokenizer trained here, and tokenising is not timed. Rounds are interleaved and the best of each is
taken, because other work on the machine only ever adds time.
"""

from collections.abc import Callable

from measure import Pair, argument_parser, figure, in_turns, pairs

from synvita_data.captions.lcs import released_shared_tokens, shared_spans, word_spans

GOAL_SECONDS = 1.0


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


def token_ids(found: list[Pair]) -> list[tuple[list[int], list[int]]]:
    """Ids of `"{caption}"?`, as the released code tokenises it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    quoted = [[f'"{text}"?' for text in pair] for pair in found]
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


def main() -> None:
    arguments = argument_parser(__doc__, rounds=5).parse_args()
    rounds = 1 if arguments.small else arguments.rounds
    captions = pairs(300 if arguments.small else None)

    for caption, neg_caption in captions[:300]:
        ours = [caption[slice(*span)] for span in shared_spans(caption, neg_caption)[0]]
        plain = plain_spans(caption, neg_caption)
        if sum(len(word_spans(piece)) for piece in ours) != len(plain):
            raise SystemExit(f"not equally long: {caption!r}, {neg_caption!r}")

    words = in_turns(
        rounds,
        ours=lambda: [shared_spans(a, b) for a, b in captions],
        plain=lambda: [plain_spans(a, b) for a, b in captions],
    )
    figure("word-level shared spans", words["ours"], "s", GOAL_SECONDS, at_most=True)
    figure("plain dynamic programme, words", words["plain"], "s")
    figure("plain / ours, words", words["plain"] / words["ours"], "x")

    try:
        from pylcs import lcs_sequence_idx
    except ImportError:
        print("pylcs: not installed")
        return
    ids = token_ids(captions)
    if any(released_shared_tokens(a, b) != as_pylcs(lcs_sequence_idx, a, b) for a, b in ids):
        raise SystemExit("released granularity and pylcs disagree")
    joined = [(" ".join(map(str, a)), " ".join(map(str, b))) for a, b in ids]
    tokens = in_turns(
        min(rounds, 2),
        pylcs=lambda: [(lcs_sequence_idx(a, b), lcs_sequence_idx(b, a)) for a, b in joined],
        ours=lambda: [(released_shared_tokens(a, b), released_shared_tokens(b, a)) for a, b in ids],
    )
    figure("pylcs on joined token ids", tokens["pylcs"], "s")
    figure("ours on joined token ids (granularity released, same tokens)", tokens["ours"], "s")
    figure("pylcs / ours, joined token ids", tokens["pylcs"] / tokens["ours"], "x")
    figure("pylcs on joined token ids / ours on words", tokens["pylcs"] / words["ours"], "x")


if __name__ == "__main__":
    main()
