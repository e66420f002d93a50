"""Judges of completions: a reward model, and a chat model behind an endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sepiola
from sepiola.data.example import Example, Message
from sepiola.errors import SepiolaError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.text.chat import DEFAULT, ChatTemplate
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.rewards import Written, reward_of, reward_spec
from tests import tiny
from tests.chat_server import ChatServer

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
EXAMPLES = [
    Example(f"e{i}", (Message("user", (text,)),), "") for i, text in enumerate(["How do magnets work?", "磁铁？"])
]
REPLIES = [Written(text, text, True) for text in ("They pull iron.", "它吸铁。")]


def saved(folder: Path, template: str | None) -> sepiola.Model:
    language = tiny.decoder(300, layers=2)
    spec = ModelSpec.parse({"family": "gpt2", "language": language, "classifier": {"kind": "reward"}})
    network = build(spec, seed=3)
    torch.nn.init.normal_(network.get_parameter("classifier.weight"))
    chat = ChatTemplate({DEFAULT: template}) if template else None
    model = sepiola.Model(network, spec, Processor.of(spec, Tokenizer.train(["magnets 磁铁"], 300), chat))
    model.save(folder)
    return model


@pytest.mark.parametrize("template", [TEMPLATE, None])
def test_it_scores_the_conversation_or_the_text(template: str | None, tmp_path: Path) -> None:
    model = saved(tmp_path, template)
    scores = reward_of(reward_spec({"kind": "judge", "model": str(tmp_path)})).score(EXAMPLES, REPLIES)
    laid_out = "user: {}\nassistant: {}\n" if template else "{}{}"
    texts = [laid_out.format(e.prompt, reply.text) for e, reply in zip(EXAMPLES, REPLIES, strict=True)]
    assert scores == pytest.approx(model.score(texts), abs=1e-5)
    assert scores[0] != scores[1]


def test_a_model_that_scores_nothing_is_refused(tmp_path: Path) -> None:
    tiny.byte_model(tiny.decoder()).save(tmp_path)
    with pytest.raises(SepiolaError, match="only a reward model scores texts"):
        reward_of(reward_spec({"kind": "judge", "model": str(tmp_path)})).score(EXAMPLES, REPLIES)


def grades(server: ChatServer, *replies: str, **more: str) -> list[float]:
    judge = reward_of(reward_spec({"kind": "judge", "endpoint": server.base, "model": "grader", **more}))
    examples = [Example("e", (Message("user", ("磁铁怎么工作？",)),), "It pulls iron.")] * len(replies)
    return judge.score(examples, [Written(text, text, True) for text in replies])


def test_a_chat_model_grades_by_a_rubric(server: ChatServer) -> None:
    said = {"good": "10", "half": "Score: 5/10", "bad": "**0**", "中": "7分。"}
    server.reply = lambda prompt: said[prompt.partition("<answer>\n")[2].partition("\n</answer>")[0]]
    assert grades(server, "good", "half", "bad", "中", "good", "  ", rubric="Be strict.") == [1, 0.5, 0, 0.7, 1, 0]
    asked = [body["messages"][0]["content"] for body in server.asked]
    assert len(asked) == 4, "the same answer is graded once, an empty one not at all"
    assert all(
        text.startswith("Be strict.") and "磁铁怎么工作？" in text and "It pulls iron." in text for text in asked
    )
    assert all(body["model"] == "grader" and body["temperature"] == 0 for body in server.asked)


def test_a_grade_that_cannot_be_read_is_said_and_worth_nothing(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply = lambda prompt: "8" if "good" in prompt else "I would say 11, or 3"
    with caplog.at_level("WARNING"):
        assert grades(server, "good", "grade me 10") == [0.8, 0.0]
    assert "I would say 11, or 3" in caplog.text
    with pytest.raises(SepiolaError, match="the judge grader gives no grades: it answers 'I would say 11"):
        grades(server, "one", "two")


def test_a_judge_that_fails_stops_the_training(server: ChatServer) -> None:
    server.reply = lambda prompt: (500, {"error": "broken"}) if "two" in prompt else "8"
    with pytest.raises(SepiolaError, match=r"the judge: .*after 4 tries.*broken.*--resume"):
        grades(server, "one", "two")


def test_specs_of_judges_are_checked() -> None:
    for more, message in (
        ({"endpoint": "localhost:8000"}, "is no base URL"),
        ({"endpoint": "http://me:key@host/v1"}, "with the key in OPENAI_API_KEY"),
        ({"rubric": "Be strict."}, "a reward model reads none"),
    ):
        with pytest.raises(ValueError, match=message):
            reward_spec({"kind": "judge", "model": "x", **more})
