"""Texts with a question: the stock model's own logits at the place of the answer, one sequence a question, in every
strategy; and what cannot be asked."""

import pytest
import torch
from family_checks import as_cached
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_models import answer_id, clip, load, stock_ids, stock_inputs, stock_log_odds, stock_positions

from synvita_data.captions import Question, QuotedTokens, Text
from synvita_data.errors import CaptionError, TokenizerError
from synvita_data.models import STRATEGIES, AlignmentModel, ContextError
from synvita_data.models.alignment import log_odds_among
from synvita_data.models.prompting import share_questions

TOLERANCE = 1e-5  # log-odds, fp32
ENTAILMENT = 'Does this video entail the description: "{}"?'
VIDEOS = [clip(0), clip(1, 4, 60, 90), clip(2)]
TURNS = 'Which way does the "red" star turn?\nA. left\nB. to the right\nC. it does not turn\nAnswer with the letter:'
COUNT = "How many dogs run? A: one B: two C: three D: four E: 東京"
RUNS = "Does the dog run? Answer yes or no."
SPINS = "Is the circle red?"


def options(words, *answers):
    return [
        Text(f"{words} {answer}", question=Question(words, answers, i)) for i, answer in enumerate(answers)
    ]


# Captions between questions, the options of a question not side by side nor in order, a question of both videos.
TURN, COUNTED, RUN = options(TURNS, *"ABC"), options(COUNT, *"ABCDE"), options(RUNS, "Yes", "No")
TEXTS = [
    [TURN[2], Text("A man plays a guitar."), RUN[0], TURN[0], *reversed(COUNTED), TURN[1], RUN[1], TURN[0]],
    [
        Text("A man plays a piano.", hidden=((14, 19),)),
        *options(RUNS, "No", "Yes"),
        *options(TURNS, "A", "B"),
    ],
    [options(SPINS, "Yes", "No")[0]],
]


@pytest.fixture(
    params=["video_llava", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "mplug-owl", "video_llava_original"]
)
def family(request):
    return request.param


@pytest.fixture
def tiny(checkpoint_of):
    """A Video-LLaVA, for what does not differ between families."""
    return load(checkpoint_of("video_llava"))


def asked(wording: str, words: str) -> str:
    """The prompt by hand: the words in the place of the entailment question."""
    before, after = wording.split(ENTAILMENT)
    return before + words + after


def stock_logits(stock, video, prompt):
    """fp64 [V] behind a prompt, by the stock forward of it alone."""
    network, processor = stock
    inputs = stock_inputs(processor, video, prompt)
    inputs = {**inputs, "position_ids": stock_positions(network, inputs)}
    inputs.pop("mm_token_type_ids", None)
    return network(**inputs, use_cache=False).logits[0, -1].double()


def expected(stock, wording):
    """Log-odds of every text by the stock model; of a question log(p / (1 − p)) of its answer among all."""
    found = []
    for video, own in zip(VIDEOS, TEXTS, strict=True):
        for text in own:
            if text.question is None:
                prompt = wording.format(text.caption)
                found.append(stock_log_odds(*stock, video, prompt, text.caption, text.hidden))
                continue
            with torch.no_grad():
                logits = stock_logits(stock, video, asked(wording, text.question.words))
            ids = [answer_id(stock[1].tokenizer, answer) for answer in text.question.answers]
            assert len(set(ids)) == len(ids)
            p = logits[ids].softmax(0)[text.question.place]
            found.append(float(p.log() - torch.log1p(-p)))
    return torch.tensor(found, dtype=torch.float64)


def worst(output, reference) -> float:
    assert output.log_odds.dtype == torch.float32
    assert output.counts == tuple(map(len, TEXTS))
    return float((output.log_odds.detach().double() - reference).abs().max())


def test_every_way_gives_the_stock_models_log_odds(stock, wording):
    """Letters, Yes and No in both orders, and captions, of several videos in one call."""
    reference = expected(stock, wording)
    assert reference.std() > 0.05
    model = AlignmentModel(*stock)
    with torch.no_grad():
        for strategy in STRATEGIES:
            assert worst(model(VIDEOS, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        encoded = [as_cached(model.family, model.encode(video)) for video in VIDEOS]
        for strategy in STRATEGIES:
            assert worst(model(encoded, TEXTS, strategy=strategy), reference) < TOLERANCE, strategy
        assert worst(model(encoded, TEXTS, strategy="plain", plain_batch=3), reference) < TOLERANCE
        assert worst(model(encoded, TEXTS, strategy="cached", branch_tokens=1), reference) < TOLERANCE
    assert worst(model(VIDEOS, TEXTS), reference) < TOLERANCE  # with gradients


def test_the_order_of_options_is_that_of_their_log_probabilities(stock, wording):
    """Over the whole vocabulary, as published evaluations read a letter; Yes and No have opposite log-odds."""
    model = AlignmentModel(*stock)
    with torch.no_grad():
        odds = model(VIDEOS[:1], [COUNTED]).log_odds
        logits = stock_logits(stock, VIDEOS[0], asked(wording, COUNT)).log_softmax(0)
        yes, no = model(VIDEOS[:1], [RUN]).log_odds.tolist()
    letters = logits[[answer_id(stock[1].tokenizer, letter) for letter in "ABCDE"]]
    assert odds.argsort().tolist() == letters.argsort().tolist()
    assert yes == -no != 0


def test_ids_are_the_stock_processors(stock, wording):
    network, processor = stock
    model = AlignmentModel(network, processor)
    prepared = model.prepare(VIDEOS[0])

    @settings(max_examples=15)
    @given(st.text(st.sampled_from('abc dog.?"é東🎸[]{}\n:'), min_size=1, max_size=30).filter(str.strip))
    def check(words):
        tokens = model.prompter.tokens(Text("x", question=Question(words, ("A", "B"))), None, prepared)
        ids = stock_ids(processor, VIDEOS[0], asked(wording, words))
        assert tokens.ids.tolist() == ids
        assert tokens.reads == (len(ids) - 1,)
        assert not tokens.hidden.any()
        assert tokens.answers == (answer_id(processor.tokenizer, "A"), answer_id(processor.tokenizer, "B"))

    check()


@pytest.mark.parametrize("family", ["video_llava", "mplug-owl", "qwen2_5_vl"])
def test_digits_are_read_as_whole_answers(stock, wording, family):
    """Llama has a space before each digit as a token: log-odds are those of the whole answers' probabilities."""
    network, processor = stock
    model = AlignmentModel(network, processor)
    words = "How many dogs run: 1, 2 or 3?"
    texts = options(words, "1", "2", "3")
    prompt = asked(wording, words)
    short = stock_ids(processor, VIDEOS[0], prompt)
    log_probability = []
    for answer in "123":
        inputs = stock_inputs(
            processor, VIDEOS[0], prompt + (" " if family == "video_llava" else "") + answer
        )
        ids = inputs["input_ids"][0]
        assert ids[: len(short)].tolist() == short
        ids = ids[:-1] if family == "mplug-owl" else ids  # its processor ends an answer
        assert len(ids) - len(short) == (1 if family == "qwen2_5_vl" else 2)
        inputs = {**inputs, "position_ids": stock_positions(network, inputs)}
        inputs.pop("mm_token_type_ids", None)
        with torch.no_grad():
            logits = network(**inputs, use_cache=False).logits[0].double().log_softmax(-1)
        log_probability.append(sum(logits[i - 1, ids[i]] for i in range(len(short), len(ids))))
    whole = torch.stack(log_probability)
    p = whole.softmax(0)
    with torch.no_grad():
        for strategy in STRATEGIES:
            odds = model(VIDEOS[:1], [texts], strategy=strategy).log_odds
            assert (odds - (p / (1 - p)).log()).abs().max() < TOLERANCE, strategy


def test_one_sequence_a_question(tiny):
    """What the language model is given: as many sequences, and tokens, as there are questions."""
    model = AlignmentModel(*tiny)
    shapes = []
    model.family.language_model.register_forward_pre_hook(
        lambda module, arguments, named: shapes.append(tuple(named["inputs_embeds"].shape[:2])),
        with_kwargs=True,
    )
    texts = [*TURN, *COUNTED, *RUN, Text("dogs"), Text("dogs")]
    prepared = model.prepare(VIDEOS[0])
    lengths = [
        len(model.prompter.tokens(text, None, prepared).ids)
        for text in (TURN[0], COUNTED[0], RUN[0], texts[-1])
    ]
    lengths.append(lengths[-1])
    with torch.no_grad():
        model(VIDEOS[:1], [texts], strategy="plain")
        assert shapes == [(1, length) for length in lengths]
        shapes.clear()
        model(VIDEOS[:1], [TURN])
        assert shapes == [(1, lengths[0])]  # a lone question shares nothing: plain by itself
        shapes.clear()
        prefix = lengths[0] - (model(VIDEOS[:1], [texts], strategy="cached"), shapes)[1][0][1]
        once = shapes[0][1]
        assert sum(length for _, length in shapes) == once + sum(length - once for length in lengths)
        assert prefix > 0
        shapes.clear()
        model(VIDEOS[:1], [texts], strategy="packed")
        assert shapes == [(1, once + sum(length - once for length in lengths))]


def test_gradients_are_those_of_the_cross_entropy_over_the_answers(tiny):
    """softplus(−log-odds) of the right answer is −log P(right among the answers)."""
    network, processor = tiny
    model = AlignmentModel(network, processor)
    wording = f"USER: <video>\n{ENTAILMENT} ASSISTANT:"
    weight = network.get_input_embeddings().weight
    total = torch.zeros((), dtype=torch.float64)
    for words, answers, right in ((TURNS, "ABC", 1), (COUNT, "ABCDE", 4), (RUNS, ("Yes", "No"), 0)):
        logits = stock_logits(tiny, VIDEOS[0], asked(wording, words))
        ids = torch.tensor([answer_id(processor.tokenizer, answer) for answer in answers])
        total = total + torch.nn.functional.cross_entropy(logits[ids], torch.tensor(right))
    (reference,) = torch.autograd.grad(total, weight)
    for strategy in ("plain", "packed"):
        odds = model(VIDEOS[:1], [[*TURN, *COUNTED, *RUN]], strategy=strategy).log_odds
        loss = torch.nn.functional.softplus(-odds[[1, 7, 8]]).sum()
        assert loss.item() == pytest.approx(total.item(), abs=1e-5)
        (own,) = torch.autograd.grad(loss, weight)
        assert (own - reference).norm() < 1e-5 * reference.norm(), strategy


def test_the_vocabularys_logits_are_those_of_each_text(tiny):
    model = AlignmentModel(*tiny)
    texts = [TURN[1], Text("dogs"), TURN[0]]
    with torch.no_grad():
        output = model(VIDEOS[:1], [texts], vocabulary=1)
        reference = stock_logits(tiny, VIDEOS[0], f"USER: <video>\n{TURNS} ASSISTANT:")
        caption = model(VIDEOS[:1], [[texts[1]]], vocabulary=1).vocabulary_logits[0, 0]
    assert output.vocabulary_logits.shape == (3, 1, len(reference))
    assert (output.vocabulary_logits[0, 0] - reference).abs().max() < TOLERANCE
    assert torch.equal(output.vocabulary_logits[0], output.vocabulary_logits[2])
    assert (output.vocabulary_logits[1, 0] - caption).abs().max() < TOLERANCE
    with pytest.raises(CaptionError, match="entailment question only"):
        model(VIDEOS[:1], [texts], vocabulary=2, answers=[[True] * 3])


@pytest.mark.parametrize(
    "prompt", ["question", "video-llava", "video-llava-unquoted", "video-llava-train", "video-llava-eval"]
)
def test_every_wording_asks(tiny, prompt):
    """The prompts by hand; frames have 5 tokens each, joined as the wording has it."""
    system = (
        "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the {0}'s questions. "
    )
    before = {"video-llava-train": system.format("user"), "video-llava-eval": system.format("human")}.get(
        prompt, ""
    )
    joiner = {"video-llava-train": "", "video-llava-eval": " "}.get(prompt)
    video = "<video>" * 20 if joiner is None else joiner.join(["<video>" * 5] * 4)
    network, processor = tiny
    model = AlignmentModel(network, processor, prompt=prompt)
    tokens = model.prompter.tokens(TURN[0], None, model.prepare(VIDEOS[0]))
    assert (
        tokens.ids.tolist() == processor.tokenizer(f"{before}USER: {video}\n{TURNS} ASSISTANT:")["input_ids"]
    )


def test_questions_are_read_in_parts_too(tiny):
    """As the original code reads what follows the video: with a space of its own."""
    network, processor = tiny
    model = AlignmentModel(network, processor, placeholder_space="original")
    tokens = model.prompter.tokens(TURN[0], None, model.prepare(VIDEOS[0]))
    first, second = (processor.tokenizer(part)["input_ids"] for part in ("USER: ", f"\n{TURNS} ASSISTANT:"))
    assert tokens.ids.tolist() == [*first, *[processor.video_token_id] * 20, *second[1:]]


def test_what_cannot_be_asked(tiny):
    network, processor = tiny
    model = AlignmentModel(network, processor)
    prepared = model.prepare(VIDEOS[0])

    def ask(words, answers=("A", "B")):
        return model.prompter.tokens(Text("x", question=Question(words, answers)), None, prepared)

    for answers in (
        ("left", "to the right"),
        ("A", "Bravissimo"),
        ("A", "1"),
        ("Ж", "東"),
        ("A", "B B"),
        ("<s>", "</s>"),
    ):
        with pytest.raises(TokenizerError, match=r"one token each .* by letters"):
            ask("Which way?", answers)
    for token in ("<video>", "<image>", processor.tokenizer.eos_token):
        with pytest.raises(CaptionError, match="a question holds a special token"):
            ask(f"Which {token} way?")
    with pytest.raises(ContextError, match="shorten the caption, question"):
        ask("dog " * 3000)
    for words, answers, place in (
        ("", "AB", 0),
        (" ", "AB", 0),
        ("x", (" A", "B"), 0),
        ("x", ("A", ""), 0),
        ("x", "A", 0),
    ):
        with pytest.raises(CaptionError, match=r"answers of a question|empty"):
            Question(words, tuple(answers), place)
    flags = QuotedTokens((1, 2), (True, False))
    for hidden in ({"hidden": ((0, 1),)}, {"tokens": flags}):
        with pytest.raises(CaptionError, match="nothing of a question can be hidden"):
            Text("a dog", question=Question("x", ("A", "B")), **hidden)


@pytest.mark.parametrize("family", ["mplug-owl"])
def test_marks_that_part_prompts_are_refused_in_questions(stock, family):
    model = AlignmentModel(*stock)
    with pytest.raises(CaptionError, match="caption, question or explanation holds"):
        model(VIDEOS[:1], [options("What now? AI: A", "A", "B")])


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "w", "v"]), st.sampled_from(["AB", "BA", "ABC"]), st.integers(0, 1)),
        max_size=12,
    )
)
def test_questions_share_and_captions_do_not(drawn):
    texts = [
        Text("c", question=Question(words, tuple(answers), place)) if words else Text("c")
        for words, answers, place in drawn
    ]
    places, numbers = share_questions(texts)
    assert len(numbers) == len(texts)
    assert places == sorted(places)
    # Two texts have one prompt exactly where they are one text, or one question.
    for i, one in enumerate(drawn):
        assert drawn[places[numbers[i]]][:2] == one[:2]
        assert places[numbers[i]] <= i
        for j, other in enumerate(drawn):
            assert (numbers[i] == numbers[j]) == (i == j or (one[0] != "" and one[:2] == other[:2]))


@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=7))
def test_log_odds_among_answers_in_closed_form(values):
    logits = torch.tensor([values, values[::-1]])
    odds = log_odds_among(logits)
    p = logits.double().softmax(-1)
    others = torch.stack([torch.cat([p[:, :i], p[:, i + 1 :]], 1).sum(1) for i in range(len(values))], 1)
    assert (odds - (p / others).log()).abs().max() < 1e-4
    assert torch.equal(odds[0], odds[1].flip(0)) or (odds[0] - odds[1].flip(0)).abs().max() < 1e-5
    if len(values) == 2:
        assert torch.equal(odds, logits - logits.flip(1))
    order = p[0].log()
    for i in range(len(values)):
        for j in range(len(values)):
            if order[i] > order[j] + 1e-5:
                assert odds[0, i] > odds[0, j]
