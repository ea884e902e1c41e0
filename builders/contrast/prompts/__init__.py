"""The seven prompts that a model is asked with, one a kind of contrast caption: plain text files beside this one.

The wording is our own; the contract is VideoCon's (its released prompts, for PaLM-2): a caption in, four labelled answers
out (contrast caption, source phrase, target phrase, explanation), of which flip has no phrases. A user replaces any of
them by a folder with files of the same names; what a folder lacks is asked as here. The digest over all seven says in
every record which wording a contrast caption came from.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synvita_data.errors import SynvitaError, choose, first_line
from synvita_data.schema import MISALIGNMENTS

CAPTION = "{caption}"
LONGEST = 100_000  # characters of a prompt
_OURS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Prompts:
    """A prompt for each misalignment.

    Attributes:
        texts: misalignment -> prompt, with `{caption}` once.
        digest: 16 hex digits over all of them.
    """

    texts: Mapping[str, str]

    @property
    def digest(self) -> str:
        content = json.dumps(dict(sorted(self.texts.items())), ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def ask(self, caption: str, misalignment: str) -> str:
        """The prompt about a caption, which is taken literally but for its white space.

        Raises:
            SynvitaError: unknown misalignment.
        """
        choose(misalignment, tuple(self.texts), "misalignment")
        before, _, after = self.texts[misalignment].partition(CAPTION)
        # A line break inside a caption would look like the end of it.
        return f"{before}{' '.join(caption.split())}{after}".strip()


def load_prompts(folder: str | Path | None = None) -> Prompts:
    """Our prompts, or a user's in the place of those that the folder has.

    Args:
        folder: with `<misalignment>.txt` in UTF-8 for one or more of the seven; None for ours alone.

    Raises:
        SynvitaError: no such folder, no prompt in it, a file of another name, or one that is not a prompt.
    """
    texts = {name: _read(_OURS / f"{name}.txt") for name in MISALIGNMENTS}
    if folder is None:
        return Prompts(texts)
    place = Path(folder).expanduser()
    expected = f"text files named {', '.join(f'{name}.txt' for name in MISALIGNMENTS)}, one or more of them"
    if not place.is_dir():
        raise SynvitaError("a folder of prompts cannot be found", file=place, expected=expected)
    files = sorted(path for path in place.glob("*.txt") if not path.name.startswith("."))
    if stray := [path.name for path in files if path.stem not in MISALIGNMENTS]:
        raise SynvitaError(
            "a file is not called like a misalignment",
            file=place,
            found=stray[0],
            expected=expected,
            fix="Rename it, or keep it elsewhere",
        )
    if not files:
        raise SynvitaError("a folder of prompts holds none", file=place, expected=expected)
    return Prompts(texts | {path.stem: _read(path) for path in files})


def _read(path: Path) -> str:
    """A prompt.

    Raises:
        SynvitaError: not readable text with one `{caption}`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SynvitaError("a prompt cannot be read", file=path, found=first_line(error)) from error
    if text.count(CAPTION) != 1:
        raise SynvitaError(
            "a prompt does not say where the caption goes",
            file=path,
            found=f"{CAPTION} {text.count(CAPTION)} times",
            expected=f"{CAPTION} once",
        )
    if len(text) > LONGEST:
        raise SynvitaError(
            "a prompt is too long",
            file=path,
            found=f"{len(text):,} characters",
            expected=f"at most {LONGEST:,}",
        )
    return text
