"""Weight files without their weights: which there should be, whether they are whole, what their headers say."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# Names of dtypes in safetensors' headers, and on the Hub -> of torch.
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
BYTES = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int8": 1,
}
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt"})
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.[A-Za-z]+)")
_LONGEST_HEADER = 100_000_000  # as safetensors itself
# What Git leaves in place of a large file that was not fetched.
_POINTER = b"version https://git-lfs"


@dataclass
class WeightFacts:
    """What the weight files of a folder say.

    Attributes:
        parameters: numbers in all safetensors files; None where there are none.
        dtype: the one that most of them have.
        faults: what is wrong with a file, one text each.
    """

    parameters: int | None = None
    dtype: str | None = None
    faults: list[str] = field(default_factory=list)


def read_weight_files(files: Iterable[Path]) -> WeightFacts:
    """Read the headers of safetensors files, and see whether each file is as long as its header says.

    Args:
        files: any files; those that hold no weights are passed over.
    """
    facts, counts = WeightFacts(), Counter[str]()
    for path in files:
        if path.suffix not in WEIGHTS:
            continue
        try:
            fault = _fault(path, counts)
        except OSError as error:
            fault = f"cannot be read: {error.strerror or error}"
        if fault is not None:
            facts.faults.append(f"{path.name} {fault}")
    if counts:
        facts.parameters = sum(counts.values())
        facts.dtype = main_dtype(counts)
    return facts


def main_dtype(counts: Mapping[str, int]) -> str | None:
    """The dtype of most parameters, by torch's name.

    Args:
        counts: safetensors' name of a dtype -> number of parameters.
    """
    name = max(counts, key=lambda each: counts[each], default=None)
    return None if name is None else DTYPES.get(name, name.lower())


def _fault(path: Path, counts: Counter[str]) -> str | None:
    """What is wrong with one file; adds its parameters to `counts`."""
    length = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(max(8, len(_POINTER)))
        if start.startswith(_POINTER):
            return "is a pointer of Git LFS: the file itself was not fetched"
        if length == 0:
            return "is empty"
        if path.suffix != ".safetensors":
            return None
        header_bytes = int.from_bytes(start[:8], "little")
        if len(start) < 8 or not 1 < header_bytes <= min(_LONGEST_HEADER, length - 8):
            return "is not a safetensors file, or was cut"
        handle.seek(8)
        try:
            header = json.loads(handle.read(header_bytes))
            tensors = {key: each for key, each in header.items() if key != "__metadata__"}
            end = max((int(each["data_offsets"][1]) for each in tensors.values()), default=0)
            for each in tensors.values():
                number = 1
                for side in each["shape"]:
                    number *= int(side)
                counts[str(each["dtype"])] += number
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return "has a header that cannot be read"
    expected = 8 + header_bytes + end
    if length != expected:
        return f"has {length:,} bytes, its header promises {expected:,}: it was cut"
    return None


def missing_shards(paths: Iterable[str]) -> list[str]:
    """Shards that the others' names promise and that are not there.

    Example:
        >>> missing_shards(["model-00001-of-00002.safetensors"])
        ['model-00002-of-00002.safetensors']
    """
    there = set(paths)
    return sorted({shard for path in there for shard in _siblings(path)} - there)


def _siblings(path: str) -> Iterator[str]:
    match = _SHARD.fullmatch(path)
    if match is not None and f".{match['suffix'].lstrip('.')}" in WEIGHTS:
        for number in range(1, int(match["total"]) + 1):
            yield f"{match['stem']}-{number:05d}-of-{match['total']}{match['suffix']}"


def indexed_shards(folder: Path, paths: Iterable[str]) -> set[str]:
    """Shards that the indices of a folder name, as paths relative to it.

    Args:
        folder: of the model.
        paths: its files, relative to it.
    """
    named: set[str] = set()
    for path in paths:
        if not path.endswith(".index.json"):
            continue
        try:
            weight_map = json.loads((folder / path).read_text(encoding="utf-8"))["weight_map"]
            shards = set(map(str, weight_map.values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        parent = PurePosixPath(path).parent
        named |= {(parent / shard).as_posix() for shard in shards}
    return named
