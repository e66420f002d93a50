"""Chains of every family of models: the same alone, together and without a cache; their votes, and when they stop."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.data.example import Example, Message, Question
from sepiola.errors import SepiolaError, SpecError
from sepiola.generation.row_draws import RowDraws, seed_of
from sepiola.generation.sampling import Sampling
from sepiola.reasoning.answer import Chain
from sepiola.reasoning.asking import read_strategy
from sepiola.reasoning.chains import SelfConsistency
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.strategy import SelfConsistencySpec, TwoStageSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import (
    Raw,
    decoder,
    encoder_decoder,
    llama,
    noise_picture,
    question_example,
    randomise,
    vit,
)

CHAINS = {"kind": "self-consistency", "chains": 6, "temperature": 1.0}
OPTIONS = ("red", "green", "blue")


def model_of(language: Raw, answering: AnsweringSpec, seed: int = 3, **parts: Any) -> Model:
    """A model of random weights whose tokenizer knows bytes and some words of answers."""
    texts = ["The answer is (A).", "The answer is (B).", "The answer is (C).", "Solution: red green blue"] * 9
    tokenizer = Tokenizer.train(texts, 300, extra=[IMAGE])
    language = {**language, "vocabulary": tokenizer.vocabulary}
    if parts.get("bridge", {}).get("kind") == "projection":
        parts["bridge"] = {**parts["bridge"], "token": tokenizer.id_of(IMAGE)}
    built = sepiola.build({"name": "chains", "language": language, **parts})
    randomise(built, std=0.4, generator=torch.Generator().manual_seed(seed))
    return Model(built.network, built.spec, tokenizer, answering)


FUSED: Raw = {"vision": vit(), "bridge": {"kind": "gated-fusion"}}
PREFIX: Raw = {"vision": vit(), "bridge": {"kind": "projection"}}
SHORT: dict[str, Any] = {"answer_tokens": 12, "rationale_tokens": 12, "source_tokens": 200}


def decoder_model() -> Model:
    return model_of(llama(), AnsweringSpec(answer_format="QCM-A", **SHORT))


def two_stage() -> Model:
    answering = AnsweringSpec(
        strategy=TwoStageSpec(kind="two-stage", by="score"),
        answer_format="QCMG-A",
        rationale_format="QC-E",
        **SHORT,
    )
    model = model_of(encoder_decoder(), answering, **FUSED)
    model.rationale = model_of(encoder_decoder(), answering, seed=4, **FUSED)
    return model


MODELS = {
    "decoder": decoder_model,
    "learned positions": lambda: model_of(
        decoder(positions={"kind": "learned", "length": 300}), AnsweringSpec(answer_format="QCM-A", **SHORT)
    ),
    "encoder-decoder, one stage": lambda: model_of(encoder_decoder(), AnsweringSpec(answer_format="QCM-LEA", **SHORT)),
    "fused vision, two stages": two_stage,
    "prefix vision": lambda: model_of(llama(), AnsweringSpec(answer_format="QCM-A", **SHORT), **PREFIX),
}


def questions(count: int, *, pictures: bool) -> list[Example]:
    names = [f"{'long ' * (3 * i)}What colour is it?" for i in range(count)]
    images = [(noise_picture(i, 16),) if pictures and i % 2 == 0 else () for i in range(count)]
    return [question_example(f"q{i}", n, OPTIONS, i % 3, *images[i]) for i, n in enumerate(names)]


@pytest.mark.parametrize("kind", MODELS)
def test_chains_are_the_same_alone_and_together(kind: str) -> None:
    model = MODELS[kind]().by(CHAINS)
    examples = questions(5, pictures="vision" in kind)
    together = model.answer(examples)
    apart = [model.answer([example])[0] for example in reversed(examples)][::-1]
    assert [said(a) for a in together] == [said(a) for a in apart]
    assert [a.choice for a in together] == [a.choice for a in apart]
    assert all(len({chain.whole for chain in a.chains}) > 1 for a in together), "chains differ from each other"
    for one, other in zip(together, apart, strict=True):
        assert [c.log_probability for c in one.chains] == pytest.approx([c.log_probability for c in other.chains])
    more = model.by({**CHAINS, "chains": 9}).answer(examples[:1])[0]
    assert said(more)[:6] == said(together[0]), "further chains change nothing about the first ones"


def said(answer: Any) -> list[tuple[str, str | None, int | None]]:
    return [(chain.text, chain.rationale, chain.choice) for chain in answer.chains]


def test_chains_are_those_of_a_model_without_a_cache() -> None:
    model = model_of(llama(), AnsweringSpec(answer_format="Q-A", **SHORT))
    example = Example("q", (Message("user", ("What?",)),), "", Question("What?"))
    answer = model.by(CHAINS).answer([example])[0]
    strategy = model.by(CHAINS).strategy()
    assert isinstance(strategy, SelfConsistency)
    generator = model.example_generator(12, model.asking)
    (prompt,) = generator._prompts([strategy.base.prompts(example)[0]])
    sampling = Sampling(temperature=1.0, top_k=40)
    for number, chain in enumerate(answer.chains):
        draws = RowDraws([seed_of(0, "q") + number])
        read, total = list(prompt.tokens), 0.0
        for _ in range(12):
            with torch.no_grad():
                logits = model(torch.tensor([read]))[:, -1]
            token = int(sampling.draw(logits, torch.tensor([read[:0]], dtype=torch.long), draws))
            total += float(logits.log_softmax(-1)[0, token])
            read.append(token)
            if token in model.engine.ends:
                break
        written = [t for t in read[len(prompt.tokens) :] if t not in model.engine.ends]
        assert chain.text == generator.stop.text(written).strip()
        assert chain.log_probability == pytest.approx(total, abs=1e-4)
        assert chain.tokens == len(read) - len(prompt.tokens)


def test_a_prefix_that_is_kept_changes_no_chain() -> None:
    from sepiola.generation.prefix import Prefix

    model = model_of(llama(), AnsweringSpec(answer_format="Q-A", **SHORT)).by({**CHAINS, "chains": 1})
    example = Example("q", (Message("user", ("What?",)),), "", Question("What?"))
    plain = model.answer([example])[0]
    strategy = model.strategy()
    assert isinstance(strategy, SelfConsistency)
    (prompt,) = model.example_generator(12, model.asking)._prompts([strategy.base.prompts(example)[0]])
    model.engine.prefix = Prefix(model.engine.executor, list(prompt.tokens[:6]))
    assert said(model.answer([example])[0]) == said(plain)


class Fixed:
    """A base whose chains say what a table says, whatever the model; it keeps what it was asked."""

    def __init__(self, votes: list[str | None], shows: bool = True) -> None:
        self.votes = votes
        self.shows = shows
        self.asked: list[tuple[Example, int]] = []

    def prompts(self, example: Example) -> tuple[Example, ...]:
        assert example.question is not None
        text = "|".join(example.question.choices) if self.shows else "?"
        return (dataclasses.replace(example, messages=(Message("user", (text,)),)),)

    def sample(self, examples: Any, seeds: Any, **_: Any) -> list[list[Chain]]:
        rows = []
        for example, row in zip(examples, seeds, strict=True):
            self.asked += [(example, seed) for seed in row]
            numbers = [seed - seed_of(0, example.id) for seed in row]
            votes = [self.votes[number] for number in numbers]
            places = [None if v is None else example.question.choices.index(v) for v in votes]
            rows.append([Chain(f"({p})", p, -1.0, 10) for p in places])
        return rows


def chained(votes: list[str | None], shows: bool = True, **changes: Any) -> tuple[Any, Fixed]:
    base = Fixed(votes, shows)
    spec = SelfConsistencySpec(kind="self-consistency", chains=len(votes), **changes)
    (answer,) = SelfConsistency(base, spec).answer(questions(1, pictures=False))
    return answer, base


def test_a_letter_is_read_by_the_order_that_its_chain_saw() -> None:
    answer, base = chained(["blue", "blue", "red", "blue", None, "green"])
    assert answer.choice == OPTIONS.index("blue") and answer.confidence == pytest.approx(3 / 6)
    orders = [tuple(e.question.choices) for e, _ in base.asked if e.question]
    assert len(set(orders)) == 3
    assert all({o[place] for o in orders} == set(OPTIONS) for place in range(3)), "each option stands in each place"
    right = {e.question.choices[e.question.answer or 0] for e, _ in base.asked if e.question}
    assert right == {"red"}, "the right answer moves with its option"
    _, base = chained(["red"] * 6, shows=False)
    assert {e.question.choices for e, _ in base.asked if e.question} == {OPTIONS}, "what is not shown needs no order"


def test_where_no_chain_names_an_answer_there_is_no_choice() -> None:
    answer, _ = chained([None] * 4)
    assert answer.choice is None and answer.confidence == 0 and answer.probabilities is None
    assert len(answer.chains) == 4


def test_chains_stop_once_the_lead_is_sure() -> None:
    sure, _ = chained(["red"] * 16, stop=0.95)
    unsure, _ = chained(["red", "blue"] * 8, stop=0.95)
    assert [len(a.chains) for a in (sure, unsure)] == [4, 16]
    whole, _ = chained(["red"] * 16)
    assert sure.chains == whole.chains[:4]


def test_what_cannot_vote_is_refused() -> None:
    model = decoder_model()
    for strategy, message in (
        ({**CHAINS, "temperature": 0}, "0 writes the same chain every time"),
        ({**CHAINS, "vote": "verifier"}, "whose folder it scores by, go together"),
        ({**CHAINS, "chian": 3}, "unknown key; did you mean 'chains'?"),
        ("self-consistancy", "unknown kind 'self-consistancy'"),
        ([], "expected keys and values"),
    ):
        with pytest.raises(SpecError, match=message):
            model.ask("What?", choices=OPTIONS, strategy=strategy)  # type: ignore[arg-type]
    with pytest.raises(SepiolaError, match="it is for questions, and none is asked"):
        model.by(CHAINS).answer([Example("c", (Message("user", ("Say.",)),), "")])


def test_ask_says_how_sure_it_is() -> None:
    model = decoder_model()
    direct = model.ask("What?", choices=OPTIONS)
    assert direct.probabilities is not None and direct.confidence == max(direct.probabilities)
    reply = model.ask("What?", choices=OPTIONS, strategy={"kind": "self-consistency", "chains": 5})
    assert len(reply.chains) == 5 and reply.confidence is not None and 0 <= reply.confidence <= 1
    named = [
        model.ask("What?", choices=OPTIONS, strategy=s) for s in ("self-consistency", {"kind": "self-consistency"})
    ]
    assert named[0] == named[1] and len(named[0].chains) == 8
    assert len(model.by("self-consistency").ask("What?", choices=OPTIONS).chains) == 8
    if reply.choice is not None:
        assert reply.answer == OPTIONS[reply.choice]


def test_a_strategy_is_saved_with_its_options_and_an_earlier_one_is_read(tmp_path: Any) -> None:
    model = decoder_model().by({**CHAINS, "calibration": 0.5})
    model.save(tmp_path / "new")
    assert read_strategy(tmp_path / "new") == model.answering
    flat = "{kind: two-stage, by: score, candidates: 16, rationale_format: QC-E}"
    (tmp_path / "strategy.yaml").write_text(flat)
    read = read_strategy(tmp_path)
    assert read is not None and read.strategy == TwoStageSpec(kind="two-stage", by="score")
