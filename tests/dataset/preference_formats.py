"""Strict validators of the three formats, written from their documentation (docs/export.md) and from no code of ours.

Each takes the folder of an export and returns its samples as (question, chosen answer, rejected answer, video of the
chosen one, video of the rejected one, columns beside), and fails where the program would refuse or drop a sample.
"""

import json
from pathlib import Path

BESIDE = {"id", "kind", "misalignment", "weight"}


def lines_of(path: Path) -> list[dict]:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def beside(line: dict) -> dict:
    return {key: line[key] for key in BESIDE}


def ms_swift(folder: Path, split: str) -> list[tuple]:
    """Custom-dataset.md: messages of user and assistant, as many <video> as videos, absolute paths, and since 3.8 the
    same for `rejected_messages` with its own `rejected_videos`."""
    samples = []
    for line in lines_of(folder / f"{split}.jsonl"):
        assert line.keys() == {"messages", "videos", "rejected_messages", "rejected_videos"} | BESIDE
        found = []
        for prefix in ("", "rejected_"):
            messages, videos = line[f"{prefix}messages"], line[f"{prefix}videos"]
            assert [message["role"] for message in messages] == ["user", "assistant"]
            assert all(message.keys() == {"role", "content"} for message in messages)
            question, answer = (message["content"] for message in messages)
            assert question.count("<video>") == len(videos) == 1
            assert question.startswith("<video>")
            assert "<video>" not in answer
            assert Path(videos[0]).is_absolute()
            assert Path(videos[0]).is_file()
            found.append((question.removeprefix("<video>"), answer, videos[0]))
        (question, chosen, video), (again, rejected, other) = found
        assert question == again
        assert (chosen, video) != (rejected, other)  # else there is nothing to prefer
        samples.append((question, chosen, rejected, video, other, beside(line)))
    return samples


def llama_factory(folder: Path, split: str) -> list[tuple]:
    """data/README.md: a preference dataset in sharegpt format, an odd number of messages, the tags of the default; the
    dataset is described in dataset_info.json, media are below the folder or absolute."""
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))[f"synvita_{split}"]
    assert info.keys() == {"file_name", "formatting", "ranking", "columns"}
    assert (info["formatting"], info["ranking"]) == ("sharegpt", True)
    columns = info["columns"]
    assert columns.keys() == {"messages", "chosen", "rejected", "videos"}
    data = json.loads((folder / info["file_name"]).read_text("utf-8"), parse_constant=refuse)
    assert isinstance(data, list)
    samples = []
    for line in data:
        assert line.keys() == {*columns.values()} | BESIDE
        messages, videos = line[columns["messages"]], line[columns["videos"]]
        chosen, rejected = line[columns["chosen"]], line[columns["rejected"]]
        assert [message["from"] for message in (*messages, chosen, rejected)] == ["human", "gpt", "gpt"]
        assert all(message.keys() == {"from", "value"} for message in (*messages, chosen, rejected))
        question = messages[0]["value"]
        assert question.count("<video>") == len(videos) == 1
        video = str(folder / videos[0])  # which leaves an absolute path as it is
        assert Path(video).is_file()
        assert chosen["value"] != rejected["value"]
        question = question.removeprefix("<video>")
        samples.append((question, chosen["value"], rejected["value"], video, video, beside(line)))
    return samples


def trl(folder: Path, split: str) -> list[tuple]:
    """dataset_formats.md: conversational preference with an explicit prompt, and `images`: ours name frames."""
    samples = []
    for line in lines_of(folder / f"{split}.jsonl"):
        assert line.keys() == {"prompt", "chosen", "rejected", "images"} | BESIDE
        texts = {}
        for column, role in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant")):
            (message,) = line[column]
            assert message.keys() == {"role", "content"}
            assert message["role"] == role
            assert isinstance(message["content"], str)
            texts[column] = message["content"]
        assert texts["chosen"] != texts["rejected"]
        images = line["images"]
        assert [image["frame"] for image in images] == list(range(images[0]["frames"]))
        (video,) = {str(folder / image["video"]) for image in images}
        assert Path(video).is_file()
        samples.append((*texts.values(), video, video, beside(line)))
    return samples


VALIDATORS = {"ms-swift": ms_swift, "llama-factory": llama_factory, "trl": trl}
