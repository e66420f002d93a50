"""Samples of an instructed Q-Former read its instruction as the Hub's processor frames it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

import sepiola
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.specs.bridge import QueryTextSpec
from sepiola.text.encoding import encode, placing
from tests.hub_folders import vision_language_folder

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 52, 3), dtype=np.uint8)


@pytest.mark.parametrize("text", ["How many?", "有几只？"])
def test_an_instruction_stands_in_the_frame_of_its_own_tokenizer(tmp_path: Path, text: str) -> None:
    vision_language_folder(tmp_path, "instructblip")
    wanted = AutoProcessor.from_pretrained(tmp_path, use_fast=False)(images=Image.fromarray(PIXELS), text=text)
    model = sepiola.load(tmp_path)
    example = Example("a", (Message("user", (ImageRef.of(PIXELS), text)),), "2")
    own, read = model.processor.qformer_tokenizer, placing(model.engine.images)
    assert own is not None and model.tokenizer is not None

    def instruction(**changes: object) -> list[int]:
        keywords = {"close": False, "qformer_tokenizer": own, **read, **changes}
        return list(encode([example], model.tokenizer, model.engine.tokens, **keywords)[0].instruction)  # type: ignore[arg-type]

    assert instruction() == wanted["qformer_input_ids"][0]
    short = QueryTextSpec(length=5)
    assert instruction(instructed=short) == [*instruction()[:4], instruction()[-1]]
    # the language model's tokenizer, whose frame is no Q-Former's
    borrowed = instruction(qformer_tokenizer=None)
    assert (borrowed[0], borrowed[-1]) == (QueryTextSpec().start, QueryTextSpec().end)
