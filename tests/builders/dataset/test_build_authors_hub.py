"""The authors' videos in a repository on a Hub of our own: listed before they are fetched, referred to by commit, found
again by `load_triplets`, and pushed without a byte of them. One client process a scenario: each costs seconds."""

import json
import textwrap

import pytest
from loopback_hub import run_client, run_synvita
from released_videos import mp4, write_layout, write_triplets

LAYOUTS = ("nested", "tar", "zip", "parquet")
NAMES = [f"msr-vtt_video{n}_001" for n in range(3)]
VIDEOS = {f"{name}.mp4": mp4(n) for n, name in enumerate(NAMES)}
COMMIT = "c" * 40

PRELUDE = """
    import json, os, sys
    from pathlib import Path
    from synvita_data import load_triplets
    from synvita_data.builders.dataset import BuildOptions, build_dataset
    from synvita_data.errors import SynvitaError

    home = Path.cwd()

    def build(repo, out, **options):
        notes = []
        settings = {"config": "cogvideox", "synthetic": f"hf:{repo}"} | options
        settings |= {"triplets": home / "triplets.csv", "out": home / out, "on_note": notes.append}
        record = build_dataset(BuildOptions(**settings)).record
        return {"authors": record["authors_videos"], "notes": notes, "videos": record["coverage"]["synthetic_video"]}

    def load(out, **options):
        return load_triplets(home / out, "cogvideox", split="train", cache_dir=home / "arrow", **options)

    def read(rows):
        cells = [row["synthetic_video"] for row in rows]
        return [cell and Path(cell["path"]).read_bytes().hex() for cell in cells]

    def refused(call, *arguments, **options):
        try:
            return call(*arguments, **options)
        except SynvitaError as error:
            return f"{type(error).__name__}: {error}"
"""


def run(code, hub, home, *arguments, **environment):
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(code)
    done = run_client(script, hub, *arguments, home=home, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def triplets(tmp_path):
    rows = [(f"video{n}", "msr-vtt", f"a dog runs {n} times", f"a cat runs {n} times") for n in range(4)]
    return write_triplets(tmp_path / "triplets.csv", rows)


def downloads(hub):
    return [request.path.rpartition("/resolve/")[2] for request in hub.log if request.route == "download"]


def test_each_layout_is_listed_referred_to_and_found_again(loopback_hub, tmp_path, triplets):
    for layout in LAYOUTS:
        folder = write_layout(tmp_path / "serve" / layout, layout, VIDEOS)
        (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Videos\n")
        loopback_hub.serve(
            f"authors/{layout}", folder, kind="dataset", sha=COMMIT[:-1] + str(LAYOUTS.index(layout))
        )
    found = run(
        """
        print(json.dumps({
            layout: {"built": build(f"authors/{layout}", layout), "read": read(load(layout))}
            for layout in sys.argv[1:]
        }))
        """,
        loopback_hub,
        tmp_path,
        *LAYOUTS,
    )
    for number, layout in enumerate(LAYOUTS):
        built = found[layout]["built"]
        assert found[layout]["read"] == [*(data.hex() for data in VIDEOS.values()), None], layout
        assert built["videos"] == [3, 4]
        assert (built["authors"]["repository"], built["authors"]["licence"]) == (
            f"authors/{layout}",
            "cc-by-nc-4.0",
        )
        assert built["authors"]["commit"] == COMMIT[:-1] + str(number)
        assert built["authors"]["not_opened"] == (3 if layout == "nested" else 0)
        assert "licence: cc-by-nc-4.0" in built["notes"][0]
        card = (tmp_path / layout / "README.md").read_text()
        assert COMMIT[:-1] + str(number) in card
        assert "referred to, not held here" in card


def test_loose_videos_are_fetched_one_by_one_and_only_when_they_are_read(loopback_hub, tmp_path, triplets):
    """And a commit is kept: what the branch holds later changes nothing. Then the machine goes offline."""
    folder = write_layout(tmp_path / "serve", "loose", VIDEOS)
    loopback_hub.serve("authors/videos", folder, kind="dataset")
    run('print(json.dumps(build("authors/videos", "out")))', loopback_hub, tmp_path)
    assert downloads(loopback_hub) == []
    for path in folder.rglob("*.mp4"):
        path.write_bytes(mp4(9))
    loopback_hub.serve("authors/videos", folder, kind="dataset")
    code = 'print(json.dumps(read(load("out").select([1]))))'
    assert run(code, loopback_hub, tmp_path) == [mp4(1).hex()]
    assert {path.partition("/")[2] for path in downloads(loopback_hub)} == {f"cogvideox/{NAMES[1]}.mp4"}
    said = run(
        """
        rows = load("out")
        print(json.dumps([
            read(rows.select([1])),
            rows["caption"][0],
            refused(lambda: rows[0]["synthetic_video"]),
            refused(build, "authors/videos", "again"),
        ]))
        """,
        loopback_hub,
        tmp_path,
        HF_HUB_OFFLINE="1",
    )
    assert said[:2] == [[mp4(1).hex()], "a dog runs 0 times"]
    assert "not in the cache, and the Hub cannot be used in offline mode" in said[2]
    assert "synthetic_root" in said[2]
    assert "--synthetic-root" in said[3]
    assert all("\n" not in line for line in said[2:])


def test_an_empty_video_is_looked_into_though_its_digest_is_known(loopback_hub, tmp_path, triplets):
    folder = write_layout(tmp_path / "serve", "loose", VIDEOS | {"msr-vtt_video3_001.mp4": b""})
    loopback_hub.serve("authors/videos", folder, kind="dataset")
    built = run('print(json.dumps(build("authors/videos", "out")))', loopback_hub, tmp_path)
    assert built["videos"] == [3, 3]
    (line,) = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert "empty" in json.loads(line)["problem"]


def test_a_downloaded_snapshot_is_the_repository_without_a_network(loopback_hub, tmp_path, triplets):
    """`hf download` leaves links to blobs; rows refer to the repository, and are read from the cache."""
    folder = write_layout(tmp_path / "serve", "nested", VIDEOS)
    loopback_hub.serve("authors/videos", folder, kind="dataset", sha=COMMIT)
    code = """
        from huggingface_hub import snapshot_download
        print(json.dumps(snapshot_download("authors/videos", repo_type="dataset")))
    """
    root = run(code, loopback_hub, tmp_path)
    found = run(
        """
        authors = build("", "out", synthetic=f"root:{sys.argv[1]}")["authors"]
        references = load("out").with_format("arrow")[:]["synthetic_video"].to_pylist()
        print(json.dumps([authors, references, read(load("out")), read(load("out", synthetic_root=sys.argv[1]))]))
        """,
        loopback_hub,
        tmp_path,
        root,
        HF_HUB_OFFLINE="1",
    )
    assert (found[0]["repository"], found[0]["commit"], found[0]["referred"]) == ("authors/videos", COMMIT, 3)
    place = f"hf://datasets/authors/videos@{COMMIT}/data/cogvideox/videos/train"
    assert [cell and cell["path"] for cell in found[1]] == [*(f"{place}/{name}" for name in VIDEOS), None]
    assert found[2] == found[3] == [*(data.hex() for data in VIDEOS.values()), None]


def test_revisions_gates_and_names_that_are_none(loopback_hub, tmp_path, triplets):
    first = loopback_hub.serve(
        "authors/videos", write_layout(tmp_path / "one", "loose", VIDEOS), kind="dataset"
    )
    loopback_hub.serve(
        "authors/videos", write_layout(tmp_path / "two", "loose", VIDEOS, "lavie"), kind="dataset"
    )
    gated = write_layout(tmp_path / "three", "tar", VIDEOS)
    loopback_hub.serve("authors/gated", gated, kind="dataset", gated="manual")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing yet")
    loopback_hub.serve("authors/empty", tmp_path / "empty", kind="dataset")
    said = run(
        """
        print(json.dumps([
            refused(build, f"authors/videos@{sys.argv[1]}", "first")["authors"]["generators"],
            refused(build, "authors/videos", "head", generator="cogvideox"),
            refused(build, "authors/gated", "gated"),
            refused(build, "authors/empty", "empty"),
            refused(build, "authors/nowhere", "nowhere"),
            refused(build, "authors/videos@v9", "v9"),
        ]))
        """,
        loopback_hub,
        tmp_path,
        first.sha,
    )
    assert said[0] == {"cogvideox": 3}
    words = ["3 lavie", "authors/gated", "no videos and no archives", "does not exist", "no version v9"]
    for line, word in zip(said[1:], words, strict=True):
        assert word in line
        assert "\n" not in line


@pytest.mark.slow
def test_a_push_publishes_references_and_no_video(loopback_hub, tmp_path, triplets):
    owner = loopback_hub.add_user("me")
    folder = write_layout(tmp_path / "serve", "zip", VIDEOS)
    commit = loopback_hub.serve("authors/videos", folder, kind="dataset")
    arguments = ["build", "--triplets", "triplets.csv", "--synthetic", "hf:authors/videos", "--out", "out"]
    built = run_synvita(loopback_hub, *arguments, "--config", "cogvideox", home=tmp_path)
    assert built.returncode == 0, built.stderr
    assert "3 synthetic videos referred to" in built.stdout
    assert "licence: none stated" in built.stderr
    pushed = run_synvita(
        loopback_hub, "push", "out", "me/triplets", "--tag", "v0.1.0", home=tmp_path, token=owner.token
    )
    assert pushed.returncode == 0, pushed.stderr
    tree = loopback_hub.repos["dataset", "me/triplets"].resolve("v0.1.0").tree
    assert all(b"ftyp" not in file.content for file in tree.values())
    assert commit.sha.encode() in tree["README.md"].content
    found = run(
        """
        from datasets import load_dataset
        plain = load_dataset("me/triplets", revision="v0.1.0", split="train")
        ours = load_triplets("me/triplets", revision="v0.1.0", split="train")
        subset = ours.filter(lambda row: row["synthetic_video"] is not None)
        subset.push_to_hub("me/subset")
        print(json.dumps([[cell and cell["path"] for cell in plain["synthetic_video"]], read(ours)]))
        """,
        loopback_hub,
        tmp_path,
        HF_TOKEN=owner.token,
    )
    assert (
        found[0][0] == f"zip://train/{NAMES[0]}.mp4::hf://datasets/authors/videos@{commit.sha}/cogvideox.zip"
    )
    assert found[1] == [*(data.hex() for data in VIDEOS.values()), None]
    subset = loopback_hub.repos["dataset", "me/subset"].resolve("main").tree
    assert any(path.endswith(".parquet") for path in subset)
    assert all(b"ftyp" not in file.content for file in subset.values())


def test_a_line_that_breaks_is_one_line_and_the_next_run_ends_it(loopback_hub, tmp_path, triplets):
    """Fetched whole or not at all: a byte that flipped on the way, then a Hub that refuses, then peace."""
    loopback_hub.serve("authors/videos", write_layout(tmp_path / "serve", "tar", VIDEOS), kind="dataset")
    loopback_hub.fail("download", how="flip", path="*.tar", times=2)  # it is asked for, then fetched
    loopback_hub.fail("download", how=403, path="*.tar", times=9)  # from then on
    code = """
        print(json.dumps([refused(build, "authors/videos", "out", embed_synthetic=True) for _ in range(2)]))
        """
    said = run(code, loopback_hub, tmp_path)
    assert "other bytes than the Hub announces" in said[0]
    assert "authors/videos" in said[1]
    assert all("\n" not in line for line in said)
    loopback_hub.repair()
    built = run(
        'print(json.dumps(build("authors/videos", "out", embed_synthetic=True)))', loopback_hub, tmp_path
    )
    assert built["videos"] == [3, 4]
    assert built["authors"]["embedded"] == 3
