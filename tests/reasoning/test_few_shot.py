"""Demonstrations before a question: whose they are, RICES, exchanged answers, and the tokens that the model reads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor

from sepiola.api import Model
from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.build import build
from sepiola.models.vision.pixels import to_pixels
from sepiola.reasoning.few_shot import after, demonstrations, questions_of
from sepiola.reasoning.strategies import Direct
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import decoder


def example(name: str, level: int, episode: str | None, answer: int = 0) -> Example:
    image = ImageRef.of(Image.new("RGB", (8, 8), (level, 255 - level, 0)))
    about = {"language": "en"} | ({"episode": episode} if episode else {})
    question = Question("What?", ("dax", "乌格"), answer)
    return Example(name, (Message("user", (image, "What?")),), question.choices[answer], question, about)


EPISODES = [example(f"{e}{i}", 25 * i, e, i % 2) for e in "ab" for i in range(6)]


def look(images: Sequence[ImageRef]) -> Tensor:
    """Pixels as features `(images, patches, 3)`."""
    return torch.stack([to_pixels(i.open(), PixelSpec(size=8)).flatten(1).T for i in images])


def test_demonstrations_are_of_the_questions_episode_and_never_itself() -> None:
    questions = questions_of(EPISODES)
    assert [q.id for q in questions] == ["a5", "b5"]
    few, more = (demonstrations(questions, EPISODES, shots) for shots in (2, 5))
    for name in ("a5", "b5"):
        assert {e.id for e in more[name]} == {f"{name[0]}{i}" for i in range(5)}
        assert few[name] == more[name][:2], "those of fewer shots are among those of more"
    assert [e.id[1] for e in more["a5"]] != [e.id[1] for e in more["b5"]]
    with pytest.raises(DataError, match="a5: 6 demonstrations asked for, and 5 to choose from"):
        demonstrations(questions, EPISODES, 6)
    alone = [example(f"q{i}", i, None) for i in range(3)]
    assert questions_of(alone) == alone
    assert {e.id for e in demonstrations(alone[:1], alone, 2)["q0"]} == {"q1", "q2"}


def test_rices_puts_the_most_similar_last() -> None:
    found = demonstrations(questions_of(EPISODES), EPISODES, 3, image_encoder=look)
    assert [e.id for e in found["a5"]] == ["a2", "a3", "a4"]
    blind = [Example("x", (Message("user", ("What?",)),), "dax", metadata={"episode": "a"}), *EPISODES[:1]]
    with pytest.raises(DataError, match="x: RICES compares pictures"):
        demonstrations(blind[1:], blind, 1, image_encoder=look)


RESAMPLER = {"latents": 2, "depth": 1, "attention": {"heads": 1, "head_width": 4}}
SPEC = {
    "language": decoder(300, layers=2, hidden=16),
    "bridge": {"kind": "gated-cross", "image_width": 3, "resampler": RESAMPLER},
}


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_the_model_reads_each_solved_and_closed_before_the_question(kind: str) -> None:
    tokenizer = Tokenizer.train(["Question: What? Answer: dax 乌格"], 300, extra=[IMAGE])
    token = tokenizer.id_of(IMAGE)
    spec = ModelSpec.parse(
        {**SPEC, "language": {**SPEC["language"], "kind": kind}, "bridge": {**SPEC["bridge"], "token": token}}
    )
    model = Model(build(spec), spec, tokenizer, image_encoder=look)
    direct = Direct(model.example_generator(8), "Q-A", score=True)
    questions = questions_of(EPISODES)
    found = demonstrations(questions, EPISODES, 4)
    strategy = after(direct, found)
    prompt = strategy.generator._prompts([direct.format.apply(q) for q in questions])[0]
    one = [token, *tokenizer.encode("Question: What?\nAnswer:")]
    end = [1] if kind == "encoder-decoder" else []
    expected = [t for e in found["a5"] for t in (*one, *end, *tokenizer.encode(e.target), 1)]
    assert list(prompt.tokens) == [*expected, *one, *end]
    assert torch.equal(prompt.images, look([e.images[0] for e in (*found["a5"], questions[0])]))
    answers = strategy.answer(questions)
    assert [a.id for a in answers] == ["a5", "b5"] and answers[0].probabilities is not None
    assert answers[0].probabilities != direct.answer(questions)[0].probabilities


def test_exchanged_answers_are_the_same_words() -> None:
    found = demonstrations(questions_of(EPISODES), EPISODES, 5)
    tokenizer = Tokenizer.train(["dax"], 300, extra=[IMAGE])
    spec = ModelSpec.parse(SPEC)
    direct = Direct(Model(build(spec), spec, tokenizer).example_generator(8), "Q-A")
    true, false = (after(direct, found, exchanged=e).generator.demonstrations for e in (False, True))
    for name in found:
        assert [e.id for e in true[name]] == [e.id for e in false[name]]
        assert sorted(e.target for e in true[name]) == sorted(e.target for e in false[name])
    assert any([e.target for e in true[n]] != [e.target for e in false[n]] for n in found)
