"""Settings of mPLUG-Owl's video model, in the fields of the released `config.json`."""

from typing import Any, ClassVar

from transformers import LlamaConfig, PretrainedConfig

MODEL_TYPE = "mplug-owl"


class MplugOwlVisionConfig(PretrainedConfig):
    """The vision tower: ViT-L/14 with a temporal step in front of every layer.

    Args:
        attention_dropout: of attention weights in training.
        temporal_layer_norm_eps: of `temporal.ln`, which the original leaves at torch's default.
    """

    model_type = "mplug_owl_vision_model"
    base_config_key = "vision_config"

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-6
    temporal_layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02

    @property
    def tokens_per_frame(self) -> int:
        """The class token and the patches."""
        return 1 + (self.image_size // self.patch_size) ** 2


class MplugOwlVisualAbstractorConfig(PretrainedConfig):
    """The abstractor: learned queries that read the tower's tokens.

    Args:
        intermediate_size: a nominal width; `mlp_width` is what the layers have.
        layer_norm_eps: of the norm inside the MLP.
        normalization_eps: of the norms of queries, memory and
            before the MLP, which the original leaves at torch's default.
    """

    model_type = "mplug_owl_visual_abstractor"
    base_config_key = "visual_abstractor_config"

    hidden_size: int = 1024
    encoder_hidden_size: int = 1024
    num_hidden_layers: int = 6
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    layer_norm_eps: float = 1e-6
    normalization_eps: float = 1e-5
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02

    @property
    def mlp_width(self) -> int:
        """Two thirds of the nominal width, rounded up to a multiple of 256; 2816 stays as it is."""
        if self.intermediate_size == 2816:
            return 2816
        return -(-int(2 * self.intermediate_size / 3) // 256) * 256


class MplugOwlConfig(PretrainedConfig):
    """Vision tower, abstractor and a LLaMA.

    Args:
        num_query_tokens: learned queries of space, and as many of time; a video is one token more.
        image_token_id, video_token_id: what stands in `input_ids` for media; not in the vocabulary.
    """

    model_type = MODEL_TYPE
    sub_configs: ClassVar[dict[str, Any]] = {
        "vision_config": MplugOwlVisionConfig,
        "visual_abstractor_config": MplugOwlVisualAbstractorConfig,
        "text_config": LlamaConfig,
    }

    def __init__(
        self,
        vision_config: dict[str, Any] | PretrainedConfig | None = None,
        visual_abstractor_config: dict[str, Any] | PretrainedConfig | None = None,
        text_config: dict[str, Any] | PretrainedConfig | None = None,
        num_query_tokens: int = 64,
        image_token_id: int = -1,
        video_token_id: int = -2,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("tie_word_embeddings", False)
        # `Any`: each may be given as a class of its own.
        self.vision_config: Any = _made(MplugOwlVisionConfig, vision_config)
        self.visual_abstractor_config: Any = _made(MplugOwlVisualAbstractorConfig, visual_abstractor_config)
        self.text_config: Any = _made(LlamaConfig, text_config)
        self.num_query_tokens = num_query_tokens
        self.image_token_id = image_token_id
        self.video_token_id = video_token_id
        super().__init__(**kwargs)

    @property
    def tokens_per_video(self) -> int:
        """How many tokens of the language model a video is: the queries and `vit_eos`."""
        return self.num_query_tokens + 1


def _made(kind: type[PretrainedConfig], given: dict[str, Any] | PretrainedConfig | None) -> PretrainedConfig:
    if isinstance(given, PretrainedConfig):
        return given
    return kind(**{key: value for key, value in (given or {}).items() if key != "model_type"})
