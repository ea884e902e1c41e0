"""What a job costs around the pipeline it runs: CogVideoX-2B's shape, few steps; offload and tiling work."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from .figures import Figures, free_memory, synchronise
from .shapes import made_on

STEPS = 4
RELEASED_STEPS = 50  # of the model's own preset, which overhead is compared with
GOAL = 2.0  # percent of the pipeline's own time
SMALL = {"frames": 9, "height": 16, "width": 16, "steps": 2, "call.max_sequence_length": 16}
REAL = {"frames": 49, "height": 480, "width": 720, "steps": STEPS}


def run(figures: Figures) -> None:
    missing = [name for name in ("diffusers", "av") if find_spec(name) is None]
    if missing:
        figures.add(f"generation: {', '.join(missing)} not installed here", "skipped")
        return
    with figures.step("a job around the pipeline"):
        overhead(figures)
    for name, changes in (
        ("model offload", {"offload": "model"}),
        ("sequential offload", {"offload": "sequential"}),
        ("VAE tiling", {"vae_tiling": True}),
    ):
        with figures.step(name):
            one_video(figures, name, changes)


def cogvideox(device: str, small: bool) -> Any:
    """The released pipeline's classes and sizes, its text encoder cut to two layers, random weights."""
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel

    from synvita_data.testing.tokenizer import t5_tokenizer

    tokenizer = t5_tokenizer()
    tokenizer.model_max_length = 226
    text = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_heads": 4} if small else {}
    text = text or {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64}
    net = {"time_embed_dim": 2, "text_embed_dim": 32, "num_attention_heads": 4, "attention_head_dim": 8}
    net |= {"num_layers": 1, "in_channels": 4, "out_channels": 4, "sample_width": 2, "sample_height": 2}
    net |= {"sample_frames": 9, "max_text_seq_length": 16}
    vae = {
        "block_out_channels": (8, 8, 8, 8),
        "latent_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 2,
    }
    if not small:  # the classes' defaults are the 2B model's
        net, vae = (
            {"num_layers": 30, "num_attention_heads": 30},
            {"latent_channels": 16, "layers_per_block": 3},
        )
        vae |= {"block_out_channels": (128, 256, 256, 512), "norm_num_groups": 32}
    blocks = {
        "down_block_types": ("CogVideoXDownBlock3D",) * 4,
        "up_block_types": ("CogVideoXUpBlock3D",) * 4,
    }
    # Where weights are made makes no difference to what is measured; offloading moves them itself.
    with made_on(device, torch.float32 if small else torch.float16):
        encoder = T5EncoderModel(
            T5Config(
                vocab_size=32_128,
                num_layers=2,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
                **text,
            )
        )
        transformer = CogVideoXTransformer3DModel(**net)
        autoencoder = AutoencoderKLCogVideoX(**blocks, temporal_compression_ratio=4, **vae)
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder.eval(),
        vae=autoencoder.eval(),
        transformer=transformer.eval(),
        scheduler=CogVideoXDDIMScheduler(),
    )


def loaded(recipe: Any, pipe: Any) -> Any:
    """A generator whose pipeline is made here; all else is the product's."""
    from synvita_data.builders.generators.diffusers.open import PipelineGenerator

    return PipelineGenerator(recipe, lambda: pipe, dict)


def recipe_of(small: bool, changes: Mapping[str, Any]) -> Any:
    from synvita_data.builders.generators.base import Recipe
    from synvita_data.builders.generators.diffusers.settings import pipeline_settings

    wanted = {**(SMALL if small else REAL), "dtype": "float32" if small else "float16", "vae_dtype": None}
    wanted |= {"offload": "none", "vae_tiling": False, "guidance": 6.0, "fps": 8, **changes}
    settings, placement = pipeline_settings("CogVideoXPipeline", {}, "random-cogvideox-2b", wanted)
    return Recipe("diffusers", "cogvideox-2b-shaped", "random", settings, placement)


def requests(count: int) -> tuple[Any, ...]:
    from synvita_data.builders.generators.base import Request

    return tuple(Request(f"custom_v{n}_{n:08x}", f"a man rides horse number {n}", 1) for n in range(count))


def run_videos(generator: Any, wanted: Sequence[Any], device: str) -> tuple[float, Any]:
    """Seconds of a job that makes these videos, the worker's opening included, and its report."""
    from synvita_data.builders.generators.run import GenerateJob
    from synvita_data.jobs import run_job

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        report = run_job(GenerateJob(generator, tuple(wanted), Path(folder)), devices=[device])
        synchronise()
        taken = time.perf_counter() - began
        assert report.exit_status == 0, report.lines()
        assert len(list(Path(folder).glob("*.mp4"))) == len(wanted)
    return taken, report


def overhead(figures: Figures) -> None:
    """The job against bare calls of the pipeline that make the same videos; and what the real number of steps makes of it."""
    from synvita_data.builders.generators.diffusers.worker import cpu_generator

    pipe = cogvideox(figures.device, figures.small)
    generator = loaded(recipe_of(figures.small, {}), pipe)
    wanted = requests(2 if figures.small else 3)
    shape = {"num_frames": 49, "height": 480, "width": 720}
    if figures.small:
        shape = {"num_frames": 9, "height": 16, "width": 16, "max_sequence_length": 16}
    pipe.to(figures.device)
    pipe.set_progress_bar_config(disable=True)

    def bare(steps: int, count: int) -> float:
        synchronise()
        began = time.perf_counter()
        with torch.inference_mode():
            for request in wanted[:count]:
                pipe(
                    prompt=request.caption,
                    generator=cpu_generator(generator.recipe.seed(request)),
                    num_inference_steps=steps,
                    guidance_scale=6.0,
                    output_type="np",
                    **shape,
                )
        synchronise()
        return time.perf_counter() - began

    steps = 2 if figures.small else STEPS
    bare(steps, 1)  # kernels are chosen
    alone = bare(steps, len(wanted)) / len(wanted)
    a_step = max(bare(steps + 2, 1) - bare(steps, 1), 0.0) / 2
    taken, _ = run_videos(generator, wanted, figures.device)
    job = taken / len(wanted)
    figures.add(f"pipeline alone, {steps} steps", alone, "s/video")
    figures.add("a step of it", a_step, "s")
    figures.add(f"as a job, {steps} steps", job, "s/video")
    around = job - alone
    figures.add("the job around it", around, "s/video")
    whole = alone + a_step * (RELEASED_STEPS - steps)
    figures.add(
        f"the job around a pipeline of {RELEASED_STEPS} steps ({whole:.1f} s/video, computed from a step)",
        100 * around / whole,
        "%",
        None if figures.small else GOAL,
        at_most=True,
    )


def one_video(figures: Figures, name: str, changes: Mapping[str, Any]) -> None:
    if figures.device == "cuda":
        free_memory()
        torch.cuda.reset_peak_memory_stats()
    start = "cpu" if "offload" in changes else figures.device
    pipe = cogvideox(start, figures.small)
    generator = loaded(recipe_of(figures.small, changes), pipe)
    taken, _ = run_videos(generator, requests(1), figures.device)
    figures.add(f"{name}: one video, {2 if figures.small else STEPS} steps", taken, "s")
    if figures.device == "cuda":
        figures.add(f"{name}: peak memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")
    with suppress(AttributeError):
        pipe.remove_all_hooks()
