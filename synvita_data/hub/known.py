"""Every repository of the Hub that our docs, recipes or code name: which commit, whose licence, how large, how sure.

None of this was fetched. It was read from stored copies of public pages, and an entry says how much of it there was:
a commit is here only with all its 40 hex digits, a licence only where a page of the repository shows it, and what is
not known is None, with the reason. `docs/checkpoints.md` is written from this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RECORDED = "2026-11-26"
HUB = "https://huggingface.co"
RELEASED_CODE = "https://github.com/lucazanella/synvita/blob/cb8bca5040223421eba6ff747e5fba4bd9ff747e"
RELEASED_README = (
    "https://github.com/lucazanella/synvita/blob/12e4f555beb889855f79e93b7a6e8dacf08b5e29/README.md"
)
_NO_PAGE = "no page of this repository was stored"
# Others' public code, by its number in the index that it was found with; no page says where it lies.
_CACHE_PATHS = "cache paths in the public code of others; index"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRepository:
    """A repository of the Hub, as it was recorded.

    Attributes:
        name: `owner/name`, as it is called today.
        kind: `model` or `dataset`.
        use: what it is for here.
        commit: the pinned commit, 40 hex digits; None where no whole one was recorded.
        no_commit: why there is none; empty with a commit.
        former: names that it had, which the Hub redirects.
        licence: as a page of the repository shows it; None where none was seen.
        gated: whether its files need an accepted form; no where the text of one could be read without, None where
            that was not seen.
        download: bytes that our commands fetch, by the recorded file list (sizes there have three digits); None
            where no such list was recorded.
        weights: in which form they lie there; None for data, and where that was not seen.
        source: page that the entry was read from.
        commit_source: where the commit was read, if not there.
        recorded: day of the record, ISO.
        record: how much was recorded.
        note: what a user has to know; may be empty.
    """

    name: str
    kind: Literal["model", "dataset"] = "model"
    use: str
    commit: str | None = None
    no_commit: str = ""
    former: tuple[str, ...] = ()
    licence: str | None = None
    gated: bool | None = None
    download: int | None = None
    weights: str | None = None
    source: str
    commit_source: str = ""
    recorded: str = RECORDED
    record: str
    note: str = ""

    @property
    def url(self) -> str:
        """Of the repository, at the pinned commit where there is one."""
        page = f"{HUB}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"
        return f"{page}/tree/{self.commit}" if self.commit else page


KNOWN: tuple[KnownRepository, ...] = (
    # -- the paper's models ---------------------------------------------------------------------------------
    KnownRepository(
        name="LanguageBind/Video-LLaVA-7B",
        use="the paper's Video-LLaVA, with temporal attention in its video tower; `synvita convert video-llava`",
        commit="aecae02b7dee5c249e096dcb0ce546eb6f811806",
        licence="apache-2.0",
        gated=False,
        download=14_940_000_000,
        weights="bf16, 2 shards, as safetensors and again as .bin (29.9 GB for both)",
        source=f"{HUB}/LanguageBind/Video-LLaVA-7B/tree/aecae02b7dee5c249e096dcb0ce546eb6f811806",
        record="whole file list, config.json but for its last keys",
        note="`model_type` is `llava`, but it is not transformers' LLaVA: convert it first.",
    ),
    KnownRepository(
        name="LanguageBind/Video-LLaVA-7B-hf",
        use="Video-LLaVA as transformers has it, without the temporal attention of the paper's; recipes and docs",
        commit="4cf9d8cfc76a54f46a4cb43be5368b46b7f0d736",
        gated=False,
        download=14_742_000_000,
        weights="bf16, safetensors, 3 shards",
        source=f"{HUB}/LanguageBind/Video-LLaVA-7B-hf/tree/4cf9d8cfc76a54f46a4cb43be5368b46b7f0d736",
        record="whole file list; config.json and preprocessor_config.json proved by their size",
        note="It has no chat template: the prompt `question` needs one, the default prompt does not.",
    ),
    KnownRepository(
        name="LanguageBind/LanguageBind_Image",
        use="image tower that the paper's Video-LLaVA was trained with",
        commit="d8c2e37b439f4fc47c649dc8b90cdcd3a4e0c80e",
        source=f"{RELEASED_CODE}/lmms/Video_LLaVA/videollava/model/multimodal_encoder/builder.py",
        record="the commit, as the released code names it",
    ),
    KnownRepository(
        name="LanguageBind/LanguageBind_Video_merge",
        use="video tower that the paper's Video-LLaVA was trained and evaluated with",
        commit="efc40ec6ba6b2081276c11e7e19b24f08a099e79",
        source=f"{RELEASED_CODE}/lmms/Video_LLaVA/videollava/model/multimodal_encoder/builder.py",
        record="the commit, as the released code names it",
    ),
    KnownRepository(
        name="LanguageBind/Video-LLaVA-Pretrain-7B",
        use="projector that the paper's Video-LLaVA started from",
        no_commit="the released training script names no revision",
        source="https://github.com/lucazanella/synvita/blob/2c81745/slurm/Video_LLaVA/finetune_lora_synvita.sh",
        record="the name only",
    ),
    KnownRepository(
        name="lmsys/vicuna-7b-v1.5",
        use="language model that the paper's Video-LLaVA was fine-tuned from",
        commit="90cea6508421a940cb03bec1a7c18fc2abc07d63",
        licence="llama2",
        download=13_480_000_000,
        weights="fp16, .bin only, 2 shards",
        source=f"{HUB}/lmsys/vicuna-7b-v1.5/tree/90cea6508421a940cb03bec1a7c18fc2abc07d63",
        record="whole file list",
    ),
    KnownRepository(
        name="MAGAer13/mplug-owl-llama-7b-video",
        use="the paper's mPLUG-Owl; `synvita convert mplug-owl`",
        commit="fe6a4ca53c5a30cfaaf0809c9442d207de641ed7",
        gated=False,
        download=14_300_500_000,
        weights="bf16, one .bin",
        source=f"{HUB}/MAGAer13/mplug-owl-llama-7b-video/tree/fe6a4ca53c5a30cfaaf0809c9442d207de641ed7",
        record="whole file list, three small JSON files, SHA-256 of both weight files",
        note=(
            "Two weight files were published under one name: SHA-256 553029b4… in July 2023, 7bf9c821… since 8 November "
            "2023, which is the pinned one. owl-con is a day older than the second."
        ),
    ),
    KnownRepository(
        name="videocon/owl-con",
        use="VideoCon's fine-tuned mPLUG-Owl; `synvita convert mplug-owl-lora`",
        commit="11d2134138f13ecc6eafda67b2f87fca6d7611e6",
        source=f"{HUB}/videocon/owl-con/commits/main",
        record="commits and some file names; no list of weights",
        note="Its first commit said MIT, which 78dc5f3 removed.",
    ),
    KnownRepository(
        name="lucazanella/mplug-owl-llama-7b-video-lora_train_llm_mix_entail_feedback_cogvideox",
        use="the paper's fine-tuned mPLUG-Owl; `synvita convert mplug-owl-lora`",
        no_commit=_NO_PAGE,
        source=RELEASED_README,
        record="the name only",
    ),
    KnownRepository(
        name="lucazanella/videollava-7b-lora_train_llm_mix_entail_feedback_cogvideox",
        use="the paper's fine-tuned Video-LLaVA; `synvita convert video-llava-lora`",
        no_commit=_NO_PAGE,
        source=RELEASED_README,
        record="the name only",
    ),
    # -- other Video LLMs and CLIP --------------------------------------------------------------------------
    KnownRepository(
        name="Qwen/Qwen2.5-VL-7B-Instruct",
        use="Video LLM; its recipe, `synvita evaluate`, `synvita vqascore`",
        commit="cc594898137f460bfe9f0759e9844b3ce807cfb5",
        licence="apache-2.0",
        gated=False,
        weights="bf16, safetensors",
        source=(
            f"{HUB}/Qwen/Qwen2.5-VL-7B-Instruct/blob/780835b35df69c962cce6916f662ff2f53535429/tokenizer.json"
        ),
        commit_source=f"{_CACHE_PATHS} 62558457147, 38061046513, 54662702067",
        record="licence and special ids; settings of copies",
        note="780835b… of about February 2025 is the other commit that was seen.",
    ),
    KnownRepository(
        name="Qwen/Qwen3-VL-8B-Instruct",
        use="Video LLM; `synvita evaluate`, `synvita vqascore`",
        commit="0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
        source=f"{HUB}/cdreetz/Qwen3-VL-8B-Instruct/blob/main/video_preprocessor_config.json",
        commit_source=f"{_CACHE_PATHS} 57921932815, 54355414932, 60557662826",
        record="preprocessing of copies",
    ),
    KnownRepository(
        name="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        use="Video LLM; `synvita evaluate`, `synvita vqascore`",
        commit="0d50680527681998e456c7b78950205bedd8a068",
        licence="apache-2.0",
        weights="safetensors",
        source=(
            f"{HUB}/llava-hf/llava-onevision-qwen2-7b-ov-hf/tree/716e6976b5abe71acc9ff9b6d734bcdd18e891a4"
            "/video_processor"
        ),
        commit_source=f"{_CACHE_PATHS} 4666785463, 37865737500, 52021232473",
        record="licence, and that video_processor/preprocessor_config.json is at 716e697",
    ),
    KnownRepository(
        name="openai/clip-vit-base-patch32",
        use="CLIP as a baseline; an example",
        commit="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        source=f"{_CACHE_PATHS} 16821214651, 52511566769, 9953743091",
        record="the commit, as others have it in their caches",
    ),
    # -- VQAScore -------------------------------------------------------------------------------------------
    KnownRepository(
        name="zhiqiulin/clip-flant5-xxl",
        use="VQAScore; `clip-flant5-xxl`",
        no_commit="main was 89bad6f (6 October 2024), of which only seven digits were stored",
        licence="apache-2.0",
        weights=".bin",
        source=f"{HUB}/zhiqiulin/clip-flant5-xxl/commits/main",
        record="commits, licence",
    ),
    KnownRepository(
        name="zhiqiulin/clip-flant5-xl",
        use="VQAScore; `clip-flant5-xl`",
        commit="3b4a6b1b618f4e286f5353b5b5147a3ae7d9ec55",
        licence="apache-2.0",
        gated=False,
        download=6_323_000_000,
        weights="bf16, one .bin, the vision tower in it by its size (safetensors only in refs/pr/1)",
        source=f"{HUB}/zhiqiulin/clip-flant5-xl/tree/refs%2Fpr%2F1",
        record="whole file list",
        note=(
            "`training_args.bin` there is a pickle of foreign classes: nothing here downloads or reads it. In a folder "
            "that has it, its bytes count for the folder's digest, as those of every file."
        ),
    ),
    KnownRepository(
        name="google/flan-t5-xxl",
        use="tokenizer of a CLIP-FlanT5 that has none",
        commit="ae7c9136adc7555eeccc78cdd960dfd60fb346ce",
        source=f"{_CACHE_PATHS} 43629192502, 67343401897",
        record="the commit, as others have it in their caches",
    ),
    KnownRepository(
        name="Salesforce/instructblip-flan-t5-xxl",
        use="VQAScore; `instructblip-flan-t5-xxl`",
        commit="68a664f85a9aafc2deec18eb699925774fa1f63b",
        licence="mit",
        gated=False,
        download=49_255_000_000,
        weights="fp32, safetensors, 5 shards, and again as .bin",
        source=f"{HUB}/Salesforce/instructblip-flan-t5-xxl/tree/68a664f85a9aafc2deec18eb699925774fa1f63b",
        record="file list, config.json but for its end",
        note="Earlier commits (895c2bc, …) have no processor_config.json and no image_token_index; VQAScore does without.",
    ),
    KnownRepository(
        name="Salesforce/instructblip-flan-t5-xl",
        use="VQAScore; `instructblip-flan-t5-xl`",
        commit="bf9bd58cb3bb06e88c03b80f9cc346b90094bc6d",
        licence="mit",
        download=16_093_000_000,
        weights="fp32, safetensors, 2 shards, and again as .bin",
        source=f"{HUB}/Salesforce/instructblip-flan-t5-xl/tree/main",
        commit_source="main's seven digits there; all forty in the public code of others; index 68587563395, 68517907490",
        record="whole file list",
        note="Commits before November 2024 (e80d416, …) have no processor_config.json and no image_token_index; VQAScore does without.",
    ),
    KnownRepository(
        name="llava-hf/llava-1.5-13b-hf",
        use="VQAScore; `llava-1.5-13b`",
        commit="e35e892aa406d31b1df3bad7ab0743e8bf98b8eb",
        download=26_692_000_000,
        weights="fp16, safetensors, 6 shards",
        source=f"{HUB}/llava-hf/llava-1.5-13b-hf/tree/e35e892aa406d31b1df3bad7ab0743e8bf98b8eb",
        note="5dda2880bda009266dda7c4baff660b95ca64540 is the other commit that was seen.",
        record="file list but for its end",
    ),
    KnownRepository(
        name="llava-hf/llava-1.5-7b-hf",
        use="VQAScore; `llava-1.5-7b`",
        commit="b234b804b114d9e37bb655e11cbbb5f5e971b7a9",
        licence="llama2",
        gated=False,
        download=14_132_000_000,
        weights="fp16, safetensors, 3 shards",
        source=f"{HUB}/llava-hf/llava-1.5-7b-hf/blob/05ae2434cbb430be33edcba0c5203e7023f785b7/tokenizer.json",
        commit_source=f"{_CACHE_PATHS} 66545250164, 55011411093, 69247554161",
        record="whole file list, config.json and tokenizer_config.json of 05ae243 (main in 2024), proved by their size",
        note="05ae2434cbb430be33edcba0c5203e7023f785b7 has no processor_config.json and no chat template; later copies have both.",
    ),
    # -- generators -----------------------------------------------------------------------------------------
    KnownRepository(
        name="zai-org/CogVideoX-2b",
        use="generator; the paper's (`diffusers:zai-org/CogVideoX-2b`)",
        commit="1137dacfc2c9c012bed6a0793f4ecf2ca8e7ba01",
        former=("THUDM/CogVideoX-2b",),
        licence="apache-2.0",
        weights="safetensors; the VAE in fp32 since 1137dac",
        source=f"{HUB}/THUDM/CogVideoX-2b/tree/3c9d823cba79e879738d89c3e72a8348ff9aa51b",
        commit_source=f"{_CACHE_PATHS} 54990951887, 46293943176, 52871979700",
        record="top of the file list, main's seven digits, model_index.json of a duplicate",
        note="That the old name is redirected is inferred: pages are stored under both, the newer under zai-org.",
    ),
    KnownRepository(
        name="zai-org/CogVideoX-5b",
        use="generator (`diffusers:zai-org/CogVideoX-5b`)",
        commit="8d6ea3f817438460b25595a120f109b88d5fdfad",
        former=("THUDM/CogVideoX-5b",),
        licence="other",
        gated=False,
        weights="safetensors",
        source=f"{HUB}/zai-org/CogVideoX-5b/blob/main/model_index.json",
        commit_source=f"{_CACHE_PATHS} 15386380905, 20402824576, 17476627506",
        record="model_index.json, scheduler, files of the tokenizer",
        note="8fc5b281006c82b82d34fd2543d2f0ebb4e7e321 is in a cache under the new owner, so it may be the newer one.",
    ),
    KnownRepository(
        name="zai-org/CogVideoX1.5-5B",
        use="generator (preset `cogvideox-1.5-5b`)",
        no_commit="two were seen (fdc5267c…, 5cb8a989…), and which of them is the newer was not",
        former=("THUDM/CogVideoX1.5-5B",),
        source=f"{HUB}/collections/zai-org/cogvideo",
        record="nothing; the new owner is that of its siblings",
    ),
    KnownRepository(
        name="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        use="generator (preset `wan2.1-1.3b`)",
        weights="safetensors; the transformer in fp32, 5.68 GB",
        commit="0fad780a534b6463e45facd96134c9f345acfa5b",
        source=f"{HUB}/Wan-AI/Wan2.1-T2V-1.3B-Diffusers/tree/main/transformer",
        commit_source=f"{_CACHE_PATHS} 60054439430, 53365337874, 22210711198",
        record="files of the transformer",
    ),
    KnownRepository(
        name="Wan-AI/Wan2.1-T2V-14B-Diffusers",
        use="generator (preset `wan2.1-14b`)",
        weights="safetensors",
        commit="38ec498cb3208fb688890f8cc7e94ede2cbd7f68",
        source=f"{HUB}/Wan-AI/Wan2.1-T2V-14B-Diffusers/blob/refs%2Fpr%2F5/model_index.json",
        commit_source=f"{_CACHE_PATHS} 67185064726, 71653824891",
        record="model_index.json of two pull requests",
    ),
    KnownRepository(
        name="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        use="generator (preset `wan2.2-a14b`)",
        commit="5be7df9619b54f4e2667b2755bc6a756675b5cd7",
        source=f"{HUB}/Wan-AI/Wan2.2-T2V-A14B-Diffusers/blob/refs%2Fpr%2F2/transformer_2/config.json",
        commit_source=f"{_CACHE_PATHS} 54583435125, 68351546142, 55469015635",
        record="config.json of the second transformer",
    ),
    KnownRepository(
        name="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        use="generator (preset `wan2.2-ti2v-5b`)",
        commit="b8fff7315c768468a5333511427288870b2e9635",
        source=f"{HUB}/inference-sh/Wan2.2-TI2V-5B-Diffusers/blob/main/transformer/config.json",
        commit_source=f"{_CACHE_PATHS} 70493031341, 51911219580, 66638884312",
        record="config.json of a copy's transformer",
    ),
    KnownRepository(
        name="Lightricks/LTX-Video",
        use="generator (presets `ltx-video`, `ltx-video-0.9.1`)",
        commit="0459e8f6cfec8674ba6ba46446375c6813ff9ec2",
        licence="other",
        gated=False,
        weights="safetensors in folders of diffusers, and again as single files (15 GB)",
        source=f"{HUB}/Lightricks/LTX-Video/tree/0459e8f6cfec8674ba6ba46446375c6813ff9ec2",
        record="top of the file list",
        note="Commits before December 2024 have no model_index.json: diffusers cannot load them. 8984fa25… is a later one.",
    ),
    KnownRepository(
        name="Vchitect/LaVie",
        use="generator of the paper (`lavie:DIR`)",
        no_commit=_NO_PAGE,
        source=f"{HUB}/spaces/Vchitect/LaVie/commit/68570cdfda2ad7082b9e85647e5281d76dc59fc6",
        record="the name; one file of a Space of the same name",
    ),
    KnownRepository(
        name="CompVis/stable-diffusion-v1-4",
        use="VAE, text encoder and tokenizer of LaVie",
        commit="133a221b8aa7292a167afc5127cb63fb5005638b",
        source=f"{_CACHE_PATHS} 16308853432, 67633323359, 54916660268",
        record="the commit, as others have it in their caches",
    ),
    KnownRepository(
        name="VideoCrafter/VideoCrafter2",
        use="generator of the paper (`videocrafter2:DIR`)",
        commit="7b4079838622fcba3fc2c9575210df3ed1cb8d69",
        licence="apache-2.0",
        download=7_400_000_000,
        weights="fp32, one .ckpt",
        source=f"{HUB}/VideoCrafter/VideoCrafter2/tree/7b4079838622fcba3fc2c9575210df3ed1cb8d69",
        record="whole file list",
    ),
    # -- data -----------------------------------------------------------------------------------------------
    KnownRepository(
        name="videocon/videocon",
        kind="dataset",
        use="captions and contrast captions; tasks `videocon-llm`, `videocon-human`, `videocon-human-hard`",
        commit="c0b7f89af2ff3e81dcc0578568d50f5b8e216819",
        gated=False,
        source=f"{HUB}/datasets/videocon/videocon",
        record="commits, three file names, which columns differ",
        note=(
            "`load_dataset` of the whole repository fails, because its files differ in their columns: name one. The Hub "
            "shows no licence; VideoCon's GitHub repository says MIT."
        ),
    ),
    KnownRepository(
        name="zachz/VideoCon-PC",
        kind="dataset",
        use="another's copy of VideoCon (Human) with its videos; `docs/tasks.md`",
        commit="b0cb7112a3edfccf8ae697602442a828712b056b",
        licence="mit",
        source=f"{HUB}/datasets/zachz/VideoCon-PC/commit/b0cb7112a3edfccf8ae697602442a828712b056b",
        record="card and columns",
        note="Its card counts 569 videos after two were removed, VideoCon (Human) has 570 pairs.",
    ),
    KnownRepository(
        name="lucazanella/videocon_syn",
        kind="dataset",
        use="the authors' generated videos; `--synthetic hf:lucazanella/videocon_syn`",
        no_commit=_NO_PAGE,
        source=RELEASED_README,
        record="the name only",
    ),
)
_BY_NAME = {name: one for one in KNOWN for name in (one.name, *one.former)}


def known(name: str) -> KnownRepository | None:
    """What was recorded of a repository, by its name of today or an earlier one; None for any other."""
    return _BY_NAME.get(name)


def canonical(name: str) -> str:
    """The name that a repository has today; any other text as it is."""
    found = _BY_NAME.get(name)
    return name if found is None else found.name


def held(name: str) -> str:
    """The name to load a repository by: today's, or the one under which this machine's cache has it.

    The Hub understands both, and 14 GB that were fetched under an earlier name need not be fetched again.
    """
    found = _BY_NAME.get(name)
    if found is None or not found.former:
        return name
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = Path(constants.HF_HUB_CACHE)
    for each in (found.name, *found.former):
        if (cache / repo_folder_name(repo_id=each, repo_type=found.kind) / "snapshots").is_dir():
            return each
    return found.name


def pinned(name: str) -> str | None:
    """The recorded commit of a repository; None where none is known."""
    found = _BY_NAME.get(name)
    return None if found is None else found.commit
