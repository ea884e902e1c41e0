"""Tiny models of text alone: a chat model, and a classifier of natural language inference; as in `video_models`."""

from typing import Any

import transformers as hf

from .sizes import Sizes
from .tokenizer import bert_tokenizer, qwen_tokenizer
from .video_models import language_model, qwen_chat_template

NLI_LABELS = ("contradiction", "neutral", "entailment")


def chat(sizes: Sizes) -> tuple[Any, Any]:
    """A Qwen2 with its chat template, and its tokenizer in the place of a processor."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = qwen_chat_template("", "")
    config = hf.Qwen2Config(num_key_value_heads=sizes.kv_heads, **language_model(sizes, tokenizer))
    return hf.Qwen2ForCausalLM(config), tokenizer


def nli(sizes: Sizes) -> tuple[Any, Any]:
    """A BERT over premise and hypothesis, with a label for each relation, and its tokenizer."""
    tokenizer = bert_tokenizer()
    settings = {
        name: value for name, value in language_model(sizes, tokenizer).items() if name != "bos_token_id"
    }
    config = hf.BertConfig(
        id2label=dict(enumerate(NLI_LABELS)),
        label2id={label: number for number, label in enumerate(NLI_LABELS)},
        **settings,
    )
    return hf.BertForSequenceClassification(config), tokenizer
