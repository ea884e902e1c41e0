"""`AlignmentModel`: videos and texts in, log-odds of the answers out, for training and evaluation alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from ..captions import Text
from ..captions.prompts import Prompt, check_placeholder_space, get_prompt
from ..errors import SynvitaError, choose
from ..video.frames import Frames
from ..video.preprocessing import check_preprocess
from . import strategies
from .attention import SPLIT, set_attention, set_window_attention
from .families import get_family
from .families.family import PreparedVideo
from .prompting import Description, Explanation, Prompter, PromptTokens, share_questions
from .strategies import STRATEGIES, EncodedVideo

ATTENTION = ("split", "sdpa", "eager")
# From how many texts of a video on the cache is at least as fast as one packed row, in less memory: on a CPU
# (benchmarks/scoring.py: at 18 packed is faster by a little, at 49 the cache), and on a GPU, where two short passes
# take longer than a long one (benchmarks/gpu.py: packed 123 ms, cached 132 ms at 49 texts of Video-LLaVA-7B).
CACHED_FROM = {"cpu": 24}
CACHED_FROM_ON_GPU = 96

Video = Frames | PreparedVideo | EncodedVideo


@dataclass
class AlignmentOutput:
    """What a model says of videos and texts; N texts in all, video by video.

    Attributes:
        log_odds: fp32 [N], m = logit(Yes) − logit(No) at the answer position; f = sigmoid(m). Of a text with a
            question, that of its answer: z[place] − logsumexp(z[others]), z the logits of the answers.
        counts: texts of each video.
        strategy: which of STRATEGIES made it.
        vocabulary_logits: [N, k, V] in the model's dtype at the answer position (k = 1), and at the one
            behind the answer (k = 2); None unless they were asked for.
        explanation_loss: fp32 [videos], the sum of the cross-entropies of the tokens of each video's
            explanation and of the token that ends it (a language model's own loss, not averaged); 0 where a
            video has none.
        explanation_tokens: how many tokens each of these sums has.
    """

    log_odds: Tensor
    counts: tuple[int, ...]
    strategy: str
    explanation_loss: Tensor
    explanation_tokens: tuple[int, ...]
    vocabulary_logits: Tensor | None = None

    def by_video(self) -> tuple[Tensor, ...]:
        """Log-odds of each video's texts."""
        return self.log_odds.split(list(self.counts))


class AlignmentModel(nn.Module):
    """Alignment f(V, t) = P(Yes) / (P(Yes) + P(No)) of a Video LLM, as log-odds.

    Args:
        model: a loaded Video LLM of transformers, of a family in `families.FAMILIES`, or a PEFT model of one.
        processor: its processor.
        prompt: name in `synvita_data.captions.prompts.PROMPTS`; None for the family's.
        attention: of the language model: `split` (fastest), `sdpa` or `eager`. It stays set on the model;
            `split` is `sdpa` for whatever else the model does.
        placeholder_space: `processor` or `original`, see `synvita_data.captions.prompts`.
        preprocess: `processor` or `languagebind`, see `video.preprocessing`.
        text_only: prompts without their video part; every video is then `families.family.NO_VIDEO`.

    Raises:
        SynvitaError: an unknown family, prompt, attention, placeholder_space or preprocess; Yes or No is not one
            token.

    Example:
        >>> model = AlignmentModel(video_llava, processor)        # doctest: +SKIP
        >>> model([frames], [[Text("a dog runs"), Text("a cat runs")]]).log_odds.sigmoid()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        prompt: str | None = None,
        attention: str = "split",
        placeholder_space: str = "processor",
        preprocess: str = "processor",
        text_only: bool = False,
    ) -> None:
        super().__init__()
        choose(
            attention,
            ATTENTION,
            "attention",
            fix="`split` runs the video's tokens through the fastest kernel",
        )
        stock = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.model = model
        self.family = get_family(stock.config.model_type)(stock, processor)
        self.family.placeholder_space = check_placeholder_space(
            placeholder_space, self.family.placeholder_spaces
        )
        self.family.preprocess = check_preprocess(preprocess, self.family.preprocesses)
        self.family.text_only = text_only
        self.prompt: Prompt = get_prompt(prompt or self.family.default_prompt)
        self.prompter = Prompter(self.family, self.prompt)
        # Of PEFT. In a tuple: they are children of the model already.
        self._adapters = tuple(part for part in stock.modules() if hasattr(part, "cast_input_dtype_enabled"))
        set_attention(stock, SPLIT if attention == "split" else attention)
        if attention == "split" and self.family.windowed_tower is not None:
            set_window_attention(self.family.windowed_tower)

    def prepare(self, frames: Frames) -> PreparedVideo:
        """The processor's work on the CPU; safe in threads, while the model works on another video."""
        return self.family.prepare(frames, self.prompt)

    def encode(self, video: Frames | PreparedVideo) -> EncodedVideo:
        """The vision tower's work, to be used for any number of texts."""
        prepared = self.prepare(video) if isinstance(video, Frames) else video
        return self._encoded([EncodedVideo(prepared)])[0]

    def forward(
        self,
        videos: Sequence[Video],
        texts: Sequence[Sequence[Text | str]],
        *,
        strategy: str | None = None,
        vocabulary: int = 0,
        answers: Sequence[Sequence[bool]] | None = None,
        explanations: Sequence[Explanation | Description | None] | None = None,
        plain_batch: int = 1,
        branch_tokens: int = 4096,
    ) -> AlignmentOutput:
        """Score every text against its video.

        Args:
            videos: frames, or what `prepare` or `encode` made of them.
            texts: for each video its texts, at least one, with what attention hides of them, or with a question; a
                string is a caption of which nothing is hidden.
                Texts of a video whose questions differ in `place` only are one sequence, and one branch.
            strategy: one of STRATEGIES; None for the fastest (`choose_strategy`).
            vocabulary: at how many positions to give the logits of the whole vocabulary: 0, 1 (where the answer
                is predicted) or 2 (also where the token after the answer is).
            answers: for `vocabulary=2`: Yes (true) or No for each text, appended to its prompt. Log-odds
                do not see it. Only of texts without a question.
            explanations: for each video, what is wrong with a caption of it (or what it shows), or None: the
                loss of saying so, with the video shared. Log-odds do not see it. Such a video needs no texts.
            plain_batch: pairs at once in the strategy `plain`.
            branch_tokens: tokens of texts in one row of the strategy `cached`.

        Raises:
            SynvitaError: arguments that do not fit together, a text or explanation beyond the model's context
                or with special tokens.
        """
        asked = _texts(texts)
        _check(videos, asked, strategy, vocabulary, answers, explanations)
        self._follow_autocast()
        explanations = explanations or [None] * len(videos)
        counts = tuple(len(own) for own in asked)
        # Of each video: which of its texts have a prompt of their own, and the number of each text's prompt.
        shared = [share_questions(own) for own in asked]
        if strategy is None:
            branches = [
                len(places) + (each is not None)
                for (places, _), each in zip(shared, explanations, strict=True)
            ]
            strategy = choose_strategy(
                branches, gradients=torch.is_grad_enabled(), device=self.family.model.device.type
            )
        # Videos ready for the language model, and what it is asked about each.
        encoded = [
            video
            if isinstance(video, EncodedVideo)
            else EncodedVideo(self.prepare(video) if isinstance(video, Frames) else video)
            for video in videos
        ]
        # Of each video the prompts of its texts, then the question for its explanation.
        answered: Sequence[Sequence[bool | None]] = answers or [[None] * count for count in counts]
        prompts = [
            [self.prompter.tokens(own[place], own_answers[place], video.prepared) for place in places]
            for video, own, own_answers, (places, _) in zip(encoded, asked, answered, shared, strict=True)
        ]
        of_texts = [prompt for own in prompts for prompt in own]
        for video, own_prompts, each in zip(encoded, prompts, explanations, strict=True):
            if each is not None:
                own_prompts.append(self.prompter.explanation(each, video.prepared))
        if strategy == "plain":
            states = strategies.plain(self.family, encoded, prompts, plain_batch)
        else:
            encoded = self._encoded(encoded)
            if strategy == "packed":
                states = strategies.packed(self.family, encoded, prompts)
            else:
                states = strategies.cached(self.family, encoded, prompts, branch_tokens)
        # The places are known here: a mask on the device would have the host wait for it.
        explains = [bool(prompt.targets) for own in prompts for prompt in own for _ in prompt.reads]
        reads = 1 if answers is None else 2
        at_answers = strategies.rows(states, [place for place, each in enumerate(explains) if not each])
        at_answers = at_answers.view(len(of_texts), reads, states.shape[-1])
        of_explanation = strategies.rows(states, [place for place, each in enumerate(explains) if each])
        # Back from prompts to texts: the number of each text's prompt among all, and which of its answers it is.
        starts = accumulate((len(places) for places, _ in shared), initial=0)
        numbers = [start + own for start, (_, each) in zip(starts, shared, strict=False) for own in each]
        places = [0 if text.question is None else text.question.place for own in asked for text in own]
        logits = None
        if vocabulary:
            logits = self.family.model.get_output_embeddings()(at_answers[:, :vocabulary])
            logits = logits if len(numbers) == len(logits) else strategies.rows(logits, numbers)
        return AlignmentOutput(
            self._log_odds(
                at_answers[:, 0],
                [prompt.answers for prompt in of_texts],
                list(zip(numbers, places, strict=True)),
            ),
            counts,
            strategy,
            self._explanation_loss(of_explanation, prompts),
            tuple(sum(len(prompt.targets) for prompt in own) for own in prompts),
            logits,
        )

    def _follow_autocast(self) -> None:
        """Under autocast an adapter's product is in bf16 or fp16, whatever the dtype of its weights and input. PEFT
        casts the input to the weights' fp32 first, for which dropout and copies pay twice (a sixth of a step at 7B).

        Set from forward to forward, not for one: gradient checkpointing comes by again in the backward pass.
        """
        enabled = not torch.is_autocast_enabled(self.family.model.device.type)
        for layer in self._adapters:
            layer.cast_input_dtype_enabled = enabled

    def _log_odds(
        self, states: Tensor, answers: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Log-odds among the answers, from their rows of the head alone; never by a softmax in the model's dtype or
        in autocast's, whose few distinct values would tie scores that differ.

        Args:
            states: [P, D], of the answer position of each prompt.
            answers: tokens that may follow each prompt.
            wanted: for each text the number of its prompt, and which of the answers it is.

        Returns:
            fp32 [texts].
        """
        head = self.family.model.get_output_embeddings()
        states = states.to(head.weight.device)
        # Prompts with the same answers at once; `first` is where a prompt's log-odds begin among all of them.
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, own in enumerate(answers):
            alike.setdefault(own, []).append(number)
        found: list[Tensor] = []
        first: dict[int, int] = {}
        total = 0
        with torch.autocast(states.device.type, enabled=False):
            for own, numbers in alike.items():
                chosen = states if len(alike) == 1 else strategies.rows(states, numbers)
                logits = chosen.float() @ torch.stack([head.weight[answer] for answer in own]).float().T
                if getattr(head, "bias", None) is not None:
                    logits = logits + torch.stack([head.bias[answer] for answer in own]).float()
                found.append(log_odds_among(logits).flatten())
                first |= {number: total + len(own) * place for place, number in enumerate(numbers)}
                total += len(own) * len(numbers)
            if not found:  # videos with explanations alone
                return states.float().sum(dim=-1)
            return strategies.rows(torch.cat(found), [first[number] + place for number, place in wanted])

    def _explanation_loss(self, states: Tensor, prompts: Sequence[Sequence[PromptTokens]]) -> Tensor:
        """fp32 [videos] from the states [T, D] that predict the T targets of all explanations, in order."""
        head = self.family.model.get_output_embeddings()
        targets = [torch.tensor([t for prompt in own for t in prompt.targets]) for own in prompts]
        if not len(states):
            return states.new_zeros(len(targets), dtype=torch.float32)
        logits = head(states).float()
        losses = torch.nn.functional.cross_entropy(
            logits, torch.cat(targets).long().to(logits.device), reduction="none"
        )
        return torch.stack([own.sum() for own in losses.split([len(own) for own in targets])])

    def _encoded(self, videos: Sequence[EncodedVideo]) -> list[EncodedVideo]:
        """The videos with their features; the tower runs for those that have none, each once."""
        if self.family.text_only:
            return [EncodedVideo(video.prepared, {}) for video in videos]
        bare = {id(video.prepared): video.prepared for video in videos if video.features is None}
        if not bare:
            return list(videos)
        # A frozen tower keeps nothing for a backward pass, even where a hook lets its inputs ask for gradients
        # (`enable_input_require_grads`, for reentrant checkpointing).
        trained = any(own.requires_grad for _, own in self.family.tower_parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
            made = dict(zip(bare, self.family.towers(list(bare.values())), strict=True))
        return [
            video if video.features is not None else EncodedVideo(video.prepared, made[id(video.prepared)])
            for video in videos
        ]


def log_odds_among(logits: Tensor) -> Tensor:
    """Log-odds of each answer against all the others: z[a] − logsumexp(z[others]), of two answers their difference to
    the bit.

    Args:
        logits: [..., A] of at least two answers.

    Returns:
        [..., A], in the order of log-softmax.
    """
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    return logits - logits[..., None, :].masked_fill(itself, float("-inf")).logsumexp(dim=-1)


def choose_strategy(counts: Sequence[int], *, gradients: bool, device: str = "cpu") -> str:
    """The fastest strategy for this many texts a video on this type of device.

    With gradients texts are packed (gradient checkpointing drops a cache). Without them a lone text has
    nothing to share, few texts are packed, and many go behind a cache.
    """
    most = max(counts)
    if most == 1:
        return "plain"
    return "packed" if gradients or most < CACHED_FROM.get(device, CACHED_FROM_ON_GPU) else "cached"


def _texts(texts: Sequence[Sequence[Text | str]]) -> list[list[Text]]:
    """Strings as captions.

    Raises:
        SynvitaError: strings in place of lists of them, or something else.
    """
    made = []
    for own in texts:
        if isinstance(own, str) or not all(isinstance(text, Text | str) for text in own):
            raise SynvitaError(
                "each video has a list of texts",
                found=repr(own),
                expected='texts such as [["a dog runs"]], a list a video',
            )
        made.append([Text(text) if isinstance(text, str) else text for text in own])
    return made


def _check(
    videos: Sequence[Video],
    texts: Sequence[Sequence[Text]],
    strategy: str | None,
    vocabulary: int,
    answers: Sequence[Sequence[bool]] | None,
    explanations: Sequence[Explanation | Description | None] | None,
) -> None:
    if strategy is not None:
        choose(strategy, STRATEGIES, "strategy of scoring")
    if explanations is not None and len(explanations) != len(videos):
        raise SynvitaError(
            "each video has one explanation, or None",
            found=f"{len(explanations)} explanations",
            expected=f"as many as videos, {len(videos)}",
        )
    explained = explanations or [None] * len(videos)
    complete = len(videos) == len(texts) and all(
        len(own) or each is not None for own, each in zip(texts, explained, strict=False)
    )
    if not len(videos) or not complete:
        raise SynvitaError(
            "each video needs its texts",
            found=f"{len(videos)} videos, texts {[len(own) for own in texts]}",
            expected="as many lists as videos, none of them empty",
        )
    for video in videos:
        if not isinstance(video, Frames | PreparedVideo | EncodedVideo):
            raise SynvitaError(
                "not a video that can be scored",
                found=type(video).__name__,
                expected="the Frames that synvita_data.video.decode gives, or what prepare or encode made of them",
            )
    if vocabulary not in (0, 1, 2):
        raise SynvitaError(
            "the vocabulary's logits are given at no, one or two positions",
            found=vocabulary,
            expected="0, 1 or 2",
        )
    if (answers is not None) != (vocabulary == 2):
        raise SynvitaError(
            "the token after an answer needs the answer",
            found=f"vocabulary={vocabulary}, {'no answers' if answers is None else 'answers'}",
            expected="answers with vocabulary=2 and with nothing else",
        )
    if answers is not None and [len(own) for own in answers] != [len(own) for own in texts]:
        raise SynvitaError(
            "each text needs its answer",
            found=[len(own) for own in answers],
            expected=[len(own) for own in texts],
        )
