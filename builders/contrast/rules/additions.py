"""The rule of hallucination: something of which the caption says nothing is added at its end."""

import re
from collections.abc import Iterator

from ..english import listed, tokens
from .sentence import Edit, Sentence

_END = re.compile(r"[\s.!,;]*\Z")
# Words behind which a caption may end although they are in the lists of function words.
_LAST = frozenset(listed("it him them her something someone outside inside outdoors indoors"))
_OPEN = frozenset(listed("very only just both all then also"))
# Draws, the share of them that are phrases, and how many additions are enough.
_TRIES, _PHRASES, _MADE = 64, 0.2, 12
_TIMES = frozenset(listed("then before after"))


def additions(sentence: Sentence) -> Iterator[Edit]:
    """The caption, and behind it what somebody does, or what else is to be seen, none of which it mentions."""
    table, lexicon, words = sentence.lexicon.tables.raw["additions"], sentence.lexicon, list(sentence.words)
    while words and not words[-1][0].isalnum():
        words.pop()
    if not words or words[-1] in (lexicon.closed - lexicon.adverbs - _LAST) | _OPEN:
        return
    if set(table["unless"]).intersection(words) or '"' in sentence.text or "?" in sentence.text:
        return
    end = _END.search(sentence.text)
    body, tail = sentence.text[: end.start() if end else None], end.group().replace(",", "") if end else ""
    joins = [join for join in table["joins"] if not set(join.split()[-1:]).intersection(words)]
    # Behind a caption that is only a noun phrase, "and then" would have nothing to follow.
    if "and then" in joins and (_TIMES.intersection(words) or not sentence.has_finite_verb):
        joins.remove("and then")
    made = 0
    for _ in range(_TRIES):
        draw = sentence.random
        if draw.random() < _PHRASES:
            added = f", {draw.choice(table['phrases'])}"
        elif joins:
            kind = draw.choice(sorted(table["actors"]))
            join, action = draw.choice(joins), draw.choice(table["actions"][kind])
            if join == "and then" and action in table["lasting"]:
                continue
            added = f" {join} {draw.choice(table['actors'][kind])} {action}"
        else:
            continue
        if _is_new(sentence, added):
            yield _added(body, added, tail)
            made += 1
            if made == _MADE:
                return


def _is_new(sentence: Sentence, text: str) -> bool:
    content = [word for word in tokens(text) if word not in sentence.lexicon.closed]
    return not sentence.mentions(" ".join(content))


def _added(body: str, added: str, tail: str) -> Edit:
    plain = added.lstrip(", ")
    return Edit(f"{body}{added}{tail}", 1.0, None, plain, f'The video does not show "{plain}".')
