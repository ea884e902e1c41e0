"""Places on somebody's machine inside text: home folders, absolute paths. What is published names none.

`without_places` shortens them where we write; `leaks` looks for those that came in with the data of others.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

# A path begins where no word, no other path and no address goes on: not the `/home` of `work/home`, nor that of a URL.
# It may stand behind a redirection (`2>/home/x`) and an option (`-I/home/x`).
_BEGINS = r"(?:file://|(?:(?<![\w/.~*)\]}>-])|(?<=[\s\d&]>)|(?<=\s-[A-Za-z]))(?=/(?!/)))"
_NAME = r"[^\s/\\\"'`<>|:;,()\[\]{}*?!#&=]+"
HOME = re.compile(
    rf"{_BEGINS}(?:/[\w.+-]+){{0,2}}?/home(?:s|[0-9]+)?/{_NAME}(?<![.])"
    rf"|{_BEGINS}(?:/[\w.+-]+){{0,2}}?/[Uu]sers/{_NAME}(?<![.])"
    rf"|{_BEGINS}/Volumes/[^/\n]{{1,60}}/Users/{_NAME}(?<![.])"
    rf"|(?<![\w\\])\\{{2,4}}[\w.$-]+(?:\\{{1,2}}[\w.-]+)?\\{{1,2}}(?i:users|home)\\{{1,2}}{_NAME}"
    rf"|{_BEGINS}(?:/var)?/root(?=/[\w.~-])"
    rf"|(?<![A-Za-z])[A-Za-z]:[\\/]{{1,4}}(?i:users|documents and settings)[\\/]{{1,4}}{_NAME}"
)
_ABSOLUTE = re.compile(
    rf"(?:{_BEGINS}|(?<![\w/.~])~|(?<![A-Za-z])[A-Za-z]:(?=\\))(?:[\\/]{{1,2}}{_NAME}){{1,}}[\\/]?"
)


def without_places(value: Any, root: Path | None = None) -> Any:
    """Text, or JSON with text in it, in which no place on this machine is named.

    Absolute paths are cut to their last two parts and name no home folder.

    Args:
        value: what others will read.
        root: the user's folder of real videos. Paths below it become relative to it: which video was bad is of
            interest to others, where the videos lie is not.
    """
    if isinstance(value, str):
        return _shortened(_below(root, value))
    if isinstance(value, Mapping):
        return {key: without_places(each, root) for key, each in value.items()}
    return [without_places(each, root) for each in value] if isinstance(value, (list, tuple)) else value


def without_own_places(record: Mapping[str, Any], root: Path | None = None) -> dict[str, Any]:
    """A quarantine record (`SynvitaError.to_record`) as it may be published.

    Args:
        record: its names (stage, id, reason, …) stay as they are.
        root: as for `without_places`.
    """
    shown = {
        key: _below(root, each) if key in _NAMES else without_places(each, root)
        for key, each in record.items()
    }
    if isinstance(record.get("file"), str):
        shown["file"] = short_path(_below(root, record["file"]))
    return shown


# Keys of records that hold names and never sentences.
_NAMES = frozenset({"stage", "id", "config", "reason", "row", "sample", "videos"})


def short_path(path: str | Path) -> str:
    """Of a path the last folder and the name, without anybody's home folder; `owner/name` stays as it is."""
    parts = re.split(r"[\\/]+", _homeless(str(path)).removeprefix("~"))
    return "/".join([part for part in parts if part not in ("", "..", ".")][-2:])


def _below(root: Path | None, text: Any) -> Any:
    """A text with paths below `root` made relative to it; other values, and all without a root, as they are."""
    if root is None or not isinstance(text, str):
        return text
    # Longest first: a root that is a link is written both ways in messages.
    for place in sorted({str(root), str(root.resolve())}, key=len, reverse=True):
        if len(place) > 1:
            text = re.sub(re.escape(place) + r"/(?=[^\s/'\"])", "", text)
            text = re.sub(re.escape(place) + r"(?![\w.-])", "REAL_ROOT", text)
    return text


def own_places() -> tuple[str, ...]:
    """The running user's home and working folder, the longest first; without those that say nothing (`/`, `/tmp`)."""
    return _own_places(str(Path.home()), str(Path.cwd()))


@cache
def _own_places(*folders: str) -> tuple[str, ...]:
    found = {form.rstrip("/\\") for folder in folders for form in (folder, str(Path(folder).resolve()))}
    named = {place for place in found if len(re.split(r"[\\/]", place)) > 2 or place == "/root"}
    return tuple(sorted(named, key=len, reverse=True))


@cache
def own_pattern(places: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds them; one of a single part only with something below it."""
    forms = [re.escape(p) + (r"(?=/[\w.~-])" if p.count("/") < 2 else r"(?![\w-])(?!\.\w)") for p in places]
    return re.compile(rf"(?:{_BEGINS}|(?=[A-Za-z]:))(?:{'|'.join(forms)})") if forms else None


def _homeless(text: str) -> str:
    pattern = own_pattern(own_places())
    if pattern is not None:
        text = pattern.sub("~", text)
    return HOME.sub("~", text)


def _shortened(text: str) -> str:
    if "/" not in text and "\\" not in text:
        return text

    def shorten(match: re.Match[str]) -> str:
        parts = [part for part in re.split(r"[\\/]+", match[0]) if part not in ("", "~", "file:")]
        return "/".join(parts[-2:])

    return _ABSOLUTE.sub(shorten, _homeless(text))
