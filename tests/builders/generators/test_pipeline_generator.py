"""Tiny random pipelines of the real classes: what is made, from which noise, and that it is always the same."""

import functools
import json
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")
import torch
from jobs.kill_harness import survive_kills
from small_program import rows, videos
from tiny_pipelines import BUILDERS, SETTINGS, built, save_pipeline

from synvita_data import video as video_module
from synvita_data.builders.generators import GenerateJob, generate_videos, make_requests, open_generator
from synvita_data.builders.generators.diffusers.open import load_pipeline, set_scheduler
from synvita_data.builders.generators.diffusers.presets import PRESETS
from synvita_data.builders.generators.diffusers.settings import pipeline_settings
from synvita_data.builders.generators.diffusers.worker import (
    BY_PIPELINE,
    IN_FP32,
    PipelineWorker,
    call_arguments,
    fp32_latents,
    noise_kind,
    to_uint8,
)
from synvita_data.errors import SourceError, SynvitaError, VideoError
from synvita_data.jobs import processes, run_job
from synvita_data.video import encode_mp4

CAPTIONS = ("a dog is in the man", "a man", "the dog", "a man is a dog")


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Kind -> folder of the saved pipeline."""

    @functools.cache
    def save(kind: str) -> Path:
        return save_pipeline(kind, tmp_path_factory.mktemp("pipelines") / f"tiny-{kind}")

    return save


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stock_call(kind, caption, seed):
    """The pipeline as its documentation calls it."""
    own = {
        "cogvideox": {"num_frames": 9, "height": 16, "width": 16, "guidance_scale": 6.0},
        "wan": {"num_frames": 5, "height": 16, "width": 16, "guidance_scale": 5.0},
        "ltx": {"num_frames": 9, "height": 32, "width": 32, "guidance_scale": 3.0, "frame_rate": 24}
        | {"negative_prompt": "worst quality, inconsistent motion, blurry, jittery, distorted"},
        "hunyuan": {"num_frames": 5, "height": 16, "width": 16, "guidance_scale": 6.0}
        | {"prompt_template": {"template": "{}", "crop_start": 0}},
        "ltx-condition": {"num_frames": 9, "height": 32, "width": 32, "guidance_scale": 3.0, "frame_rate": 24}
        | {"negative_prompt": "worst quality, inconsistent motion, blurry, jittery, distorted"},
        "mochi": {"num_frames": 7, "height": 16, "width": 16, "guidance_scale": 4.5},
    }
    return (
        built(kind)(
            prompt=caption,
            generator=torch.Generator("cpu").manual_seed(seed),
            num_inference_steps=2,
            max_sequence_length=16,
            output_type="np",
            **own[kind],
        )
        .frames[0]
        .astype(np.float64)
    )


@pytest.mark.parametrize("kind", BUILDERS)
def test_equals_the_stock_call_in_fp32(kind, saved, tmp_path):
    [triplet] = rows(CAPTIONS[0])
    out = tmp_path / "out"
    report = generate_videos([triplet], f"diffusers:{saved(kind)}", out, overrides=SETTINGS[kind])
    assert report.exit_status == 0, report.lines()
    line = json.loads((out / "manifest.jsonl").read_text())
    frames = stock_call(kind, triplet.neg_caption, line["seed"])
    encode_mp4(np.floor(frames * 255 + 0.5).astype(np.uint8), line["config"]["fps"], tmp_path / "stock.mp4")
    assert (out / line["path"]).read_bytes() == (tmp_path / "stock.mp4").read_bytes()
    shape = (line["config"]["frames"], line["config"]["height"], line["config"]["width"])
    assert shape == frames.shape[:3]
    assert line["config"]["noise"] == IN_FP32
    assert line["generator"] == f"tiny-{kind}"


class TestNoise:
    @pytest.mark.parametrize("kind", ["cogvideox", "ltx"])
    def test_is_one_stream_for_all_dtypes(self, kind):
        pipe = built(kind)
        channels = pipe.transformer.config.in_channels
        arguments = (1, channels, 9, 16, 16) if kind == "cogvideox" else (1, channels, 32, 32, 9)

        def draw(dtype):
            return pipe.prepare_latents(*arguments, dtype, "cpu", torch.Generator().manual_seed(5))

        fp32, own = draw(torch.float32), draw(torch.float64)
        with fp32_latents(pipe):
            for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
                ours = draw(dtype)
                assert ours.dtype == dtype
                assert torch.equal(ours, fp32.to(dtype))
        # fp64 has a stream of its own on every machine, which diffusers alone would take.
        assert not torch.equal(own, fp32.to(torch.float64))
        assert torch.equal(draw(torch.float64), own)  # nothing stays behind

    def test_a_pipeline_of_another_make_is_told_so(self):
        class Odd:
            def prepare_latents(self, shape):
                return shape

        assert noise_kind(Odd()) == noise_kind(object()) == BY_PIPELINE
        with fp32_latents(Odd()):
            pass


def job(folder, out, overrides=None, captions=CAPTIONS, samples=1):
    generator = open_generator(f"diffusers:{folder}", SETTINGS["cogvideox"] | (overrides or {}))
    return GenerateJob(generator, tuple(make_requests(rows(*captions), samples)), out)


@pytest.mark.slow
def test_the_same_files_whoever_makes_them(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "START_METHOD", "fork")  # what is imported need not be imported again
    folder, triplets = saved("cogvideox"), rows(*CAPTIONS)
    spec, overrides = f"diffusers:{folder}", SETTINGS["cogvideox"]
    assert generate_videos(triplets, spec, tmp_path / "one", overrides=overrides).made == 4
    expected = videos(tmp_path / "one")
    assert len(set(expected.values())) == 4
    assert generate_videos(triplets, spec, tmp_path / "two", overrides=overrides, workers=2).made == 4
    for shard in ("1/2", "0/2"):
        generate_videos(triplets[::-1], spec, tmp_path / "shards", overrides=overrides, shard=shard)
    torch.set_num_threads(2)  # as a launcher might
    generate_videos(triplets, spec, tmp_path / "threads", overrides=overrides)
    manifest = (tmp_path / "one/manifest.jsonl").read_bytes()
    for name in ("two", "shards", "threads"):
        assert videos(tmp_path / name) == expected, name
        assert (tmp_path / name / "manifest.jsonl").read_bytes() == manifest


class TestSeeds:
    def test_depend_on_pair_generator_revision_and_sample_alone(self, saved):
        recipe = open_generator(f"diffusers:{saved('cogvideox')}", SETTINGS["cogvideox"]).recipe
        other = open_generator(f"diffusers:{saved('wan')}", SETTINGS["wan"]).recipe
        renamed = open_generator(f"diffusers:{saved('cogvideox')}", SETTINGS["cogvideox"], name="n").recipe
        slower = open_generator(
            f"diffusers:{saved('cogvideox')}", SETTINGS["cogvideox"] | {"steps": 3}
        ).recipe
        requests = make_requests(rows(*CAPTIONS), 2)
        seeds = [r.seed(request) for r in (recipe, other, renamed) for request in requests]
        assert len(set(seeds)) == len(seeds) == 24
        assert all(0 <= seed < 2**63 for seed in seeds)
        assert [slower.seed(request) for request in requests] == seeds[:8]
        assert slower.digest != recipe.digest

    def test_weights_are_part_of_the_revision(self, saved, tmp_path):
        save_pipeline("cogvideox", tmp_path / "tiny-cogvideox", seed=1)
        revisions = {
            open_generator(f"diffusers:{folder}", SETTINGS["cogvideox"]).recipe.revision
            for folder in (saved("cogvideox"), tmp_path / "tiny-cogvideox")
        }
        assert len(revisions) == 2


def worker_job(folder, out, hook, **overrides):
    """A job whose pipeline is the saved one, with a hook on its text encoder's input."""
    inner = job(folder, out, overrides)

    def load():
        pipe = load_pipeline(str(folder), None, inner.generator.recipe.settings)
        pipe.text_encoder.register_forward_pre_hook(lambda _, arguments: hook(pipe, arguments[0]))
        return pipe

    @dataclass(frozen=True)
    class Hooked:
        recipe: object

        def inputs(self, requests):
            return inner.generator.inputs(requests)

        def open_worker(self, root, out, device):
            return PipelineWorker(self.recipe, load, root, out, device)

    return GenerateJob(Hooked(inner.generator.recipe), inner.requests, out)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_row_that_raises_is_quarantined_and_the_run_goes_on(batch_size, saved, tmp_path):
    def hook(pipe, tokens):
        if any("the dog" in text for text in pipe.tokenizer.batch_decode(tokens)):
            raise ValueError("a dog\nbit the pipeline")

    hooked = worker_job(saved("cogvideox"), tmp_path / "out", hook, batch_size=batch_size)
    report = run_job(hooked)
    assert (report.done, report.failed) == (3, 1)
    [failure] = report.failures
    assert failure.error["reason"] == "ValueError"
    assert failure.error["problem"] == "a dog bit the pipeline"
    assert (failure.error["row"], failure.error["sample"]) == (2, 1)
    assert report.crashes == ()


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_pipeline_that_gives_another_number_of_videos(batch_size, saved, tmp_path, monkeypatch):
    """Whose is whose is not known: rows are made one by one, and those without a video are quarantined."""
    call = PipelineWorker._call
    monkeypatch.setattr(
        PipelineWorker,
        "_call",
        lambda *given: [] if len(given[1]) > 1 or given[1][0].sample == 1 else call(*given),
    )
    overrides = SETTINGS["cogvideox"] | {"batch_size": batch_size}
    report = generate_videos(
        rows("a dog"), f"diffusers:{saved('cogvideox')}", tmp_path / "out", samples=2, overrides=overrides
    )
    assert (report.made, report.crashes) == (1, ())
    [failure] = report.failures
    assert "another number of videos" in failure.error["problem"]
    assert failure.error["sample"] == 1


@pytest.mark.slow
def test_no_memory_is_the_workers_fault_with_advice(saved, tmp_path):
    def hook(pipe, tokens):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    hooked = worker_job(saved("cogvideox"), tmp_path / "out", hook)
    hooked = replace(hooked, requests=hooked.requests[:1])
    try:
        report = run_job(hooked)
        told = " ".join(report.lines())
    except SynvitaError as error:
        told = str(error)
    assert "offload=model" in told
    assert "Tried to allocate" in told


def test_nan_and_flat_videos_are_refused(saved, tmp_path):
    pipe = load_pipeline(
        str(saved("cogvideox")),
        None,
        open_generator(f"diffusers:{saved('cogvideox')}", SETTINGS["cogvideox"]).recipe.settings,
    )
    with torch.no_grad():
        pipe.vae.decoder.conv_out.conv.weight.fill_(float("nan"))
    pipe.save_pretrained(tmp_path / "nan")
    report = generate_videos(
        rows("a dog"), f"diffusers:{tmp_path}/nan", tmp_path / "out", overrides=SETTINGS["cogvideox"]
    )
    [failure] = report.failures
    assert failure.error["reason"] == "VideoError"
    assert "not numbers" in failure.error["problem"]
    assert "vae_dtype" in failure.error["fix"]

    picture = np.linspace(0, 1, 2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    assert to_uint8(picture)[0, 0, 0].tolist() == [0, round(255 / 95), round(510 / 95)]
    assert to_uint8(picture + 10 * (picture == 1)).max() == 255
    for flat in (np.zeros((2, 4, 4, 3)), np.full((2, 4, 4, 3), 0.5), np.zeros((2, 4, 4, 3), np.uint8)):
        with pytest.raises(VideoError, match="flat"):
            to_uint8(flat)
    for odd in ([], np.zeros((2, 4, 4)), np.zeros((2, 4, 4, 4))):
        with pytest.raises(VideoError, match="no frames"):
            to_uint8(odd)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset_fits_its_pipeline(preset):
    import inspect

    import diffusers

    kind = getattr(diffusers, preset.pipeline)
    settings = pipeline_settings(preset.pipeline, {}, "x", {"preset": preset.name})[0]
    arguments = call_arguments(kind, settings)
    inspect.signature(kind.__call__).bind(
        None, prompt=["a dog"], generator=None, output_type="np", **arguments
    )
    assert arguments["num_frames"] == preset.frames
    assert arguments.get("frame_rate", preset.fps) == preset.fps
    if preset.scheduler is not None:
        options = inspect.signature(getattr(diffusers, preset.scheduler).__init__).parameters
        assert set(preset.scheduler_options) <= set(options)
    assert {"dtype", "generator", "latents"} <= set(inspect.signature(kind.prepare_latents).parameters)


class TestRefused:
    def test_pipelines_that_need_more_than_text(self):
        import diffusers

        settings = pipeline_settings("WanPipeline", {}, "x", {"preset": "wan2.1-1.3b"})[0]
        with pytest.raises(SourceError, match="not made from text alone"):
            call_arguments(diffusers.WanImageToVideoPipeline, settings)
        with pytest.raises(SourceError, match="no argument"):
            call_arguments(diffusers.WanPipeline, settings | {"call": {"use_dynamic_cfg": True}})

    def test_an_argument_the_pipeline_lacks_stops_the_run_before_any_row(self, saved, tmp_path):
        overrides = SETTINGS["cogvideox"] | {"call.colour": "red"}
        with pytest.raises(SourceError, match="no argument colour"):
            generate_videos(
                rows("a dog"), f"diffusers:{saved('cogvideox')}", tmp_path / "out", overrides=overrides
            )
        assert not (tmp_path / "out/quarantine.jsonl").exists()

    def test_unknown_schedulers_and_options(self):
        pipe = built("cogvideox")
        for settings, problem in (
            ({"scheduler": "WanPipeline", "scheduler_options": {}}, "unknown scheduler"),
            ({"scheduler": None, "scheduler_options": {"flow_shift": 3}}, "no option flow_shift"),
        ):
            with pytest.raises(SourceError, match=problem):
                set_scheduler(pipe, settings)

    def test_folders_that_are_no_pipeline(self, saved, tmp_path):
        with pytest.raises(SourceError, match=r"no model_index\.json"):
            open_generator(f"diffusers:{tmp_path}", {"fps": 8})
        (tmp_path / "model_index.json").write_text('{"_class_name": ["pipeline", "Mine"]}')
        with pytest.raises(SourceError, match="code of its own"):
            open_generator(f"diffusers:{tmp_path}", {"fps": 8})
        (tmp_path / "model_index.json").write_text('{"_class_name": "CogVideoXPipeline"')
        with pytest.raises(SourceError, match="a file of the model cannot be read"):
            open_generator(f"diffusers:{tmp_path}", {"fps": 8})
        for wrong in ("no/such/folder", "gpt2", ""):
            with pytest.raises(SourceError):
                open_generator(f"diffusers:{wrong}", {"fps": 8})

    def test_weights_that_are_cut(self, tmp_path):
        folder = save_pipeline("cogvideox", tmp_path / "cut")
        [weights] = (folder / "transformer").glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(SourceError, match="cannot be loaded"):
            generate_videos(
                rows("a dog"), f"diffusers:{folder}", tmp_path / "out", overrides=SETTINGS["cogvideox"]
            )


def make_kill_job(folder):
    def make(root):
        return job(folder, root, captions=CAPTIONS, samples=3)

    return make


@pytest.mark.slow
def test_five_kills(saved, tmp_path):
    survive_kills(make_kill_job(saved("cogvideox")), tmp_path, kills=5)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "victim"), [(1, "parent"), (2, "either")])
def test_thirty_kills(workers, victim, saved, tmp_path):
    survive_kills(
        functools.partial(_many_rows, saved("cogvideox")), tmp_path, kills=30, workers=workers, victim=victim
    )


def _many_rows(folder, root):
    return job(folder, root, captions=tuple(f"a dog is {n}" for n in range(64)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", BUILDERS)
def test_two_processes_give_what_one_gives(kind, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "START_METHOD", "fork")
    for workers in (1, 2):
        out = tmp_path / str(workers)
        spec = f"diffusers:{saved(kind)}"
        assert (
            generate_videos(rows(*CAPTIONS), spec, out, overrides=SETTINGS[kind], workers=workers).done == 4
        )
    assert videos(tmp_path / "1") == videos(tmp_path / "2")


ON_RAY = """
import json, sys
from synvita_data.builders.generators import generate_videos

triplets, spec, out, overrides = sys.argv[1:]
report = generate_videos(triplets, spec, out, overrides=json.loads(overrides), engine="ray", workers=2)
sys.exit(report.exit_status)
"""


@pytest.mark.slow
def test_first_rows_of_videocon_on_ray(saved, tmp_path, real_data):
    pytest.importorskip("ray")
    lines = (real_data / "videocon-16k" / "triplets.csv").read_text().splitlines()[:9]
    (tmp_path / "triplets.csv").write_text("\n".join(lines) + "\n")
    spec, overrides = f"diffusers:{saved('cogvideox')}", SETTINGS["cogvideox"]
    one = generate_videos(tmp_path / "triplets.csv", spec, tmp_path / "one", overrides=overrides)
    assert (one.done, one.total) == (8, 8)
    # In a process of its own: another test of this process may have been at another cluster.
    arguments = [str(tmp_path / "triplets.csv"), spec, str(tmp_path / "ray"), json.dumps(overrides)]
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, *arguments], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert videos(tmp_path / "ray") == videos(tmp_path / "one")


@pytest.mark.slow
def test_a_video_is_encoded_while_the_next_one_is_made(saved, tmp_path, monkeypatch):
    """The first video's encoder waits for the pipeline's second call, which could never come if it had to wait too."""
    second_call = threading.Event()
    calls = []
    stock_call_of_worker, stock_encode = PipelineWorker._call, video_module.encode_mp4

    def call(self, requests):
        calls.append(requests)
        if len(calls) == 2:
            second_call.set()
        return stock_call_of_worker(self, requests)

    def encode(*args, **kwargs):
        assert second_call.wait(300)
        return stock_encode(*args, **kwargs)

    monkeypatch.setattr(PipelineWorker, "_call", call)
    monkeypatch.setattr(video_module, "encode_mp4", encode)
    captions = CAPTIONS[:3]
    report = generate_videos(
        rows(*captions), f"diffusers:{saved('cogvideox')}", tmp_path / "out", overrides=SETTINGS["cogvideox"]
    )
    assert report.exit_status == 0, report.lines()
    assert len(calls) == len(captions)
    monkeypatch.undo()
    alone = generate_videos(
        rows(*captions),
        f"diffusers:{saved('cogvideox')}",
        tmp_path / "again",
        overrides=SETTINGS["cogvideox"],
    )
    assert alone.exit_status == 0
    assert videos(tmp_path / "out") == videos(tmp_path / "again")


def test_an_encoder_that_fails_blames_its_own_request(saved, tmp_path, monkeypatch):
    """The error comes out of a thread while another video is made; the others are finished."""
    stock, made = video_module.encode_mp4, []

    def encode(*args, **kwargs):
        made.append(args)
        if len(made) == 2:
            raise VideoError("the frames cannot be encoded", found="by this test")
        return stock(*args, **kwargs)

    monkeypatch.setattr(video_module, "encode_mp4", encode)
    captions = CAPTIONS[:3]
    out = tmp_path / "out"
    report = generate_videos(
        rows(*captions), f"diffusers:{saved('cogvideox')}", out, overrides=SETTINGS["cogvideox"]
    )
    assert report.exit_status == 1
    assert len(videos(out)) == 2
    [line] = (out / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["problem"] == "the frames cannot be encoded"
