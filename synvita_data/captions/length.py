"""How much of a text a model reads that takes so many tokens and no more."""

from typing import Any


def read_length(tokenizer: Any, text: str, limit: int | None) -> tuple[int, int | None]:
    """(tokens of the whole text, characters of it that the first `limit` tokens are of).

    Args:
        tokenizer: of transformers; special tokens count. limit: None without a bound.

    Returns:
        None in second place if the whole text is read.
    """
    tokens = len(_ids(tokenizer, text))
    if limit is None or tokens <= limit:
        return tokens, None
    if getattr(tokenizer, "is_fast", False):
        cut = tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
        return tokens, max((end for _, end in cut["offset_mapping"]), default=0)
    # Without offsets: the longest beginning of the text that fits.
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_ids(tokenizer, text[:middle])) <= limit:
            low = middle
        else:
            high = middle - 1
    return tokens, low


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, truncation=False, verbose=False)["input_ids"]
    return ids
