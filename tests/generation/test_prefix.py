"""A prompt read from a kept prefix on gives what it gives read whole, time after time."""

from __future__ import annotations

import pytest

from sepiola.errors import SepiolaError
from sepiola.generation.engine import Prompt
from sepiola.generation.prefix import Prefix
from sepiola.generation.sampling import Sampling
from tests.tiny import byte_model, decoder, encoder_decoder, llama

LEARNED = decoder(positions={"kind": "learned", "length": 60})
READ = [*range(40, 60)]
PROMPTS = [Prompt([*READ, *rest]) for rest in ([], [9], [7, 8, 30, 31])] + [Prompt([3, 4, *READ])]


@pytest.mark.parametrize("spec", [decoder(), llama(), LEARNED], ids=["decoder", "llama", "learned"])
def test_prompts_go_on_from_a_prefix(spec: dict[str, object]) -> None:
    model = byte_model(spec)
    schema = model.grammar({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 4})

    def texts() -> list[object]:
        ways = [Sampling(), Sampling(temperature=1.0, seed=3), Sampling(repetition_penalty=1.3)]
        each = [model.engine.generate([p], max_tokens=20, sampling=way) for p in PROMPTS for way in ways]
        together = model.engine.generate(PROMPTS, max_tokens=9, samples=2, sampling=ways[1])
        return [each, together, [model.engine.generate([p], max_tokens=20, grammar=schema) for p in PROMPTS]]

    whole = texts()
    model.engine.prefix = kept = Prefix(model.engine.executor, READ)
    assert texts() == whole == texts()
    model.engine.generate([PROMPTS[2]], max_tokens=4)
    assert len(READ) + 3 <= kept.state.length <= len(READ) + 3 + 4  # it did go on from there


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(SepiolaError, match="decoders alone"):
        Prefix(byte_model(encoder_decoder()).engine.executor, READ)
    with pytest.raises(SepiolaError, match="the prefix has 1 tokens"):
        Prefix(byte_model(llama()).engine.executor, READ[:1])
