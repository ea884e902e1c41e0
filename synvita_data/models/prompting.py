"""From a caption or a question to the token ids of its whole prompt, the tokens hidden from attention, and what may
follow: Yes or No, the answers to the question, or an explanation of what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..captions import Question, Text
from ..captions.masking import MaskedPrompt
from ..captions.prompts import Prompt, behind, description_prompt, explanation_prompt, question_prompt
from ..errors import CaptionError, ContextError, TokenizerError
from .families.family import Family, PreparedVideo, PromptFrame


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is wrong with a caption for a video: VideoCon's second task, natural-language explanation (NLE).

    Attributes:
        neg_caption: the caption that the question is about.
        answer: the explanation (`nle`).
    """

    neg_caption: str
    answer: str


@dataclass(frozen=True, slots=True)
class Description:
    """The request to describe a video, and its answer: plain captioning, to warm a model up.

    Attributes:
        caption: of the video.
    """

    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class PromptTokens:
    """One pair of a video and a text as the strategy `plain` sees it.

    Attributes:
        ids: int64 [n], of the whole prompt with its video tokens, and the answer where one was asked for.
        hidden: bool [n], keys that attention must not see; their slots and positions stay.
        reads: positions whose next token is asked for: the prompt's last, then the answer's.
        targets: of an explanation, the token that follows each of `reads`, the last one ends the turn; empty
            for a text.
        answers: of a text, the tokens that are compared at the first of `reads`: Yes and No of a caption, those of
            its answers of a question; empty for an explanation.
    """

    ids: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    reads: tuple[int, ...]
    targets: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()


def share_questions(texts: Sequence[Text]) -> tuple[list[int], list[int]]:
    """Which prompts the texts of one video need: a question has one for all of its answers, a caption its own.

    Args:
        texts: of one video, with questions or without.

    Returns:
        For each prompt the place of its first text, in order; and for each text the number of its prompt.
    """
    number_of: dict[Any, int] = {}
    places: list[int] = []
    numbers: list[int] = []
    for place, text in enumerate(texts):
        own = place if text.question is None else (text.question.words, text.question.answers)
        if own not in number_of:
            number_of[own] = len(places)
            places.append(place)
        numbers.append(number_of[own])
    return places, numbers


class Prompter:
    """The prompt of a family, ready to take captions and questions.

    Args:
        family: whose tokenizer and template.
        prompt: the wording.

    Raises:
        TokenizerError: Yes or No is not one token after this prompt, or the template does not fit.
    """

    def __init__(self, family: Family, prompt: Prompt) -> None:
        self.family = family
        self.prompt = prompt
        self._frame = family.frame_prompt(prompt)
        self._explained = family.frame_prompt(explanation_prompt(prompt))
        self._described = family.frame_prompt(description_prompt(prompt))
        self._asked = family.frame_prompt(question_prompt(prompt))
        yes, no = (self._answer_id(answer) for answer in family.answers)
        self.answer_ids = (yes, no)
        special = {int(number) for number in family.tokenizer.added_tokens_decoder}
        self._special = np.array(sorted({*special, family.video_token_id}), dtype=np.int64)
        self._short = lru_cache(maxsize=1 << 16)(self._tokenise)
        self._short_answer = lru_cache(maxsize=1 << 14)(self._tokenise_answer)
        self._options = lru_cache(maxsize=1 << 10)(self._tokenise_options)

    def tokens(self, text: Text, answer: bool | None, video: PreparedVideo) -> PromptTokens:
        """The whole prompt of a text and a video: the entailment question about its caption, or its own question.

        Args:
            text: with a question, the prompt is the same for each of its answers.
            answer: None for the prompt alone; else Yes or No is appended, as the released training does to
                learn the token after it too. Only of a caption.

        Raises:
            CaptionError: caption or question holds one of the tokenizer's special tokens, or Yes or No was to be
                appended to a question.
            ContextError: more tokens than the model's context.
            TokenizerError: the token at which the answer is read would be hidden, or the answers to a question are
                not one token each.
        """
        if text.question is not None:
            return self._question(text.question, answer, video)
        ids, hidden = self._with_video(*self._short(text, video.placeholder), video)
        if hidden[-1]:
            raise TokenizerError(
                "the last token of a prompt, where the answer is read, would be hidden",
                found=self.family.tokenizer.convert_ids_to_tokens(int(ids[-1])),
                expected="words of the prompt behind the caption",
                fix="Take a prompt with words behind the caption, such as the family's own",
            )
        reads: tuple[int, ...] = (len(ids) - 1,)
        if answer is not None:
            ids = np.append(ids, self.answer_ids[0 if answer else 1])
            hidden = np.append(hidden, False)
            reads = (*reads, len(ids) - 1)
        self._check_context(len(ids), video, text.caption)
        return PromptTokens(ids, hidden, reads, answers=self.answer_ids)

    def _question(self, question: Question, answer: bool | None, video: PreparedVideo) -> PromptTokens:
        if answer is not None:
            raise CaptionError(
                "Yes or No can be appended to the entailment question only",
                found=f"answers beside the question {question.words!r}",
                expected="captions",
                fix="Ask for the token behind an answer (vocabulary=2) of captions alone",
            )
        before, answers = self._options(question.answers)
        ids, hidden = self._short(Text(question.words), video.placeholder, asked=True)
        if before:
            ids, hidden = np.append(ids, before), np.append(hidden, [False] * len(before))
        ids, hidden = self._with_video(ids, hidden, video)
        self._check_context(len(ids), video, question.words)
        return PromptTokens(ids, hidden, (len(ids) - 1,), answers=answers)

    def explanation(self, answer: Explanation | Description, video: PreparedVideo) -> PromptTokens:
        """The question what is wrong (or shown), its answer, and the token that ends the turn as the last target.

        The answer's tokens are those that the tokenizer gives the whole text. The end token is predicted and
        not read, so `ids` do not hold it.

        Raises:
            CaptionError: caption or answer holds a special token, or the answer is empty.
            TokenizerError: a token is half question and half answer.
            ContextError: more tokens than the model's context.
        """
        ids, hidden, count = self._short_answer(answer, video.placeholder)
        targets = (*ids[len(ids) - count :].tolist(), self.end_id)
        ids, hidden = self._with_video(ids, hidden, video)
        words = answer.answer if isinstance(answer, Explanation) else answer.caption
        self._check_context(len(ids) + 1, video, words)
        return PromptTokens(ids, hidden, tuple(range(len(ids) - len(targets), len(ids))), targets)

    @cached_property
    def behind_video(self) -> dict[str, Any]:
        """What follows the video in this prompt: `space` (of `captions.prompts.PLACEHOLDER_SPACES`), `ids` and `tokens`.

        It depends on the checkpoint's `tokenizer_config.json` and on the release of transformers, so results keep it.
        """
        masked = self.family.tokenise(self._frame.before, Text("a"), self._frame.after)
        ids = behind(masked.input_ids.tolist(), self.family.video_token_id)
        tokens = [str(token) for token in self.family.tokenizer.convert_ids_to_tokens(ids)]
        return {"space": self.family.placeholder_space, "ids": ids, "tokens": tokens}

    @cached_property
    def end_id(self) -> int:
        """The token that ends an answer.

        Raises:
            TokenizerError: the tokenizer has none.
        """
        token = self.family.end_token or self.family.tokenizer.eos_token
        number = self.family.tokenizer.get_vocab().get(token)
        if number is None:
            raise TokenizerError("the tokenizer has no token that ends an answer", found=repr(token))
        return int(number)

    def _with_video(
        self, ids: NDArray[np.int64], hidden: NDArray[np.bool_], video: PreparedVideo
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Each video token as often as there are features behind it."""
        is_video = ids == self.family.video_token_id
        if int(is_video.sum()) != len(video.runs):
            raise TokenizerError(
                "the prompt's video tokens are not those of the video",
                found=f"{int(is_video.sum())} in {video.placeholder!r}",
                expected=f"{len(video.runs)} runs",
            )
        repeats = np.ones(len(ids), dtype=np.int64)
        repeats[is_video] = video.runs
        return np.repeat(ids, repeats), np.repeat(hidden, repeats)

    def _check_context(self, length: int, video: PreparedVideo, words: str) -> None:
        if length > self.family.context:
            raise ContextError(
                "a prompt does not fit the model's context",
                found=f"{length:,} tokens, {video.tokens:,} of the video, for {words!r}",
                expected=f"at most {self.family.context:,}",
                fix="Take fewer or smaller frames, or shorten the caption, question or explanation",
            )

    def _tokenise(
        self, text: Text, placeholder: str, asked: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids and hidden tokens with one token for each run of video tokens; the repeats come later, since
        a special token always parts its neighbours, whatever its number. `asked`: the text is a question's words."""
        frame, what = (self._asked, "a question") if asked else (self._frame, "a caption")
        before = frame.before.replace(self.family.placeholder, placeholder)
        masked = self.family.tokenise(before, text, frame.after)
        self._check_words(masked, len(before), len(before) + len(text.caption), what)
        return masked.input_ids, masked.hidden

    def _tokenise_answer(
        self, given: Explanation | Description, placeholder: str
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
        """As `_tokenise`, and how many tokens at the end are the answer's."""
        if isinstance(given, Explanation):
            frame, asked, answer = self._explained, given.neg_caption, given.answer.strip()
        else:
            frame, asked, answer = self._described, "video", given.caption.strip()
        if not answer:
            raise CaptionError("an explanation is empty", found=f"about {asked!r}")
        before = frame.before.replace(self.family.placeholder, placeholder)
        masked = self.family.tokenise(before, Text(asked), frame.after + self._gap + answer)
        start = len(before) + len(asked) + len(frame.after)
        self._check_words(masked, len(before), len(before) + len(asked), "a caption")
        self._check_words(masked, start, len(masked.prompt), "an explanation")
        own = masked.offsets[:, 1] > start
        if (masked.offsets[own, 0] < start).any():
            raise TokenizerError(
                "a token is half question and half answer",
                found=self.family.tokenizer.convert_ids_to_tokens(masked.input_ids[own][:1].tolist()),
                expected=f"a new token after {frame.after!r}",
                fix="Begin the explanation with a word",
            )
        return masked.input_ids, masked.hidden, int(own.sum())

    def _check_words(self, masked: MaskedPrompt, start: int, end: int, what: str) -> None:
        """No special token among these characters of the prompt."""
        inside = (masked.offsets[:, 0] < end) & (masked.offsets[:, 1] > start)
        strange = masked.input_ids[inside & np.isin(masked.input_ids, self._special)]
        if len(strange):
            token = self.family.tokenizer.convert_ids_to_tokens(int(strange[0]))
            raise CaptionError(
                f"{what} holds a special token of the model",
                found=f"{token} in {masked.prompt[start:end]!r}",
                expected="plain words",
                fix=f"Clean {what.removeprefix('an ').removeprefix('a ')}s",
            )

    @property
    def _gap(self) -> str:
        """What stands before an answer: Llama's answers carry a space."""
        yes = self.family.answers[0]
        return yes[: -len(yes.lstrip())]

    def _answer_id(self, answer: str) -> int:
        """The one token that follows the prompt when it is answered so."""
        found = self._following(self._frame, answer)
        if len(found) != 1:
            raise TokenizerError(
                f"{answer.strip()!r} is not one token after the prompt {self.prompt.name!r}",
                found=self.family.tokenizer.convert_ids_to_tokens(found) or "another end of the prompt",
                expected=f"the prompt's tokens and one of {answer!r}",
                fix="This model's P(Yes) cannot be read at one position: use another model or prompt",
            )
        return found[0]

    def _tokenise_options(self, answers: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What stands before every answer to a question, and the one token of each that is compared there.

        Nothing stands before letters. LLaMA's tokenizer parts ` 1` into a space and a digit: after the space, which all
        answers have, the log-odds among them are those of the whole answers.
        """
        written = dict(zip(("Yes", "No"), self.family.answers, strict=True))
        found = [self._following(self._asked, written.get(each, self._gap + each)) for each in answers]
        before, last = found[0][:-1], [each[-1] for each in found if each]
        fit = all(each and each[:-1] == before for each in found) and len(set(last)) == len(answers)
        nothing = {*self._special.tolist(), self.family.tokenizer.unk_token_id}
        if not fit or nothing & {*before, *last}:
            tokens = [self.family.tokenizer.convert_ids_to_tokens(each) for each in found]
            raise TokenizerError(
                f"the answers to a question are not one token each after the prompt {self.prompt.name!r}",
                found=", ".join(f"{each!r} is {own}" for each, own in zip(answers, tokens, strict=True)),
                expected="plain words, one token for each, all of them different",
                fix="List the options by letters (A, B, C) in the question, and let letters be its answers",
            )
        return tuple(before), tuple(last)

    def _following(self, frame: PromptFrame, answer: str) -> list[int]:
        """The tokens that follow a prompt when it is answered so; none where the answer changes the prompt's own."""
        before = frame.before.rpartition(self.family.placeholder)[2]  # all of it where there is no video

        def ids(after: str) -> list[int]:
            return self.family.tokenise(before, Text("a"), after).input_ids.tolist()

        plain, answered = ids(frame.after), ids(frame.after + answer)
        return answered[len(plain) :] if answered[: len(plain)] == plain else []
