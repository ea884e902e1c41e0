"""What every VQA model does here: frames and captions in, log-probabilities of the answer's tokens out.

A question is asked about each frame and each caption; VQAScore (arXiv:2404.01291) is made of the probability of the
answer "yes". Wordings, answers and preprocessing are those of its released code (`t2v_metrics`), which the paper's f̄
was made with.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synvita_data.display import get_logger
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.models.download import fetch
from synvita_data.models.loading import check_complete
from synvita_data.models.processors import load_processor
from synvita_data.models.resolve import ModelFiles
from synvita_data.models.runtime import torch_dtype
from synvita_data.video.frames import Frames

from .models import VqaModel

if TYPE_CHECKING:
    from PIL.Image import Image

_log = get_logger(__name__)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


# -- questions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """`before + caption + after`, answered by `answer` and the end token.

    Attributes:
        before: the text before the caption.
        after: the text after it.
        answer: what a model says when the frame shows the caption.
        image: what stands for the image in `before`, "" where the model takes it from beside the text.
    """

    before: str
    after: str
    answer: str
    image: str = ""

    def wrap(self, caption: str) -> str:
        """The question about this caption, taken literally: quotes and braces stay as they are."""
        return f"{self.before}{caption}{self.after}"


_FIGURE, _ASKED = 'Does this figure show "', '"? Please answer yes or no.'
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
VICUNA = Question(f"{_SYSTEM} USER: <image>\n{_FIGURE}", f"{_ASKED} ASSISTANT: ", "Yes", image="<image>")
BLIP = Question(f"Question: {_FIGURE}", _ASKED, "yes")  # InstructBLIP says it in lower case
CHAT = Question(_FIGURE, _ASKED, "Yes")  # inside a model's own chat template


def check_caption(caption: str, tokenizer: Any) -> None:
    """Refuse a caption with a token that means something to the model, such as `<image>` or `</s>`.

    Raises:
        CaptionError: the caption holds such a token.
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    found = [i for i in tokenizer(caption, add_special_tokens=False)["input_ids"] if i in special]
    if found:
        raise CaptionError(
            "a caption holds a special token of the model",
            found=f"{tokenizer.convert_ids_to_tokens(found[0])} in {caption!r}",
            expected="words",
        )


def check_length(tokens: int, limit: int, caption: str) -> None:
    """Refuse a caption that does not fit the model: a question that is cut is another question.

    Args:
        tokens: of the caption with its question.
        limit: how many the model can read.

    Raises:
        CaptionError: `tokens` is more than `limit`.
    """
    if tokens > limit:
        raise CaptionError(
            "a caption is too long for the model",
            found=f"{tokens} tokens with its question: {caption!r}",
            expected=f"at most {limit}",
            fix="Shorten the caption, or score with a model of a longer context",
        )


# -- pixels -----------------------------------------------------------------------------------------------


def preprocess(
    frames: NDArray[np.uint8],
    shape: str,
    size: int,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> NDArray[np.float32]:
    """Frames as a vision tower takes them.

    The released scorers resize with PIL's antialiased bicubic filter, in 8 bits; torchvision's filter on tensors, which
    image processors of transformers use, differs by a level here and there. So this is PIL, whatever is installed.

    Args:
        frames: uint8 [T, H, W, 3], RGB.
        shape: how a frame becomes a square.
            `pad`: centred on a square of the mean colour, then resized, as CLIP-FlanT5 and LLaVA-1.5 do.
            `crop`: the shorter side resized, then the centre cut out, as torchvision's Resize and CenterCrop do.
            `squash`: resized to a square whatever its shape, as `BlipImageProcessor` of transformers does.
        size: pixels of the square's side.
        mean: of the three channels, in [0, 1].
        std: of the three channels, in [0, 1].

    Returns:
        float32 [T, 3, size, size], (value / 255 − mean) / std.
    """
    from PIL import Image as images

    squares = [np.asarray(_square(images.fromarray(frame), shape, size, mean)) for frame in frames]
    values: NDArray[np.float32] = np.stack(squares).astype(np.float32)
    values /= np.float32(255)
    values -= np.array(mean, np.float32)
    values /= np.array(std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _square(image: "Image", shape: str, size: int, mean: Sequence[float]) -> "Image":
    from PIL import Image as images

    width, height = image.size
    bicubic = images.Resampling.BICUBIC
    if shape == "crop":
        longer = int(size * max(width, height) / min(width, height))
        resized = image.resize((size, longer) if width <= height else (longer, size), resample=bicubic)
        left, top = (round((side - size) / 2) for side in resized.size)
        return resized.crop((left, top, left + size, top + size))
    if shape == "pad" and width != height:
        # As LLaVA's `expand2square`: the colour is `int(255 × mean)`, an odd pixel goes below or to the right.
        side = max(width, height)
        square = images.new("RGB", (side, side), tuple(int(255 * part) for part in mean))
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        image = square
    return image if image.size == (size, size) else image.resize((size, size), resample=bicubic)


# -- scorers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One video with its captions, ready for a model, on the CPU.

    Attributes:
        images: what the vision tower takes, one entry a look (a frame, or the whole video).
        questions: one entry a caption, as this model's scorer tokenizes them.
    """

    images: Any
    questions: tuple[Any, ...]

    @property
    def looks(self) -> int:
        return len(self.images)

    @property
    def pairs(self) -> int:
        """How many (look, caption) pairs there are."""
        return self.looks * len(self.questions)


class VqaScorer(ABC):
    """A loaded VQA model. Weights may be bf16; the log-softmax is fp32 whatever they are.

    Args:
        model: in evaluation mode, on its device.

    Attributes:
        device: where the model is.
        behind_placeholder: what follows the image or video in the prompt (`captions.prompts`), JSON-ready; None where
            the prompt has no placeholder of ours.
    """

    behind_placeholder: dict[str, Any] | None = None

    def __init__(self, model: Any) -> None:
        self.model = model
        weights = next(weights for weights in model.parameters() if weights.is_floating_point())
        self.device: torch.device = weights.device
        self._dtype: torch.dtype = weights.dtype
        # Fast tokenizers may not be used by two threads at once when one of them changes padding.
        self._tokenizing = Lock()

    @abstractmethod
    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        """The work on the CPU; called in threads, so it does not use the model.

        Raises:
            CaptionError: too long for the model, or with a special token of it.
        """

    @abstractmethod
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """For each video fp32 [looks, captions, k]: log-probabilities of the answer's tokens, end token last.

        Every image goes through the vision tower once, whatever the number of captions.
        """


class FrameScorer(VqaScorer):
    """A scorer that is asked about pairs of a frame and a caption, with images of one size.

    A subclass says how a question is tokenized, and what the model answers to pairs of an image and a question.

    Args:
        model: in evaluation mode, on its device.
        tokenizer: of the questions.
        shape: how a frame becomes a square, see `preprocess`.
        size: pixels of the square's side.
        mean: of the three channels.
        std: of the three channels.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        shape: str,
        size: int,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
    ) -> None:
        super().__init__(model)
        self._tokenizer, self._pixels = tokenizer, (shape, size, mean, std)

    @abstractmethod
    def question(self, caption: str) -> Any:
        """The tokenized question about a caption without special tokens.

        Raises:
            CaptionError: too long for the model.
        """

    @abstractmethod
    def ask(self, images: Tensor, pairs: Sequence[tuple[int, Any]]) -> Tensor:
        """fp32 [B, k] on the CPU: log-probabilities of the answer's tokens for each pair.

        Args:
            images: preprocessed frames [N, 3, S, S] on the model's device, as its weights' dtype.
            pairs: number of an image, and a question; those of one image stand together, with equally many each.
        """

    def prepare(self, frames: Frames, captions: Sequence[str]) -> Prepared:
        with self._tokenizing:
            for caption in captions:
                check_caption(caption, self._tokenizer)
            questions = tuple(self.question(caption) for caption in captions)
        return Prepared(torch.from_numpy(preprocess(frames.pixels, *self._pixels)), questions)

    @torch.inference_mode()
    def log_probs(self, batch: Sequence[Prepared]) -> list[Tensor]:
        images = torch.cat([video.images for video in batch]).to(self.device, self._dtype)
        questions = [video.questions for video in batch for _ in range(video.looks)]
        pairs = [(number, question) for number, own in enumerate(questions) for question in own]
        parts = self.ask(images, pairs).split([video.pairs for video in batch])
        return [
            part.view(video.looks, len(video.questions), -1) for part, video in zip(parts, batch, strict=True)
        ]


@dataclass
class MemoryLimit:
    """What one worker has learnt of how much fits on its device.

    Attributes:
        pairs: looks × captions that may be tried in one batch; None before anything did not fit.
    """

    pairs: int | None = None


def log_probs_that_fit(
    scorer: VqaScorer, batch: Sequence[Prepared], limit: MemoryLimit | None = None
) -> list[Tensor]:
    """`scorer.log_probs`, in halves where the device has not enough memory: of videos, then looks, then captions.

    Scores of a batch and of its halves differ by rounding.

    Args:
        scorer: the loaded model.
        batch: what it is asked about.
        limit: remembered from batch to batch, so that what did not fit is not tried again.

    Raises:
        torch.OutOfMemoryError: one look at one caption does not fit.
    """
    limit = MemoryLimit() if limit is None else limit
    pairs = sum(video.pairs for video in batch)
    if limit.pairs is None or pairs <= limit.pairs or pairs == 1:
        try:
            return scorer.log_probs(batch)
        except torch.OutOfMemoryError:
            if pairs == 1:
                raise
            limit.pairs = pairs - 1
            _log.warning("%d pairs of a frame and a caption do not fit in memory: trying half", pairs)
        if scorer.device.type == "cuda":
            torch.cuda.empty_cache()
    if len(batch) > 1:
        half = len(batch) // 2
        halves = [log_probs_that_fit(scorer, part, limit) for part in (batch[:half], batch[half:])]
        return [*halves[0], *halves[1]]
    images, questions = batch[0].images, batch[0].questions
    if batch[0].looks > 1:
        half, joined = batch[0].looks // 2, 0
        parts = [Prepared(part, questions) for part in (images[:half], images[half:])]
    else:
        half, joined = len(questions) // 2, 1
        parts = [Prepared(images, part) for part in (questions[:half], questions[half:])]
    return [torch.cat([log_probs_that_fit(scorer, [part], limit)[0] for part in parts], dim=joined)]


# -- what several models share ----------------------------------------------------------------------------


def load_stock(model: VqaModel, kind: str, dtype: str, device: str) -> tuple[Any, Any]:
    """A model of transformers in evaluation mode on its device, and its processor.

    Args:
        model: what to load.
        kind: name of the model's class.
        dtype: of the weights.
        device: where the model goes.

    Raises:
        HubError: it cannot be downloaded.
        SynvitaError: the checkpoint lacks weights.
    """
    import transformers

    files = fetch(ModelFiles(model.location, model.hub_revision))
    loaded, loading = getattr(transformers, kind).from_pretrained(
        files.location,
        revision=files.revision,
        dtype=torch_dtype(dtype),
        output_loading_info=True,
        local_files_only=True,
    )
    check_complete(model.location, loading)
    processor, _ = load_processor(files.location, files.revision)
    return loaded.eval().requires_grad_(False).to(device), processor


def token_log_probs(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """fp32 [B, k] on the CPU from logits [B, k, V]: the log-probability of token i at position i."""
    wanted = torch.tensor(tokens, device=logits.device).expand(len(logits), -1)
    return logits.float().log_softmax(-1).gather(-1, wanted[..., None])[..., 0].cpu()


def pad_right(rows: Sequence[Tensor], *, before: int = 0, value: int = 0) -> tuple[Tensor, Tensor]:
    """Rows [n_i, …] as one tensor [B, n, …], and its attention mask int64 [B, before + n].

    Args:
        rows: padded on the right.
        before: positions that every row has before these.
        value: of the padding.
    """
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    mask = torch.arange(-before, padded.shape[1], device=padded.device) < lengths[:, None]
    return padded, mask.long()


def t5_log_probs(t5: Any, embeddings: Sequence[Tensor], answer: Sequence[int]) -> Tensor:
    """fp32 [B, k] on the CPU: log-probabilities of the answer's tokens after each encoder input.

    Args:
        t5: `T5ForConditionalGeneration`.
        embeddings: B encoder inputs [n_i, D]; padded on the right and masked.
        answer: token ids, end token last.
    """
    padded, mask = pad_right(embeddings)
    begin = t5.config.decoder_start_token_id
    given = torch.tensor([[begin, *answer[:-1]]], device=padded.device).expand(len(embeddings), -1)
    logits = t5(inputs_embeds=padded, attention_mask=mask, decoder_input_ids=given, use_cache=False).logits
    return token_log_probs(logits, answer)


def refuse_float16(model: VqaModel, dtype: str) -> None:
    """T5 was trained in bf16; its feed-forward layers overflow in fp16.

    Raises:
        SynvitaError: `dtype` is float16.
    """
    if dtype == "float16":
        raise SynvitaError(
            "T5 overflows in float16", file=model.label, found=dtype, expected="bfloat16 or float32"
        )
