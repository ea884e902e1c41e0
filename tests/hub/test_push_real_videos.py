"""`push_to_hub` of what `load_triplets` gave, against the loopback Hub: no real video arrives, and it loads again."""

import io
import textwrap

import pyarrow.parquet as pq
import pytest
from dataset.test_dataset import HUMAN, MSR_VTT, VATEX, put, row, write_dataset

BYTES = b"REAL-VIDEO-OF-SOMEBODY"
SECRET = "home-of-nobody"
REFERENCE = "elsewhere/trap.webm"

PUSH = """
import os, sys
import datasets
from synvita_data import load_triplets
folder, root = sys.argv[1:]
train = load_triplets(folder, split="train", real_root=root)
kept = train.filter(lambda row: row["weight"] > 0 and row["video_id"] != "1303")
os.chdir(root)  # where the published references would open as files
kept.push_to_hub("synvita/plain")
kept.map(lambda row: {**row, "words": 1}).push_to_hub("synvita/mapped", max_shard_size="1KB")
kept.push_to_hub("synvita/paths", embed_external_files=False)
kept.push_to_hub("synvita/config", "subset", split="test", private=True)
datasets.DatasetDict(train=kept, test=kept.select([0])).push_to_hub("synvita/dict")
load_triplets(folder, real_root=root).push_to_hub("synvita/whole")
load_triplets(folder, split="train").push_to_hub("synvita/rootless")
os.chdir("/")
for repo, config, split in (
    ("plain", None, "train"), ("mapped", None, "train"), ("paths", None, "train"), ("config", "subset", "test"),
    ("dict", None, "train"), ("whole", None, "train"), ("rootless", None, "train"),
):
    again = load_triplets("synvita/" + repo, config, split=split, real_root=root)
    found = [os.path.relpath(row["real_video"]["path"], root) for row in again if row["real_available"]]
    print("FOUND", repo, len(again), *found)
"""


@pytest.mark.slow
def test_no_real_video_is_pushed(loopback_hub, tmp_path):
    from loopback_hub import run_client

    owner = loopback_hub.add_user("synvita")
    clip = "k600/val/abcdefghijk_000004_000014.mp4"
    root = put(tmp_path / SECRET, clip, "video3094.mp4", REFERENCE)
    for file in root.rglob("*.*"):
        file.write_bytes(BYTES)
    rows = [
        row(VATEX, synthetic=b"v1"),
        row(MSR_VTT, synthetic=b"v2", real={"bytes": None, "path": REFERENCE}),
        row(HUMAN),
    ]
    folder = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows, "test": [row(HUMAN)]}})
    done = run_client(
        textwrap.dedent(PUSH), loopback_hub, str(folder), str(root), home=tmp_path, token=owner.token
    )
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert [line[0] for line in found] == [
        "plain",
        "mapped",
        "paths",
        "config",
        "dict",
        "whole",
        "rootless",
    ], done.stderr
    for repo, count, *files in found:
        assert files == [clip, "video3094.mp4"], repo
        assert count == ("3" if repo in ("whole", "rootless") else "2")

    shards = 0
    arrived = [
        content
        for repo in loopback_hub.repos.values()
        for content in (
            *repo.objects.values(),
            *(file.content for commit in repo.commits.values() for file in commit.tree.values()),
        )
    ]
    for content in arrived:
        assert BYTES not in content
        assert SECRET.encode() not in content
        if content[:4] == b"PAR1":
            shards += 1
            for line in pq.read_table(io.BytesIO(content)).to_pylist():
                assert SECRET not in str(line)
                assert line["real_video"] in (
                    None,
                    {"bytes": None, "path": None},
                    {"bytes": None, "path": REFERENCE},
                )
    assert shards >= 9
