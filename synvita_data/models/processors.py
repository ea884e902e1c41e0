"""The processor of a checkpoint, also where its files are of an earlier layout than the installed transformers reads.

Repositories live longer than the names in them. Two things would fail, or be passed over without a word:

- `preprocessor_config.json` names its class as it was called then (`CLIPFeatureExtractor`, `Qwen2_5_VLImageProcessor`);
- LLaVA-OneVision kept its video settings in `video_processor/preprocessor_config.json`, and transformers 5 takes those
  of its images instead.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..display import get_logger
from ..files import read_json
from .resolve import ModelFiles

PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
VIDEO_PREPROCESSOR = "video_preprocessor_config.json"
VIDEO_FOLDER = "video_processor"
# What a processor is made of; weights and a Trainer's pickles are not.
_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "qformer_tokenizer/*", "additional_chat_templates/*")
# Name in a file -> today's, of the same arithmetic.
RENAMED = {"Qwen2_5_VLImageProcessor": "Qwen2VLImageProcessor"}
_log = get_logger(__name__)


class LoadedProcessor(NamedTuple):
    """A processor, and what of it is not as transformers alone would have made it.

    Attributes:
        processor: of transformers.
        video_settings: 8 hex digits of the video settings where they are from `video_processor/` and differ from
            those that transformers takes, for revisions; else None.
    """

    processor: Any
    video_settings: str | None


def load_processor(name: str, revision: str | None = None) -> LoadedProcessor:
    """The processor of a folder or of a repository of the Hub, whose settings must be on this machine (`download.fetch_settings`).

    Args:
        name: folder or Hub id.
        revision: commit, tag or branch on the Hub.

    Raises:
        HubError: the Hub cannot be asked. OSError, ValueError: as transformers' `AutoProcessor` raises them.
    """
    from transformers import AutoProcessor

    files = ModelFiles(name, revision)
    old = _old_class(files)
    if old is None:
        processor = AutoProcessor.from_pretrained(files.source, revision=revision, local_files_only=True)
        _name_by(processor, files.source, files.location)
    else:
        processor = _with_todays_name(files, *old)
    return LoadedProcessor(processor, _take_video_settings(files, processor))


def _old_class(files: ModelFiles) -> tuple[dict[str, Any], str] | None:
    """`preprocessor_config.json` and today's name of its class, where that is another; else None."""
    settings = _read(files, PREPROCESSOR)
    named = str(settings.get("image_processor_type", ""))
    today = RENAMED.get(named, named.replace("FeatureExtractor", "ImageProcessor"))
    return None if today == named else (settings, today)


def _with_todays_name(files: ModelFiles, settings: Mapping[str, Any], today: str) -> Any:
    """The processor of a copy of the small files, in which the class has today's name."""
    from transformers import AutoProcessor

    _log.warning("%s: %s is now %s", files.location, settings["image_processor_type"], today)
    source = files.snapshot(_FILES)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for path in (path for pattern in _FILES for path in source.glob(pattern) if path.is_file()):
            target = copy / path.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
        (copy / PREPROCESSOR).write_text(json.dumps({**settings, "image_processor_type": today}))
        processor = AutoProcessor.from_pretrained(copy)
    _name_by(processor, folder, files.location)
    return processor


def _name_by(processor: Any, folder: str, name: str) -> None:
    """Have the parts of a processor say `name` where they say the folder that they were read from."""
    for part in vars(processor).values():
        if folder != name and getattr(part, "name_or_path", None) == folder:
            part.name_or_path = name


def _take_video_settings(files: ModelFiles, processor: Any) -> str | None:
    """Give the processor the video settings of the sub-folder, where the checkpoint has them nowhere else.

    Returns:
        A digest of them where they differ from what the processor had.
    """
    before = getattr(processor, "video_processor", None)
    inside = f"{VIDEO_FOLDER}/{PREPROCESSOR}"
    if before is None or VIDEO_FOLDER in _read(files, PROCESSOR) or _read(files, VIDEO_PREPROCESSOR):
        return None
    if not _read(files, inside):
        return None
    own = type(before).from_pretrained(
        files.source, revision=files.revision, subfolder=VIDEO_FOLDER, local_files_only=True
    )
    was, now = _comparable(before), _comparable(own)
    if was == now:
        return None
    different = sorted(key for key in {**was, **now} if was.get(key) != now.get(key))
    shown = ", ".join(f"{key} {now.get(key)} (images: {was.get(key)})" for key in different[:3])
    _log.warning("%s: videos are prepared as %s says: %s", files.location, inside, shown)
    processor.video_processor = own
    return hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:8]


def _comparable(video_processor: Any) -> dict[str, Any]:
    """Settings of a video processor, without the names of classes."""
    settings: dict[str, Any] = json.loads(video_processor.to_json_string())
    return {key: value for key, value in settings.items() if not key.endswith(("_type", "_class"))}


def _read(files: ModelFiles, file: str) -> dict[str, Any]:
    """A JSON file of the model; empty where it has none, or none is cached and the Hub cannot be asked."""
    path = files.find_if_there(file)
    return {} if path is None else read_json(path, "a model's settings")
