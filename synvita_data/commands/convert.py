"""`synvita convert`: checkpoints of the paper's two models in today's formats."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What there is to convert."""

    video_llava = "video-llava"
    video_llava_lora = "video-llava-lora"
    mplug_owl = "mplug-owl"
    mplug_owl_lora = "mplug-owl-lora"


class Rounding(StrEnum):
    """How a merged weight is rounded."""

    float32 = "float32"
    released = "released"


def convert(
    kind: Annotated[
        Kind, typer.Argument(help="A released model, or a LoRA checkpoint of VideoCon or SynViTA on one.")
    ],
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the files as released.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; it must not exist.")],
    base: Annotated[
        str | None,
        typer.Option(
            help="For a LoRA: the converted model that it goes on, a folder (for video-llava-lora also a Hub id)."
        ),
    ] = None,
    towers: Annotated[
        Path | None,
        typer.Option(
            help="For video-llava: folder of LanguageBind/LanguageBind_Video_merge, to take and compare the video tower."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="For mplug-owl-lora: LoRA's alpha, where no settings say it (default: 32, as in the released scripts)."
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="For a LoRA: write a whole model. mplug-owl-lora takes the checkpoint's own copy of the base.",
        ),
    ] = False,
    merge_rounding: Annotated[
        Rounding,
        typer.Option(
            help="For video-llava-lora --merge: round sums once from fp32, or in fp16 as the released evaluation."
        ),
    ] = Rounding.float32,
) -> None:
    """Convert a released checkpoint to safetensors, or a LoRA checkpoint to an adapter of PEFT.

    Then `synvita evaluate OUT` and `synvita train` take it (docs/video_llava.md, docs/mplug_owl.md).
    """
    from ..display import say
    from ..extras import require

    # Options that the kind does not have.
    lora = kind in (Kind.video_llava_lora, Kind.mplug_owl_lora)
    if not lora and (base is not None or merge):
        raise typer.BadParameter("--base and --merge are for mplug-owl-lora and video-llava-lora")
    if towers is not None and kind is not Kind.video_llava:
        raise typer.BadParameter("--towers is for video-llava")
    if alpha is not None and kind is not Kind.mplug_owl_lora:
        raise typer.BadParameter("--alpha is for mplug-owl-lora: other adapters know theirs")
    if merge_rounding is Rounding.released and not (merge and kind is Kind.video_llava_lora):
        raise typer.BadParameter("--merge-rounding is for video-llava-lora --merge")
    if lora and base is None:
        raise typer.BadParameter("name the converted model with --base")
    require("score", "torch", "transformers", what="synvita convert")

    if kind is Kind.mplug_owl:
        from ..models.mplug_owl.convert import convert_mplug_owl

        convert_mplug_owl(source, out, say=say)
    elif kind is Kind.video_llava:
        from ..models.video_llava_original.convert import convert_video_llava

        convert_video_llava(source, out, towers=towers, say=say)
    elif kind is Kind.mplug_owl_lora:
        from ..models.mplug_owl.lora_checkpoint import convert_lora, merge_lora

        (merge_lora if merge else convert_lora)(source, out, str(base), alpha=alpha, say=say)
    else:
        from ..models.resolve import locate, refuse_llava_layout
        from ..models.video_llava_original.lora import convert_video_llava_lora

        files = locate(str(base))
        refuse_llava_layout(files)
        # Of a base on the Hub only what is needed: its settings, and to merge also its weights.
        folder = files.folder or files.snapshot(["*.json", *(["*.safetensors", "*.model"] if merge else [])])
        convert_video_llava_lora(
            source,
            out,
            folder,
            base_name=None if files.folder else files.location,
            merge=merge_rounding.value if merge else None,
            say=say,
        )
