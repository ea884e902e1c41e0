"""What differs between families of Video LLMs, and nothing else: the contract of one file a family.

`docs/alignment.md` shows how to write one. A family says how frames become the tower's inputs, where the
video stands in a prompt, which positions its tokens have, and how the tower's output enters the language
model. Tokens, masks, packing, caching and the answer's log-odds are shared. Importing a family imports no torch:
what its class says is asked before anything is loaded (`doctor`, `evaluate`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...captions import Text
from ...captions.masking import MaskedPrompt, mask_prompt, masked_prompt
from ...captions.prompts import Prompt, tokenize_in_parts
from ...errors import SynvitaError, TokenizerError, VideoError, first_line
from ...video.frames import Frames
from ...video.preprocessing import languagebind_record
from ...video.sampling import FramePolicy
from ..released.lora_settings import LANGUAGE_MODEL_LINEARS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CAPTION_MARK = "CAPTION-STANDS-HERE"


@dataclass(frozen=True, slots=True, eq=False)
class PreparedVideo:
    """A video as a family's processor leaves it, on the CPU.

    Attributes:
        inputs: keyword arguments of the stock model's forward that carry the video (pixel values, grids),
            each with a batch of one. They are what the strategy `plain` passes.
        placeholder: the text that takes the place of `Family.placeholder` in a prompt, with **one** video
            token for each run of them (Qwen3-VL: one run a frame, timestamps between them).
        runs: how many features stand behind each of those tokens, in order.
    """

    inputs: Mapping[str, Tensor]
    placeholder: str
    runs: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Number of video tokens in a prompt."""
        return sum(self.runs)


# What stands for the video of a family that is `text_only`.
NO_VIDEO = PreparedVideo({}, "", ())

# What the vision tower makes of one video: named tensors without a batch dimension, all a feature cache keeps.
Features = dict[str, "Tensor"]


@dataclass(frozen=True, slots=True)
class PromptFrame:
    """The text around a caption: `before` holds `Family.placeholder` exactly once, where the video goes."""

    before: str
    after: str


class Family(ABC):
    """One family of Video LLMs around one loaded model.

    Args:
        model: the stock model, without a PEFT wrapper (its layers may hold adapters).
        processor: its processor, with a fast tokenizer.

    Attributes of the class:
        model_type: `model_type` of its `config.json`.
        model_class: name of its class in `transformers`.
        default_prompt: of `synvita_data.captions.prompts.PROMPTS`.
        frames: those that the released model was trained on, as far as they do not depend on the checkpoint.
        answers: Yes and No as text that continues the prompt, each one token. Llama's tokenizers carry the
            space in the token; after a chat template's line break there is none.
        end_token: what ends a turn of the assistant in the family's chat; None for the tokenizer's `eos_token`.
        lora_targets: regular expression of the language model's modules that adapters train.
        advice: what to do when a checkpoint cannot be loaded; None for what helps with most.
        reads_times: how the model is told when the frames stand in the file: one of `video.rules.TIMES`, None
            for not at all.
        after_tower: parts of names of what reads the tower's features, besides the language model and its head:
            training it leaves features as they are.
        placeholder_spaces: of `captions.prompts.PLACEHOLDER_SPACES`, those that this family has.
        preprocesses: of `video.preprocessing.PREPROCESSES`, those that this family has.
        mirrored_inputs: keys of `PreparedVideo.inputs` that hold pixels, the width last; none for a family whose
            videos cannot be mirrored.
        released: options of `AlignmentScorer.open` (and `backend`) with which SynViTA's released code evaluates this
            family; empty where it does not.
        cache_inputs: keys of `PreparedVideo.inputs` that a feature cache keeps beside the features, because
            positions need them (grids).

    Attributes:
        placeholder_space: how what stands around the video's placeholder is tokenised; one of those.
        preprocess: how frames become pixels; one of `preprocesses`.
        text_only: prompts are without their video part; every video is then `NO_VIDEO`.
    """

    model_type: ClassVar[str]
    model_class: ClassVar[str]
    default_prompt: ClassVar[str] = "question"
    frames: ClassVar[FramePolicy]
    answers: ClassVar[tuple[str, str]] = ("Yes", "No")
    end_token: ClassVar[str | None] = None
    lora_targets: ClassVar[str] = LANGUAGE_MODEL_LINEARS
    advice: ClassVar[str | None] = None
    reads_times: ClassVar[str | None] = None
    after_tower: ClassVar[tuple[str, ...]] = ()
    cache_inputs: ClassVar[tuple[str, ...]] = ()
    placeholder_spaces: ClassVar[tuple[str, ...]] = ("processor",)
    placeholder_space: str = "processor"
    preprocesses: ClassVar[tuple[str, ...]] = ("processor",)
    preprocess: str = "processor"
    text_only: bool = False
    mirrored_inputs: ClassVar[tuple[str, ...]] = ()
    released: ClassVar[Mapping[str, str]] = {}

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.video_token_id = int(model.config.video_token_id)

    @classmethod
    def network_class(cls) -> Any:
        """The class of the stock model: of transformers, unless a family brings its own."""
        import transformers

        return getattr(transformers, cls.model_class)

    @property
    def backbone(self) -> Any:
        """The stock model without its head: token ids in, last hidden states out."""
        return self.model.model

    @property
    def language_model(self) -> Any:
        """The stock decoder inside it: embeddings in, last hidden states out."""
        return self.backbone.language_model

    @property
    def context(self) -> int:
        """The most tokens a sequence may have."""
        return int(self.model.config.get_text_config(decoder=True).max_position_embeddings)

    @property
    def windowed_tower(self) -> Any | None:
        """The vision tower, if its attention is that of windows of one sequence; None for others."""
        return None

    @classmethod
    def is_after_tower(cls, name: str) -> bool:
        """Whether a module or parameter of this name reads the tower's features: they do not depend on it."""
        return any(part in name for part in ("language_model", "lm_head", *cls.after_tower))

    def tower_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The parameters that features depend on, adapters among them, with their names."""
        return [(name, own) for name, own in self.model.named_parameters() if not self.is_after_tower(name)]

    @property
    def video_token(self) -> str:
        """The token whose features come from the video."""
        return str(self.processor.video_token)

    @property
    def frame_size(self) -> int:
        """Pixels of a side of the square frames that the tower takes, for `preprocess` other than the processor's."""
        return int(self.model.config.vision_config.image_size)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What becomes of pixels, for results: the name of the preprocessing, mean and deviation of the channels."""
        if self.preprocess == "languagebind":
            return languagebind_record(self.frame_size)
        own = getattr(self.processor, "video_processor", None)
        mean, std = (getattr(own, name, None) for name in ("image_mean", "image_std"))
        return {
            "name": self.preprocess,
            "mean": None if mean is None else list(mean),
            "std": None if std is None else list(std),
        }

    @property
    def released_vocabulary(self) -> int | None:
        """How many tokens the released model has, where a conversion added others behind them; None for all."""
        return None

    @property
    def placeholder(self) -> str:
        """What the chat template writes for a video: the video token and what always stands around it."""
        return self.video_token

    def default_frames(self) -> FramePolicy:
        """The frames the released model was trained on."""
        return self.frames

    def prepare(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        """`process`, with what the processor refuses as an error of the video.

        Raises:
            VideoError: the processor refuses the frames.
        """
        try:
            return self.process(frames, prompt)
        except ValueError as error:
            raise VideoError(
                "the model's processor refuses the frames", file=frames.source, found=first_line(error)
            ) from error

    @abstractmethod
    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        """Processor's work on the CPU for one video; called from threads, so it must not use the model.

        Args:
            frames: uint8 [T, H, W, 3] with timestamps and fps.
            prompt: because released wordings join the frames' placeholders in different ways.
        """

    def mirror(self, video: PreparedVideo) -> PreparedVideo:
        """The video with left and right exchanged, as the last step of its preparation.

        Raises:
            SynvitaError: the family's videos cannot be mirrored (`mirrored_inputs`).
        """
        self.check_mirrored()
        turned = {name: video.inputs[name].flip(-1) for name in self.mirrored_inputs}
        return replace(video, inputs={**video.inputs, **turned})

    @classmethod
    def check_mirrored(cls) -> None:
        """Complain where the family's videos cannot be mirrored.

        Raises:
            SynvitaError: as it says.
        """
        if not cls.mirrored_inputs:
            raise SynvitaError(
                "videos of this kind of model cannot be mirrored",
                found=cls.model_type,
                expected="a Video-LLaVA, whose released code mirrors rows when it evaluates",
                fix="Leave flips out",
            )

    @abstractmethod
    def tower(self, video: PreparedVideo) -> Features:
        """The frozen part: the vision tower's output for one video, on the model's device."""

    def towers(self, videos: Sequence[PreparedVideo]) -> list[Features]:
        """`tower` of several videos; a family may run them at once, which is faster on small frames."""
        return [self.tower(video) for video in videos]

    @abstractmethod
    def tokens(self, features: Sequence[Features]) -> Tensor:
        """What stands at the video tokens of these videos, in order: [all their tokens, language model's D]."""

    def beside_tokens(self, features: Sequence[Features], at_video: Tensor) -> dict[str, Any]:
        """What else the language model takes of these videos, as keyword arguments of its forward.

        Args:
            at_video: bool [B, S], where the video tokens stand.
        """
        return {}

    def positions(self, ids: Tensor, video: PreparedVideo) -> Tensor:
        """Position ids of one whole sequence as the stock model counts them when nothing is hidden.

        Args:
            ids: int64 [n], on the CPU.

        Returns:
            int64 [n], or [k, n] for rotary positions in k parts. Tokens after the video count up by one.
        """
        import torch

        return torch.arange(len(ids))

    def tokenise(self, before: str, text: Text, after: str) -> MaskedPrompt:
        """Tokens of a whole prompt as the released model reads it, and which of them are hidden.

        Args:
            before: with one video token for each run of them; `after`: the rest of the prompt, and the answer
                or explanation where there is one.

        Raises:
            TokenizerError: the tokenizer has no offsets, or truncates.
        """
        if self.placeholder_space == "original":
            prompt = before + text.caption + after
            parts = tokenize_in_parts(self.tokenizer, prompt, self.video_token, self.video_token_id)
            return masked_prompt(prompt, len(before), text, parts)
        return mask_prompt(self.tokenizer, before, text, after)

    def frame_prompt(self, prompt: Prompt) -> PromptFrame:
        """The prompt around the caption; a question without a video goes into the chat template."""
        if self.text_only:
            own = prompt.without_video()
            return PromptFrame(own.before, own.after) if prompt.video else chat_prompt(self.processor, prompt)
        if prompt.video:
            return PromptFrame(prompt.before.replace(prompt.video, self.placeholder), prompt.after)
        return chat_prompt(self.processor, prompt, self.placeholder)


def channels_first(frames: Frames) -> Tensor:
    """The pixels as video processors take them: uint8 [T, 3, H, W]."""
    import torch

    return torch.from_numpy(frames.pixels).permute(0, 3, 1, 2)


def like_weights(module: torch.nn.Module, value: Tensor) -> Tensor:
    """On the device and in the dtype of a module's weights."""
    parameter = next(module.parameters())
    return value.to(parameter.device, parameter.dtype)


def chosen_layers(tower: Any, pixels: Tensor, layers: int | Sequence[int]) -> Tensor:
    """Hidden states of a vision tower, of one layer or of several side by side: [T, tokens a frame, D]."""
    import torch

    states = tower(like_weights(tower, pixels), output_hidden_states=True, return_dict=True).hidden_states
    chosen = [layers] if isinstance(layers, int) else layers
    return torch.cat([states[layer] for layer in chosen], dim=-1)


def written_video(processor: Any, placeholder: str, video: Any) -> tuple[str, tuple[int, ...]]:
    """`PreparedVideo.placeholder` and `.runs` from what the stock processor writes in place of its video token.

    Args:
        placeholder: `Family.placeholder`.
        video: the video processor's output for one video.
    """
    written = processor.replace_video_token(video, 0)
    (text,), _ = processor.get_text_with_replacements([placeholder], videos_replacements=[written])
    token = processor.video_token
    runs = re.compile(f"(?:{re.escape(token)})+")
    return runs.sub(token, text), tuple(len(run) // len(token) for run in runs.findall(text))


def chat_prompt(processor: Any, prompt: Prompt, video: str | None = None) -> PromptFrame:
    """A question inside the processor's chat template, after the video, which the template writes as `video`; None for a
    message without one.

    Raises:
        TokenizerError: no chat template, one that shows the caption before the video (nothing could be
            shared between the captions of a video), or one that changes the question.
    """
    question = prompt.wrap(_CAPTION_MARK)
    content = [{"type": "text", "text": question}]
    message = {"role": "user", "content": content if video is None else [{"type": "video"}, *content]}
    from jinja2 import TemplateError

    try:
        text = processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    except (ValueError, TemplateError) as error:
        raise TokenizerError(
            "the processor has no usable chat template",
            found=first_line(error),
            fix="Name a prompt that has its own wording for this family",
        ) from error
    if (video is not None and text.count(video) != 1) or text.count(question) != 1:
        raise TokenizerError(
            "the chat template does not show one video and the question as they are",
            found=repr(text),
            expected=f"{question!r} once" + ("" if video is None else f" and {video} once"),
        )
    before, after = text.split(_CAPTION_MARK)
    if video is not None and video not in before:
        raise TokenizerError(
            "the chat template puts the text before the video",
            found=repr(text),
            expected="the video first, so that its texts share everything up to their own words",
            fix="Give the processor a template that keeps the order of the message's parts",
        )
    return PromptFrame(before, after)
