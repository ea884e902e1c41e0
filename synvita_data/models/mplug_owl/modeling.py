"""The whole model: vision tower, abstractor, and transformers' LLaMA, under the names of the released weights."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .abstractor import MplugOwlVisualAbstractorModel
from .configuration import MplugOwlConfig
from .pretrained import MplugOwlPreTrainedModel
from .vision import MplugOwlVisionModel


class MplugOwlForConditionalGeneration(MplugOwlPreTrainedModel):
    """mPLUG-Owl with its video tower (arXiv:2304.14178; `MAGAer13/mplug-owl-llama-7b-video`).

    A video is `config.tokens_per_video` consecutive ids `config.video_token_id` in a sequence, one video a
    sequence. Images alone, the other use of the original, are videos of one frame here.
    """

    def __init__(self, config: MplugOwlConfig) -> None:
        super().__init__(config)
        width = config.visual_abstractor_config.hidden_size
        self.query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, width))
        self.temporal_query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, width))
        self.vision_model = MplugOwlVisionModel(config.vision_config)
        self.language_model = LlamaForCausalLM(config.text_config)
        self.abstractor = MplugOwlVisualAbstractorModel(
            config.visual_abstractor_config, config.text_config.hidden_size
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def get_video_tokens(self, video_features: Tensor) -> Tensor:
        """What stands at a video's ids: the tower's [B, T, N, D] -> [B, tokens_per_video, width].

        With one frame there is no time, and the temporal queries stay out of it.
        """
        temporal = self.temporal_query_tokens if video_features.shape[1] > 1 else None
        return self.abstractor(self.query_tokens, video_features.flatten(1, 2), temporal)

    def embed(
        self,
        input_ids: Tensor,
        video_pixel_values: Tensor | None = None,
        video_features: Tensor | None = None,
    ) -> Tensor:
        """Ids [B, S] -> [B, S, width], with each row's video at its ids.

        Raises:
            ValueError: ids of media without a video, or not `tokens_per_video` of them in every row.
        """
        if video_pixel_values is not None:
            if video_features is not None:
                raise ValueError("a video is either pixels or features of the tower, not both")
            video_features = self.vision_model(video_pixel_values)
        embedded = self.get_input_embeddings()(input_ids.clamp(min=0))
        media = input_ids < 0
        if video_features is None:
            if media.any():
                raise ValueError(
                    "there are video tokens in input_ids, and neither pixels nor features of a video"
                )
            return embedded
        tokens = self.get_video_tokens(video_features)
        if len(tokens) != len(media) or (media.sum(1) != tokens.shape[1]).any():
            raise ValueError(
                f"every row needs {tokens.shape[1]} video tokens and one video; "
                f"found {media.sum(1).tolist()} in the rows and {len(tokens)} videos"
            )
        tokens = tokens.to(embedded.device, embedded.dtype)
        return embedded.masked_scatter(media[..., None].to(embedded.device), tokens)

    def without_head(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        video_pixel_values: Tensor | None = None,
        video_features: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """`forward` up to the last hidden states."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, video_pixel_values, video_features)
            if attention_mask is not None and attention_mask.ndim == 2:
                # The video is always seen, as in the original. With a cache the mask is longer than the ids.
                own = attention_mask[:, -input_ids.shape[1] :]
                seen = own.masked_fill(input_ids.to(own.device) < 0, 1)
                attention_mask = torch.cat([attention_mask[:, : -input_ids.shape[1]], seen], dim=1)
        elif video_pixel_values is not None or video_features is not None:
            raise ValueError("inputs_embeds hold their video already")
        return self.language_model.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask, **kwargs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        video_pixel_values: Tensor | None = None,
        video_features: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """
        Args:
            input_ids: int64 [B, S]; media ids are negative. The whole sequence, not shifted.
            attention_mask: [B, S], 0 hides a key; ones where None, and at the video whatever it says. Slots
                and positions of hidden tokens stay. Or a mask of four dimensions, taken as it is.
            video_pixel_values: [B, 3, T, H, W]. video_features: instead, the tower's output [B, T, N, D].
            labels: int64 [B, S], −100 where there is no loss; the token *at* a place, not the next one.
            logits_to_keep: how many of the last positions get logits, or which; 0 for all.

        Returns:
            logits [B, S or fewer, V]; loss: mean cross-entropy of the labels.

        Raises:
            ValueError: ids and videos do not fit.
        """
        output = self.without_head(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            video_pixel_values=video_pixel_values,
            video_features=video_features,
            use_cache=use_cache,
            **{name: value for name, value in kwargs.items() if name != "num_items_in_batch"},
        )
        states = output.last_hidden_state
        assert states is not None
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.language_model.lm_head(states[:, kept])
        loss = None
        if labels is not None:
            total = {name: value for name, value in kwargs.items() if name == "num_items_in_batch"}
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **total)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
