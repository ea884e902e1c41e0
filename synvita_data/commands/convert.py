"""`synvita convert`: checkpoints of the paper's first model in today's formats."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What there is to convert."""

    mplug_owl = "mplug-owl"
    mplug_owl_lora = "mplug-owl-lora"


def convert(
    kind: Annotated[
        Kind, typer.Argument(help="The released model, or a LoRA checkpoint of VideoCon or SynViTA.")
    ],
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with pytorch_model.bin.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; it must not exist.")],
    base: Annotated[
        Path | None, typer.Option(help="For mplug-owl-lora: the converted model that it was trained from.")
    ] = None,
    alpha: Annotated[
        int, typer.Option(help="For mplug-owl-lora: LoRA's alpha, 32 in the released scripts.")
    ] = 32,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="For mplug-owl-lora: a whole model, of the checkpoint's own copy of the base."
        ),
    ] = False,
) -> None:
    """Convert mPLUG-Owl's released checkpoint to safetensors, or a LoRA checkpoint to an adapter of PEFT.

    Then `synvita evaluate OUT` and `synvita train` take it (docs/mplug_owl.md).
    """
    from ..display import say

    if kind is Kind.mplug_owl:
        if base is not None or merge:
            raise typer.BadParameter("--base and --merge are for mplug-owl-lora")
        from ..models.mplug_owl.convert import convert_mplug_owl

        convert_mplug_owl(source, out, say=say)
        return
    if base is None:
        raise typer.BadParameter("name the converted model with --base")
    from ..models.mplug_owl.lora_checkpoint import convert_lora, merge_lora

    (merge_lora if merge else convert_lora)(source, out, base, alpha=alpha, say=say)
