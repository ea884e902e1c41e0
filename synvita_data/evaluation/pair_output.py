"""What `synvita score` writes: the table that it read with `score`, `kind`, `model` and `error` behind its columns, and
beside it a note that says how the scores came about."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..display import json_text, plain
from ..errors import SchemaError, StoreError, SynvitaError
from ..files import atomic_path, read_json, write_atomic
from ..hub.places import without_places
from ..jobs import work_key
from ..scoring import Scorer
from .pair_tables import PairTable
from .pairs import PairScores
from .run import check_writable
from .scoring import scorer_facts

OUT_SUFFIXES = (".csv", ".jsonl", ".parquet")
_NOTE_VERSION = "1.0"


def claim_out(
    out: Path, table: PairTable, scorer: Scorer, *, overwrite: bool = False, own: Sequence[Path] = ()
) -> Path:
    """Note beside `out` which run writes it; refuse a file of another run.

    Args:
        out: the table to write.
        table: what is scored.
        scorer: the model.
        overwrite: take the name whatever is there.
        own: files that are read and must not be written.

    Returns:
        The note, `<out>.json`: how the scores came about.

    Raises:
        StoreError: `out` is a file of another run, or of nobody's, or one that is read; its folder cannot be written.
        SchemaError: another suffix than OUT_SUFFIXES.
    """
    check_out(out)
    note = out.with_name(f"{out.name}.json")
    if {out.resolve(), note.resolve()} & {path.resolve() for path in (table.source, *own)}:
        raise StoreError("the scores would replace what is read", file=out, fix="Name another --out")
    check_writable(out.parent)
    facts = run_facts(table, scorer)
    if not overwrite:
        _refuse_other(out, note, facts)
    if not note.is_file() or read_json(note, "the note beside the scores") != facts:
        write_atomic(note, json_text(facts, indent=1, sort_keys=True) + "\n")
    return note


def check_out(out: Path) -> None:
    """Refuse a name that no table of scores can have.

    Raises:
        SchemaError: another suffix than OUT_SUFFIXES, or a folder.
    """
    if out.suffix.lower() not in OUT_SUFFIXES:
        raise SchemaError("scores are not written in this format", file=out, expected=", ".join(OUT_SUFFIXES))
    if out.is_dir():
        raise SchemaError("the scores would be written to a folder", file=out, fix="Name a file with --out")


def run_facts(table: PairTable, scorer: Scorer) -> dict[str, Any]:
    """What the note beside a table of scores says: model, prompt, frames, settings, and what was scored."""
    facts = {
        "schema_version": _NOTE_VERSION,
        "source": table.source.name,
        # Which file, or folder with which texts; tables may grow.
        "source_key": work_key(path=str(table.source.resolve()), texts=table.texts)[:16],
        **scorer_facts(scorer),
    }
    said: dict[str, Any] = json.loads(json.dumps(facts))  # as it is read back: no tuples
    return said


def _refuse_other(out: Path, note: Path, facts: Mapping[str, Any]) -> None:
    fix = "Name another --out, or replace it with --overwrite"
    if not note.is_file():
        if out.exists():
            raise StoreError("there is a file already that no run of synvita score wrote", file=out, fix=fix)
        return
    there = read_json(note, "the note beside the scores", error=StoreError)
    if differing := [name for name in {**facts, **there} if facts.get(name) != there.get(name)]:
        raise StoreError(
            "the file belongs to another run",
            file=out,
            found=", ".join(f"{name} {there.get(name)!r}" for name in differing),
            expected=", ".join(f"{name} {facts.get(name)!r}" for name in differing),
            fix=fix,
        )


def write_pairs(out: Path, table: PairTable, found: PairScores, facts: Mapping[str, Any]) -> None:
    """Write the rows with their scores, in their order: all of it or nothing, in the format that the suffix names.

    Args:
        out: the table to write.
        table: what was scored.
        found: its scores.
        facts: `run_facts` of this run.

    Raises:
        StoreError: another run has taken the name meanwhile.
    """
    _refuse_other(out, out.with_name(f"{out.name}.json"), facts)
    scores = [None if math.isnan(value) else value for value in found.scores.tolist()]
    errors = [
        None if place not in found.errors else reason_of(found.errors[place], table.root)
        for place in range(len(scores))
    ]
    own: dict[str, Sequence[Any]] = {
        "score": scores,
        "kind": [found.kind] * len(scores),
        "model": [found.model] * len(scores),
        "error": errors,
    }
    if out.suffix.lower() == ".parquet":
        _write_parquet(out, table, own)
        return
    columns = [*table.columns, *own]
    rows = (
        {**row, **{name: values[place] for name, values in own.items()}}
        for place, row in enumerate(table.rows)
    )
    if out.suffix.lower() == ".jsonl":
        lines = (
            json_text({name: _json_cell(cell) for name, cell in row.items()}, default=str) for row in rows
        )
        write_atomic(out, "".join(f"{line}\n" for line in lines))
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    write_atomic(out, text.getvalue())


def reason_of(error: SynvitaError, root: Path) -> str:
    """Why a row has no score, in one line that names no place on this machine."""
    record = error.to_record()
    found = f" ({record['found']})" if "found" in record else ""
    return plain(without_places(f"{record['reason']}: {record['problem']}{found}", root))


def _json_cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json_text(value, default=str) if isinstance(value, dict | list | bool) else str(value)


def _write_parquet(out: Path, table: PairTable, own: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = table.arrow
    if written is None:
        written = pa.table(
            {name: _arrow_column([row.get(name) for row in table.rows]) for name in table.columns}
        )
    kinds = {"score": pa.float64()}
    for name, values in own.items():
        written = written.append_column(name, pa.array(values, kinds.get(name, pa.string())))
    with atomic_path(out) as temporary:
        pq.write_table(written, temporary, compression="zstd")


def _arrow_column(values: list[Any]) -> Any:
    """Values of JSON or CSV as Arrow has them; as text where they have no one type."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else _csv_cell(value) for value in values], pa.string())
