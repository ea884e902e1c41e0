"""LaVie and VideoCrafter2 from checkpoints with the real names, against independent readings of both."""

import hashlib
import importlib.util
import json
import math

import numpy as np
import pytest

pytest.importorskip("diffusers")
import torch
from released_videocrafter2 import checkpoint

from synvita_data.builders.generators import open_generator
from synvita_data.builders.generators.diffusers.checkpoints import load_exactly, read_checkpoint
from synvita_data.builders.generators.lavie.open import load_lavie_weights
from synvita_data.builders.generators.videocrafter2.scaled_ddim import ScaledDDIMScheduler, signal_scale
from synvita_data.builders.generators.videocrafter2.weights import (
    text_encoder_of,
    tokenizer_from,
    unet_of,
    vae_of,
)
from synvita_data.errors import SourceError

UNET = {
    "sample_size": 8,
    "cross_attention_dim": 32,
    "attention_head_dim": 2,  # heads, whatever its name says; 32 channels each, as many as are rotated
    "block_out_channels": (64, 128),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
}


def lavie_unet(seed=0):
    from synvita_data.builders.generators.lavie.unet import LaVieUNet

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        unet = LaVieUNet(**UNET).eval()
        for _, weight in sorted(unet.named_parameters()):
            if weight.ndim > 1:
                weight.normal_(std=(weight.numel() / len(weight)) ** -0.5)
    return unet


def inputs(batch=2, frames=5, size=8, text=32):
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(batch, 4, frames, size, size, generator=generator),
        torch.tensor(321),
        torch.randn(batch, 7, text, generator=generator),
    )


class TestLaVie:
    def test_attention_over_time_is_what_its_formula_says(self):
        from synvita_data.builders.generators.lavie.unet import TimeAttention

        torch.manual_seed(0)
        heads, head, frames = 2, 40, 20  # 40 channels: 32 are rotated, 8 are not
        attention = TimeAttention(24, heads, heads * head).eval()
        torch.nn.init.normal_(attention.time_rel_pos_bias.relative_attention_bias.weight)
        x = torch.randn(3, frames, 24)
        table = attention.time_rel_pos_bias.relative_attention_bias.weight.detach().double().numpy()
        weight = {name: value.detach().double().numpy() for name, value in attention.named_parameters()}

        def turned(
            vector, place
        ):  # channels 2i and 2i+1 are a complex number, turned by place·10000^(-2i/32)
            pairs = vector[:32:2] + 1j * vector[1:32:2]
            pairs = pairs * np.exp(1j * place * 10000.0 ** (-np.arange(16) / 16))
            return np.concatenate([np.stack([pairs.real, pairs.imag], 1).ravel(), vector[32:]])

        def bucket(distance):
            far = abs(distance)
            inside = far if far < 8 else min(8 + int(math.log(far / 8) / math.log(4) * 8), 15)
            return inside + (16 if distance > 0 else 0)

        expected = np.zeros((3, frames, 24))
        for row in range(3):
            source = x[row].double().numpy()
            mixed = np.zeros((frames, heads * head))
            for h in range(heads):
                part = slice(h * head, (h + 1) * head)
                q, k, v = (source @ weight[f"to_{name}.weight"][part].T for name in "qkv")
                for i in range(frames):
                    logits = np.array(
                        [
                            turned(q[i], i) @ turned(k[j], j) / math.sqrt(head) + table[bucket(j - i), h]
                            for j in range(frames)
                        ]
                    )
                    share = np.exp(logits - logits.max())
                    mixed[i, part] = share @ v / share.sum()
            expected[row] = mixed @ weight["to_out.0.weight"].T + weight["to_out.0.bias"]
        got = attention(x).detach().numpy()
        assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()

    def test_group_norms_span_the_frames_of_one_video(self):
        from synvita_data.builders.generators.lavie.unet import VideoGroupNorm

        norm = VideoGroupNorm(2, 6)
        norm.frames = 3
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        x = torch.randn(2 * 3, 6, 4, 5, generator=torch.Generator().manual_seed(0)) + 3
        expected = torch.empty_like(x)
        for video in range(2):
            for group in range(2):
                part = x[video * 3 : video * 3 + 3, group * 3 : group * 3 + 3]
                flat = (part - part.mean()) / (part.var(unbiased=False) + norm.eps).sqrt()
                for c in range(3):
                    channel = group * 3 + c
                    expected[video * 3 : video * 3 + 3, channel] = (
                        flat[:, c] * norm.weight[channel] + norm.bias[channel]
                    )
        assert torch.allclose(norm(x), expected, atol=1e-5)

    def test_one_frame_without_its_time_part_is_stable_diffusion(self):
        from diffusers import UNet2DConditionModel

        unet = lavie_unet()
        stock = UNet2DConditionModel(**UNET).eval()
        own = stock.state_dict()
        stock.load_state_dict({name: value for name, value in unet.state_dict().items() if name in own})
        for module in unet.modules():
            if hasattr(module, "attn_temp"):
                torch.nn.init.zeros_(module.attn_temp.to_out[0].weight)
                torch.nn.init.zeros_(module.attn_temp.to_out[0].bias)
        x, t, text = inputs(frames=1)
        with torch.no_grad():
            expected = stock(x[:, :, 0], t, text).sample
            got = unet(x, t, text).sample[:, :, 0]
        assert torch.allclose(got, expected, atol=1e-5)

    def test_equals_the_prototype(self, repo_root):
        path = repo_root.parent / "shared" / "prototypes" / "lavie_unet.py"
        if not path.is_file():
            pytest.skip("the prototypes are not on this machine")
        spec = importlib.util.spec_from_file_location("lavie_prototype", path)
        prototype = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(prototype)
        unet = lavie_unet()
        other = prototype.LaVieUNet(**UNET).eval()
        other.load_state_dict(unet.state_dict())  # the same names
        x, t, text = inputs(frames=11)
        with torch.no_grad():
            assert torch.allclose(unet(x, t, text).sample, other(x, t, text).sample, atol=2e-5)

    def test_frames_see_one_another_and_videos_do_not(self):
        unet = lavie_unet()
        x, t, text = inputs()
        with torch.no_grad():
            before = unet(x, t, text).sample
            x[0, :, 2] += 1
            after = unet(x, t, text).sample
        changed = (before - after).abs().amax(dim=(1, 3, 4))
        assert (changed[0] > 1e-4).all()
        assert (changed[1] < 1e-6).all()

    def test_released_weights_load_and_others_do_not(self, tmp_path):
        unet = lavie_unet(1)
        state = dict(unet.state_dict())
        freqs = 10000.0 ** (-torch.arange(0, 32, 2).float() / 32)
        for name in [name for name in state if name.endswith("attn_temp.to_q.weight")]:
            state[name.replace("to_q.weight", "rotary_emb.freqs")] = freqs
        path = tmp_path / "lavie_base.pt"
        torch.save({"ema": state, "steps": 3}, path)
        loaded = lavie_unet(2)
        load_lavie_weights(loaded, path)
        x, t, text = inputs()
        with torch.no_grad():
            assert torch.equal(loaded(x, t, text).sample, unet(x, t, text).sample)

        torch.save({"ema": {**state, next(n for n in state if n.endswith("freqs")): freqs + 0.3}}, path)
        with pytest.raises(SourceError, match="rotary"):
            load_lavie_weights(loaded, path)
        del state["conv_in.weight"]
        torch.save({"ema": {**state, "extra.weight": freqs}}, path)
        with pytest.raises(SourceError, match=r"1 missing \(conv_in.weight\); 1 not of this model"):
            load_lavie_weights(loaded, path)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    from synvita_data.testing.tokenizer import clip_tokenizer

    folder = tmp_path_factory.mktemp("clip")
    clip_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def released(tokenizer_folder):
    return checkpoint(len(tokenizer_from(tokenizer_folder)))


class TestVideoCrafter2:
    @pytest.mark.parametrize("fps", [28, 8])
    def test_unet_equals_the_released_one(self, released, tmp_path, fps):
        state, unet, _ = released
        converted = unet_of(state, tmp_path / "model.ckpt", fps)
        x, t, text = inputs(text=48)
        with torch.no_grad():
            expected = unet(x, t, text, fps)
            got = converted.eval()(x, t, text).sample
        assert expected.std() > 0.1
        assert (got - expected).abs().max() < 2e-5 * expected.abs().max()

    def test_text_is_read_before_the_last_layer(self, released, tokenizer_folder, tmp_path):
        state, _, text = released
        tokenizer = tokenizer_from(tokenizer_folder)
        tokens = tokenizer(
            ["a dog", "the red square moves"], padding="max_length", return_tensors="pt"
        ).input_ids
        assert tokens.shape == (2, 77)
        assert tokens[0, -1] == 0  # open_clip fills up with 0, not with the end token
        assert (tokens[0] != 0).sum() < (tokens[1] != 0).sum() < 77
        with torch.no_grad():
            got = text_encoder_of(state, tmp_path / "model.ckpt").eval()(tokens).last_hidden_state
            assert torch.allclose(got, text(tokens), atol=1e-5)

    def test_vae_is_diffusers_own_reading_of_it(self, released, tmp_path):
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        state, _, _ = released
        vae = vae_of(state, tmp_path / "model.ckpt")
        expected = convert_ldm_vae_checkpoint(dict(state), vae.config)
        got = vae.state_dict()
        assert set(got) == set(expected)
        assert all(torch.equal(got[name], expected[name].reshape(got[name].shape)) for name in got)
        assert vae.config.scaling_factor == 0.18215

    @pytest.mark.parametrize("eta", [0.0, 1.0])
    def test_scaled_ddim_takes_the_released_samplers_step(self, eta):
        scheduler = ScaledDDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        scheduler.set_timesteps(50)
        times = np.arange(0, 1000, 20) + 1
        assert scheduler.timesteps.tolist() == times[::-1].tolist()
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        alphas = np.cumprod(1 - betas)
        scale = np.concatenate([np.linspace(1, 0.7, 400), np.full(1000, 0.7)])
        assert [signal_scale(t) for t in range(1000)] == pytest.approx(scale[:1000].tolist())
        chance = np.random.default_rng(0)
        x, eps, noise = chance.normal(size=(3, 2, 4, 5))
        for index in (49, 30, 12, 1, 0):
            t = times[index]
            a, s = alphas[t], scale[t]
            before = (alphas[times[index - 1]], scale[times[index - 1]]) if index else (alphas[0], scale[0])
            sigma = eta * np.sqrt((1 - before[0]) / (1 - a) * (1 - a / before[0]))
            clean = (x - np.sqrt(1 - a) * eps) / np.sqrt(a) / s
            expected = (
                np.sqrt(before[0]) * before[1] * clean
                + np.sqrt(1 - before[0] - sigma**2) * eps
                + sigma * noise
            )
            got = scheduler.step(
                *(torch.from_numpy(eps), int(t), torch.from_numpy(x)),
                eta=eta,
                variance_noise=torch.from_numpy(noise),
            ).prev_sample
            assert got.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-4)

    def test_missing_and_foreign_weights_are_refused(self, released, tmp_path):
        state, _, _ = released
        name = "model.diffusion_model.middle_block.3.temopral_conv.conv4.3.bias"
        with pytest.raises(SourceError, match=r"mid_block\.temp_convs\.1\.conv4\.3\.bias"):
            unet_of({key: value for key, value in state.items() if key != name}, tmp_path / "m.ckpt", 28)
        with pytest.raises(SourceError, match="no weight under first_stage_model"):
            vae_of({"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "m.ckpt")


def test_a_checkpoint_that_is_more_than_weights_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hook": print}, path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="cannot be read"):
        read_checkpoint(path)
    torch.save({"state_dict": {"module.weight": torch.ones(2, 2)}}, path)
    assert list(read_checkpoint(path)) == ["weight"]
    with pytest.raises(SourceError, match="of another shape"):
        load_exactly(torch.nn.Linear(3, 2, bias=False), read_checkpoint(path), path)


def save_lavie(folder):
    """What LaVie's instructions put into pretrained_models, tiny."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    from synvita_data.testing.tokenizer import clip_tokenizer

    base, tokenizer = folder / "stable-diffusion-v1-4", clip_tokenizer()
    unet = lavie_unet(5)
    unet.save_config(base / "unet")
    torch.save({"ema": unet.state_dict()}, folder / "lavie_base.pt")
    tokenizer.save_pretrained(base / "tokenizer")
    torch.manual_seed(5)
    AutoencoderKL(block_out_channels=(32,), norm_num_groups=32, sample_size=8).save_pretrained(base / "vae")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    ).save_pretrained(base / "text_encoder")
    return folder


def save_videocrafter2(folder, state, tokenizer_folder):
    (folder / "base_512_v2").mkdir(parents=True)
    torch.save({"state_dict": state}, folder / "base_512_v2" / "model.ckpt")
    (folder / "tokenizer").symlink_to(tokenizer_folder, target_is_directory=True)
    return folder


@pytest.mark.parametrize("scheme", ["lavie", "videocrafter2"])
def test_folder_to_video(scheme, tmp_path, released, tokenizer_folder):
    from synvita_data.builders.generators import generate_videos
    from synvita_data.schema import Triplet
    from synvita_data.video import probe

    if scheme == "lavie":
        save_lavie(tmp_path / "model")
    else:
        save_videocrafter2(tmp_path / "model", released[0], tokenizer_folder)
    row = Triplet(source="x", video_id="1", caption="a man runs", neg_caption="a dog sleeps")
    overrides = {"frames": 4, "size": "16x16", "steps": 2, "dtype": "float32"}
    report = generate_videos([row], f"{scheme}:{tmp_path}/model", tmp_path / "out", overrides=overrides)
    assert report.exit_status == 0, report.lines()
    [video] = (tmp_path / "out").glob("*.mp4")
    assert (probe(video).frames, probe(video).height, probe(video).width) == (4, 16, 16)
    manifest = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
    assert manifest["generator"] == scheme
    assert manifest["sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
    kept = manifest["config"]
    expected = (
        {"guidance": 7.5}
        if scheme == "lavie"
        else {"guidance": 12.0, "fps_condition": 28, "call": {"eta": 1.0}}
    )
    assert {key: kept[key] for key in expected} == expected
    assert kept["scheduler"] == ("DDPMScheduler" if scheme == "lavie" else "ScaledDDIMScheduler")


def test_what_is_missing_is_named(tmp_path):
    for scheme, file in (("lavie", "lavie_base.pt"), ("videocrafter2", "model.ckpt")):
        with pytest.raises(SourceError, match=file):
            open_generator(f"{scheme}:{tmp_path}")
