"""Settings of the original Video-LLaVA: transformers' Video-LLaVA, and a video tower of its own that has time."""

from typing import Any, ClassVar

from transformers import CLIPVisionConfig, LlamaConfig, PretrainedConfig

MODEL_TYPE = "video_llava_original"


class VideoLlavaOriginalVideoConfig(CLIPVisionConfig):
    """The video tower: CLIP's ViT-L/14 with attention over time in front of every layer.

    Fields and their defaults are those of LanguageBind's `vision_config`, as far as they are known.

    Args:
        num_frames: T, the frames that attention over time reads together. Clips of a multiple of T frames are
            read in groups of T, as the original code does.
        add_time_attn: whether there is attention over time at all; the image tower has none.
        force_patch_dropout: share of patches that the original drops in training; a record, nothing is dropped here.
    """

    model_type = "video_llava_original_video_tower"
    base_config_key = "video_config"

    hidden_size: int = 1024
    intermediate_size: int = 4096
    projection_dim: int = 768
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "gelu"
    num_frames: int = 8
    add_time_attn: bool = True
    force_patch_dropout: float = 0.0


class VideoLlavaOriginalConfig(PretrainedConfig):
    """Two towers and a LLaMA; fields that transformers' `VideoLlavaConfig` has mean the same here.

    Args:
        vision_config: of the image tower, a plain CLIP whose activation is GELU.
        video_config: of the video tower.
        text_config: of the language model.
        image_token_index, video_token_index: what stands in `input_ids` for an image's and a frame's tokens.
        vision_feature_layer: the hidden states that the projector reads.
        vision_feature_select_strategy: of images; `default` drops the class token. Videos keep theirs.
    """

    model_type = MODEL_TYPE
    attribute_map: ClassVar[dict[str, str]] = {
        "image_token_id": "image_token_index",
        "video_token_id": "video_token_index",
    }
    sub_configs: ClassVar[dict[str, Any]] = {
        "vision_config": CLIPVisionConfig,
        "video_config": VideoLlavaOriginalVideoConfig,
        "text_config": LlamaConfig,
    }

    def __init__(
        self,
        vision_config: dict[str, Any] | PretrainedConfig | None = None,
        video_config: dict[str, Any] | PretrainedConfig | None = None,
        text_config: dict[str, Any] | PretrainedConfig | None = None,
        image_token_index: int = 32000,
        video_token_index: int = 32001,
        projector_hidden_act: str = "gelu",
        vision_feature_select_strategy: str = "default",
        vision_feature_layer: int = -2,
        multimodal_projector_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("tie_word_embeddings", False)
        # `Any`: each may be given as a class of its own.
        self.video_config: Any = _made(VideoLlavaOriginalVideoConfig, video_config)
        if vision_config is None:  # the same shapes, without time
            shared = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
            shared += ["projection_dim", "image_size", "patch_size", "hidden_act", "layer_norm_eps"]
            vision_config = {name: getattr(self.video_config, name) for name in shared}
        self.vision_config: Any = _made(CLIPVisionConfig, vision_config)
        self.text_config: Any = _made(LlamaConfig, text_config)
        self.image_token_index = image_token_index
        self.video_token_index = video_token_index
        self.projector_hidden_act = projector_hidden_act
        self.vision_feature_select_strategy = vision_feature_select_strategy
        self.vision_feature_layer = vision_feature_layer
        self.multimodal_projector_bias = multimodal_projector_bias
        super().__init__(**kwargs)


def _made(kind: type[PretrainedConfig], given: dict[str, Any] | PretrainedConfig | None) -> PretrainedConfig:
    if isinstance(given, PretrainedConfig):
        return given
    return kind(**{key: value for key, value in (given or {}).items() if key != "model_type"})
