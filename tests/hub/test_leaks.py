"""Tokens and home folders in what is about to be published: found with their place, and no false alarms on real rows."""

import csv
import json
import random
import string
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import small_rows, write_shard

from synvita_data.hub.card import code, markdown
from synvita_data.hub.leaks import PLACE, TOKEN, LeakError, find_leaks, leaks_of, refuse_leaks, scan
from synvita_data.hub.repo import LocalFile
from synvita_data.schema import arrow_schema, make_pair_id

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"
SHARED = next(
    (each / "shared/data" for each in Path(__file__).resolve().parents if (each / "shared/data").is_dir()),
    SHARED,
)
ALNUM = string.ascii_letters + string.digits


def made(seed, length, alphabet=ALNUM):
    return "".join(random.Random(seed).choices(alphabet, k=length))


TOKENS = {
    "hugging face": "hf_" + made(1, 34),
    "openai": "sk-" + made(2, 48),
    "openai project": "sk-proj-" + made(3, 60, ALNUM + "_-"),
    "anthropic": "sk-ant-api03-" + made(4, 90, ALNUM + "_-"),
    "short": "sk-SECRET123",
    "github": "ghp_" + made(5, 36),
    "github app": "ghs_" + made(6, 36),
    "github fine": "github_pat_" + made(7, 22) + "_" + made(8, 59),
    "npm": "npm_" + made(28, 36),
    "gitlab": "glpat-" + made(9, 20),
    "aws": "AKIA" + made(10, 16, string.ascii_uppercase + string.digits),
    "aws secret": "aws_secret_access_key = " + made(11, 40, ALNUM + "/+"),
    "google": "AIza" + made(12, 35, ALNUM + "_-"),
    "google token": "ya29." + made(13, 60, ALNUM + "_-"),
    "slack": "xoxb-" + made(14, 11, string.digits) + "-" + made(15, 24),
    "jwt": f"eyJ{made(16, 30)}.eyJ{made(17, 60)}.{made(18, 40)}",
    "bearer": "Authorization: Bearer " + made(19, 40),
    "bearer alone": "bearer " + made(20, 40),
    "basic": "Authorization: Basic " + made(21, 24),
    "key=": "run --url x?key=" + made(22, 32),
    "token=": "token=" + made(23, 40),
    "password=": "password=hunter2hunter2",
    "PASSWORD:": 'DB_PASSWORD: "s3cretpassw0rd"',
    "--token": "prog.py --token " + made(24, 20),
    "--api-key": "prog.py --api-key=" + made(25, 20),
    "json": '{"api_key": "' + made(26, 20) + '"}',
    "url": "postgres://me:secret@db.example.org/x",
    "git url": f"https://{made(27, 40)}@github.com/a/b",
    "azure sas": "https://x.blob.core.windows.net/c/v.mp4?sv=2020-08-04&ss=b&sig="
    + made(30, 44)
    + "%3D&se=2030",
    "cloudfront": "https://d1.cloudfront.net/v.mp4?Expires=17&Signature=" + made(31, 80),
    "aws json": '{"SecretAccessKey": "' + made(32, 40, ALNUM + "/+") + '"}',
    "curl": "curl -u anna:" + made(33, 14) + " https://example.org",
    "slack hook": "https://hooks.slack.com/services/T00000000/B00000000/" + made(34, 24),
    "discord hook": "https://discord.com/api/webhooks/1234567890/" + made(35, 60),
    "telegram": "123456789:AA" + made(36, 33),
    "sendgrid": "SG." + made(37, 22) + "." + made(38, 43),
    "hub org": "api_org_" + made(39, 34),
    "digitalocean": "dop_v1_" + made(40, 64, "0123456789abcdef"),
    "runway": "key_" + made(41, 128, "0123456789abcdef"),
    "pem": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "pgp": "-----BEGIN PGP PRIVATE KEY BLOCK-----",
}
HOMES = [
    "/home/anna/v.mp4",
    "/Users/anna",
    "C:\\Users\\anna\\x",
    "file:///home/anna/x",
    "/root/x",
    "in '/mnt/home/anna'",
    "/mnt/c/Users/anna/x",
    "/c/Users/anna/x",
    "/homes/anna/x",
    "/home2/anna",
    "/net/home01/anna/x",
    "/users/anna/x",
    "/gpfs/users/anna",
    "/Volumes/My Disk/Users/anna/x",
    "\\\\server\\Users\\anna\\x",
    "\\\\wsl$\\Ubuntu\\home\\anna\\x",
    "a program 2>/home/anna/log",
    "cc -I/home/anna/include",
]
HARMLESS = [
    "a ring bearer walks congratulatorily down the aisle",
    "a man at home/work opens the door with a key = no token: nothing",
    "the secret: a woman hides a password-protected treasure chest",
    "https://www.youtube.com/watch?v=sk-aBcD3fGh&list=PL0123456789",
    "https://www.youtube.com/@channel:name",
    "https://example.org/home/page and //cdn.example.org/home/x",
    "task-based risk-1234567890",
    "a monkey=banana, turkey: 1234567890abcdefgh",
    '{"key": "' + "0123456789abcdef" * 4 + '", "sha256": "' + "ab" * 32 + '"}',
    '{"pad_token": "<|reserved_special_token_0|>", "eos_token": "</s>"}',
    "the root of /rooted trees, /homeless people, and/or",
    "load_triplets(name, real_root=…)",
    "Basic authorization of a token economy",
    "a page of the design=1234567890abcdefgh, signature: none; the ratio is 10:2000, -u 10:200",
    "GET https://example.org/users/anna and example.org/homes/for/sale",
    "monkey_" + "0123456789abcdef" * 4,
]


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("around", ["{}", "x '{}'", '"{}",', "run {} now", "({})", "a={}"])
def test_tokens_are_found_wherever_they_stand(name, around):
    if around == "a={}" and ("://" in TOKENS[name] or " " in TOKENS[name]):
        around = "a= {}"
    found = find_leaks(around.format(TOKENS[name]))
    assert [kind for kind, *_ in found][:1] == [TOKEN]


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_not_told_whole(name):
    for _, _, shown in find_leaks(TOKENS[name]):
        if "BEGIN" not in shown:
            assert TOKENS[name] not in shown
            assert "secret@" not in shown.removeprefix("postgres://me:")


@pytest.mark.parametrize("text", HOMES)
def test_home_folders_are_found(text):
    assert [kind for kind, *_ in find_leaks(f"made from {text}")] == [PLACE]


def test_the_own_folders_are_found_whatever_they_are_called(tmp_path, monkeypatch):
    home = tmp_path / "cluster users" / "anna"
    work = tmp_path / "project"
    for folder in (home, work):
        folder.mkdir(parents=True)
    assert not find_leaks(f"{home}/x")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    assert [kind for kind, *_ in find_leaks(f"made from {home}/x")] == [PLACE]
    assert [kind for kind, *_ in find_leaks(f'{{"path": "{work}/x.py"}}')] == [PLACE]
    assert not find_leaks(f"{work}s/x")


@pytest.mark.parametrize("text", HARMLESS)
def test_words_are_no_tokens(text):
    assert find_leaks(text) == ()


@given(
    st.text(ALNUM + "_-", min_size=11, max_size=11),
    st.sampled_from(["sk-", "hf_", "AIza", "ghp_", "key", "eyJ", "npm_", "xai-", "r8_", "AKIA", "gsk_", ""]),
    st.integers(0, 600),
)
def test_ids_of_videos_are_no_tokens(youtube, begins, start):
    video = (begins + youtube)[:11]
    pair = make_pair_id("vatex", f"{video}_{start:06d}_{start + 10:06d}", "a dog", "a cat")
    for text in (video, pair, f"{video}_{start:06d}_{start + 10:06d}", f"https://youtu.be/{video}?t={start}"):
        assert find_leaks(text) == (), text


def test_real_rows_raise_no_alarm(tmp_path):
    file = SHARED / "videocon-16k/triplets.csv"
    if not file.is_file():
        pytest.skip("../shared is not here")
    assert list(scan("triplets.csv", file)) == []
    with file.open(newline="", encoding="utf-8") as handle:
        rows = [
            {
                "id": make_pair_id(row["source"], row["videopath"], row["caption"], row["neg_caption"]),
                **{key: row[key] for key in ("source", "videopath", "caption", "neg_caption", "youtube_key")},
            }
            for row in csv.DictReader(handle)
        ]
    assert len(rows) == 16_856
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert list(scan("rows.parquet", tmp_path / "rows.parquet")) == []
    for other in (
        *SHARED.glob("vitatecs/*.jsonl"),
        *SHARED.glob("tempcompass/*.json"),
        *SHARED.glob("ssv2-*/*.csv"),
    ):
        assert list(scan(other.name, other)) == []


TOKEN_HERE = TOKENS["github"]


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("caption", lambda row: row | {"caption": f"a dog {TOKEN_HERE}"}),
        ("generation.config", lambda row: row | {"generation": row["generation"] | {"config": TOKEN_HERE}}),
        (
            "vqascores.model",
            lambda row: row | {"vqascores": [*row["vqascores"], row["vqascores"][0] | {"model": TOKEN_HERE}]},
        ),
        (
            "synthetic_video.path",
            lambda row: row | {"synthetic_video": row["synthetic_video"] | {"path": TOKEN_HERE}},
        ),
        ("video_url", lambda row: row | {"video_url": TOKEN_HERE}),
    ],
)
@pytest.mark.parametrize("at", [0, 7, 8, 19])
def test_parquet_is_looked_through_with_row_and_column(tmp_path, monkeypatch, column, change, at):
    monkeypatch.setattr("synvita_data.hub.leaks.BATCH_ROWS", 8)
    rows = small_rows("lavie", "train", 0, 20)
    rows[at] = change(rows[at])
    write_shard(tmp_path / "x.parquet", rows)
    found = leaks_of(LocalFile("lavie/x.parquet", tmp_path / "x.parquet"))
    assert [(leak.file, leak.place, leak.kind) for leak in found] == [
        ("lavie/x.parquet", f"row {at}, column {column}", TOKEN)
    ]


def test_what_a_video_holds_is_not_text(tmp_path):
    [row] = small_rows("lavie", "train", 0, 1)
    row["synthetic_video"]["bytes"] += TOKEN_HERE.encode()
    write_shard(tmp_path / "x.parquet", [row])
    assert list(scan("x.parquet", tmp_path / "x.parquet")) == []


def test_metadata_maps_dictionaries_and_names_are_looked_through(tmp_path):
    table = pa.table(
        {
            "map": pa.array(
                [[("a", "b")], None, [("k", "v"), ("x", TOKEN_HERE)]], pa.map_(pa.string(), pa.string())
            ),
            "dictionary": pa.array(["a", TOKENS["aws"], None]).dictionary_encode(),
            "deep": pa.array([None, [[{"s": "x"}], [{"s": "/home/anna/x"}]], []]),
        }
    ).replace_schema_metadata({"made by": "/home/anna/prog.py"})
    pq.write_table(table, tmp_path / "x.parquet")
    places = [leak.place for leak in scan("/home/anna/x.parquet", tmp_path / "x.parquet")]
    assert places[:2] == ["its name", "metadata b'made by'"] or places[:2] == [
        "its name",
        "metadata 'made by'",
    ]
    assert {place.split(",")[0] for place in places[2:]} == {"row 1", "row 2"}
    assert len(places) == 5


@pytest.mark.parametrize("before", [0, 1, 99, 200_000])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_lines_are_counted(before, end):
    text = "a line of words\n" * before + f"{{'x': '{TOKEN_HERE}'}}{end}"
    [leak] = scan("card.md", text.encode())
    assert leak.place == f"line {before + 1}"


@pytest.mark.parametrize("before", [0, (1 << 20) - 10, (1 << 22) - 10, (1 << 22) + 5, 9_000_000])
def test_a_line_without_end_hides_nothing(before):
    text = b"x " * (before // 2) + TOKEN_HERE.encode() + b" y" * 3_000_000
    assert {leak.kind for leak in scan("one.json", text)} == {TOKEN}


def test_weights_are_not_read_but_their_header(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(9)}, tmp_path / "x.safetensors", metadata={"from": "/home/anna/model"})
    [leak] = scan("x.safetensors", tmp_path / "x.safetensors")
    assert leak.kind == PLACE


@pytest.mark.parametrize("name", TOKENS)
def test_what_a_card_escapes_is_found_in_it(name):
    card = f"# Title\n\n| a | b |\n| --- | --- |\n| {markdown(TOKENS[name])} | {code(TOKENS[name])} |\n"
    for text in (card, f"x\n\n\n\n{markdown(TOKENS[name])}"):
        assert {(leak.kind, leak.place) for leak in scan("README.md", text.encode())} == {(TOKEN, "line 5")}
    assert [leak.kind for leak in scan("x.json", b'{"path": "\\/home\\/anna\\/x"}')] == [PLACE]
    assert [leak.kind for leak in scan("x.md", markdown("C:\\Users\\anna").encode())] == [PLACE]


def test_a_vocabulary_may_hold_folders_as_words_but_no_token():
    words = json.dumps({"/home/user": 7, TOKEN_HERE: 8}).encode()
    assert {leak.kind for leak in scan("tokenizer.json", words)} == {TOKEN}
    assert {leak.kind for leak in scan("tokenizer_config.json", words)} == {TOKEN, PLACE}


def test_refusing_names_the_place_and_lets_only_homes_pass():
    home, token = LocalFile("b.json", b"{}\n/home/anna/x\n"), LocalFile("a.md", f"\n\n{TOKEN_HERE}".encode())
    refuse_leaks([LocalFile("fine.md", b"nothing here")])
    refuse_leaks([home], allow_home=True)
    with pytest.raises(LeakError, match=r"b\.json.*home folder.*line 2.*allow-home-folders"):
        refuse_leaks([home])
    for allow in (False, True):
        with pytest.raises(LeakError, match=r"a\.md.*GitHub token.*line 3") as caught:
            refuse_leaks([home, token], allow_home=allow)
        assert TOKEN_HERE not in str(caught.value)
    many = LocalFile("m.jsonl", f"{TOKEN_HERE}\n".encode() * 1000)
    with pytest.raises(LeakError, match=r"also at m\.jsonl, line 2"):
        refuse_leaks([many])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Two files, one eight times the other: the process that reads them peaks within the same few megabytes."""
    peaks = []
    for times in (1, 8):
        path = tmp_path / f"{times}.parquet"
        with pq.ParquetWriter(path, arrow_schema()) as writer:
            for part in range(times):
                rows = small_rows("lavie", "train", part * 1500, 1500)
                for row in rows:
                    row["synthetic_video"]["bytes"] += bytes(10_000)
                    row["generation"]["config"] = json.dumps({"words": ["plain"] * 200, "row": row["id"]})
                writer.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()))
        code = (
            "import resource, sys; from pathlib import Path; from synvita_data.hub.leaks import scan; "
            "print(len(list(scan('x.parquet', Path(sys.argv[1])))), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        count, peak = map(int, done.stdout.split())
        assert count == 0
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 50_000  # kilobytes; the larger file has 20 MB of text and 120 MB of videos
