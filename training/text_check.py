"""Are all texts of a dataset fit for the model? Found before training, in seconds, without a video."""

from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from synvita_data.captions.masking import find_tokens
from synvita_data.captions.prompts import explanation_prompt
from synvita_data.captions.text import Text, quoted
from synvita_data.errors import SynvitaError
from synvita_data.models import Explanation, Family, PreparedVideo, PromptFrame
from synvita_data.models.prompting import Prompter
from synvita_data.video import Frames

from .videos import VideoPreparer

_Item = TypeVar("_Item")
_AT_ONCE = 4096  # texts given to the tokenizer together
# Tokens that a text may have more inside its prompt than alone, the answer's or the end token among them.
_SLACK = 16
# Masked texts: whether tokens are joined over a quote depends on the tokenizer, hardly on the text.
_LOOKED_AT = 64


class TextCheck:
    """Finds captions and explanations that the model cannot be trained on with any video.

    The tokenizer takes thousands of texts in one call, to find those that hold special tokens or could be too
    long; the very code that makes prompts in training then has the word about these.

    Args:
        preparer: of the model. name: of the dataset, for messages.
    """

    def __init__(self, preparer: VideoPreparer, name: str) -> None:
        self._family, self._prompt, self._name = preparer.family, preparer.prompt, name
        self._prompter = Prompter(preparer.family, preparer.prompt)
        self._video = smallest_video(preparer)

    def captions(self, captions: Sequence[tuple[str, int]]) -> None:
        """Check captions, each with the row it is of; what attention hides of them makes no difference.

        Raises:
            CaptionError: one holds a special token of the model.
            ContextError: its prompt and answer are too long even with the smallest video (exact where a family's
                videos have one size, as Video-LLaVA's).
        """
        rows: dict[str, int] = {}
        for caption, row in captions:
            rows.setdefault(caption, row)
        distinct = list(rows)
        frame = self._family.frame_prompt(self._prompt)
        for caption in self._suspicious(distinct, distinct, frame):
            try:
                self._prompter.tokens(Text(caption), True, self._video)
            except SynvitaError as error:
                raise at_row(error, self._name, rows[caption]) from error

    def explanations(self, explanations: Sequence[tuple[Explanation, int]]) -> None:
        """Check explanations, each with the row it is of.

        Raises:
            CaptionError, ContextError: as `captions`. TokenizerError: it does not begin with a token of its own.
        """
        rows: dict[Explanation, int] = {}
        for explanation, row in explanations:
            rows.setdefault(explanation, row)
        distinct = list(rows)
        frame = self._family.frame_prompt(explanation_prompt(self._prompt))
        texts = [f"{each.neg_caption} {each.answer}" for each in distinct]
        suspicious = {*self._suspicious(distinct, texts, frame)}
        # Only a first character that is no letter or digit could melt with the question's last token.
        suspicious |= {each for each in distinct if not each.answer[:1].isalnum()}
        for explanation in sorted(suspicious, key=rows.__getitem__):
            try:
                self._prompter.explanation(explanation, self._video)
            except SynvitaError as error:
                raise at_row(error, self._name, rows[explanation]) from error

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


def smallest_video(preparer: VideoPreparer) -> PreparedVideo:
    """A black clip of as many frames as the policy says, or of one where it goes by time."""
    count = preparer.frames.count or 1
    pixels = np.zeros((count, 224, 224, 3), dtype=np.uint8)
    times = tuple(i / 2 for i in range(count))
    return preparer.prepare(Frames(pixels, tuple(range(count)), times, 2.0, "a black clip", "none"))


def at_row(error: SynvitaError, name: str, row: int) -> SynvitaError:
    """The same error, with dataset and row."""
    return type(error)(
        error.problem, file=name, row=row, found=error.found, expected=error.expected, fix=error.fix
    )
