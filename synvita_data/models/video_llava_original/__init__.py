"""The original Video-LLaVA, the paper's second model, whose video tower has attention over time.

    import synvita_data.models.video_llava_original  # makes the model known to the Auto classes
    model = AutoModelForImageTextToText.from_pretrained(folder)

`folder` holds what `synvita convert video-llava` made of `LanguageBind/Video-LLaVA-7B`. Importing this package
imports torch and transformers. docs/video_llava.md says which checkpoint is which, and how exactness is known.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoVideoProcessor,
    VideoLlavaProcessor,
    VideoLlavaVideoProcessor,
)

from .configuration import MODEL_TYPE, VideoLlavaOriginalConfig, VideoLlavaOriginalVideoConfig
from .modeling import (
    VideoLlavaOriginalForConditionalGeneration,
    VideoLlavaOriginalModel,
    VideoLlavaOriginalVideoLayer,
    VideoLlavaOriginalVideoTower,
)

AutoConfig.register(MODEL_TYPE, VideoLlavaOriginalConfig)
AutoModel.register(VideoLlavaOriginalConfig, VideoLlavaOriginalModel)
AutoModelForImageTextToText.register(VideoLlavaOriginalConfig, VideoLlavaOriginalForConditionalGeneration)
AutoVideoProcessor.register(VideoLlavaOriginalConfig, video_processor_class=VideoLlavaVideoProcessor)
AutoProcessor.register(VideoLlavaOriginalConfig, VideoLlavaProcessor)

__all__ = [
    "MODEL_TYPE",
    "VideoLlavaOriginalConfig",
    "VideoLlavaOriginalForConditionalGeneration",
    "VideoLlavaOriginalModel",
    "VideoLlavaOriginalVideoConfig",
    "VideoLlavaOriginalVideoLayer",
    "VideoLlavaOriginalVideoTower",
]
