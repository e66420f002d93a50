"""A reward model as the judge of completions."""

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
