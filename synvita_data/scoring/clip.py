"""Frame–text cosine with any CLIP or SigLIP of transformers: the baseline of the VideoCLIP era.

The score of a video and a text is the cosine similarity of the text's embedding with each frame's,
averaged over frames. Only the order of such scores means something (`kind = "similarity"`).
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ..captions import Text
from ..captions.masking import read_length
from ..errors import SynvitaError, VideoError
from ..models.download import fetch
from ..models.loading import check_complete, explained, loaded_revision
from ..models.processors import load_processor
from ..models.resolve import ModelFiles
from ..models.runtime import one_cpu_thread, pick_device, read_ahead, torch_dtype
from ..video import FramePolicy, Frames, decode
from ..video.controls import Control
from . import ItemScores, ScoreKind, ScoringItem, refuse_questions

MODEL_TYPES = ("clip", "siglip", "siglip2", "chinese_clip", "align", "altclip")
DEFAULT_FRAMES = FramePolicy(count=8, rule="segment-midpoints")  # at stored size; the processor resizes
_TEXTS_KEPT = 50_000


def check_control(name: str, control: str) -> None:
    """Complain about a control that takes nothing, or everything, away from a tower.

    Args:
        name: of the model.
        control: of `video.controls.CONTROLS`.

    Raises:
        SynvitaError: as it says.
    """
    why = {
        "text": "a score is the similarity of a text and frames, and there is none without frames",
        "reverse": "its score is a mean over frames, which has no order: it would be the same",
        "shuffle": "its score is a mean over frames, which has no order: it would be the same",
    }
    if control in why:
        raise SynvitaError(
            f"the control {control} means nothing for this kind of model",
            file=name,
            found=why[control],
            expected="the control frame, or a Video LLM",
        )


class ClipScorer:
    """Mean cosine of frame and text embeddings.

    Frames of one video are embedded in one batch and each text alone, on a CPU by one thread, so that a
    score does not depend on what else is scored, in which order, or by how many processes. A text longer
    than the model takes is cut, and counted in `details["texts_cut"]`; `cut_texts` says which.

    Args:
        name: Hub id or folder of a model with `get_image_features` and `get_text_features`.
        revision: commit, tag or branch on the Hub.
        frames: default: eight segment midpoints at stored size; the model's processor resizes.
        device: default: `cuda:LOCAL_RANK` where there is one, else `cpu`.
        dtype: name of a torch dtype for the weights; similarities are computed in float32.
        workers: threads that decode ahead.
        control: `frame` at most: there is nothing to score without a video, and a mean over frames has no order.

    Raises:
        SynvitaError: an unknown model, device or dtype; not a model of this kind; weights that are missing; a
            control that means nothing here.
    """

    kind: ScoreKind = "similarity"
    prompt = None

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        frames: FramePolicy | None = None,
        device: str | None = None,
        dtype: str = "float32",
        workers: int = 2,
        control: Control | None = None,
    ) -> None:
        from transformers import AutoModel

        if control is not None:
            check_control(name, control.name)
        self.control = control
        self.name = name
        self.frames = frames or DEFAULT_FRAMES
        self._device = pick_device(device)
        weights = torch_dtype(dtype)
        revision = fetch(ModelFiles(name, revision)).revision
        with explained(name):
            self._model, loading = AutoModel.from_pretrained(
                name, revision=revision, dtype=weights, output_loading_info=True, local_files_only=True
            )
            self._processor, _ = load_processor(name, revision)
        if not hasattr(self._model, "get_image_features") or not hasattr(self._model, "get_text_features"):
            raise SynvitaError(
                "not a model that embeds frames and texts",
                file=name,
                found=type(self._model).__name__,
                expected="a CLIP or SigLIP of transformers",
            )
        check_complete(name, loading)
        self._model.eval().to(self._device)
        self.revision = loaded_revision(name, self._model, revision)
        self.settings: dict[str, Any] = {"dtype": dtype, "pooling": "mean cosine over frames"}
        if control is not None:
            self.settings |= control.settings
        self._workers = workers
        # Texts recur in many videos.
        self._text = lru_cache(maxsize=_TEXTS_KEPT)(self._embed_text)
        # SigLIP was trained on texts padded to its full length; CLIP masks padding.
        self._padding = "max_length" if "siglip" in self._model.config.model_type else True
        # Some tokenizers do not know how long a text the model takes.
        self._max_length = min(
            self._processor.tokenizer.model_max_length,
            self._model.config.text_config.max_position_embeddings,
        )

    def check_texts(self, texts: Iterable[Text]) -> None:
        """Complain before long work about texts that cannot be scored.

        Raises:
            SynvitaError: a text with a question: frames and texts are embedded and compared, nothing is answered.
        """
        refuse_questions(
            texts,
            self.name,
            problem=f"a {self._model.config.model_type} compares a video with captions and cannot be asked a question",
            fix="Score the options as statements (`scored_as: statement` of the task), or take a Video LLM",
        )

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        """Scores of each item, in order.

        Raises:
            SynvitaError: as `check_texts`.
        """

        def read(item: ScoringItem) -> Frames:
            return decode(item.video, self.frames, item.start, item.end)

        for item, frames in read_ahead(items, read, self._workers):
            if isinstance(frames, VideoError):
                yield ItemScores(item.item_id, None, error=frames)
                continue
            self.check_texts(item.texts)
            shown = frames.indices
            if self.control is not None:
                frames, shown = self.control.apply(frames, item.video_id)
            images = self._embed_frames(frames).astype(np.float64)
            embedded = [self._text(text.caption) for text in item.texts]
            # Not one matrix product: its last bits depend on how many texts there are.
            scores = [(images * text).sum(axis=1, dtype=np.float64).mean() for text, _ in embedded]
            yield ItemScores(
                item.item_id,
                np.array(scores),
                frame_indices=shown,
                details={"backend": frames.backend, "texts_cut": sum(cut for _, cut in embedded)},
            )

    def cut_texts(self, captions: Iterable[str]) -> list[str]:
        """A line on each caption that is longer than the model takes: how long it is, and where it is cut."""
        lines = []
        for caption in dict.fromkeys(captions):
            tokens, kept = read_length(self._processor.tokenizer, caption, self._max_length)
            if kept is not None:
                lines.append(
                    f"{tokens} tokens, where the model reads {self._max_length}: cut at character {kept}, before "
                    f"{caption[kept : kept + 60].strip()!r}"
                )
        return lines

    def _embed_frames(self, frames: Frames) -> np.ndarray:
        """float32 [T, D], each of length 1."""
        inputs = self._processor(images=list(frames.pixels), return_tensors="pt")
        return self._unit(self._model.get_image_features, inputs)

    def _embed_text(self, caption: str) -> tuple[np.ndarray, bool]:
        """float32 [D] of length 1, and whether the text was cut."""
        inputs = self._processor(
            text=[caption],
            return_tensors="pt",
            padding=self._padding,
            truncation=True,
            max_length=self._max_length,
        )
        whole = self._processor.tokenizer(caption, verbose=False)["input_ids"]
        return self._unit(self._model.get_text_features, inputs)[0], len(whole) > self._max_length

    def _unit(self, embed: Any, inputs: Any) -> np.ndarray:
        """float32 [rows, D], each of length 1."""
        import torch

        moved = {
            key: value.to(self._device, self._model.dtype if value.is_floating_point() else None)
            for key, value in inputs.items()
        }
        with torch.inference_mode(), one_cpu_thread(self._device):
            output = embed(**moved)
            features: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
            unit = torch.nn.functional.normalize(features.float(), dim=-1)
        result: np.ndarray = unit.cpu().numpy()
        return result
