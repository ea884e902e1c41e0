"""`placeholder_space` in VQAScore: LLaVA-1.5's ids, its keys and method, and models without the choice."""

import json
import shutil
from dataclasses import replace

import pytest

from synvita_data.builders.vqascore import find_model, score_videos
from synvita_data.builders.vqascore.base import VICUNA
from synvita_data.builders.vqascore.job import SCORER_VERSION, VqaRow, VqaScoreJob
from synvita_data.builders.vqascore.models import open_scorer
from synvita_data.errors import SynvitaError
from synvita_data.jobs import Store, work_key

ROW = VqaRow("r", "v.mp4", "0" * 64, "a dog", "a cat")


def jobs(folder, settings, tmp_path):
    model = find_model(str(folder))
    spaces = ("processor", "original")
    return [VqaScoreJob(tmp_path, model, replace(settings, placeholder_space=s), (ROW,)) for s in spaces]


def test_llavas_ids(tiny):
    """Part by part, as t2v_metrics reads its prompt."""
    folder = tiny("llava")
    plain, original = (
        open_scorer(find_model(str(folder)), placeholder_space=s) for s in ("processor", "original")
    )
    tokenizer = plain._tokenizer
    text = VICUNA.wrap("a dog") + "Yes</s>"
    assert plain.question("a dog") == tokenizer(text)["input_ids"]
    before, after = text.split("<image>")
    expected = [
        tokenizer.bos_token_id,
        *tokenizer(before, add_special_tokens=False)["input_ids"],
        tokenizer.convert_tokens_to_ids("<image>"),
        *tokenizer(after, add_special_tokens=False)["input_ids"],
    ]
    assert original.question("a dog") == expected != plain.question("a dog")
    assert original.behind_placeholder["tokens"][:2] == ["▁", "<0x0A>"]
    assert original.behind_placeholder["space"] == "original"
    assert plain.behind_placeholder["tokens"][0] == "<0x0A>"


def test_keys_and_method_change_only_where_the_ids_do(tiny, settings, tmp_path):
    plain, original = jobs(tiny("llava"), settings, tmp_path)
    model = plain.model
    common = {
        "version": SCORER_VERSION,
        "kind": model.kind,
        "revision": model.revision,
        "frames": settings.frames.to_dict(),
        "preprocessing": "pad",
        "dtype": "float32",
    }
    assert plain.keys == (work_key(video=ROW.sha256, captions=["a cat", "a dog"], **common),)  # as ever
    assert original.keys != plain.keys
    assert "placeholder" not in plain.method("reference")
    assert "vicuna prompt with original placeholder space;" in original.method("reference")
    for family in ("instructblip", "qwen2_5_vl"):
        plain, original = jobs(tiny(family), settings, tmp_path)
        assert (plain.keys, plain.method("reference")) == (original.keys, original.method("reference"))
    with pytest.raises(SynvitaError, match="unknown placeholder_space"):
        replace(settings, placeholder_space="legacy")
    with pytest.raises(SynvitaError, match="unknown placeholder_space"):
        open_scorer(model, placeholder_space="legacy")


def test_every_result_records_the_ids(inputs, tiny, settings, tmp_path, capfd):
    model = find_model(str(tiny("llava")))
    tables = []
    for space in ("processor", "original"):
        out = tmp_path / f"{space}.parquet"
        own = replace(settings, placeholder_space=space)
        score_videos(
            inputs.triplets, inputs.spec, [model], out, work=tmp_path / "work", settings=own, devices=["cpu"]
        )
        tables.append(out.read_bytes())
        assert f"behind the placeholder ({space}): " in capfd.readouterr().err
    assert tables[0] != tables[1]
    store = Store(tmp_path / "work" / "vqascore")
    records = [json.loads(json.dumps(record.fields)) for record in store.records()]
    spaces = sorted(record["placeholder"]["space"] for record in records)
    assert spaces == ["original"] * len(inputs.triplets) + ["processor"] * len(inputs.triplets)
    assert {tuple(r["placeholder"]["tokens"][:1]) for r in records} == {("▁",), ("<0x0A>",)}


def test_a_fine_tune_that_sees_whole_videos_is_asked_as_it_was_trained(tiny, settings, tmp_path):
    """What `SynViTATrainer` noted beside it gives its question, its keys and its method, unless another is asked for."""
    folder = tmp_path / "tuned"
    shutil.copytree(tiny("video_llava"), folder)
    untuned = find_model(str(folder), whole_video=True)
    noted = {"prompt": "mplug-owl", "placeholder_space": "original"}
    (folder / "training_args.json").write_text(json.dumps(noted))
    tuned = find_model(str(folder), whole_video=True)
    assert (tuned.trained_prompt, tuned.trained_space) == ("mplug-owl", "original")
    assert find_model(str(folder)).trained_prompt is None  # frame by frame it is a chat model like others
    # Were the files the same, the keys would still differ, in both.
    tuned = replace(tuned, revision=untuned.revision)
    asked = replace(settings, placeholder_space="original")
    pairs = [(untuned, settings), (untuned, asked), (tuned, settings)]
    jobs = [VqaScoreJob(tmp_path, model, own, (ROW,)) for model, own in pairs]
    assert len({job.keys for job in jobs}) == len({job.method("first-token") for job in jobs}) == 3
    assert "video_llava alignment prompt;" in jobs[0].method("first-token")
    assert "mplug-owl alignment prompt with original placeholder space;" in jobs[2].method("first-token")
    scorer = open_scorer(tuned)
    assert scorer.model.prompt.name == "mplug-owl"
    assert scorer.behind_placeholder["space"] == "original"
    assert open_scorer(tuned, placeholder_space="processor").behind_placeholder["space"] == "processor"


def test_a_fine_tune_sees_frames_prepared_as_in_training(tiny, settings, tmp_path):
    """`preprocess` of the same note: another method, other keys and other pixels."""
    folder = tmp_path / "tuned"
    shutil.copytree(tiny("video_llava"), folder)
    untuned = find_model(str(folder), whole_video=True)
    (folder / "training_args.json").write_text(json.dumps({"preprocess": "languagebind"}))
    tuned = replace(find_model(str(folder), whole_video=True), revision=untuned.revision)
    assert tuned.trained_preprocess == "languagebind"
    assert find_model(str(folder)).trained_preprocess is None
    jobs = [VqaScoreJob(tmp_path, model, settings, (ROW,)) for model in (untuned, tuned)]
    assert jobs[0].keys != jobs[1].keys
    assert "; processor preprocessing;" in jobs[0].method("first-token")
    assert "; languagebind preprocessing;" in jobs[1].method("first-token")
    assert [open_scorer(each).model.family.preprocess for each in (untuned, tuned)] == [
        "processor",
        "languagebind",
    ]
