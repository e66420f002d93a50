"""The distance of two models on held-out text, beside KL divergence and perplexity computed by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.cli.app import app
from sepiola.errors import SpecError
from sepiola.evaluation.metrics.divergence import divergence
from sepiola.text.tokenizer import Tokenizer
from tests import tiny

TEXTS = ["The sea is wide and the sea is deep.", "A squid is small.", "海很宽，海很深。", "月亮照着海。"] * 3


def model_of(seed: int, texts: list[str] = TEXTS, positions: str = "rotary") -> Model:
    tokenizer = Tokenizer.train(texts, 300)
    ids = {"pad": 0, "end": 1, "start": 2}
    where = {"kind": positions, "length": 16}
    language = tiny.decoder(tokenizer.vocabulary, 24, hidden=32, positions=where, tokens=ids)
    built = sepiola.build({"language": language}, seed=seed)
    with torch.no_grad():
        for number, parameter in enumerate(built.parameters()):
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(1000 * seed + number))
    return Model(built.network, built.spec, tokenizer)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_figures_are_those_computed_by_hand(positions: str) -> None:
    model, base = (model_of(seed, positions=positions) for seed in (1, 2))
    documents = [[7, 30, 99, 12, 1], [50, 51, 8, 8, 40, 260, 3, 1]]  # shorter than a window
    figures = divergence(model.text_scorer(), base.text_scorer(), documents)
    kl, own, other, same, count = 0.0, 0.0, 0.0, 0, 0
    for ids in documents:
        read = torch.tensor([[2, *ids[:-1]]])
        with torch.no_grad():
            ours, theirs = (each.network(read)[0].double().log_softmax(-1) for each in (model, base))
        kl += float((theirs.exp() * (theirs - ours)).sum())
        own -= sum(float(ours[i, token]) for i, token in enumerate(ids))
        other -= sum(float(theirs[i, token]) for i, token in enumerate(ids))
        same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        count += len(ids)
    assert figures["kl"] == pytest.approx(kl / count, rel=1e-5)
    assert figures["same_top"] == same / count
    assert figures["perplexity"] == pytest.approx(math.exp(own / count), rel=1e-5)
    assert figures["base_perplexity"] == pytest.approx(math.exp(other / count), rel=1e-5)
    assert figures["perplexity_change"] == pytest.approx(math.exp((own - other) / count) - 1, rel=1e-4)
    low, high = figures["kl_interval"]
    assert low <= figures["kl"] <= high and low < high


def test_long_documents_are_read_in_windows_and_a_model_is_no_way_from_itself() -> None:
    model = model_of(1)
    documents = [torch.randint(3, 300, (100,), generator=torch.Generator().manual_seed(0)).tolist()]
    figures = divergence(model.text_scorer(), model.text_scorer(), documents)
    assert (figures["kl"], figures["same_top"], figures["perplexity_change"]) == (0, 1, 0)
    assert divergence(model.text_scorer(), model_of(2).text_scorer(), documents)["kl"] > 0.01


def test_models_with_other_tokenizers_are_not_compared() -> None:
    model, other = model_of(1), model_of(1, ["something else, with other pairs of letters"] * 3)
    with pytest.raises(SpecError, match="different tokenizers"):
        divergence(model.text_scorer(), other.text_scorer(), [[5, 6, 1]])


def test_a_model_in_few_bits_is_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
    model_of(1).save(tmp_path / "model")
    for language, text in (("en", "The sea is wide, and the squid {} is small."), ("zh", "海很宽，乌贼{}很小。")):
        lines = [text.format(number) for number in range(400)]
        (tmp_path / f"{language}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    kl = {}
    for bits in ("4", "8"):
        command = ["eval", "text", "--model", str(tmp_path / "model"), "--data", str(tmp_path), "--json"]
        command += ["--option", "characters=50", "--option", "held_out=12", "--runtime", "native", "--bits", bits]
        app([*command, "--kl-divergence", str(tmp_path / "model")], standalone_mode=False)
        figures = json.loads(capsys.readouterr().out)
        assert set(figures["kl_divergence"]) == {"en", "zh"}
        for language, bytes_ in figures["bits_per_byte"].items():
            apart = figures["kl_divergence"][language]
            assert apart["perplexity"] == pytest.approx(bytes_["perplexity"], rel=1e-4)
            kl[bits, language] = apart["kl"]
    assert all(0 < kl["8", language] < kl["4", language] for language in ("en", "zh"))
