"""The original Video-LLaVA (arXiv:2311.10122), whose tower sees time; `synvita_data.models.video_llava_original`."""

from dataclasses import replace
from typing import Any

from ...captions.prompts import Prompt
from ...errors import SynvitaError
from ...video.frames import Frames
from ...video.sampling import FramePolicy
from .family import PreparedVideo
from .video_llava import VideoLlava


class VideoLlavaOriginal(VideoLlava):
    """Video-LLaVA as released: tokens, prompts and packing are Video-LLaVA's, and frames are read T together."""

    model_type = "video_llava_original"
    model_class = "VideoLlavaOriginalForConditionalGeneration"
    default_prompt = "video-llava-eval"
    advice = (
        "Convert the released checkpoint first: `synvita convert video-llava DIR OUT` (docs/video_llava.md)"
    )

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        # Kept beside the model: `process` runs in threads and processes that have none.
        self.frames_together = int(model.config.video_config.num_frames)

    @classmethod
    def network_class(cls) -> Any:
        from ..video_llava_original import VideoLlavaOriginalForConditionalGeneration

        return VideoLlavaOriginalForConditionalGeneration

    def default_frames(self) -> FramePolicy:
        """As the released code: `linspace(0, n - 1, 8, dtype=int)`, which repeats frames of a shorter video."""
        return replace(self.frames, count=max(8, self.frames_together))

    def process(self, frames: Frames, prompt: Prompt) -> PreparedVideo:
        """As Video-LLaVA's, for clips that attention over time can read.

        Raises:
            SynvitaError: not a multiple of the frames that the tower reads together; the original fails there too.
        """
        if len(frames) % self.frames_together:
            raise SynvitaError(
                "the video tower cannot read this number of frames",
                file=frames.source,
                found=len(frames),
                expected=f"{self.frames_together} frames, or a multiple that is read in groups of so many",
                fix=f"Ask for {self.frames_together} frames, the released number (`--frames`)",
            )
        return super().process(frames, prompt)
