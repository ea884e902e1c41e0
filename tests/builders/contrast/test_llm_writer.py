"""A tiny chat model of a real class writes: batches, draws, memory, what is refused. Its weights are random."""

import json
import math

import pytest

from synvita_data.builders.contrast.answers import cut_raw
from synvita_data.builders.contrast.base import ContrastRequest, ContrastWriter
from synvita_data.builders.contrast.llm import LlmWriter
from synvita_data.builders.contrast.models import how_drawn
from synvita_data.errors import SynvitaError, TokenizerError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.testing import make_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny("chat", tmp_path_factory.mktemp("models") / "tiny-chat")


@pytest.fixture(scope="module")
def short_prompts(tmp_path_factory):
    """Of few tokens, so that a test is short, and of different lengths."""
    place = tmp_path_factory.mktemp("prompts")
    for number, name in enumerate(MISALIGNMENTS):
        (place / f"{name}.txt").write_text(
            f"Change the {name} in this. {'It is a video. ' * (5 * number)}{{caption}}"
        )
    return place


@pytest.fixture(scope="module")
def writer(folder, short_prompts):
    made = LlmWriter(str(folder), prompts=short_prompts, device="cpu", max_new_tokens=12, batch_size=4)
    yield made
    made.close()


def requests(count, **more):
    return [
        ContrastRequest(
            f"{number} dogs run on the {'wide ' * (number % 4)}beach",
            MISALIGNMENTS[number % 7],
            number,
            **more,
        )
        for number in range(count)
    ]


def test_it_is_a_writer_whose_record_is_public(writer, folder, short_prompts):
    assert isinstance(writer, ContrastWriter)
    assert writer.name == "llm:tiny-chat"
    assert set(writer.misalignments) == set(MISALIGNMENTS)
    record = json.loads(json.dumps(dict(writer.record())))
    assert record["writer"] == writer.name
    assert str(folder.parent) not in json.dumps(record)
    others = [
        LlmWriter(str(folder), device="cpu"),
        LlmWriter(str(folder), prompts=short_prompts, device="cpu", max_new_tokens=13, batch_size=4),
        LlmWriter(
            str(folder), prompts=short_prompts, device="cpu", max_new_tokens=12, batch_size=4, temperature=0.5
        ),
        LlmWriter(str(folder), prompts=short_prompts, dtype="bfloat16", max_new_tokens=12, batch_size=4),
        LlmWriter(str(folder), prompts=short_prompts, device="cpu", max_new_tokens=12, batch_size=5),
    ]
    assert all(dict(other.record()) != record for other in others)


def test_check_passes_without_reading_weights(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"")
    LlmWriter(str(copy)).check()
    with pytest.raises(SynvitaError, match="not whole"):
        LlmWriter(str(copy)).write(requests(1))


def test_a_batch_answers_as_one_by_one(writer):
    """Greedy and drawn candidates together; to the bit, because raw texts of random weights hang on every bit."""
    asked = requests(7, candidates=2)
    together = writer.write(asked)
    assert [writer.write([one])[0] for one in reversed(asked)] == together[::-1]
    assert len({answer.raw for answer in together}) == len(asked)
    assert all(answer.refused and not answer.contrasts for answer in together)


def test_the_likeliest_answer_is_that_of_the_stock_model(writer, folder):
    """Against `generate` of transformers on one prompt alone, without padding."""
    one = requests(3)[2]
    assert writer.write([one])[0].raw == generated(folder, writer, one)


def generated(folder, writer, request):
    """What `generate` of transformers writes to one prompt alone, without padding and beginnings."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    prompt = writer._prompts.ask(request.caption, request.misalignment)
    text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
    )
    return cut_raw(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


def test_a_beginning_is_read_once_and_only_where_a_prompt_has_it(writer):
    """Rows of several kinds in one batch, one of them not beginning as its kind does: all as they are alone."""
    from synvita_data.builders.contrast.models.chat_model import Row

    writer.write(requests(1))
    opened = writer._open
    begun = opened._begun
    assert set(begun.tokens) == set(MISALIGNMENTS)
    assert len({len(ids) for ids in begun.tokens.values()}) > 3
    rows = []
    for number, one in enumerate(requests(4)):
        ids = opened.chat.tokens(writer._prompts.ask(one.caption, one.misalignment))
        assert begun.covered(one.misalignment, ids) == len(begun.tokens[one.misalignment])
        rows.append(Row(number, one.misalignment, ids, None, 0.0))
    rows[3] = rows[3]._replace(ids=rows[3].ids[5:])
    assert (opened.rest(rows[3]), opened.rest(rows[0]) < len(rows[0].ids)) == (len(rows[3].ids), True)
    length = max(map(opened.rest, rows))
    together = opened.generate(rows, length, 12)
    opened._begun = None
    try:
        alone = [opened.generate([row], len(row.ids), 12)[0] for row in rows]
    finally:
        opened._begun = begun
    assert together == alone


def test_a_model_that_forgets_is_asked_without_beginnings(tmp_path, short_prompts):
    """With a sliding window a layer keeps its last tokens only."""
    folder = make_tiny("chat", tmp_path / "sliding")
    config = json.loads((folder / "config.json").read_text())
    config |= {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}
    config["layer_types"] = ["sliding_attention"] * len(config["layer_types"])
    (folder / "config.json").write_text(json.dumps(config))
    own = LlmWriter(str(folder), prompts=short_prompts, device="cpu", max_new_tokens=12, batch_size=2)
    one = requests(3)[2]
    assert own.write([one])[0].raw == generated(folder, own, one)
    assert own._open._begun is None


def test_where_a_beginning_changes_the_answer_it_is_not_used(folder, short_prompts, monkeypatch):
    from synvita_data.builders.contrast.models.beginnings import Beginnings

    stock = Beginnings.cache

    def wrong(self, kinds):
        made = stock(self, kinds)
        for layer in made.layers:
            layer.values += 1.0
        return made

    monkeypatch.setattr(Beginnings, "cache", wrong)
    own = LlmWriter(str(folder), prompts=short_prompts, device="cpu", max_new_tokens=12, batch_size=2)
    one = requests(3)[2]
    assert own.write([one])[0].raw == generated(folder, own, one)
    assert own._open._begun is None


def test_what_is_drawn_follows_from_the_seed(folder, short_prompts):
    drawing = LlmWriter(
        str(folder), prompts=short_prompts, device="cpu", max_new_tokens=8, batch_size=2, temperature=1.0
    )
    one = requests(1)[0]
    other = ContrastRequest(one.caption, one.misalignment, seed=99)
    raws = [answer.raw for answer in drawing.write([one, other, one])]
    assert raws[0] == raws[2] != raws[1]


def test_seeds_differ_by_all_that_makes_a_request():
    base = ContrastRequest("a dog runs", "action", 0)
    seeds = {
        how_drawn(base, 0, 1.0),
        how_drawn(base, 1, 1.0),
        how_drawn(ContrastRequest("a dog runs", "action", 1), 0, 1.0),
        how_drawn(ContrastRequest("a dog runs", "object", 0), 0, 1.0),
        how_drawn(ContrastRequest("a dog sits", "action", 0), 0, 1.0),
    }
    assert len(seeds) == 5
    assert how_drawn(base, 0, 0.0) == (None, 0.0)
    seed, temperature = how_drawn(base, 1, 0.0)
    assert seed is not None
    assert temperature > 0
    assert how_drawn(ContrastRequest("a dog runs", "action", 0, candidates=5), 0, 1.0) in seeds


def test_draws_have_the_probabilities_of_the_softmax():
    """Chi-square against the softmax over the tokens that are kept, at a temperature; rows without a seed are untouched."""
    import torch

    from synvita_data.builders.contrast.models.chat_model import Draw

    logits, temperature, draws = torch.tensor([1.0, 0.5, 0.0, -0.5, -9.0]), 0.7, 4000
    rows = [(seed, temperature) for seed in range(draws)]
    scores = Draw([*rows, (None, 0.0)])(
        torch.zeros(draws + 1, 1, dtype=torch.long), logits.expand(draws + 1, -1)
    )
    assert torch.equal(scores[-1], logits)
    counts = scores[:-1].argmax(-1).bincount(minlength=5).double()
    kept = torch.softmax(logits[:4].double() / temperature, -1)  # the last has less than what is cut
    assert counts[4] == 0
    chi = float(((counts[:4] - draws * kept) ** 2 / (draws * kept)).sum())
    assert chi < 16.3  # 0.1% at three degrees of freedom; the seeds are fixed
    again = Draw(rows[:3])
    first, second = (again(torch.zeros(3, 1, dtype=torch.long), logits.expand(3, -1)) for _ in range(2))
    assert not torch.equal(first, second)  # another draw at every step


def test_too_little_memory_halves_the_batch(writer, monkeypatch):
    """What does not fit is tried in halves, which is remembered; a row that does not fit alone ends the run."""
    import torch

    from synvita_data.builders.contrast.models.chat_model import ChatModel
    from synvita_data.jobs import is_worker_fault

    expected, sizes, stock = writer.write(requests(4)), [], ChatModel.generate
    room = 2

    def small(self, rows, length, new_tokens):
        sizes.append(len(rows))
        if len(rows) > room:
            raise torch.OutOfMemoryError("no room")
        return stock(self, rows, length, new_tokens)

    monkeypatch.setattr(ChatModel, "generate", small)
    monkeypatch.setattr(writer, "_limit", 4)
    found = writer.write(requests(4))
    assert [answer.refused for answer in found] == [answer.refused for answer in expected]
    assert 4 in sizes
    sizes.clear()
    writer.write(requests(4))
    assert set(sizes) == {2}
    room = 0
    with pytest.raises(SynvitaError, match="memory") as caught:
        writer.write(requests(1))
    assert is_worker_fault(caught.value)
    monkeypatch.setattr(writer, "_limit", 4)


def test_a_caption_with_a_token_of_the_model_or_too_long_is_refused(writer):
    good, special, long = writer.write(
        [
            requests(1)[0],
            ContrastRequest("a dog <|im_end|> runs", "object"),
            ContrastRequest("a dog runs " * 700, "object"),
        ]
    )
    assert good.raw
    assert "special token" in special.refused
    assert "too long" in long.refused
    assert special.raw is None


def test_used_tokens_are_counted(folder, short_prompts):
    own = LlmWriter(str(folder), prompts=short_prompts, device="cpu", max_new_tokens=5, batch_size=4)
    assert set(own.usage().values()) == {0}
    own.write([*requests(2), ContrastRequest("a <|im_end|>", "object")])
    used = own.usage()
    assert (used["requests"], used["refused"]) == (3, 3)
    assert 2 <= used["completion_tokens"] <= 10  # rows that fill a batch up do not count
    assert used["prompt_tokens"] > 20


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": math.nan}, {"batch_size": 0}, {"max_new_tokens": 0}]
)
def test_numbers_are_checked(folder, wrong):
    with pytest.raises(SynvitaError, match="out of range"):
        LlmWriter(str(folder), **wrong)


def test_what_is_no_chat_model_is_refused_before_weights_are_read(folder, tmp_path):
    import shutil

    with pytest.raises(SynvitaError, match="cannot be found"):
        LlmWriter(str(tmp_path / "nothing"))
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(SynvitaError, match="does not write text"):
        LlmWriter(str(tmp_path / "clip")).check()
    plain = shutil.copytree(folder, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(TokenizerError, match="no chat template"):
        LlmWriter(str(plain)).check()
    (plain / "chat_template.jinja").write_text("{{ messages[0]['content'] | upper }}")
    with pytest.raises(TokenizerError, match="chat template"):
        LlmWriter(str(plain)).check()


@pytest.mark.slow
def test_an_adapter_changes_what_is_written(writer, folder, short_prompts, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(target_modules=["q_proj", "v_proj"], r=4, init_lora_weights=False),
    )
    adapted.save_pretrained(tmp_path / "adapter")
    settings = {"prompts": short_prompts, "device": "cpu", "max_new_tokens": 12, "batch_size": 4}
    beside = LlmWriter(str(folder), adapter=str(tmp_path / "adapter"), **settings)
    alone = LlmWriter(str(tmp_path / "adapter"), **settings)
    assert beside.name == alone.name == "llm:tiny-chat+adapter"
    assert dict(beside.record()) == dict(alone.record()) != dict(writer.record())
    raws = [each.write(requests(2))[1].raw for each in (beside, writer)]
    assert raws[0] != raws[1]


@pytest.mark.slow
def test_a_model_that_has_learnt_it_writes_contrast_captions(tmp_path):
    """A tiny model is trained on a few answers until it gives them; it then answers all of them in one batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from synvita_data.builders.contrast.base import Contrast

    folder = make_tiny("chat", tmp_path / "taught", hidden_size=64, intermediate_size=128)
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for name in MISALIGNMENTS:
        (prompts / f"{name}.txt").write_text(f"{name}: {{caption}}")
    taught = {
        ("a dog runs", "object"): Contrast("a cat runs", "dog", "cat", "It is a dog."),
        ("two men sing", "count"): Contrast("three men sing", "two", "three", "There are two men."),
        ("a boy opens the door", "action"): Contrast(
            "a boy walks the door", "opens", "walks", "The boy opens it."
        ),
        ("a man sings before he dances", "flip"): Contrast(
            "a man dances before he sings", None, None, "He sings first."
        ),
    }
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    rows = []
    for (caption, kind), one in taught.items():
        lines = [f"Contrast caption: {one.neg_caption}"]
        if kind != "flip":
            lines += [f"Source: {one.source_phrase}", f"Target: {one.target_phrase}"]
        answer = "\n".join([*lines, f"Explanation: {one.nle}"])
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{kind}: {caption}"}], tokenize=False, add_generation_prompt=True
        )
        rows.append((tokenizer(asked)["input_ids"], tokenizer(f"{answer}<|im_end|>")["input_ids"]))
    longest = max(len(asked) + len(answer) for asked, answer in rows)
    ids, labels = torch.zeros(len(rows), longest, dtype=torch.long), torch.full((len(rows), longest), -100)
    for place, (asked, answer) in enumerate(rows):
        ids[place, : len(asked) + len(answer)] = torch.tensor(asked + answer)
        labels[place, len(asked) : len(asked) + len(answer)] = torch.tensor(answer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.01:
            break
    model.save_pretrained(folder)
    writer = LlmWriter(str(folder), prompts=prompts, device="cpu", max_new_tokens=80, batch_size=4)
    asked = [ContrastRequest(caption, kind, candidates=2) for caption, kind in taught]
    answers = writer.write(asked)
    assert [answer.contrasts[0] for answer in answers] == list(taught.values())
    assert all(answer.refused is None and answer.raw for answer in answers)
