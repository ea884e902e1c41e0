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


def without_places(value: Any) -> Any:
    """Text, or JSON with text in it, whose absolute paths are cut to their last two parts and name no home folder."""
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, Mapping):
        return {key: without_places(each) for key, each in value.items()}
    return [without_places(each) for each in value] if isinstance(value, (list, tuple)) else value


def short_path(path: str | Path) -> str:
    """Of a path the last folder and the name, without anybody's home folder; `owner/name` stays as it is."""
    parts = re.split(r"[\\/]+", _homeless(str(path)).removeprefix("~"))
    return "/".join([part for part in parts if part not in ("", "..", ".")][-2:])


def without_own_places(record: Mapping[str, Any]) -> dict[str, Any]:
    """A quarantine record (`SynvitaError.to_record`) as it may be published."""
    shown = {key: value if key in _NO_TEXT else without_places(value) for key, value in record.items()}
    if isinstance(record.get("file"), str):
        shown["file"] = short_path(record["file"])
    return shown


# Keys of records that hold names and never sentences.
_NO_TEXT = frozenset({"stage", "id", "config", "reason", "file", "row", "sample", "videos"})


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
