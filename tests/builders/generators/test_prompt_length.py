"""What is said of captions that a generator cuts, against what its pipeline really gives to its text encoders."""

import json
import shutil
from contextlib import contextmanager
from hashlib import sha256
from types import SimpleNamespace

import pytest

pytest.importorskip("diffusers")
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_program import rows, videos, write_program
from tiny_pipelines import BUILDERS, SETTINGS, built, save_pipeline, t5_tokenizer
from typer.testing import CliRunner

from synvita_data.builders.dataset import BuildOptions, Chain, build_dataset
from synvita_data.builders.generators import generate_videos, make_requests, open_generator
from synvita_data.builders.generators.diffusers.presets import PRESETS
from synvita_data.builders.generators.diffusers.settings import pipeline_settings
from synvita_data.builders.generators.folder import _manifest_digests, known_prompts
from synvita_data.builders.generators.prompt_length import PromptEncoder, load_tokenizers, pipeline_encoders
from synvita_data.cli import app
from synvita_data.errors import CaptionError, SourceError
from synvita_data.testing.tokenizer import clip_tokenizer, llama_tokenizer, qwen_tokenizer
from synvita_data.testing.video_models import QWEN_CHAT_TEMPLATE

SHORT = "a dog is in the man"
LONG = "a man in the dog is a man in the dog is a man in the dog is a man in the dog and then he sings"


@contextmanager
def watched(pipe):
    """{component: [(text, ids that went on)]} of the calls that may cut, while the pipeline works."""
    calls: dict[str, list] = {}
    kinds = {}
    for name, component in pipe.components.items():
        if not name.startswith("tokenizer"):
            continue

        kind = type(component)

        def recording(own, texts, *args, name=name, kind=kind, **kwargs):
            found = kind.__call__(own, texts, *args, **kwargs)
            if kwargs.get("truncation"):
                for text, ids, mask in zip(texts, found.input_ids, found.attention_mask, strict=True):
                    calls.setdefault(name, []).append((text, ids[mask.bool()].tolist()))
            return found

        kinds[name] = (component, kind)
        component.__class__ = type(kind.__name__, (kind,), {"__call__": recording})
    try:
        yield calls
    finally:
        for component, kind in kinds.values():
            component.__class__ = kind


def call(kind, caption, **more):
    settings = {key: value for key, value in SETTINGS[kind].items() if value is not None}
    height, width = map(int, str(settings["size"]).split("x"))
    arguments = {key.removeprefix("call."): v for key, v in settings.items() if key.startswith("call.")}
    with torch.inference_mode():
        built(kind)(
            prompt=[caption],
            num_frames=settings["frames"],
            height=height,
            width=width,
            num_inference_steps=2,
            output_type="latent",
            **{**arguments, **more},
        )


def encoders_of(kind, **changes):
    components = {n: c for n, c in built(kind).components.items() if n.startswith("tokenizer")}
    arguments = {key.removeprefix("call."): v for key, v in SETTINGS[kind].items() if key.startswith("call.")}
    return pipeline_encoders(components, type(built(kind)).__name__, {"call": {**arguments, **changes}})


@pytest.mark.parametrize("caption", [SHORT, LONG])
@pytest.mark.parametrize("kind", BUILDERS)
def test_each_pipeline_gives_its_encoders_what_was_measured(kind, caption):
    with watched(built(kind)) as calls:
        call(kind, caption)
    encoders = encoders_of(kind)
    assert {encoder.name for encoder in encoders} == set(calls)
    for encoder in encoders:
        text, ids = calls[encoder.name][0]  # the prompt's; later ones are of the negative prompt
        assert text == caption
        whole = encoder.tokenizer(caption)["input_ids"]
        tokens, kept = encoder.measure(caption)
        assert tokens == len(whole)
        assert (kept is not None) == (ids != whole)
        if kept is not None:
            assert tokens > encoder.limit == len(ids)
            content = [i for i in ids if i not in encoder.tokenizer.all_special_ids]
            beginning = encoder.tokenizer(caption[:kept], add_special_tokens=False)["input_ids"]
            assert beginning == content
    assert any(encoder.measure(LONG)[1] is not None for encoder in encoders)


def test_a_template_around_the_caption_does_not_count_as_cut(monkeypatch):
    """HunyuanVideo asks an LLM; its instructions come before the caption, and end tokens of the turn behind it."""
    template = {"template": "the man is in a dog : {} the end of it all", "crop_start": 7}
    for length, cut in ((80, False), (26, True)):
        with watched(built("hunyuan")) as calls:
            call("hunyuan", LONG, prompt_template=template, max_sequence_length=length)
        first = next(e for e in encoders_of("hunyuan", prompt_template=template, max_sequence_length=length))
        text, ids = calls["tokenizer"][0]
        assert text == template["template"].format(LONG)
        assert first.limit == length + 7
        tokens, kept = first.measure(LONG)
        assert tokens == len(first.tokenizer(text)["input_ids"])
        assert (kept is not None) == cut == (len(ids) < tokens)
        if kept is not None:
            shown = first.tokenizer.decode(ids, skip_special_tokens=True)
            assert shown.strip() == (first.before + LONG[:kept]).strip()
    tail = first.tokenizer(f"{first.before}{LONG}")["input_ids"]
    only_behind = PromptEncoder("tokenizer", first.tokenizer, len(tail), first.before, first.after)
    assert only_behind.measure(LONG) == (tokens, None)


def test_clip_of_the_stable_diffusion_family_reads_77():
    """LaVie and VideoCrafter2 are `TextToVideoSDPipeline`s; so is the bound of AnimateDiff and others with a CLIP."""
    from diffusers import TextToVideoSDPipeline
    from transformers import CLIPTextConfig, CLIPTextModel

    words = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=words.eos_token_id,
    )
    pipe = TextToVideoSDPipeline(
        vae=None, text_encoder=CLIPTextModel(config).eval(), tokenizer=words, unet=None, scheduler=None
    )
    caption = " ".join(["a dog runs"] * 40) + " and then it sleeps"
    (encoder,) = pipeline_encoders({"tokenizer": words}, "TextToVideoSDPipeline", {"call": {"eta": 1.0}})
    with watched(pipe) as calls, torch.inference_mode():
        pipe.encode_prompt([caption], "cpu", 1, False)
    _, ids = calls["tokenizer"][0]
    tokens, kept = encoder.measure(caption)
    assert encoder.limit == len(ids) == 77
    assert tokens == len(words(caption, truncation=False)["input_ids"])
    assert words(caption[:kept])["input_ids"] == ids


@pytest.mark.parametrize("name", ["EasyAnimatePipeline", "Cosmos2_5_PredictBasePipeline"])
def test_a_chat_template_counts(name):
    """These put a caption into their LLM's chat template, and its tokens are of the bound."""
    import diffusers
    from transformers import Qwen2Config, Qwen2ForCausalLM

    if not hasattr(diffusers, name):
        pytest.skip(f"this diffusers has no {name}")
    words = qwen_tokenizer()
    words.chat_template = QWEN_CHAT_TEMPLATE
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    read = []
    model = Qwen2ForCausalLM(config).eval()
    model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(args[0] if args else kwargs["input_ids"]), with_kwargs=True
    )
    (encoder,) = pipeline_encoders({"tokenizer": words}, name, {})
    around = encoder.measure("")[0]
    one = len(words(" dog")["input_ids"])
    fits = " dog" * ((encoder.limit - around) // one)
    beginning = 0
    for caption in (fits, fits + " dog" * 40 + " sleeps"):
        with torch.inference_mode():
            if name == "EasyAnimatePipeline":
                pipe = diffusers.EasyAnimatePipeline(
                    vae=None, text_encoder=model, tokenizer=words, transformer=None, scheduler=None
                )
                pipe.encode_prompt([caption], do_classifier_free_guidance=False)
            else:
                own = SimpleNamespace(tokenizer=words, text_encoder=model, _execution_device="cpu")
                diffusers.Cosmos2_5_PredictBasePipeline._get_prompt_embeds(own, [caption])
        text = words.decode(read.pop()[0])
        _, kept = encoder.measure(caption)
        assert (kept is None) == (caption in text)
        if kept is not None:
            assert caption[:kept] in text
            assert caption[: kept + 1] not in text
            beginning = kept
    assert beginning > 0
    assert encoder.limit == {"EasyAnimatePipeline": 256, "Cosmos2_5_PredictBasePipeline": 512}[name]


# The lengths of the authors' own pipelines, from their papers and scripts.
KNOWN = {"CogVideoXPipeline": 226, "WanPipeline": 512, "LTXPipeline": 128, "LTX2Pipeline": 1024}
KNOWN |= {"HunyuanVideoPipeline": 256 + 95, "MochiPipeline": 256, "LTXConditionPipeline": 256}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_each_preset_has_the_bound_of_its_pipeline(preset):
    settings, _ = pipeline_settings(preset.pipeline, {}, preset.name, {"preset": preset.name})
    components = {"tokenizer": t5_tokenizer(), "tokenizer_2": clip_tokenizer()}
    first, second = pipeline_encoders(components, preset.pipeline, settings)
    assert (first.limit, second.limit) == (KNOWN[preset.pipeline], 77)
    longer, _ = pipeline_settings(
        preset.pipeline, {}, preset.name, {"preset": preset.name, "call.max_sequence_length": 400}
    )
    first, second = pipeline_encoders(components, preset.pipeline, longer)
    template = 95 if preset.pipeline == "HunyuanVideoPipeline" else 0
    assert (first.limit, second.limit) == (400 + template, 77)


def test_a_class_that_nobody_knows_is_bound_by_its_tokenizers():
    endless = llama_tokenizer()
    endless.model_max_length = int(1e30)
    components = {"tokenizer": t5_tokenizer(), "tokenizer_3": endless}
    first, third = pipeline_encoders(components, "NoSuchPipeline", {})
    assert (first.limit, third.limit) == (226, None)
    assert third.measure("a dog " * 5000)[1] is None


@pytest.mark.parametrize("make", [t5_tokenizer, clip_tokenizer, llama_tokenizer])
@given(
    words=st.lists(
        st.sampled_from(["a", "man", "dog", "sings", "Straße", "犬が走る", "🐕", "x" * 30]), min_size=1
    ),
    limit=st.integers(4, 40),
)
def test_the_place_is_where_the_kept_tokens_end(make, words, limit):
    caption, tokenizer = " ".join(words), make()
    whole = tokenizer(caption)["input_ids"]
    tokens, kept = PromptEncoder("t", tokenizer, limit).measure(caption)
    assert tokens == len(whole)
    if tokens <= limit:
        assert kept is None
        return
    cut = tokenizer(caption, truncation=True, max_length=limit)["input_ids"]
    if kept is None:  # the tokens of one last character need not all be read
        assert len(tokenizer(caption[:-1])["input_ids"]) <= len(cut) + 4
        return
    # What stands before the place is read, and the place is no later than it must be.
    assert len(tokenizer(caption[:kept].rstrip())["input_ids"]) <= limit + 3
    assert len(tokenizer(caption[: kept + 1])["input_ids"]) >= limit - 1

    class Slow:
        is_fast = False

        def __call__(self, text, **options):
            return tokenizer(text, **options)

    _, by_search = PromptEncoder("t", Slow(), limit).measure(caption)
    assert by_search is None or len(tokenizer(caption[:by_search])["input_ids"]) <= limit


# --- generate ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_pipeline("cogvideox", tmp_path_factory.mktemp("pipelines") / "tiny")


OVERRIDES = [f"{key}={value}" for key, value in SETTINGS["cogvideox"].items() if value is not None]


def lines_of(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def make(saved, out, *captions, mode="warn", **more):
    told = []
    report = generate_videos(
        rows(*captions),
        f"diffusers:{saved}",
        out,
        overrides=OVERRIDES,
        prompt_too_long=mode,
        on_prompts=lambda *line: told.append(line),
        **more,
    )
    return report, told


def test_what_is_cut_is_made_recorded_and_said(saved, tmp_path):
    out = tmp_path / "out"
    report, told = make(saved, out, SHORT, LONG, samples=2)
    assert (report.made, report.exit_status) == (4, 0)
    ((line, count),) = told
    assert count == 2
    assert "2 of 4 captions are longer" in line
    assert "in row 1" in line
    tokenizer = t5_tokenizer()
    for row in lines_of(out):
        whole = tokenizer(row["caption"])["input_ids"]
        assert row["prompt"]["tokens"] == {"tokenizer": len(whole)}
        assert row["prompt"]["limits"] == {"tokenizer": 16}
        if row["caption"] == SHORT:
            assert row["prompt"].keys() == {"tokens", "limits"}
        else:
            place = row["prompt"]["cut_at"]["tokenizer"]
            assert tokenizer(LONG[:place])["input_ids"] == [*whole[:15], whole[-1]]
            assert row["prompt"]["cut"] == LONG[place:]
    # Found again without the tokenizers, and with the same words.
    moved = shutil.copytree(saved, tmp_path / "moved")
    again, told_again = make(saved, out, SHORT, LONG, samples=2)
    assert (again.found, told_again) == (4, told)
    assert moved.is_dir()


@pytest.mark.slow
def test_neither_mode_nor_measure_enters_a_key(saved, tmp_path):
    generator = open_generator(f"diffusers:{saved}", OVERRIDES)
    keys = set(generator.inputs(make_requests(rows(SHORT, LONG), 1)))
    for mode in ("warn", "quarantine"):
        make(saved, tmp_path / mode, SHORT, LONG, mode=mode)
        stored = {
            json.loads(path.read_bytes())["key"]
            for path in (tmp_path / mode / ".work/generate").glob("??/*.files.json")
        }
        assert stored <= keys
        assert len(stored) == {"warn": 2, "quarantine": 1}[mode]
    record = next((tmp_path / "warn/.work/generate").glob("??/*.files.json")).read_text()
    assert "limits" not in record


@pytest.mark.parametrize("odd", ["\x85", "\x0c"])
def test_what_is_known_is_found_again_whatever_a_caption_holds(saved, tmp_path, odd):
    caption = f"a man{odd} is in the dog"
    make(saved, tmp_path / "out", SHORT, caption)
    digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").glob("*.mp4")}
    assert len(digests) == 2
    assert _manifest_digests(tmp_path / "out") == digests
    assert known_prompts(tmp_path / "out").keys() == {SHORT, caption}


def test_quarantine_leaves_it_out_and_says_why(saved, tmp_path):
    out = tmp_path / "out"
    report, told = make(saved, out, SHORT, LONG, mode="quarantine")
    assert (report.total, report.made) == (1, 1)
    assert "are in quarantine" in told[0][0]
    assert [row["caption"] for row in lines_of(out)] == [SHORT]
    (entry,) = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert (entry["reason"], entry["row"], entry["sample"]) == ("PromptTooLongError", 1, 1)
    assert entry["expected"] == "at most 16 tokens"
    assert "and then he sings" in LONG[int(entry["found"].split("character ")[1].split(",")[0]) :]
    # Asked for after all.
    report, _ = make(saved, out, SHORT, LONG)
    assert (report.found, report.made) == (1, 1)
    assert not (out / "quarantine.jsonl").exists()


def test_error_comes_before_anything_is_made(saved, tmp_path):
    with pytest.raises(CaptionError, match=r"1 of 2 captions .* would be cut") as caught:
        make(saved, tmp_path / "out", SHORT, LONG, mode="error")
    assert caught.value.row == 1
    assert "at character" in caught.value.found
    assert caught.value.fix
    assert videos(tmp_path / "out") == {}
    report, told = make(saved, tmp_path / "out", SHORT, mode="error")
    assert (report.made, told) == (1, [])
    with pytest.raises(SourceError, match="unknown choice for captions"):
        make(saved, tmp_path / "out", SHORT, mode="cut")


def test_a_program_is_not_measured_and_that_is_said(tmp_path):
    told = []
    spec = write_program(tmp_path / "program")
    report = generate_videos(rows(LONG), spec, tmp_path / "out", on_prompts=lambda *line: told.append(line))
    assert report.made == 1
    assert told == [("prompts: not measured, the generator's text encoders are not known", 0)]
    assert "prompt" not in lines_of(tmp_path / "out")[0]


def test_tokenizers_that_are_broken_do_not_stop_what_can_be_made(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "broken")
    for path in (folder / "tokenizer").iterdir():
        path.write_text("{")
    generator = open_generator(f"diffusers:{folder}", OVERRIDES)
    from synvita_data.builders.generators.prompt_length import PromptLengths

    lengths = PromptLengths(generator.encoders, {})
    assert lengths.of(LONG) is None
    assert "tokenizers cannot be opened" in lengths.unknown
    index = {"tokenizer": ["elsewhere", "Tokenizer"]}
    with pytest.raises(SourceError, match="not one of transformers"):
        load_tokenizers(folder, index)
    assert load_tokenizers(folder, {"tokenizer_2": [None, None], "_class_name": "X"}) == {}


@pytest.mark.parametrize(("mode", "status"), [("warn", 0), ("quarantine", 1), ("error", 2)])
def test_the_command(saved, tmp_path, mode, status):
    (tmp_path / "t.csv").write_text(
        f"videopath,caption,neg_caption\nv1.mp4,a man,{SHORT}\nv2.mp4,a dog,{LONG}\n"
    )
    arguments = ["generate", "--triplets", tmp_path / "t.csv", "--generator", f"diffusers:{saved}"]
    arguments += ["--out", tmp_path / "out", "--prompt-too-long", mode]
    done = CliRunner().invoke(app, [*map(str, arguments), *(x for o in OVERRIDES for x in ("--set", o))])
    if mode == "error":
        assert isinstance(done.exception, CaptionError)
        return
    assert done.exit_code == status, done.output
    assert "prompts: 1 of 2 captions are longer than the generator reads" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["warn", "quarantine"])
def test_a_build_counts_them_in_report_and_card(saved, tmp_path, mode):
    (tmp_path / "t.csv").write_text(
        f"videopath,caption,neg_caption\nv1.mp4,a man,{SHORT}\nv2.mp4,a dog,{LONG}\n"
    )

    def run(mode, out=tmp_path / "out"):
        return build_dataset(
            BuildOptions(
                triplets=tmp_path / "t.csv",
                out=out,
                config="tiny",
                synthetic=f"diffusers:{saved}",
                chain=Chain(overrides=OVERRIDES, prompt_too_long=mode),
            )
        )

    result = run(mode)
    card = (tmp_path / "out/README.md").read_text()
    if mode == "warn":
        assert result.record["prompts"] == {"measured": 2, "cut": 1}
        assert result.record["coverage"]["synthetic_video"] == [2, 2]
        assert "1 of 2 synthetic videos were made from the beginning of their contrast caption only" in card
        # Videos that are there are not taken by a build that does not want them.
        result = run("quarantine")
    assert result.record["prompts"] == {"measured": 1, "cut": 0}
    assert result.record["coverage"]["synthetic_video"] == [1, 2]
    assert [entry["reason"] for entry in result.quarantine] == ["PromptTooLongError"]
    assert "**Prompts:**" not in (tmp_path / "out/README.md").read_text()


@pytest.mark.slow
def test_a_folder_of_videos_keeps_what_its_manifest_says(saved, tmp_path):
    (tmp_path / "t.csv").write_text(
        f"videopath,caption,neg_caption\nv1.mp4,a man,{SHORT}\nv2.mp4,a dog,{LONG}\n"
    )
    generate_videos(tmp_path / "t.csv", f"diffusers:{saved}", tmp_path / "made", overrides=OVERRIDES)
    options = BuildOptions(
        triplets=tmp_path / "t.csv",
        out=tmp_path / "out",
        config="tiny",
        synthetic=f"folder:{tmp_path / 'made'}",
    )
    assert build_dataset(options).record["prompts"] == {"measured": 2, "cut": 1}
    # A manifest of before: the same rows, and nothing known.
    rows_before = [json.loads(line) for line in (tmp_path / "made/manifest.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({k: v for k, v in r.items() if k != "prompt"}) + "\n" for r in rows_before)
    (tmp_path / "made/manifest.jsonl").write_text(text)
    again = build_dataset(options)
    assert again.was_up_to_date
    assert again.record["prompts"] == {"measured": 0, "cut": 0}
