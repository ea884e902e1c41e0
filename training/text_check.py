"""Are all texts of a dataset fit for the model? Found before training, in seconds, without a video."""

from collections.abc import Sequence

import numpy as np

from synvita_data.alignment import PreparedVideo
from synvita_data.alignment.prompting import Prompter
from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.video import Frames

from .plan import TrainingRows
from .videos import VideoPreparer

_AT_ONCE = 4096  # texts given to the tokenizer together


def check_texts(rows: TrainingRows, preparer: VideoPreparer, name: str) -> None:
    """Complain about captions and explanations that the model cannot be trained on with any video.

    The tokenizer takes thousands of prompts in one call, to find those that hold special tokens or are too long;
    what is wrong with such a one is then said by the very code that makes prompts in training.

    Raises:
        CaptionError: a caption or explanation holds a special token of the model.
        ContextError: a prompt that is too long even with the smallest video (exact where a family's videos have
            one size, as Video-LLaVA's).
    """
    first: dict[str, int] = {}
    for row, own, masked in zip(rows.rows, rows.texts, rows.masked, strict=True):
        for text in (*own, *masked):
            first.setdefault(text.caption, row.number)  # what attention hides has its tokens all the same
    prompter = Prompter(preparer.family, preparer.prompt)
    video = smallest_video(preparer)
    for caption in suspicious(list(first), preparer, video):
        try:
            prompter.tokens(Text(caption), None, video)
        except SynvitaError as error:
            raise at_row(error, name, first[caption]) from error


def suspicious(captions: Sequence[str], preparer: VideoPreparer, video: PreparedVideo) -> list[str]:
    """Captions whose prompt has another number of special tokens than an ordinary one, or too many tokens."""
    family = preparer.family
    frame = family.frame_prompt(preparer.prompt)
    before = frame.before.replace(family.placeholder, video.placeholder)
    special = np.array(sorted({*map(int, family.tokenizer.added_tokens_decoder), family.video_token_id}))
    most = family.context - video.tokens + len(video.runs)

    def tokens(texts: Sequence[str]) -> list[list[int]]:
        prompts = [f"{before}{text}{frame.after}" for text in texts]
        found: list[list[int]] = family.tokenizer(prompts, return_attention_mask=False)["input_ids"]
        return found

    usual = int(np.isin(tokens(["a"])[0], special).sum())
    found = []
    for start in range(0, len(captions), _AT_ONCE):
        chunk = captions[start : start + _AT_ONCE]
        ids = tokens(chunk)
        lengths = np.array([len(own) for own in ids])
        ends = np.cumsum(lengths)
        specials = np.add.reduceat(np.isin(np.concatenate(ids), special), np.append(0, ends[:-1]))
        strange = np.flatnonzero((specials != usual) | (lengths > most))
        found += [chunk[position] for position in strange]
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
