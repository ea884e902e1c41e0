"""The rule of hallucination: a clause of which the caption says nothing is added at its end."""

import re
from collections.abc import Iterator

from ..english import tokens
from .sentence import Edit, Sentence

_END = re.compile(r"[\s.!,;]*\Z")


def additions(sentence: Sentence) -> Iterator[Edit]:
    """The caption, and behind it a clause or phrase of the table that shares no content word with it."""
    table, lexicon = sentence.lexicon.tables.raw["additions"], sentence.lexicon
    words = sentence.words
    while words and not words[-1][0].isalnum():
        words = words[:-1]
    if not words or words[-1] in lexicon.closed - lexicon.adverbs - {"it", "him", "them", "her", "something", "someone"}:
        return
    if words[-1] in ("very", "only", "just", "both", "all", "then", "also") or '"' in sentence.text or "?" in sentence.text:
        return
    if set(table["unless"]).intersection(words):
        return
    end = _END.search(sentence.text)
    assert end is not None
    body, tail = sentence.text[: end.start()], end.group().replace(",", "")
    clauses = [] if {"while", "as", "when"}.intersection(words) else table["clauses"]
    for added in [*clauses, *table["phrases"]]:
        content = [word for word in tokens(added) if word not in lexicon.closed]
        if "then" in added and ("then" in words or "before" in words or "after" in words):
            continue
        if not sentence.mentions(" ".join(content)):
            yield Edit(f"{body} {added}{tail}", 1.0, None, added, f'The video does not show "{added}".')
