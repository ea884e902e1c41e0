"""Targets: tables, scores, annotations of every form, declarations, mappings, captions, rules, cards, recipes."""

import csv
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import small_annotations as small

from .fuzz import Target
from .program import run_program

TRIPLETS = (
    ("k600/val/eOsIGrDFuuw_000004_000014.mp4", "vatex", "A man runs.", "A man swims.", "train", "action", "He runs.", 0.5),
    ("msr-vtt/video12.mp4", "msr-vtt", 'a "dog", barking', "a cat barking", "test", "object", "", 1.5),
    ("tempo/videos/7.mp4", "tempo", "she sits then stands", "she stands then sits", "test", "flip", "x\ny", 2.0),
    ("shapes/s0-1.mp4", "shapes", "zwei Hunde laufen", "drei Hunde laufen", "validation", "count", "", 0.0),
)  # fmt: skip
TRIPLET_COLUMNS = ("videopath", "source", "caption", "neg_caption", "split", "misalignment", "nle", "start")


def command(*arguments: object) -> Callable[[Path], int]:
    """Runs `synvita ARGUMENTS`, in which `{x}` is the input's file of that name."""
    return lambda folder: run_program(
        *(str(a).replace("{", f"{folder}/").replace("}", "") if "{" in str(a) else a for a in arguments)
    )


def write_rows(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table as CSV, JSON Lines, JSON or Parquet, by its suffix."""
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, records[0].keys())
            writer.writeheader()
            writer.writerows(records)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(records), path)


def _read_triplets(suffix: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from synvita_data.builders.triplets import TripletReader

        reader = TripletReader(folder / f"triplets.{suffix}", split="train", source="custom")
        found = list(reader)
        [error.to_record() for error in reader.report.quarantined]
        return [triplet.pair_id for triplet in found]

    return read


def _triplets() -> Iterable[Target]:
    for suffix in ("csv", "jsonl", "parquet"):
        yield Target(
            f"triplets-{suffix}",
            lambda folder, s=suffix: write_rows(folder / f"triplets.{s}", TRIPLET_COLUMNS, TRIPLETS),  # type: ignore[misc]
            _read_triplets(suffix),
        )


def _scores() -> Iterable[Target]:
    names = ("row", "videopath", "model", "revision", "sample", "neg_caption_score", "caption_score")
    rows = [
        (row, TRIPLETS[row][0], model, "1", 1, 0.75, 0.25)
        for row in range(len(TRIPLETS))
        for model in ("a", "b")
    ]

    def read(folder: Path, suffix: str) -> object:
        from synvita_data.builders.triplets import TripletReader
        from synvita_data.tables.scores import read_scores

        triplets = list(TripletReader(folder / "triplets.csv"))
        table = read_scores(folder / f"scores.{suffix}", triplets)
        return [table.unused, table.problems, table.of_other_videos]

    for suffix in ("csv", "jsonl", "parquet"):

        def make(folder: Path, suffix: str = suffix) -> None:
            write_rows(folder / "triplets.csv", TRIPLET_COLUMNS, TRIPLETS)
            write_rows(folder / f"scores.{suffix}", names, rows)

        if suffix != "jsonl":
            yield Target(f"scores-{suffix}", make, partial(read, suffix=suffix), files=("scores.*",))


# Task -> writes its published files into a folder.
PUBLISHED: dict[str, Callable[[Path], object]] = {
    "videocon-llm": lambda f: small.write_csv(f / "a.csv", small.VIDEOCON_ROWS, small.VIDEOCON_HEADER),
    "videocon-human": lambda f: small.write_csv(f / "a.csv", small.HUMAN_ROWS, small.HUMAN_HEADER),
    "ssv2-temporal": lambda f: small.write_ssv2(f / "a.csv", small.ssv2_pairs()),
    "atp-hard": lambda f: (
        small.write_questions(f / "nextqa-atphard.csv"),
        small.write_statements(f / "nextqa-atphard-statements.csv"),
        (f / "map_vid_vidorID.json").write_text(json.dumps({q[0]: f"1106/{q[0]}" for q in small.QUESTIONS})),
    ),
}
# Form -> what is declared beside name and form, and rows.
DECLARED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "entailment": (
        "columns: {video: video, caption: caption, contrast: neg, misalignment: kind}\nbreakdown: [length]",
        [
            {
                "video": f"v{i}.mp4",
                "caption": f"a dog {i}",
                "neg": f"a cat {i}",
                "kind": "object",
                "length": "short",
            }
            for i in range(4)
        ],
    ),
    "retrieval": (
        "columns: {video: video, caption: caption, label: match}",
        [
            {"video": f"v{i % 3}.mp4", "caption": f"c{i // 3}", "match": int(i % 3 == i // 3)}
            for i in range(9)
        ],
    ),
    "choice": (
        "columns: {video: video, question: question, options: [a, b, c], answer: answer, id: id}\nscored_as: letter",
        [
            {
                "video": f"v{i}.mp4",
                "question": f"what {i}?",
                "a": "x",
                "b": "y",
                "c": "z",
                "answer": "ABC"[i % 3],
                "id": i,
            }
            for i in range(4)
        ],
    ),
    "groups": (
        "columns: {video: [video, video2], caption: [caption, neg]}",
        [
            {"video": f"v{i}.mp4", "video2": f"w{i}.mp4", "caption": f"a dog {i}", "neg": f"a cat {i}"}
            for i in range(4)
        ],
    ),
    "yes_no": (
        "columns: {video: video, question: question, answer: answer}",
        [{"video": f"v{i}.mp4", "question": f"is it {i}?", "answer": ("yes", "no")[i % 2]} for i in range(4)],
    ),
    "pairs": (
        "columns: {video: video, question: question, answer: answer, pair: pair}",
        [
            {"video": f"v{i}.mp4", "question": f"is it {i}?", "answer": ("yes", "no")[i % 2], "pair": i // 2}
            for i in range(4)
        ],
    ),
}
_MORE = "title: Mine\ndescription: of a test\nunchecked: true\n"


def _annotations() -> Iterable[Target]:
    def published(folder: Path, task: str, skip_bad: bool = False) -> object:
        from synvita_data.annotations import read_annotations

        only = [path for path in folder.iterdir() if path.name == "a.csv"]
        return read_annotations(task, only[0] if only else folder, skip_bad=skip_bad).counts()

    def packed(folder: Path, task: str) -> object:
        from synvita_data.annotations import read_annotations

        return read_annotations(task, folder / "test.parquet").counts()

    def pack(folder: Path, task: str, make: Callable[[Path], object]) -> None:
        import tempfile

        from synvita_data.annotations import read_annotations
        from synvita_data.annotations.packed import write_packed

        with tempfile.TemporaryDirectory() as other:
            make(Path(other))
            path = Path(other) / "a.csv"
            write_packed(read_annotations(task, path if path.is_file() else other), folder / "test.parquet")

    for task, make in PUBLISHED.items():
        yield Target(f"annotations-{task}", make, partial(published, task=task))
        yield Target(
            f"packed-{task}", partial(pack, task=task, make=make), partial(packed, task=task), weight=0.7
        )

    def declared(folder: Path, suffix: str, skip_bad: bool) -> object:
        from synvita_data.annotations import read_annotations

        return read_annotations(
            str(folder / "task.yaml"), folder / f"rows.{suffix}", skip_bad=skip_bad
        ).counts()

    def declare(folder: Path, form: str, suffix: str) -> None:
        more, rows = DECLARED[form]
        (folder / "task.yaml").write_text(f"name: mine\nform: {form}\nsource: vatex\n{more}\n{_MORE}")
        write_rows(folder / f"rows.{suffix}", rows[0], [row.values() for row in rows])

    for number, form in enumerate(DECLARED):
        for at, suffix in enumerate(("csv", "jsonl", "json", "parquet")):
            if (number + at) % 2 and suffix != "csv":  # each suffix with three forms; all forms as CSV
                continue
            yield Target(
                f"declared-{form}-{suffix}",
                partial(declare, form=form, suffix=suffix),
                partial(declared, suffix=suffix, skip_bad=bool(number % 2)),
                weight=0.5,
            )


def _texts() -> Iterable[Target]:
    def declaration(folder: Path) -> object:
        from synvita_data.tasks import read_declaration

        return [read_declaration(path).name for path in sorted(folder.glob("*.yaml"))]

    def declarations(folder: Path) -> None:
        from synvita_data.tasks import catalogue

        for path in sorted((Path(catalogue.__file__).parent / "declarations").glob("*.yaml")):
            (folder / path.name).write_bytes(path.read_bytes())

    yield Target("declarations", declarations, declaration, weight=0.6)

    def recipe(folder: Path) -> object:
        from typing import get_type_hints

        from synvita_data.training.config import SynViTAConfig
        from synvita_data.training.recipe import read_recipe

        return read_recipe(folder / "child.yaml", training_types=get_type_hints(SynViTAConfig)).to_dict()

    def recipes(folder: Path) -> None:
        from synvita_data.training.recipe import own_recipes

        texts = [path.read_text() for path in own_recipes().values()]
        (folder / "parent.yaml").write_text(max(texts, key=len))
        (folder / "child.yaml").write_text(
            "extends: parent.yaml\nabout: mine\nbatch: 4\nmargin: 0.2\nseed: 3\n"
        )

    yield Target("recipes", recipes, recipe, weight=0.6)

    def rules(folder: Path) -> object:
        from synvita_data.builders.contrast.rules.tables import Tables

        return Tables(folder).digest

    def tables(folder: Path) -> None:
        from synvita_data.builders.contrast.rules import tables as module

        for path in (Path(module.__file__).parent / "tables").glob("*.yaml"):
            lines = path.read_text().splitlines()
            (folder / path.name).write_text("\n".join(lines[:400] if len(lines) < 400 else lines) + "\n")

    yield Target("contrast-rules", tables, rules, weight=0.2)

    def captions(folder: Path, suffix: str) -> object:
        from synvita_data.builders.contrast.writing.inputs import CaptionReader

        return list(CaptionReader(folder / f"captions.{suffix}", split="train", source="custom"))

    for suffix in ("csv", "json", "jsonl", "parquet"):
        names, rows = TRIPLET_COLUMNS[:3], [row[:3] for row in TRIPLETS]
        yield Target(
            f"captions-{suffix}",
            lambda folder, s=suffix, n=names, r=rows: write_rows(folder / f"captions.{s}", n, r),  # type: ignore[misc]
            partial(captions, suffix=suffix),
            weight=0.6,
        )

    def msr_vtt(folder: Path) -> None:
        content = {
            "videos": [
                {
                    "video_id": f"video{i}",
                    "split": "train",
                    "url": f"https://x/watch?v=abcdefghij{i}",
                    "start time": 1.0,
                    "end time": 9.0,
                }
                for i in range(3)
            ],
            "sentences": [
                {"video_id": f"video{i % 3}", "caption": f"a dog runs {i}", "sen_id": i} for i in range(6)
            ],
        }
        (folder / "captions.json").write_text(json.dumps(content))

    yield Target("captions-msr-vtt", msr_vtt, partial(captions, suffix="json"), weight=0.6)

    def prompts(folder: Path) -> object:
        from synvita_data.builders.contrast.prompts import load_prompts

        return load_prompts(folder / "own").digest

    def prompt_files(folder: Path) -> None:
        import shutil

        from synvita_data.builders.contrast import prompts as module

        shutil.copytree(
            Path(module.__file__).parent, folder / "own", ignore=shutil.ignore_patterns("*.py*", "__py*")
        )

    yield Target("contrast-prompts", prompt_files, prompts, weight=0.3)

    def cards(folder: Path) -> object:
        from synvita_data.hub.card import data_files, declared_rows, default_of, read_card, with_default

        text = (folder / "README.md").read_text(encoding="utf-8")
        card = read_card(text, file="README.md")
        (
            data_files(card.data, file="README.md"),
            declared_rows(card.data, file="README.md"),
            default_of(card.data),
        )
        return with_default(text, "lavie", file="README.md")

    def card(folder: Path) -> None:
        from small_dataset import write_small_dataset

        write_small_dataset(folder)
        for path in list(folder.iterdir()):
            if path.name != "README.md":
                import shutil

                shutil.rmtree(path) if path.is_dir() else path.unlink()

    yield Target("cards", card, cards, documented=(UnicodeDecodeError, OSError))

    def front_matter(folder: Path) -> None:
        card(folder)
        text = (folder / "README.md").read_text()
        (folder / "front.yaml").write_text(text.split("---\n")[1])

    def front(folder: Path) -> object:
        text = (folder / "front.yaml").read_text(encoding="utf-8")
        (folder / "README.md").write_text(f"---\n{text}\n---\nA card.\n")
        return cards(folder)

    yield Target(
        "cards-front-matter",
        front_matter,
        front,
        files=("front.yaml",),
        documented=(UnicodeDecodeError, OSError),
    )

    def mapping(folder: Path, suffix: str) -> object:
        from synvita_data.real_videos.files import read_mapping

        return read_mapping(folder / f"map.{suffix}", folder)

    yield Target(
        "mapping-json",
        lambda folder: (folder / "map.json").write_text(
            json.dumps({row[0]: f"videos/{i}.mp4" for i, row in enumerate(TRIPLETS)})
        ),
        partial(mapping, suffix="json"),
        weight=0.5,
    )
    for suffix in ("csv", "jsonl"):
        yield Target(
            f"mapping-{suffix}",
            lambda folder, s=suffix: write_rows(
                folder / f"map.{s}",
                ("videopath", "path", "trimmed"),
                [(row[0], f"v/{i}.mp4", "true") for i, row in enumerate(TRIPLETS)],
            ),  # type: ignore[misc]
            partial(mapping, suffix=suffix),
            weight=0.5,
        )

    def pairs(folder: Path, suffix: str) -> object:
        from synvita_data.pair_scores.tables import read_pairs, read_texts

        read_texts(folder / "texts.txt")
        return read_pairs(folder / f"pairs.{suffix}", root=folder).pairs

    for suffix in ("csv", "jsonl", "parquet"):

        def make(folder: Path, suffix: str = suffix) -> None:
            names = ("video", "text", "start", "end", "note")
            write_rows(
                folder / f"pairs.{suffix}",
                names,
                [(f"v{i}.mp4", f"a dog {i}", 0.5, 1.5, "") for i in range(4)],
            )
            (folder / "texts.txt").write_text("a dog\na cat\n")

        yield Target(f"pairs-{suffix}", make, partial(pairs, suffix=suffix), weight=0.6)

    def answers(folder: Path) -> object:
        from synvita_data.builders.contrast.answers import read_answer

        text = (folder / "answer.txt").read_text(encoding="utf-8", errors="surrogateescape")
        return read_answer(text, "a dog runs", "object")

    yield Target(
        "contrast-answers",
        lambda folder: (folder / "answer.txt").write_text(
            "**Contrast caption:** a cat runs\nSource: dog\nTarget: cat\nExplanation: It is a dog, not a cat.\n"
        ),
        answers,
        documented=(OSError,),
        weight=0.6,
    )
    yield Target(
        "contrast-answers-json",
        lambda folder: (folder / "answer.txt").write_text(
            json.dumps(
                {
                    "contrast_caption": "a cat runs",
                    "source": "dog",
                    "target": "cat",
                    "explanation": "It is a dog.",
                }
            )
        ),
        answers,
        kinds={"answer.txt": "json"},
        documented=(OSError,),
        weight=0.6,
    )

    def expected(folder: Path) -> object:
        from synvita_data.reproduce.expected import read_expected
        from synvita_data.study.questions import read_questions

        read_questions(folder / "questions.yaml")
        return read_expected(folder / "expected.yaml").choose_rows()

    def expected_files(folder: Path) -> None:
        from synvita_data.reproduce.expected import EXPECTED
        from synvita_data.study.questions import QUESTIONS

        (folder / "expected.yaml").write_bytes(EXPECTED.read_bytes())
        (folder / "questions.yaml").write_bytes(QUESTIONS.read_bytes())

    yield Target("expected-and-questions", expected_files, expected, weight=0.3)


TARGETS = (*_triplets(), *_scores(), *_annotations(), *_texts())
