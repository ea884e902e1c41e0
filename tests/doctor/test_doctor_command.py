"""`synvita doctor` of every command: what it says, its exit status, and that nothing is loaded or written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doctor_reports import said
from typer.testing import CliRunner

from synvita_data.cli import app

HEAVY = ("torch", "transformers", "diffusers", "datasets", "pandas", "decord")


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Relative folders of defaults are here."""
    monkeypatch.chdir(tmp_path)


# -- evaluate ----------------------------------------------------------------------------------------------


def test_evaluate_with_everything_there(doctor, tiny, benchmark, world, tmp_path):
    clips = sorted(Path(world.real).rglob("*.mp4"))
    from synvita_data.annotations import read_annotations

    videos = tmp_path / "ssv2"
    videos.mkdir()
    for video, clip in zip(read_annotations("ssv2-temporal", benchmark).videos, clips, strict=False):
        shutil.copy(clip, videos / f"{Path(video.videopath).stem}.mp4")
    before = files_below(tmp_path)
    line = ["evaluate", tiny, "--task", "ssv2-temporal", "--annotations", benchmark, "--real-root", videos]
    status, text, report = doctor(*line)
    assert status == 0, text
    assert report["runs"] is True
    assert report["bytes_to_fetch"] == 0
    assert "6 of 6 videos found" in said(report, "videos", "ok")
    assert "not as published" in said(report, "annotations", "warn")
    assert said(report, "prompt").startswith("ok video-llava (the family's own)")
    assert "8 frames, linspace" in said(report, "frames", "ok")
    assert report["memory"]["bytes"] > 0
    assert "It can run; see 1 warning above." in text
    assert files_below(tmp_path) == before  # nothing was written
    # The same with videos missing, and with a partial run allowed.
    for path in sorted(videos.iterdir())[:2]:
        path.unlink()
    status, text, report = doctor(*line)
    assert status == 1
    assert "4 of 6 videos found" in said(report, "videos", "bad")
    status, text, report = doctor(*line, "--partial")
    assert status == 0
    assert "never official" in said(report, "videos", "warn")


def test_evaluate_names_all_that_is_wrong_at_once(doctor, tiny, tmp_path):
    broken = tmp_path / "eval_ssv2_temporal.csv"
    broken.write_text("videopath,caption,match\nvideos/1.avi,Doing a thing,perhaps\n")
    options = [
        "--annotations",
        broken,
        "--real-root",
        tmp_path / "none",
        "--prompt",
        "mine",
        "--dtype",
        "int4",
    ]
    status, text, report = doctor("evaluate", tiny, "--task", "ssv2-temporal", "--task", "mine", *options)
    assert status == 1
    assert "row 0" in said(report, "annotations", "bad")
    assert "'mine'" in said(report, "task", "bad")
    assert "mine" in said(report, "prompt", "bad")
    assert "int4" in said(report, "dtype", "bad")
    assert "It cannot run as it is: 4 things are missing or wrong." in text


def test_a_chat_template_that_is_missing_is_found_before_the_model_is_loaded(doctor, tiny, tmp_path):
    """As in LanguageBind/Video-LLaVA-7B-hf, whose main branch has none."""
    bare = tmp_path / "bare"
    shutil.copytree(tiny, bare)
    line = ["evaluate", bare, "--task", "ssv2-temporal", "--prompt", "question"]
    assert said(doctor(*line)[2], "prompt", "ok")
    (bare / "chat_template.jinja").unlink()
    report = doctor(*line)[2]
    assert "has none" in said(report, "prompt", "bad")
    assert "--prompt" in said(report, "prompt", "bad")
    assert not said(doctor(*line[:-2])[2], "prompt", "bad")  # the family's own wording needs none


def test_a_model_that_is_not_whole(doctor, tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (copy / "tokenizer.json").unlink()
    report = doctor("evaluate", copy, "--task", "ssv2-temporal")[2]
    assert "not fully covered" in said(report, "model", "bad")
    assert "tokenizer" in said(report, "processor", "bad")
    weights.unlink()
    report = doctor("evaluate", copy, "--task", "ssv2-temporal")[2]
    assert "no weights" in said(report, "model", "bad")


def test_an_adapter_brings_its_base_prompt_and_frames(doctor, tiny, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tiny)}))
    (folder / "training_args.json").write_text(json.dumps({"prompt": "video-llava-eval", "frames": 4}))
    from safetensors.numpy import save_file

    save_file({}, folder / "adapter_model.safetensors")
    report = doctor("evaluate", folder, "--task", "ssv2-temporal")[2]
    assert "video-llava-eval (as it was trained)" in said(report, "prompt", "ok")
    assert "4 frames, linspace (as it was trained)" in said(report, "frames", "ok")
    assert not said(report, "adapter", "bad")
    assert [each["name"] for each in report["repositories"]] == [str(tiny), str(folder)]
    (folder / "adapter_model.safetensors").unlink()
    assert "no adapter_model.safetensors" in said(
        doctor("evaluate", folder, "--task", "atp-hard")[2], "adapter", "bad"
    )
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/cluster/vicuna"}))
    assert "/cluster/vicuna" in said(doctor("evaluate", folder, "--task", "atp-hard")[2], "adapter", "bad")


def test_chance_and_predictions_need_no_model(doctor, benchmark, tmp_path):
    line = ["--task", "ssv2-temporal", "--annotations", benchmark]
    status, _, report = doctor("evaluate", "chance", *line)
    assert status == 0
    assert report["repositories"] == []
    status, _, report = doctor("evaluate", "--predictions", tmp_path / "scores.csv", *line)
    assert status == 1
    assert "does not exist" in said(report, "predictions", "bad")


# -- train -------------------------------------------------------------------------------------------------


def test_train_with_everything_there(doctor, tiny, dataset, world, tmp_path):
    before = files_below(tmp_path)
    changes = [
        f"model={tiny}",
        f"data={dataset}",
        f"real_root={world.real}",
        f"output_dir={tmp_path / 'out'}",
    ]
    status, text, report = doctor("train", "shapes/tiny", *changes)
    assert status == 0, text
    assert "find their real video" in said(report, "videos", "ok")
    assert "have scores" in said(report, "rows", "ok")
    assert "which is new" in said(report, "out", "ok")
    assert "8 triplets a step" in said(report, "batch", "ok")
    assert files_below(tmp_path) == before
    # Without real videos a part of the loss trains nothing; a resumed run is told from one of another recipe.
    status, _, report = doctor("train", "shapes/tiny", *changes[:2], "real_root=null", changes[3])
    assert status == 0
    assert "L_real trains nothing" in said(report, "videos", "warn")


def test_the_output_folder_is_resumed_or_refused(doctor, tiny, dataset, tmp_path):
    from synvita_data.training.needs import training_types
    from synvita_data.training.output import write_started
    from synvita_data.training.recipe import read_recipe

    out = tmp_path / "out"
    changes = [f"model={tiny}", f"data={dataset}", "real_root=null", f"output_dir={out}"]
    write_started(out, read_recipe("shapes/tiny", changes, training_types=training_types()), {})
    report = doctor("train", "shapes/tiny", *changes)[2]
    assert "it resumes from its beginning" in said(report, "out", "ok")
    status, _, report = doctor("train", "shapes/tiny", *changes, "margin=0.5")
    assert status == 1
    assert "margin" in said(report, "out", "bad")


def test_a_broken_recipe_is_named(doctor, tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: shapes/tiny\nmrgin: 0.1\n")
    status, _, report = doctor("train", tmp_path / "mine.yaml")
    assert status == 1
    assert "Did you mean margin?" in said(report, "recipe", "bad")
    (tmp_path / "mine.yaml").write_text("a: [\n")
    assert "not YAML" in said(doctor("train", tmp_path / "mine.yaml")[2], "recipe", "bad")
    assert "unknown recipe" in said(doctor("train", "video-llava/synvta")[2], "recipe", "bad")
    assert doctor("train", "--list")[0] == 0
    assert doctor("train")[0] == 1


def test_train_offline_says_what_it_could_not_ask(doctor, tmp_path):
    status, _, report = doctor(
        "train", "video-llava/synvita", f"data={tmp_path / 'none'}", "push_to=me/model"
    )
    assert status == 1
    assert "HF_HUB_OFFLINE" in said(report, "model", "bad")
    assert report["repositories"][0]["origin"] == "known"
    assert report["bytes_to_fetch"] > 14_000_000_000  # as it was recorded
    assert "no such folder" in said(report, "data", "bad")
    assert "HF_TOKEN" in said(report, "token", "bad")
    assert report["memory"]["bytes"] > 14 << 30


# -- build, generate, vqascore, push -----------------------------------------------------------------------


def test_build_counts_videos_and_triplets(doctor, world, tmp_path):
    line = ["build", "--triplets", world.triplets, "--vqascores", world.vqascores, "--real-root", world.real]
    status, text, report = doctor(
        *line, "--synthetic", f"folder:{world.synthetic}", "--out", tmp_path / "out"
    )
    assert status == 0, text
    assert "35 of 35 pairs have a synthetic video" in said(report, "synthetic", "ok")
    assert "find their real video" in said(report, "videos", "ok")
    some = tmp_path / "some"
    shutil.copytree(world.synthetic, some)
    (some / "manifest.jsonl").unlink()
    for path in sorted(some.glob("*.mp4"))[:5]:
        path.unlink()
    report = doctor(*line, "--synthetic", f"folder:{some}", "--out", tmp_path / "out")[2]
    assert "30 of 35 pairs" in said(report, "synthetic", "warn")
    lacking = ["build", "--triplets", tmp_path / "none.csv", "--out", tmp_path / "out"]
    status, _, report = doctor(*lacking, "--synthetic", f"folder:{tmp_path / 'none'}")
    assert status == 1
    assert said(report, "triplets", "bad")
    assert said(report, "synthetic", "bad")
    status, _, report = doctor(*lacking, "--synthetic", "mine:x")
    assert status == 1
    assert "unknown source" in said(report, "command", "bad")
    status, _, report = doctor(*line, "--out", tmp_path, "--weighting", "mine")
    assert "unknown weighting" in said(report, "command", "bad")
    assert (
        doctor("build", "--triplets", "shapes:", "--synthetic", "shapes:", "--out", tmp_path / "new")[0] == 0
    )


def test_generate_looks_at_the_pipeline(doctor, world, tmp_path):
    line = ["generate", "--triplets", world.triplets, "--out", tmp_path / "videos", "--generator"]
    status, _, report = doctor(*line, "diffusers:THUDM/CogVideoX-2b")
    assert status == 1
    assert "zai-org/CogVideoX-2b" in json.dumps(report, ensure_ascii=False)
    status, _, report = doctor(*line, f"command:{sys.executable} -c pass {{prompts}} {{out}}")
    assert status == 0
    assert "35 videos to make" in said(report, "videos", "ok")
    status, _, report = doctor(*line, "command:no-such-program {prompts} {out}")
    assert "no program no-such-program" in said(report, "generator", "bad")
    assert "lavie_base.pt" in said(doctor(*line, f"lavie:{tmp_path}")[2], "generator", "bad")
    assert "model.ckpt" in said(doctor(*line, f"videocrafter2:{tmp_path}")[2], "generator", "bad")
    assert "does not generate" in said(doctor(*line, "shapes:")[2], "generator", "bad")


def test_generate_with_a_pipeline_in_a_folder(doctor, world, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    pipeline = tmp_path / "pipeline"
    for part in ("transformer", "vae"):
        (pipeline / part).mkdir(parents=True)
        (pipeline / part / "config.json").write_text(
            json.dumps({"num_layers": 30, "num_attention_heads": 30})
        )
        save_file(
            {"a": np.zeros((10, 10), np.float32)}, pipeline / part / "diffusion_pytorch_model.safetensors"
        )
    index = {"_class_name": "CogVideoXPipeline", "transformer": ["diffusers", "X"], "vae": ["diffusers", "Y"]}
    (pipeline / "model_index.json").write_text(json.dumps(index))
    line = [
        "generate",
        "--triplets",
        world.triplets,
        "--out",
        tmp_path / "v",
        "--generator",
        f"diffusers:{pipeline}",
    ]
    status, text, report = doctor(*line, "--set", "fps=8", "--set", "steps=7")
    assert status == 0, text
    assert "steps 7" in said(report, "settings", "ok")
    assert report["repositories"][0]["parameters"] == 200
    assert "unknown" in said(doctor(*line, "--set", "stps=7")[2], "generator", "bad").lower()
    (pipeline / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "vae has settings and no weights" in said(doctor(*line)[2], "generator", "bad")


def test_vqascore_says_how_frames_are_prepared(doctor, world, tmp_path):
    from synvita_data.testing import make_tiny

    model = make_tiny("video_llava", tmp_path / "model")
    line = ["vqascore", "--triplets", world.triplets, "--synthetic", f"folder:{world.synthetic}"]
    status, text, report = doctor(
        *line, "--model", model, "--whole-video", "--out", tmp_path / "scores.parquet"
    )
    assert status == 0, text
    assert "whole video" in said(report, "preprocessing", "ok")
    assert "4 frames, segment-midpoints" in said(report, "frames", "ok")
    status, _, report = doctor(*line, "--model", "clip-flant5-xl", "--out", tmp_path / "scores.csv")
    assert status == 1
    assert "zhiqiulin/clip-flant5-xl" in said(report, "model", "bad")
    assert ".parquet" in said(report, "out", "bad")
    status, text, report = doctor(*line, "--model", "shapes-vqa-a@2", "--out", tmp_path / "scores.parquet")
    assert status == 0, text
    assert "no files" in said(report, "model", "ok")


def test_push_needs_a_token_a_name_and_a_version(doctor, dataset):
    status, _, report = doctor("push", dataset, "me/data", "--tag", "1.0")
    assert status == 1
    assert "vX.Y.Z" in said(report, "tag", "bad")
    assert said(report, "token", "bad")
    assert "could not be asked" in said(report, "repository", "bad")
    assert "OWNER/NAME" in said(doctor("push", dataset, "data", "--tag", "v1.0.0")[2], "repository", "bad")


def test_a_token_is_never_shown(dataset, tmp_path):
    secret = "hf_" + "s" * 30
    for line in (["--token", secret], [f"--token={secret}"]):
        report = tmp_path / "report.json"
        words = ["doctor", "--json", str(report), "push", str(dataset), "me/data", "--tag", "v1.0.0", *line]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 1  # offline
        for text in (done.output, report.read_text()):
            assert secret not in text
            assert "…" in text
        assert said(json.loads(report.read_text()), "token", "ok")


# -- the others --------------------------------------------------------------------------------------------


def test_the_commands_that_run_no_model(doctor, tiny, dataset, benchmark, tmp_path):
    assert doctor("inspect", dataset)[0] == 0
    assert "nothing" in said(doctor("inspect", dataset, "--config", "nothing")[2], "data", "bad")
    line = ["annotations", "--task", "ssv2-temporal", "--out", tmp_path / "packed", "--annotations"]
    assert doctor(*line, benchmark)[0] == 0
    assert doctor(*line, tmp_path / "none")[0] == 1
    assert doctor("demo")[0] == 0
    status, _, report = doctor("leaderboard", tmp_path / "none")
    assert status == 1
    assert "does not exist" in said(report, "results", "bad")
    assert doctor("convert", "mplug-owl", tiny, tmp_path / "converted")[0] == 0
    status, _, report = doctor("convert", "mplug-owl-lora", tmp_path / "none", tiny)
    assert status == 1
    assert {check["subject"] for check in report["checks"] if check["state"] == "bad"} == {
        "source",
        "base",
        "out",
    }


def test_a_wrong_command_line_is_said_and_not_raised(doctor):
    for line, expected in (
        (["paint"], "no command paint"),
        (["doctor", "demo"], "no command doctor"),
        (["build"], "--out"),
        (["evaluate", "chance", "--no-such-option"], "--no-such-option"),
        (["demo", "--pairs", "many"], "--pairs"),
    ):
        status, _, report = doctor(*line)
        assert status == 1
        assert expected in said(report, "command", "bad")


def test_the_report_is_written_whole_from_either_place(world, tmp_path):
    """`leaderboard` has an option of that name, which stays its own."""
    first, last = tmp_path / "first.json", tmp_path / "last.json"
    line = ["generate", "--triplets", str(world.triplets), "--out", "videos", "--generator", "shapes:"]
    for words in (
        ["--json", str(first), *line],
        [*line, "--json", str(last)],
    ):
        assert CliRunner().invoke(app, ["doctor", *words]).exit_code == 1
    assert json.loads(first.read_text())["checks"] == json.loads(last.read_text())["checks"]
    assert "does not generate" in said(json.loads(last.read_text()), "generator", "bad")
    board = ["doctor", "--json", "-", "leaderboard", "none", "--json", "board.json"]
    assert json.loads(CliRunner().invoke(app, board).stdout)["command_line"].endswith("--json board.json")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".part", "board"))]


def test_the_commands_that_read_results(doctor, dataset, benchmark, tmp_path):
    line = ["evaluate", "chance", "--task", "ssv2-temporal", "--annotations", str(benchmark)]
    for name in ("one", "two"):
        done = CliRunner().invoke(app, [*line, "--name", name, "--out", str(tmp_path / "results")])
        assert done.exit_code == 0, done.output
    one, two = tmp_path / "results/one", tmp_path / "results/two"
    result = one / "ssv2-temporal.json"
    assert doctor("compare", one, two)[0] == 0
    assert doctor("compare", one, tmp_path / "none")[0] == 1
    assert doctor("errors", result, "--annotations", benchmark, "--html", tmp_path / "page.html")[0] == 0
    assert doctor("errors", result, "--real-root", tmp_path / "none")[0] == 1
    result.with_suffix(".parquet").unlink()
    assert "no score table beside it" in said(doctor("errors", result)[2], "results", "bad")
    assert "no score table beside it" in said(doctor("compare", one, two)[2], "results", "bad")
    # A task that is nothing but an annotation file.
    mine = tmp_path / "mine.csv"
    mine.write_text("video,caption,contrast\na.mp4,a dog runs,a cat runs\nb.mp4,it is red,it is blue\n")
    line = ["evaluate", "chance", "--form", "entailment", "--annotations", str(mine)]
    assert CliRunner().invoke(app, [*line, "--out", str(tmp_path / "results")]).exit_code == 0
    own = tmp_path / "results/chance/mine.json"
    assert doctor("errors", own, "--annotations", mine)[0] == 0
    assert "another task" in said(
        doctor("errors", own, "--annotations", mine, "--task", "vitatecs")[2], "task", "bad"
    )
    assert doctor("export", dataset, "--to", "trl", "--out", tmp_path / "exported")[0] == 0
    assert "exists" in said(doctor("export", dataset, "--to", "trl", "--out", one)[2], "out", "bad")


def test_every_command_of_the_program_can_be_looked_at(doctor):
    from synvita_data.commands.doctor import _COMMANDS

    names = {command.callback.__name__ for command in app.registered_commands}
    assert {name for name in _COMMANDS if " " not in name} == names - {"doctor"}
    for name in names - {"doctor"}:
        done = CliRunner().invoke(app, ["doctor", name, "--help"])
        assert done.exit_code == 0
        assert "Usage" in done.output


def test_nothing_heavy_is_imported(tiny, dataset, benchmark, world, tmp_path):
    """In a process of its own: of evaluate, train, build and vqascore."""
    lines = [
        ["evaluate", tiny, "--task", "ssv2-temporal", "--annotations", benchmark, "--real-root", world.real],
        [
            "train",
            "shapes/tiny",
            f"model={tiny}",
            f"data={dataset}",
            f"real_root={world.real}",
            "output_dir=out",
        ],
        ["build", "--triplets", world.triplets, "--synthetic", f"folder:{world.synthetic}", "--out", "new"],
        [
            "vqascore",
            "--triplets",
            world.triplets,
            "--synthetic",
            f"folder:{world.synthetic}",
            "--model",
            tiny,
        ]
        + ["--out", "scores.parquet"],
    ]
    code = f"""
import json, sys
from typer.testing import CliRunner
from synvita_data.cli import app
for line in {[[str(word) for word in line] for line in lines]!r}:
    done = CliRunner().invoke(app, ["doctor", *line])
    assert done.exit_code in (0, 1) and "It can" in done.output, done.output
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_command_of_a_group(doctor, tmp_path):
    status, _, report = doctor("videos", "check", "--no-such-option")
    assert status == 1
    assert "--no-such-option" in said(report, "command", "bad")
    done = CliRunner().invoke(app, ["doctor", "videos", "check", "--help"])
    assert "videos check" in done.output


@pytest.mark.slow
def test_the_authors_videos_are_listed(doctor, world, tmp_path):
    line = ["build", "--triplets", world.triplets, "--out", tmp_path / "out", "--vqascores", world.vqascores]
    status, _, report = doctor(*line, "--synthetic", "hf:lucazanella/videocon_syn")
    assert status == 1
    assert "lucazanella/videocon_syn" in said(report, "synthetic", "bad")
    folder = tmp_path / "theirs" / "lavie"
    folder.mkdir(parents=True)
    (folder / "msr-vtt_video1_001.mp4").write_bytes(b"x")
    (folder / "more.tar").write_bytes(b"x")
    status, _, report = doctor(*line, "--synthetic-root", folder.parent, "--generator", "lavie")
    assert status == 0, report["checks"]
    assert "1 loose mp4 file and 1 archive" in said(report, "synthetic", "ok")
    assert doctor(*line, "--synthetic-root", tmp_path / "none", "--generator", "lavie")[0] == 1


def test_a_released_checkpoint_is_converted_first(doctor, tmp_path):
    """As MAGAer13/mplug-owl-llama-7b-video: its own processor, weights as .bin alone."""
    released = tmp_path / "released"
    released.mkdir()
    (released / "config.json").write_text(json.dumps({"model_type": "mplug-owl"}))
    for name in ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"):
        (released / name).write_bytes(b"PK")
    weight_map = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (released / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name in ("preprocessor_config.json", "tokenizer.model"):
        (released / name).write_text("{}")
    status, _, report = doctor("evaluate", released, "--task", "ssv2-temporal")
    assert status == 1
    assert "synvita convert mplug-owl" in said(report, "model", "bad")
    (released / "config.json").write_text(json.dumps({"model_type": "llava"}))
    assert "synvita convert" in said(doctor("evaluate", released, "--task", "atp-hard")[2], "model", "bad")


# -- as the command itself would do it ---------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--mode", "released"], ["--mode", "released", "--flips", "none"]])
def test_what_is_said_is_what_the_scorer_is_opened_with(doctor, tiny, options):
    """The released mode brings prompt, preprocessing, dtype, decoder and mirrored rows of its own."""
    from synvita_data.scoring.alignment import AlignmentScorer

    given = dict(zip((name.removeprefix("--") for name in options[::2]), options[1::2], strict=True))
    report = doctor("evaluate", tiny, "--task", "ssv2-temporal", *options)[2]
    scorer = AlignmentScorer.open(str(tiny), device="cpu", **given)
    assert said(report, "prompt").startswith(f"ok {scorer.prompt} (")
    assert f"{scorer.frames.count} frames, {scorer.frames.rule} " in said(report, "frames")
    shown = said(report, "preprocessing")
    pixels = scorer.preprocessing["name"]
    assert shown.startswith(f"ok {'the model' if pixels == 'processor' else pixels}")
    assert (f"flips {scorer.flips}" in shown) == (scorer.flips != "none")
    assert ("readout released" in shown) == (scorer.kind == "probability")
    assert f"loaded in {scorer.settings['dtype']}" in said(report, "dtype", "ok")
    assert (scorer.frames.backend == "decord") == ("decord" in said(report, "decoder"))


def test_options_that_the_command_refuses(doctor, tiny):
    line = ["evaluate", tiny, "--task", "ssv2-temporal"]
    assert "languagebind" in said(doctor(*line, "--preprocess", "mine")[2], "options", "bad")
    assert "mine" in said(doctor(*line, "--mode", "mine")[2], "options", "bad")
    assert "mine" in said(doctor(*line, "--merge", "mine")[2], "options", "bad")


def test_a_family_that_the_release_does_not_evaluate(doctor, tmp_path):
    from synvita_data.testing import make_tiny

    qwen = make_tiny("qwen2_5_vl", tmp_path / "qwen")
    line = ["evaluate", qwen, "--task", "ssv2-temporal"]
    assert "2 frames a second (the family's own)" in said(doctor(*line)[2], "frames", "ok")
    assert "5 frames, linspace (named)" in said(doctor(*line, "--frames", 5)[2], "frames", "ok")
    assert "does not evaluate" in said(doctor(*line, "--mode", "released")[2], "options", "bad")


def test_a_fine_tune_that_is_trained_further_is_asked_as_the_recipe_says(doctor, tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    (copy / "training_args.json").write_text(json.dumps({"prompt": "video-llava-eval", "frames": 4}))
    assert "(as it was trained)" in said(doctor("evaluate", copy, "--task", "atp-hard")[2], "prompt", "ok")
    report = doctor("train", "shapes/tiny", f"model={copy}", "data=none", "prompt=null", "frames=null")[2]
    assert "video-llava (the family's own)" in said(report, "prompt", "ok")
    assert "8 frames" in said(report, "frames", "ok")


def test_reproduce_says_what_its_dry_run_says(doctor, tmp_path):
    status, _, report = doctor("reproduce", "table3", "--task", "ssv2-temporal")
    assert status == 1
    assert "0 of " in said(report, "cells", "bad")
    assert "no --annotations" in said(report, "inputs", "warn")
    assert doctor("reproduce", "table1")[0] == 0
    assert "mine" in said(doctor("reproduce", "table3", "--task", "mine")[2], "command", "bad")


def test_videos_check_reads_what_names_the_videos(doctor, benchmark, world, dataset, tmp_path):
    line = ["videos", "check", "--real-root", world.real]
    status, _, report = doctor(*line, "--annotations", benchmark)
    assert (status, said(report, "annotations", "warn")[:4]) == (0, "warn")
    assert "35 triplets" in said(doctor(*line, "--triplets", world.triplets)[2], "triplets", "ok")
    assert "config shapes" in said(doctor(*line, "--dataset", dataset)[2], "data", "ok")
    assert "none of them" in said(doctor(*line)[2], "command", "bad")
    wrong = ["videos", "check", "--real-root", tmp_path / "none", "--triplets", tmp_path / "none.csv"]
    status, _, report = doctor(*wrong)
    assert status == 1
    assert said(report, "videos", "bad")
    assert said(report, "triplets", "bad"), report


def test_a_training_csv_of_the_authors_brings_its_triplets_and_scores(doctor, tmp_path):
    from released_videos import training_rows, write_training_csv

    rows = training_rows("msr-vtt/TrainValVideo/video7.mp4", "msr-vtt_video7_001", "a dog runs", "a cat runs")
    file = write_training_csv(tmp_path / "train_llm_mix_entail_feedback_cogvideox.csv", rows)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "msr-vtt_video7_001.mp4").write_bytes(b"x")
    line = ["build", "--triplets", file, "--out", tmp_path / "out", "--synthetic-root", tmp_path / "theirs"]
    status, text, report = doctor(*line)
    assert status == 0, text
    assert "1 triplet" in said(report, "triplets", "ok")
    assert "those of" in said(report, "scores", "ok")


def test_an_adapter_of_a_language_model_is_no_video_llm(doctor, tmp_path):
    """As lucazanella/videollava-7b-lora_… is, whose base is a Vicuna."""
    vicuna, adapter = tmp_path / "vicuna", tmp_path / "adapter"
    for folder, file, content in (
        (vicuna, "config.json", {"model_type": "llama"}),
        (adapter, "adapter_config.json", {"base_model_name_or_path": str(vicuna)}),
    ):
        folder.mkdir()
        (folder / file).write_text(json.dumps(content))
    report = doctor("evaluate", adapter, "--task", "atp-hard")[2]
    assert "convert video-llava-lora" in said(report, "model", "bad")


def test_the_base_of_a_conversion_may_be_on_the_hub(doctor, tiny, tmp_path):
    line = ["convert", "video-llava-lora", tiny, tmp_path / "out", "--base"]
    assert "LanguageBind/Video-LLaVA-7B" in said(
        doctor(*line, "LanguageBind/Video-LLaVA-7B")[2], "base", "bad"
    )
    assert doctor(*line, tiny)[0] == 0
    assert "does not exist" in said(doctor(*line, tiny, "--towers", tmp_path / "none")[2], "towers", "bad")


@pytest.mark.slow
def test_memory_is_of_as_many_triplets_as_the_batch_takes_at_once(doctor, tiny, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"model: {tiny}\ndata: none\noutput_dir: {tmp_path / 'out'}\nuse_cpu: true\n"
    )
    for batch, at_once in ((4, "4 triplets at once"), (12, "6 triplets at once")):
        report = doctor("train", tmp_path / "mine.yaml", f"batch={batch}")[2]
        assert at_once in said(report, "memory", "ok")
        assert f"({at_once.replace(' triplets', '')} ×" in said(report, "batch", "ok")


def test_batch_is_said_once(doctor, tiny):
    line = ["train", "video-llava/synvita", f"model={tiny}", "data=none", "gradient_accumulation_steps=2"]
    assert "both say" in said(doctor(*line)[2], "batch", "bad")


def test_a_group_without_its_command(doctor):
    status, _, report = doctor("videos")
    assert status == 1
    assert "check" in said(report, "command", "bad")


# -- score -------------------------------------------------------------------------------------------------


def test_score_says_how_many_videos_are_there(doctor, tiny, world, tmp_path):
    clips = sorted(Path(world.real).rglob("*.mp4"))
    rows = [clip.relative_to(world.real).as_posix() for clip in clips[:2]]
    table = tmp_path / "pairs.csv"
    table.write_text("video,text\n" + "".join(f"{row},a dog\n" for row in rows))
    line = ["score", table, "--root", world.real, "--model", tiny, "--out", tmp_path / "scores.csv"]
    before = files_below(tmp_path)
    status, text, report = doctor(*line)
    assert status == 0, text
    assert "2 rows, 2 of 2 videos found" in said(report, "pairs", "ok")
    assert said(report, "prompt").startswith("ok video-llava")
    assert files_below(tmp_path) == before
    with table.open("a") as handle:
        handle.write("gone.mp4,a dog\n")
    assert "2 of 3 videos found" in said(doctor(*line)[2], "pairs", "warn")
    status, _, report = doctor(*line[:2], *line[4:])  # without --root
    assert status == 1
    assert "--root" in json.dumps(report)
    table.write_text("clip,text\na.mp4,x\n")
    status, _, report = doctor(*line[:-1], tmp_path / "scores.xlsx")
    assert status == 1
    assert "no column for video" in said(report, "pairs", "bad")
    assert "not written in this format" in said(report, "out", "bad")


def test_score_by_vqascore(doctor, world, tmp_path):
    from synvita_data.testing import make_tiny

    llava = make_tiny("llava", tmp_path / "llava")
    line = ["score", world.real, "--text", "a dog", "--out", tmp_path / "scores.csv"]
    status, text, report = doctor(*line, "--model", llava)
    assert status == 0, text
    assert "llava-1.5, frames by pad" in said(report, "preprocessing", "ok")
    assert doctor(*line, "--model", "chance")[0] == 0
    assert doctor(*line, "--model", tmp_path / "nowhere")[0] == 1
