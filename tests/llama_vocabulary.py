"""LLaMA's own 32,000 tokens, rebuilt from the npm package `llama-tokenizer-js` 1.2.2 (MIT), where it is at hand.

    npm pack llama-tokenizer-js@1.2.2 && tar xzf llama-tokenizer-js-1.2.2.tgz
    SYNVITA_LLAMA_JS=$PWD/package/llama-tokenizer.js make test-all

It is looked for there and in `../shared/data/llama-tokenizer-js/`. Nothing of it is kept in the repository.
"""

import base64
import json
import os
import re
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, processors

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "llama-tokenizer-js"


def llama_js() -> Path:
    """The package's one file; the test that asks is skipped where there is none."""
    places = [Path(os.environ.get("SYNVITA_LLAMA_JS", "/nowhere")), _SHARED / "llama-tokenizer.js"]
    for place in places:
        if place.is_file():
            return place
    pytest.skip("llama-tokenizer-js is not on this machine (tests/llama_vocabulary.py says how to get it)")


@cache
def llama_model(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary, and merges in their order."""
    source = path.read_text(encoding="utf-8")

    def constant(name: str) -> bytes:
        return base64.b64decode(re.search(rf'{name} = "([^"]+)"', source)[1])

    words = constant("llama_vocab_base64").decode("utf-8").split("\n")
    numbers = memoryview(constant("llama_merges_binary")).cast("H")
    merges = [(words[a], words[b]) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    assert len(words) == 32_000
    return {word: number for number, word in enumerate(words)}, merges


@cache
def llama_tokenizer() -> Tokenizer:
    """As LLaMA's sentencepiece model reads a text: a space before it, spaces as ▁, bytes for what is unknown."""
    vocabulary, merges = llama_model(llama_js())
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def save_llama(folder: Path, tokens: tuple[str, ...] = (), **config: object) -> Path:
    """A tokenizer folder as the Hub has them: `tokenizer.json` and `tokenizer_config.json`.

    Args:
        tokens: added special tokens, numbered from 32,000. config: of `tokenizer_config.json`, such as `legacy`.
    """
    tokenizer = Tokenizer.from_str(llama_tokenizer().to_str())
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", *tokens])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | config))
    return folder
