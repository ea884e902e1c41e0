"""What must not be published: tokens, passwords, private keys, and home folders of somebody's machine.

`refuse_leaks(files)` looks through everything that is about to leave, and names the place of what it finds. Every
upload goes through it (`HubRepo.commit`), and a dry run too. Of Parquet the columns of text and the metadata are read, a
batch at a time; of safetensors the header; of other files every line.

The rules are for things that have a form: a prefix with a long random tail, a named value that looks random. Captions are
anybody's words, and ids of YouTube look random too; neither may raise an alarm.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from ..errors import SynvitaError
from ..tables.columns import parquet_errors
from .places import HOME, own_pattern, own_places

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 5
BATCH_ROWS = 4096
CHUNK_BYTES = 1 << 20
# A line without an end is looked through in pieces of this size, which overlap by as much as the longest rule needs.
LONGEST_LINE = 1 << 20
PIECE, OVERLAP = 1 << 16, 1 << 12
# Vocabularies know `/home/user` as a word.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model")
TOKEN, PLACE = "token", "home folder"


class LeakError(SynvitaError):
    """What is about to be published holds what looks like a token, or a place on somebody's machine."""


class Publishable(Protocol):
    """A file to publish: `hub.LocalFile`."""

    @property
    def path(self) -> str:
        """Its name where it is published."""

    @property
    def source(self) -> Path | bytes:
        """A file on disk, or the content."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that was found.

    Attributes:
        file: as it would be published.
        place: `row 3, column caption`, `line 7`.
        kind: TOKEN or PLACE.
        rule: in words.
        shown: a token's beginning, or the place.
    """

    file: str
    place: str
    kind: str
    rule: str
    shown: str


def _any(text: str) -> bool:
    return True


def _random(text: str) -> bool:
    """Letters and digits: no word, and no number."""
    return bool(re.search(r"\d", text) and re.search(r"[A-Za-z]", text)) and len(set(text)) > 5


def _random_or_long(text: str) -> bool:
    return _random(text) or (len(text) >= 32 and len(set(text)) > 10)


def _of_a_key(text: str) -> bool:
    """What `key: …` holds: not a digest, such as build.json's own."""
    return _random(text) and not re.fullmatch(r"[0-9a-f]{16,128}", text)


_START = r"(?<![A-Za-z0-9])"
_START_NO_ID = r"(?<![A-Za-z0-9_-])"  # ids of videos hold `_` and `-` as letters
_VALUE = r"[A-Za-z0-9_\-./+~!@$%^*]"
_SECRET_NAMES = (
    r"api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?access[_-]?key|secret[_-]?key|secret|client[_-]?secret|passw(?:or)?d|passwd|passphrase|pwd"
    r"|access[_-]?token|auth[_-]?token|hf[_-]?token|api[_-]?token|private[_-]?key|account[_-]?key|credentials?"
)
_RULES = tuple(
    (words, re.compile(pattern), holds)
    for words, pattern, holds in (
        ("a Hugging Face token", rf"{_START}hf_([A-Za-z0-9]{{20,}})", _any),
        (
            "a key of OpenAI's form",
            rf"{_START_NO_ID}sk-((?:proj|ant|svcacct|admin|or|live|test)-[A-Za-z0-9_-]{{12,}})",
            _any,
        ),
        ("a key of OpenAI's form", rf"{_START_NO_ID}sk-([A-Za-z0-9]{{20,}})", _any),
        # Nine and more: a video's id of eleven characters may begin with `sk-` too.
        ("a key of OpenAI's form", rf"{_START_NO_ID}sk-([A-Za-z0-9]{{9,}})(?![\w-])", _random),
        ("a GitHub token", rf"{_START}gh[pousr]_([A-Za-z0-9]{{20,}})", _any),
        ("a GitHub token", rf"{_START}github_pat_([A-Za-z0-9_]{{20,}})", _any),
        ("a GitLab token", rf"{_START}glpat-([\w-]{{16,}})", _any),
        ("an AWS key", r"(?<![A-Za-z0-9])AKIA([0-9A-Z]{16})(?![0-9A-Za-z])", _any),
        ("an AWS key", r"(?<![A-Za-z0-9])(?:ASIA|AROA|AIDA)([0-9A-Z]{16})(?![0-9A-Za-z])", _random),
        ("a signed AWS address", r"(?i)X-Amz-(?:Signature|Credential|Security-Token)=([\w%/+=-]{16,})", _any),
        ("a Google key", rf"{_START_NO_ID}AIza([\w-]{{35}})(?![\w-])", _any),
        ("a Google token", rf"{_START}(?:ya29\.|GOCSPX-)([\w-]{{16,}})", _random_or_long),
        ("a Slack token", rf"{_START}xox[abeoprs]-([\w-]{{10,}})", _random_or_long),
        ("a Stripe key", rf"{_START}[srp]k_(?:live|test)_([A-Za-z0-9]{{10,}})", _random_or_long),
        ("an npm or PyPI token", rf"{_START}(?:npm_|pypi-Ag)([A-Za-z0-9]{{30}})", _random_or_long),
        (
            "a key of a model service",
            rf"{_START}(?:gsk_|xai-|r8_|nvapi-)([A-Za-z0-9]{{20,}})",
            _random_or_long,
        ),
        ("a web token (JWT)", rf"{_START}eyJ[\w-]{{8,}}\.(eyJ[\w-]{{8,}}\.[\w-]{{8,}})", _any),
        ("a bearer token", r"(?i)(?<![a-z])bearer[ \t]+([\w.~+/=-]{16,})", _random_or_long),
        (
            "an authorization header",
            r"(?i)(?<![a-z])authorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:basic|token|bearer)[ \t]+(\S{8,})",
            _any,
        ),
        (
            "a password or key with its name",
            rf"(?i)(?<![a-z])(?:{_SECRET_NAMES})[\"']?[ \t]*=[ \t]*[\"']?({_VALUE}{{8,}})",
            _any,
        ),
        (
            "a password or key with its name",
            rf"(?i)(?<![a-z])(?:{_SECRET_NAMES})[\"']?[ \t]*:[ \t]*[\"']?({_VALUE}{{8,}})",
            _random,
        ),
        (
            "a password or key as an option",
            rf"(?i)(?<![\w-])--?(?:[a-z]+-)*(?:{_SECRET_NAMES}|key|token)[ \t=]+[\"']?({_VALUE}{{8,}})",
            _random,
        ),
        (
            "a key or token with its name",
            rf"(?i)(?<![a-z])(?:key|token)[ \t]*=[ \t]*[\"']?({_VALUE}{{16,}})",
            _random_or_long,
        ),
        (
            "a key or token with its name",
            rf"(?i)(?<![a-z])(?:key|token)[\"']?[ \t]*:[ \t]*[\"']?({_VALUE}{{16,}})",
            _of_a_key,
        ),
        (
            "an address with a password",
            r"(?i)(?<![a-z])[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,200}:([^\s/@\"'<>]{1,200})@[\w\[]",
            _any,
        ),
        ("an address with a token", r"(?i)(?<![a-z])https?://([\w.~-]{20,200})@[\w\[]", _random_or_long),
        ("a signed address", r"(?i)[?&;]sig(?:nature)?=([\w%/+=~-]{16,})", _random_or_long),
        (
            "the address of a webhook",
            r"(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/([\w/-]{20,})",
            _any,
        ),
        (
            "a user's password as an option",
            r"(?<![\w-])(?:-u|--user|--proxy-user)[ \t=]+[\"']?[^\s:\"']{1,100}:([^\s\"']{6,})",
            _random,
        ),
        ("a Telegram token", r"(?<!\w)[0-9]{8,10}:(AA[\w-]{32,33})(?![\w-])", _any),
        ("a SendGrid key", r"(?<!\w)SG\.([\w-]{16,32}\.[\w-]{30,})", _random_or_long),
        (
            "a key of a model service",
            rf"{_START}(?:api_org_(?=[A-Za-z0-9]{{30}})|do[opr]_v1_(?=[0-9a-f]{{40}})|key_(?=[0-9a-f]{{64}}))([A-Za-z0-9]+)",
            _any,
        ),
        ("a private key", r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----", _any),
    )
)
# What every rule's text holds, in the words of RE2, which looks through a column at once and cannot look behind.
_COARSE = (
    r"(?i)hf_[a-z0-9]|sk-[a-z0-9]|gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|AROA|AIDA|X-Amz-|AIza|ya29\.|GOCSPX-|xox[abeoprs]-"
    r"|[srp]k_(live|test)_|npm_|pypi-|gsk_|xai-|r8_|nvapi-|eyJ|bearer\s|authorization|passw|passphrase|pwd|secret|credential"
    r"|(key|token)[\"']?(_?id)?[\"']?\s*[:= ]\s*[\"']?[a-z0-9_./+~!@$%^*-]{8}|://[^\s/]*@|PRIVATE KEY"
    r"|sig(nature)?=|/(services|workflows|webhooks)/|-u[ \t=]|-user[ \t=]|:AA|SG\.|api_org_|do[opr]_v1_|key_[0-9a-f]{64}"
    r"|/home[s0-9]*/|/users/|/root/|[a-z]:[\\/]+(users|documents and settings)[\\/]|\\(users|home)\\"
)


def refuse_leaks(files: Iterable[Publishable], *, allow_home: bool = False) -> None:
    """Look through all that is about to be published.

    Args:
        files: what is sent.
        allow_home: let what looks like a home folder pass; a token never does.

    Raises:
        LeakError: naming the first place, and how many more there are.
    """
    found = [leak for file in files for leak in leaks_of(file) if leak.kind == TOKEN or not allow_home]
    if not found:
        return
    found.sort(key=lambda leak: leak.kind != TOKEN)
    first = found[0]
    others = [f"{leak.file}, {leak.place}" for leak in found[1:SHOWN]] + (["…"] if len(found) > SHOWN else [])
    more = (
        "; if it is real, revoke it now, because it lies in files"
        if first.kind == TOKEN
        else ", or let it pass with --allow-home-folders (a recipe: push_home_folders=true)"
    )
    raise LeakError(
        f"what would be published holds {first.rule}",
        file=first.file,
        found=f"{first.shown}, at {first.place}" + (f"; also at {'; '.join(others)}" if others else ""),
        fix=f"Take it out where it came from and make the file again{more}. Nothing was sent",
    )


def leaks_of(file: Publishable) -> tuple[Leak, ...]:
    """The first leaks of each kind in a file; read once, however often it is asked."""
    kept: dict[str, Any] = vars(file)
    key = (own_places(), "leaks")
    if kept.get("_leaks_key") != key:
        kept["_leaks"], kept["_leaks_key"] = _first_ones(scan(file.path, file.source)), key
    found: tuple[Leak, ...] = kept["_leaks"]
    return found


def _first_ones(leaks: Iterator[Leak]) -> tuple[Leak, ...]:
    """Enough to tell: a file may hold one in every row."""
    kept: dict[str, list[Leak]] = {TOKEN: [], PLACE: []}
    for leak in leaks:
        if len(kept[leak.kind]) <= SHOWN:
            kept[leak.kind].append(leak)
        if len(kept[TOKEN]) > SHOWN:
            break
    return (*kept[TOKEN], *kept[PLACE])


def scan(path: str, source: Path | bytes) -> Iterator[Leak]:
    """Every leak in a file and in its name, in order; memory does not grow with the file."""
    for rule in find_leaks(path):
        yield Leak(path, "its name", *rule)
    suffix, words_only = Path(path).suffix.lower(), Path(path).name in _VOCABULARIES
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        if suffix in (".parquet", ".pq"):
            yield from _scan_parquet(path, stream)
        elif suffix == ".safetensors":
            size = int.from_bytes(stream.read(8), "little")
            header = stream.read(size) if size <= 100_000_000 else b""
            yield from _scan_lines(path, BytesIO(header), "header, line")
        else:
            found = _scan_lines(path, stream, "line")
            yield from (leak for leak in found if not (words_only and leak.kind == PLACE))


def _scan_lines(path: str, stream: IO[bytes], what: str) -> Iterator[Leak]:
    """Lines in batches, numbered from 1."""
    number, rest, continued = 0, b"", False
    while True:
        block = stream.read(CHUNK_BYTES)
        lines = (rest + block).split(b"\n")
        rest = lines.pop() if block else b""
        if lines:
            yield from _scan_texts(lines, f"{what} {{}}", number + 1, path, continued)
            number, continued = number + len(lines), False
        if len(rest) > LONGEST_LINE:  # a line without end: piece by piece, under the same number
            yield from _scan_texts([rest], f"{what} {{}}", number + 1, path, continued)
            rest, continued = rest[-OVERLAP:], True
        if not block:
            return


def _unescaped(text: str) -> str:
    """What a line of Markdown shows: `hf\\_…` is a token too."""
    return _BACKSLASH.sub(r"\1", html.unescape(text)) if "\\" in text or "&" in text else text


_BACKSLASH = re.compile(r"\\([!-/:-@\[-`{-~])")
_READ_AS: dict[str, Callable[[str], str]] = {
    ".md": _unescaped,
    ".json": lambda text: text.replace("\\/", "/"),
    ".jsonl": lambda text: text.replace("\\/", "/"),
}


def _scan_texts(texts: Sequence[bytes], form: str, first: int, path: str, continued: bool) -> Iterator[Leak]:
    """Numbered lines; `continued`: the first of them is the rest of one that was looked through already."""
    import pyarrow as pa

    read = _READ_AS.get(Path(path).suffix.lower(), str)
    pieces: list[str] = []
    numbers: list[int] = []
    for number, text in enumerate(texts, start=first):
        cut = _pieces(read(text.decode("utf-8", "replace")), continued and number == first)
        pieces += cut
        numbers += [number] * len(cut)
    array = pa.array(pieces, pa.large_string())
    yield from _scan_array(array, lambda index: form.format(numbers[index]), path)


def _pieces(text: str, continued: bool) -> list[str]:
    """A long text in pieces that overlap: the rules look only at those in which something may be."""
    starts = range(0, max(len(text) - OVERLAP, 1), PIECE - OVERLAP)
    # A piece begins inside a word, for all we know; what begins with it is in the piece before as well.
    return [("x" if start or continued else "") + text[start : start + PIECE] for start in starts]


def _scan_parquet(path: str, stream: IO[bytes]) -> Iterator[Leak]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError):  # whatever it is then
        stream.seek(0)
        yield from _scan_lines(path, stream, "line")
        return
    for key, value in (file.metadata.metadata or {}).items():
        if key != b"ARROW:schema":  # the schema again, in binary
            text = f"{key.decode('utf-8', 'replace')}={value.decode('utf-8', 'replace')}"
            for rule in find_leaks(text):
                yield Leak(path, f"metadata {key.decode('utf-8', 'replace')!r}", *rule)
    columns = _text_columns(file)
    row = 0
    with parquet_errors(path):
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns) if columns else ():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                yield from _scan_column(column, None, name, row, path)
            row += batch.num_rows


def _text_columns(file: Any) -> list[str]:
    """Parquet paths of all text, at any depth; bytes (the videos) are left out."""
    schema = file.schema
    leaves = [schema.column(index) for index in range(len(schema))]
    return [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type in ("STRING", "JSON", "ENUM")
    ]


def _scan_column(
    column: "pa.Array", rows: "pa.Array | None", name: str, first: int, path: str
) -> Iterator[Leak]:
    """Text in a column, in structs and lists of it.

    Args:
        rows: for each entry the row of the batch it belongs to; None where entry and row are the same.
        name: of the column, with dots.
        first: row number of the batch's first row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_struct(kind):
        for index, part in enumerate(kind):
            yield from _scan_column(
                pc.struct_field(column, [index]), rows, f"{name}.{part.name}", first, path
            )
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        parents = pc.list_parent_indices(column)
        of_row = parents if rows is None else rows.take(parents)
        yield from _scan_column(pc.list_flatten(column), of_row, name, first, path)
    elif pa.types.is_map(kind):
        as_list = column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        yield from _scan_column(as_list, rows, name, first, path)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):

        def place(index: int) -> str:
            row = index if rows is None else rows[index].as_py()
            return f"row {first + row}, column {name}"

        yield from _scan_array(column, place, path)


def _scan_array(array: "pa.Array", place: Callable[[int], str], path: str) -> Iterator[Leak]:
    import pyarrow.compute as pc

    suspect = pc.match_substring_regex(array, _COARSE)
    for own in own_places():
        suspect = pc.or_(suspect, pc.match_substring(array, own))
    for index in pc.indices_nonzero(suspect.fill_null(False)).to_pylist():
        for rule in find_leaks(array[index].as_py()):
            yield Leak(path, place(index), *rule)


def find_leaks(text: str) -> tuple[tuple[str, str, str], ...]:
    """(kind, rule in words, what may be shown of it) of each leak in a text."""
    return _find_leaks(text, own_places())


@lru_cache(1024)  # settings of a generator are the same in every row
def _find_leaks(text: str, places: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    found = []
    for words, rule, holds in _RULES:
        for match in rule.finditer(text):
            secret = match[1] if match.re.groups else ""
            if holds(secret):
                # Enough to find it by; what is short would be told whole.
                before = match[0][: match.start(1) - match.start()] if secret else match[0]
                found.append((TOKEN, words, f"{before}{secret[:3] if len(secret) > 11 else ''}…"))
                break
    for words, pattern in (("a home folder", HOME), ("a folder of this machine", own_pattern(places))):
        if pattern is not None and (place := pattern.search(text)) is not None:
            found.append((PLACE, words, place[0]))
            break
    return tuple(found)
