"""mPLUG-Owl with its video tower (arXiv:2304.14178), the paper's first model, on today's transformers.

    import synvita_data.models.mplug_owl  # makes the model known to the Auto classes
    model = AutoModelForImageTextToText.from_pretrained(folder)

`folder` holds what `synvita convert mplug-owl` made of the released checkpoint. Importing this package
imports torch and transformers. docs/mplug_owl.md says what is exact and how it is known.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoVideoProcessor,
)

from .configuration import MODEL_TYPE, MplugOwlConfig, MplugOwlVisionConfig, MplugOwlVisualAbstractorConfig
from .modeling import (
    MplugOwlForConditionalGeneration,
    MplugOwlPreTrainedModel,
    MplugOwlVisionModel,
    MplugOwlVisualAbstractorModel,
)
from .processing import MplugOwlProcessor, MplugOwlVideoProcessor, OwlRows, PieceTokenizer, PieceTokens

AutoConfig.register(MODEL_TYPE, MplugOwlConfig)
AutoModel.register(MplugOwlConfig, MplugOwlForConditionalGeneration)
AutoModelForImageTextToText.register(MplugOwlConfig, MplugOwlForConditionalGeneration)
AutoVideoProcessor.register(MplugOwlConfig, video_processor_class=MplugOwlVideoProcessor)
AutoProcessor.register(MplugOwlConfig, MplugOwlProcessor)

__all__ = [
    "MODEL_TYPE",
    "MplugOwlConfig",
    "MplugOwlForConditionalGeneration",
    "MplugOwlPreTrainedModel",
    "MplugOwlProcessor",
    "MplugOwlVideoProcessor",
    "MplugOwlVisionConfig",
    "MplugOwlVisionModel",
    "MplugOwlVisualAbstractorConfig",
    "MplugOwlVisualAbstractorModel",
    "OwlRows",
    "PieceTokenizer",
    "PieceTokens",
]
