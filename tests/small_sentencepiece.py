"""A toy `tokenizer.model` of LLaMA's kind, and sentencepiece itself to read with it."""

from collections.abc import Callable
from pathlib import Path

from synvita_data.testing.tokenizer import sentences


def train(folder: Path) -> Path:
    """`tokenizer.model` as LLaMA's was trained: BPE, bytes for what is unknown, spaces as they are."""
    import sentencepiece

    (folder / "corpus.txt").write_text("\n".join(sentences()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


def pieces(model: Path) -> Callable[[str], list[tuple[int, int, int]]]:
    """sentencepiece itself: a text -> [(id, first character, last + 1)]."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def encode(text: str) -> list[tuple[int, int, int]]:
        # Its name until sentencepiece 0.2.1, and since.
        old = getattr(processor, "encode_as_immutable_proto", None)
        proto = old(text) if old is not None else processor.encode_as_proto(text)
        return [(piece.id, piece.begin, piece.end) for piece in proto.pieces]

    return encode
