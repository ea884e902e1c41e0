"""Are all texts of a dataset fit for the model? Found before training, in seconds, without a video."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from synvita_data.captions import Text, quoted
from synvita_data.captions.masking import find_tokens
from synvita_data.captions.prompts import explanation_prompt
from synvita_data.errors import located
from synvita_data.models import Explanation, Family, PromptFrame
from synvita_data.models.prompting import Prompter
from synvita_data.models.videos import VideoPreparer

_Item = TypeVar("_Item")  # a caption, or an explanation
_AT_ONCE = 4096  # texts given to the tokenizer together
# Tokens that a text may have more inside its prompt than alone, the answer's or the end token among them.
_SLACK = 16
# Masked texts: whether tokens are joined over a quote depends on the tokenizer, hardly on the text.
_LOOKED_AT = 64


class TextCheck:
    """Finds captions and explanations that the model cannot be trained on with any video.

    The tokenizer takes thousands of texts in one call, to find those that hold special tokens or could be too
    long; the very code that makes prompts in training then decides about these.

    Args:
        preparer: of the model.
        name: of the dataset, for messages.
    """

    def __init__(self, preparer: VideoPreparer, name: str) -> None:
        self._family, self._prompt, self._name = preparer.family, preparer.prompt, name
        self._prompter = Prompter(preparer.family, preparer.prompt)
        self._video = preparer.smallest()

    def captions(self, captions: Sequence[tuple[str, int]]) -> None:
        """Check captions, each with its row; what attention hides of them makes no difference.

        Raises:
            CaptionError: one holds a special token of the model.
            ContextError: its prompt and answer are too long even with the smallest video (exact where a family's
                videos have one size, as Video-LLaVA's).
        """
        rows = _first_rows(captions)
        frame = self._family.frame_prompt(self._prompt)
        suspicious = self._suspicious(list(rows), list(rows), frame)
        self._ask(suspicious, rows, lambda each: self._prompter.tokens(Text(each), True, self._video))

    def explanations(self, explanations: Sequence[tuple[Explanation, int]]) -> None:
        """Check explanations, each with its row.

        Raises:
            CaptionError, ContextError: as `captions`.
            TokenizerError: it does not begin with a token of its own.
        """
        rows = _first_rows(explanations)
        frame = self._family.frame_prompt(explanation_prompt(self._prompt))
        texts = [f"{each.neg_caption} {each.answer}" for each in rows]
        suspicious = {*self._suspicious(list(rows), texts, frame)}
        # Only a first character that is not a letter or digit could melt with the question's last token.
        suspicious |= {each for each in rows if not each.answer[:1].isalnum()}
        self._ask(
            sorted(suspicious, key=rows.__getitem__),
            rows,
            lambda each: self._prompter.explanation(each, self._video),
        )

    def released(self, texts: Sequence[Text]) -> str | None:
        """Whether token flags of the released code's mask find their tokens in the prompts of these texts.

        Returns:
            What to tell the user where some do not; None where all do.
        """
        flagged = [text for text in dict.fromkeys(texts) if text.tokens is not None][:_LOOKED_AT]
        lost = [
            text
            for text in flagged
            if text.tokens is not None
            and find_tokens(self._prompter.tokens(text, None, self._video).ids, text.tokens.ids) is None
        ]
        if not lost:
            return None
        return (
            f"{len(lost)} of the first {len(flagged)} masked texts do not have the tokens of "
            f"{quoted(lost[0].caption)} by itself inside their prompt, where the released code would stop: "
            "what their tokens stand for is hidden by characters"
        )

    def _ask(self, items: Sequence[_Item], rows: dict[_Item, int], prompt: Callable[[_Item], object]) -> None:
        """Make the prompts of these items; an error names dataset and row."""
        for item in items:
            with located(self._name, rows[item]):
                prompt(item)

    def _suspicious(self, items: Sequence[_Item], texts: Sequence[str], frame: PromptFrame) -> list[_Item]:
        """Items whose text holds a special token, or may be too long inside `frame`.

        All of them where a family has its own way to tokenise.
        """
        if type(self._family).tokenise is not Family.tokenise:
            return list(items)
        tokenizer = self._family.tokenizer
        special = np.array(sorted({*map(int, tokenizer.added_tokens_decoder), self._family.video_token_id}))
        around = len(tokenizer(frame.before + frame.after)["input_ids"])
        most = self._family.context - self._video.tokens - around - _SLACK
        found: list[_Item] = []
        for start in range(0, len(texts), _AT_ONCE):
            chunk = list(texts[start : start + _AT_ONCE])
            ids = tokenizer(chunk, add_special_tokens=False, return_attention_mask=False)["input_ids"]
            strange = np.array([len(own) > most for own in ids])
            owner = np.repeat(np.arange(len(ids)), [len(own) for own in ids])
            strange[owner[np.isin(np.fromiter(chain.from_iterable(ids), np.int64), special)]] = True
            found += [items[start + position] for position in np.flatnonzero(strange).tolist()]
        return found


def _first_rows(items: Sequence[tuple[_Item, int]]) -> dict[_Item, int]:
    """Each distinct item with the first row that has it."""
    rows: dict[_Item, int] = {}
    for item, row in items:
        rows.setdefault(item, row)
    return rows
