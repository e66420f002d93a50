"""Ids in a tensor: padding changes no row, masked or inferred as `transformers` does, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import sepiola
from sepiola.api import Model
from sepiola.errors import DataError
from tests.tiny import HUB_GPT, HUB_LLAMA, HUB_T5, decoder, randomise

CONFIGS = {
    "llama": transformers.LlamaConfig(**HUB_LLAMA, pad_token_id=0),
    "gpt2": transformers.GPT2Config(**HUB_GPT, bos_token_id=2, eos_token_id=2, pad_token_id=0),
    "t5": transformers.T5Config(**HUB_T5, decoder_start_token_id=0),
}
SHORT, LONG = [9, 50, 60], [9, 70, 71, 72, 73, 74, 75]


def both(config: transformers.PretrainedConfig, folder: Path) -> tuple[transformers.PreTrainedModel, Model]:
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    peer = randomise(kind.from_config(config), std=0.4).eval()
    peer.save_pretrained(folder)
    return peer, sepiola.load(folder)


def theirs(peer: transformers.PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor | None = None) -> list[list[int]]:
    """The new tokens of each row, up to its end."""
    masked = {} if mask is None else {"attention_mask": mask}
    written = peer.generate(ids, max_new_tokens=6, do_sample=False, **masked)
    written = written[:, 1 if peer.config.is_encoder_decoder else ids.shape[1] :]
    return [until(row, peer.config.eos_token_id) for row in written.tolist()]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("sepiola")]


def until(row: list[int], end: int) -> list[int]:
    return row[: row.index(end)] if end in row else row


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_no_row(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    peer, model = both(CONFIGS[name], tmp_path)
    alone = [theirs(peer, torch.tensor([row]))[0] for row in (SHORT, LONG)]
    left, right = torch.tensor([[0] * 4 + SHORT, LONG]), torch.tensor([[*SHORT] + [0] * 4, LONG])

    def ours(ids: torch.Tensor, mask: torch.Tensor | None = None) -> list[list[int]]:
        written = model.generate(ids, attention_mask=mask, max_tokens=6).tolist()
        return [row[: len(expected)] for row, expected in zip(written, alone, strict=True)]

    mask = (left != 0).long() if name == "t5" else None  # `transformers` infers none for an encoder
    assert ours(left) == theirs(peer, left, mask) == alone and alone[0] != alone[1]
    filled = left.masked_fill(left == 0, 33)  # with a mask any token may be the padding
    assert ours(filled, (left != 0).long()) == alone != ours(filled)
    assert ours(filled, left != 0) == alone
    assert not warnings(caplog)
    assert ours(right) == alone
    assert len(warnings(caplog)) == (name != "t5")


def test_padding_that_is_an_end_token_is_text_without_a_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    peer, model = both(transformers.GPT2Config(**HUB_GPT, bos_token_id=2, eos_token_id=2, pad_token_id=2), tmp_path)
    left = torch.tensor([[2] * 4 + SHORT, LONG])
    expected = theirs(peer, left)
    assert [r[: len(e)] for r, e in zip(model.generate(left, max_tokens=6).tolist(), expected, strict=True)] == expected
    assert not warnings(caplog)
    model.generate(left.flip(1), max_tokens=2)
    assert "which is the padding and an end token: it is read as text" in warnings(caplog)[0]


def test_a_model_whose_config_names_no_padding_reads_every_token(tmp_path: Path) -> None:
    peer, model = both(transformers.LlamaConfig(**HUB_LLAMA), tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"pad_token_id": null,', ""))
    ids = torch.tensor([[0, 9, 0, 0, 50, 60]])
    for each in (model, sepiola.load(tmp_path)):
        assert until(each.generate(ids, max_tokens=6)[0].tolist(), 2) == theirs(peer, ids)[0]


def test_a_hole_in_the_mask_is_not_there() -> None:
    model = randomise(sepiola.build({"language": decoder()}, seed=3), std=1.0)
    mask = torch.tensor([[1, 1, 0, 0, 1]])
    written = model.generate(torch.tensor([[5, 6, 9, 9, 7]]), attention_mask=mask, max_tokens=8)
    assert written.equal(model.generate(torch.tensor([[5, 6, 7]]), max_tokens=8))


def test_no_ids_are_the_start_token_and_no_rows_none() -> None:
    model = randomise(sepiola.build({"language": decoder(tokens={"pad": 3, "start": 2})}, seed=3), std=1.0)
    opened = model.generate(torch.tensor([[2]]), max_tokens=5)
    assert model.generate(torch.zeros(1, 0, dtype=torch.long), max_tokens=5).equal(opened)
    assert model.generate(torch.tensor([[3, 3]]), max_tokens=5).equal(opened)
    assert model.generate(torch.zeros(0, 4, dtype=torch.long), max_tokens=5).shape == (0, 0)


@pytest.mark.parametrize(
    ("ids", "keywords", "message"),
    [
        (torch.tensor([5, 6]), {}, r"shape \(2,\); expected a text, or whole numbers of shape \(batch, tokens\)"),
        (torch.rand(1, 4), {}, r"torch.float32 of shape \(1, 4\)"),
        ([[5, 6]], {}, "a list; expected a text"),
        (torch.tensor([[5, 99]]), {}, "token 99, at place 1"),
        (
            torch.tensor([[5, 6]]),
            {"attention_mask": torch.ones(1, 3)},
            r"attention_mask: got \(1, 3\), expected .*\(1, 2\)",
        ),
        (torch.tensor([[5, 6]]), {"images": torch.rand(2, 3, 8, 8)}, "for 1 rows of ids, images are a tensor"),
        (torch.tensor([[5, 6]]), {"images": ["cat.png"]}, "pictures go with a text"),
    ],
)
def test_what_is_wrong_is_one_message(ids: object, keywords: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sepiola.build({"language": decoder()}, seed=3).generate(ids, max_tokens=2, **keywords)
