"""Tiny random pipelines of the real classes, saved as folders that `from_pretrained` loads; no download."""

import json
import string
from functools import lru_cache
from pathlib import Path

# What a tiny model can make, as `--set` strings; one step shows as much as fifty.
SETTINGS: dict[str, dict[str, object]] = {
    "cogvideox": {
        "frames": 9,
        "size": "16x16",
        "fps": 8,
        "steps": 2,
        "guidance": 6.0,
        "call.max_sequence_length": 16,
    },
    "wan": {
        "frames": 5,
        "size": "16x16",
        "fps": 16,
        "steps": 2,
        "guidance": 5.0,
        "call.max_sequence_length": 16,
    },
    "ltx-condition": {"frames": 9, "size": "32x32", "fps": 24, "steps": 2, "call.max_sequence_length": 16},
    "ltx": {"frames": 9, "size": "32x32", "fps": 24, "steps": 2, "call.max_sequence_length": 16},
    "hunyuan": {
        "frames": 5,
        "size": "16x16",
        "fps": 24,
        "steps": 2,
        "call.max_sequence_length": 16,
        "call.prompt_template": {"template": "{}", "crop_start": 0},
    },
    "mochi": {"frames": 7, "size": "16x16", "steps": 2, "call.max_sequence_length": 16},
}
for _settings in SETTINGS.values():
    _settings |= {"dtype": "float32", "vae_dtype": None, "vae_tiling": False, "offload": "none"}


def t5_tokenizer():
    from transformers import T5Tokenizer

    characters = string.ascii_letters + string.digits + string.punctuation
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary += [(f"▁{word}", -1.0) for word in ("a", "man", "dog", "is", "the", "in")]
    seen = {piece for piece, _ in vocabulary}
    vocabulary += [(character, -3.0) for character in characters if character not in seen]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=226)


def t5_encoder(vocabulary: int, kind: str = "T5"):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=vocabulary,
        d_model=32,
        d_kv=8,
        d_ff=37,
        num_layers=1,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return getattr(transformers, f"{kind}EncoderModel")(config).eval()


def cogvideox(patch_size_t: int | None = None):
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )

    tokenizer = t5_tokenizer()
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=1,
        sample_width=2,
        sample_height=2,
        sample_frames=9,
        patch_size=2,
        patch_size_t=patch_size_t,
        temporal_compression_ratio=4,
        max_text_seq_length=16,
    )
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=t5_encoder(len(tokenizer)),
        vae=vae,
        transformer=transformer,
        scheduler=CogVideoXDDIMScheduler(),
    )


def wan():
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

    tokenizer = t5_tokenizer()
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=32,
        ffn_dim=32,
        num_layers=1,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=t5_encoder(len(tokenizer), "UMT5"),
        vae=vae,
        transformer=transformer,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        ),
    )


def ltx_condition():
    """LTX-Video's pipeline from 0.9.5 on, which may be given pictures and is not here."""
    from diffusers import LTXConditionPipeline

    return LTXConditionPipeline(**ltx().components)


def ltx():
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    tokenizer = t5_tokenizer()
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    return LTXPipeline(
        tokenizer=tokenizer,
        text_encoder=t5_encoder(len(tokenizer)),
        vae=vae,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def hunyuan():
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoPipeline,
        HunyuanVideoTransformer3DModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

    from synvita_data.testing.tokenizer import clip_tokenizer, llama_tokenizer

    words, llama_words = clip_tokenizer(), llama_tokenizer()
    llama = LlamaModel(
        LlamaConfig(
            vocab_size=len(llama_words),
            hidden_size=16,
            intermediate_size=37,
            num_hidden_layers=3,
            num_attention_heads=4,
            pad_token_id=llama_words.pad_token_id,
        )
    )
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=8,
            intermediate_size=37,
            num_hidden_layers=1,
            num_attention_heads=4,
            projection_dim=32,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
    )
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
        mid_block_add_attention=True,
    )
    return HunyuanVideoPipeline(
        text_encoder=llama.eval(),
        tokenizer=llama_words,
        text_encoder_2=clip.eval(),
        tokenizer_2=words,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def mochi():
    from diffusers import (
        AutoencoderKLMochi,
        FlowMatchEulerDiscreteScheduler,
        MochiPipeline,
        MochiTransformer3DModel,
    )

    tokenizer = t5_tokenizer()
    transformer = MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        out_channels=None,
        qk_norm="rms_norm",
        text_embed_dim=32,
        time_embed_dim=4,
        activation_fn="swiglu",
        max_sequence_length=16,
    )
    vae = AutoencoderKLMochi(
        latent_channels=12,
        out_channels=3,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return MochiPipeline(
        tokenizer=tokenizer,
        text_encoder=t5_encoder(len(tokenizer)),
        vae=vae,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


BUILDERS = {
    "cogvideox": cogvideox,
    "wan": wan,
    "ltx": ltx,
    "ltx-condition": ltx_condition,
    "hunyuan": hunyuan,
    "mochi": mochi,
}


@lru_cache
def built(kind: str, seed: int = 0):
    """The pipeline itself, in fp32 and evaluation mode; the same weights for the same seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipe = BUILDERS[kind]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(seed + 1)
                for _, weight in sorted(part.named_parameters()):
                    if weight.ndim >= 2:  # the usual 0.02 would give one grey
                        weight.normal_(std=(weight.numel() / len(weight)) ** -0.5)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_pipeline(kind: str, folder: Path, seed: int = 0) -> Path:
    """`built` as a folder of safetensors."""
    built(kind, seed).save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"]
    return folder
