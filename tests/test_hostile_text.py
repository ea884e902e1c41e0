"""Hostile names on their whole way: files, manifests, score tables, results and the Hub's report, through the commands."""

import csv
import hashlib
import json
import re
import sys
import unicodedata

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from small_results import record, write
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.video import encode_mp4

EVIL = (
    "evil](http://evil) <img src=http://evil/t.png onerror=alert(1)> ![t](http://evil/t.png) <script>x</script>"
    "\x1b[31mX\x1b]0;pwn\x07\u202e\u200b [bold]b[/x]\n\n---\nlicense: mit\n---\n# Injected\n"
)
FILE = "x\x1b[31mRED\x1b]0;PWN\x07\u202e[b][blink]"


def run(*arguments, status=0):
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert done.exit_code == status, (done.output, done.exception)
    check_printed(done.output)
    return done.output


def check_printed(text):
    odd = [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    assert not odd, repr(text)
    assert not re.search(r"^(license: mit|# Injected)$", text, re.MULTILINE)


def check_card(text, *, images=0):
    """The YAML is whole, and a renderer makes only our own elements of the rest."""
    _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    metadata = yaml.safe_load(head)
    assert metadata.get("license") != "mit"
    rendered = MarkdownIt("commonmark").enable("table").render(body)
    assert 'evil/t.png"' not in rendered
    assert not re.search(r"<(script|img[^>]*http|a [^>]*evil)", rendered)
    assert rendered.count("<img") == images
    assert "<h1>Injected" not in rendered
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    return metadata


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "in"
    (folder / "v").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    encode_mp4(pixels, 8, folder / "clip.mp4")
    clip = (folder / "clip.mp4").read_bytes()
    with (folder / "t.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [["caption", "neg_caption", "videopath", "source"]]
            + [
                [f"a dog {n} <b>x</b> ![i](http://evil/p.png)", f"a cat {n}", f"v{n}", "custom"]
                for n in range(3)
            ]
        )
    lines = []
    for n in range(3):
        (folder / "v" / f"{n}.mp4").write_bytes(clip)
        entry = {
            "id": f"custom_v{n}",
            "path": f"{n}.mp4",
            "generator": f"{EVIL} {n}",
            "revision": EVIL,
            "sample": 1,
        }
        lines.append({**entry, "config": {"x": EVIL, "k`y": "a`b|c\\|d"}})
    lines.append({"id": f"nobody {EVIL}", "path": "0.mp4"})
    (folder / "v" / f"{FILE}.mp4").write_bytes(clip)
    (folder / "v" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with (folder / "s.csv").open("w", newline="") as handle:
        header = ["row", "videopath", "model", "neg_caption_score", "caption_score"]
        csv.writer(handle).writerows([header, *([n, f"v{n}", EVIL, 0.7, 0.2] for n in range(3))])
    return folder


def test_build_inspect_and_push(inputs, tmp_path):
    out = tmp_path / "o[" / "b]"  # rich would take the two together for the end of a style
    said = run(
        *("build", "--triplets", inputs / "t.csv", "--synthetic", f"folder:{inputs / 'v'}"),
        *("--vqascores", inputs / "s.csv", "--config", "c", "--out", out),
        status=1,  # rows are set aside
    )
    assert "\\x1b[31mRED" in said
    assert f"{out}" in said
    card = (out / "README.md").read_text()
    check_card(card, images=1)  # our own figure
    assert "\\x1b" in card
    for name in ("build.json", "quarantine.jsonl"):
        text = (out / name).read_text()
        assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    report = json.loads((out / "build.json").read_text())
    assert f"{EVIL} 0" in report["configs"]["c"]["generators"]  # the data itself is as it was given
    assert "o[/b]" in run("inspect", out)
    said = run("push", out, "a/b", "--tag", "v0.1.0", "--dry-run")
    assert "Dry run of a/b" in said


def test_a_folder_without_manifest(inputs, tmp_path):
    (inputs / "v" / "manifest.jsonl").unlink()
    for n in range(3):
        (inputs / "v" / f"{n}.mp4").rename(inputs / "v" / f"custom_v{n}_001.mp4")
    out = tmp_path / FILE
    said = run(
        "build",
        "--triplets",
        inputs / "t.csv",
        "--synthetic",
        f"folder:{inputs / 'v'}",
        "--config",
        "c",
        "--out",
        out,
    )
    assert said.count("\\x1b[31mRED") >= 2  # the unmatched file, and the folder
    check_card((out / "README.md").read_text())
    run("inspect", out)


def test_the_hubs_report_may_not_name_what_it_likes(inputs, tmp_path):
    from synvita_data.builders.dataset.card import render_card
    from synvita_data.builders.publish.folder import parse_report
    from synvita_data.errors import SchemaError

    out = tmp_path / "out"
    run("build", "--triplets", inputs / "t.csv", "--config", "c", "--out", out)
    report = json.loads((out / "build.json").read_text())
    theirs = json.loads(json.dumps(report["configs"]["c"]))
    theirs["options"] |= {"weighting": EVIL, "granularity": EVIL}
    theirs["sources"] = {EVIL: 3}
    theirs["generators"] = {EVIL: {"videos": 3, "revisions": [EVIL], "configs": [EVIL]}}
    theirs["scorers"] = [{"model": EVIL, "revision": EVIL, "method": EVIL, "rows": 3}]
    report["configs"]["theirs"] = theirs
    text = json.dumps(report)
    parse_report(text, file="Hub")
    check_card(render_card(json.loads(text), "a/b", version="v0.1.0"))
    for name in (EVIL, "../x", "a/b", "a b", "<b>"):
        wrong = {**report, "configs": {name: theirs}}
        with pytest.raises(SchemaError, match="cannot be read"):
            parse_report(json.dumps(wrong), file="Hub")


PROGRAM = """
import pathlib, shutil, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
for number, line in enumerate(open(sys.argv[sys.argv.index("--p") + 1], encoding="utf-8"), 1):
    if "cat 1" in line:
        print("auth failed for", sys.argv[sys.argv.index("--key") + 1], "\\x1b[31mX\\x07", file=sys.stderr)
        sys.exit(1)
    shutil.copy(pathlib.Path(__file__).with_name("clip.mp4"), out / f"{number:04d}.mp4")
"""
KEY = "sk-SECRET123"


def published_files(folder):
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


@pytest.mark.slow
def test_a_programs_template_and_words_stay_in_the_work_folder(inputs, tmp_path):
    import pyarrow.parquet as pq

    (inputs / "prog.py").write_text(PROGRAM)
    template = f"{sys.executable} {inputs / 'prog.py'} --key {KEY} --p {{prompts}} --out {{out}}"
    out, videos = tmp_path / "out", tmp_path / "videos"
    build = (
        "build",
        "--triplets",
        inputs / "t.csv",
        "--synthetic",
        f"command:{template}",
        "--config",
        "g",
        "--out",
        out,
    )
    run(*build, status=1)
    said = run(
        "generate",
        "--triplets",
        inputs / "t.csv",
        "--generator",
        f"command:{template}",
        "--out",
        videos,
        status=1,
    )
    assert f"auth failed for {KEY}" in said  # on one's own terminal
    for folder in (out, videos):
        files = published_files(folder)
        assert len(files) >= 4
        for path in files:
            content = path.read_bytes()
            for secret in (KEY, "auth failed", str(inputs), sys.executable, str(tmp_path)):
                assert secret.encode() not in content, (path, secret)
    config = f"{sys.executable.rpartition('/')[2]} prog.py"
    digest = hashlib.sha256(template.encode()).hexdigest()[:16]
    told = [json.loads(line)["config"] for line in (videos / "manifest.jsonl").read_text().splitlines()]
    table = pq.read_table(out / "g/train-00000-of-00001.parquet").to_pylist()
    told += [json.loads(row["generation"]["config"]) for row in table if row["generation"]]
    assert [(each["program"], each["template_digest"]) for each in told] == [(config, digest)] * 4
    assert (
        json.loads((out / "build.json").read_text())["configs"]["g"]["options"]["synthetic"]
        == f"command:{config}"
    )
    [failure] = [json.loads(line) for line in (videos / "quarantine.jsonl").read_text().splitlines()]
    assert (failure["found"], failure["exit_code"]) == ("exit code 1", 1)
    assert KEY in (videos / ".work/quarantine.jsonl").read_text()
    assert KEY in (videos / ".work/recipe.json").read_text()
    assert "Dry run" in run("push", out, "a/b", "--tag", "v0.1.0", "--dry-run")


def test_folders_of_earlier_versions_lose_their_template(inputs, tmp_path):
    template = f"python /data/prog.py --key {KEY} --p {{prompts}} --out {{out}}"
    manifest = inputs / "v/manifest.jsonl"
    lines = [
        {
            "id": f"custom_v{n}",
            "path": f"{n}.mp4",
            "generator": "g",
            "config": {"template": template, "pattern": "x"},
        }
        for n in range(3)
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out"
    build = (
        "build",
        "--triplets",
        inputs / "t.csv",
        "--synthetic",
        f"folder:{inputs / 'v'}",
        "--config",
        "g",
        "--out",
        out,
    )
    run(*build)
    assert not [path for path in published_files(out) if KEY.encode() in path.read_bytes()]
    report = json.loads((out / "build.json").read_text())
    report["configs"]["g"]["options"]["synthetic"] = f"command:{template.rpartition('/')[2]}"
    (out / "build.json").write_text(json.dumps(report))
    done = CliRunner().invoke(app, ["push", str(out), "a/b", "--tag", "v0.1.0", "--dry-run"])
    assert "template" in str(done.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "place"), [("caption", "row 1, column caption"), ("config", "column generation.config")]
)
def test_push_refuses_tokens_and_home_folders_before_anything_is_sent(inputs, tmp_path, where, place):
    def built(text):
        manifest = [
            {
                "id": f"custom_v{n}",
                "path": f"{n}.mp4",
                "generator": "g",
                "config": {"note": text if where == "config" else ""},
            }
            for n in range(3)
        ]
        (inputs / "v/manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in manifest))
        with (inputs / "t.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows(
                [["caption", "neg_caption", "videopath", "source"]]
                + [
                    [
                        f"a dog {n}" + f" {text}" * (n == 1 and where == "caption"),
                        f"a cat {n}",
                        f"v{n}",
                        "custom",
                    ]
                    for n in range(3)
                ]
            )
        out = tmp_path / hashlib.sha256(text.encode()).hexdigest()[:8]
        run(
            "build",
            "--triplets",
            inputs / "t.csv",
            "--synthetic",
            f"folder:{inputs / 'v'}",
            "--config",
            "g",
            "--out",
            out,
        )
        return ["push", str(out), "a/b", "--tag", "v0.1.0", "--dry-run"]

    push = built("ghp_" + "a1B2c3D4e5" * 4)
    for more in ([], ["--allow-home-folders"]):
        done = CliRunner().invoke(app, [*push, *more])
        assert place in str(done.exception)
        assert "g/train-00000-of-00001.parquet" in str(done.exception)
        assert "GitHub token" in str(done.exception)
    push = built("/home/anna/x.mp4")
    done = CliRunner().invoke(app, push)
    assert place in str(done.exception)
    assert "home folder" in str(done.exception)
    assert "Dry run" in run(*push, "--allow-home-folders")


def test_leaderboard(tmp_path):
    write(tmp_path, "one/videocon-llm.json", record(EVIL, "videocon-llm", 80.0, 79.0, 81.0))
    write(tmp_path, "two/videocon-llm.json", record("m", "videocon-llm", 70.0, why=(EVIL,)))
    write(tmp_path, "three/videocon-llm.json", record("n", EVIL, 70.0))
    write(tmp_path, f"four/{FILE}.json", "{")
    run("leaderboard", tmp_path)
    made = run("leaderboard", tmp_path, "--markdown", "-", "--no-published")
    rendered = MarkdownIt("commonmark").enable("table").render(made)
    assert not re.search(r"<(img|script|a |h1)", rendered)
    made = run("leaderboard", tmp_path, "--json", tmp_path / "b.json")
    text = (tmp_path / "b.json").read_text()
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    assert EVIL in [row["model"] for row in json.loads(text)["rows"]]


def test_annotations_and_evaluate(tmp_path):
    published = tmp_path / FILE / f"eval_{FILE}.csv"
    published.parent.mkdir()

    def wrote(*captions):
        with published.open("w", newline="") as handle:
            rows = [
                [f"v/{v}.avi", text, int(v % 2 == t)] for v in range(4) for t, text in enumerate(captions)
            ]
            csv.writer(handle).writerows([["videopath", "caption", "match"], *rows])
        return ("--task", "ssv2-temporal", "--annotations", published)

    out = tmp_path / "packed"
    pack = ("annotations", *wrote("Doing <b>a</b> ![t](http://evil/t.png)", "Doing b"), "--out", out)
    run(*pack)
    check_card((out / "README.md").read_text())
    said = run(
        "evaluate", "chance", *pack[1:5], "--out", tmp_path / "results", "--name", EVIL, "--resamples", 5
    )
    assert "\\x1b[31mX" in said
    run("leaderboard", tmp_path / "results")

    before = (out / "README.md").read_bytes()
    for text, kind in (("ghp_" + "a1B2c3D4e5" * 4, "GitHub token"), ("/home/anna/x", "home folder")):
        done = CliRunner().invoke(
            app, [str(word) for word in ("annotations", *wrote("Doing a", text), "--out", out)]
        )
        assert kind in str(done.exception)
        assert "column caption" in str(done.exception)
        assert (out / "README.md").read_bytes() == before
        assert not list(out.rglob(".part-*"))
    run("annotations", *wrote("Doing a", "/home/anna/x"), "--out", out, "--allow-home-folders")


def test_model_card():
    from synvita_data.training.publish import render_model_card

    made = {
        "recipe": {"name": EVIL, "about": EVIL, "changed": [EVIL], "weighting": EVIL, "seed": 1},
        "model": {"name": EVIL, "revision": EVIL, "family": EVIL, "prompt": EVIL, "frames": EVIL},
        "data": {"path": EVIL, "config": EVIL, "split": EVIL, "build": EVIL, "counts": {EVIL: 3}},
        "processes": 1,
        "evaluations": [{f"eval_auc {EVIL}": 50.0, "step": EVIL}],
        "versions": {EVIL: EVIL},
    }
    for repo in (None, "a/b"):
        metadata = check_card(render_model_card(made, repo))
        assert "base_model" not in metadata
    check_card(render_model_card({**made, "recipe": {**made["recipe"], "changed": []}}))
