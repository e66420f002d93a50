"""Generation: cached = uncached, batched = single, sampled chains share a prompt, scores = the forward pass's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import sepiola
from sepiola.api import Model
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.engine import Engine, Prompt, RowEnd
from sepiola.generation.sampling import Sampling
from sepiola.runtime.plain import TorchExecutor
from tests.tiny import HUB_GPT, HUB_LLAMA, HUB_T5, decoder, encoder_decoder, randomise

LANGUAGE = {
    "vocabulary": 60,
    "width": 24,
    "layers": 2,
    "attention": {"heads": 3},
    "feed_forward": {"width": 40},
    "tied": False,
}
VISION = {
    "kind": "vit",
    "pixels": {"size": 16},
    "patch": 8,
    "width": 10,
    "layers": 1,
    "attention": {"heads": 2, "bias": True},
    "feed_forward": {"width": 16, "bias": True},
}


def spec(kind: str) -> dict:
    language = {**LANGUAGE, "kind": "encoder-decoder", "positions": {"kind": "relative"}, "norm": {"kind": "rms"}}
    if kind == "fused":
        return {"language": language, "vision": VISION, "bridge": {"kind": "gated-fusion"}}
    if kind == "encoder-decoder":
        return {"language": language}
    positions = {"kind": kind, "length": 200} if kind == "learned" else {"kind": kind}
    attention = {"heads": 3, "kv_heads": 1} if kind == "rotary" else {"heads": 3}
    return {"language": {**LANGUAGE, "kind": "decoder", "positions": positions, "attention": attention}}


KINDS = ["encoder-decoder", "fused", "learned", "rotary", "relative", "sinusoidal"]


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Model:
    built = sepiola.build(spec(request.param), seed=3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 1.0)
    return built


def prompts(model: Model) -> list[Prompt]:
    sees = model.spec.bridge is not None
    counts = [1, 0, 2, 1]
    return [
        Prompt(torch.randint(2, 60, (n,)).tolist(), torch.randn(c, 3, 16, 16) if sees and c else None)
        for n, c in zip((9, 4, 13, 1), counts, strict=True)
    ]


def uncached(model: Model, prompt: Prompt, steps: int) -> list[int]:
    """Greedy decoding that runs the whole forward pass for every token."""
    written: list[int] = []
    for _ in range(steps):
        given = torch.tensor([list(prompt.tokens)])
        if model.spec.language.kind == "decoder":
            logits = model(torch.cat((given, torch.tensor([written], dtype=torch.long)), dim=1))
        else:
            images = {} if prompt.images is None else {"images": prompt.images[None]}
            logits = model(given, torch.tensor([[0, *written]]), **images)
        token = int(logits[0, -1].argmax())
        if token == 1:
            break
        written.append(token)
    return written


@torch.no_grad()
def test_cached_is_uncached_and_batched_is_single(model: Model) -> None:
    asked = prompts(model)
    expected = [uncached(model, p, 80) for p in asked]  # past the cache's first allocation
    engine = Engine(TorchExecutor(model.network))
    assert [o[0] for o in engine.generate(asked, max_tokens=80)] == expected
    assert [engine.generate([p], max_tokens=80)[0][0] for p in asked] == expected
    assert len({tuple(e) for e in expected}) > 1


def test_rows_that_end_leave_the_batch_and_the_rest_goes_on() -> None:
    language = {**spec("encoder-decoder")["language"], "positions": {"kind": "learned", "length": 50}, "vocabulary": 12}
    model = sepiola.build({"language": language}, seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.0)
    asked = [Prompt(torch.randint(2, 12, (5,)).tolist()) for _ in range(16)]
    with torch.no_grad():
        expected = [uncached(model, p, 40) for p in asked]
    lengths = {len(e) for e in expected}
    assert len(lengths) > 2 and min(lengths) < 40
    assert [o[0] for o in model.engine.generate(asked, max_tokens=40)] == expected


@torch.no_grad()
def test_scores_are_the_forward_passs_log_likelihoods(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(model)
    options = [[[5, 6, 1], [5, 6, 7], [7, 1]], [[8]], [[9, 9, 9, 1], [3, 1], [4, 5, 1]], [[2, 1], [2, 3, 1]]]
    # What greedy decoding writes is scored too, so that one continuation is greedy.
    options[2].append([*uncached(model, asked[2], 3), 1][:3])
    monkeypatch.setattr("sepiola.generation.engine.LOGITS", 60 * 4)  # several slices of positions
    given = Engine(TorchExecutor(model.network)).score(asked, options)
    assert given[2][-1].greedy
    for prompt, choices, scores in zip(asked, options, given, strict=True):
        for choice, (score, greedy) in zip(choices, scores, strict=True):
            source = torch.tensor([list(prompt.tokens)])
            if model.spec.language.kind == "decoder":
                logits = model(torch.tensor([[*prompt.tokens, *choice[:-1]]]))[0, len(prompt.tokens) - 1 :]
            else:
                images = {} if prompt.images is None else {"images": prompt.images[None]}
                logits = model(source, torch.tensor([[0, *choice[:-1]]]), **images)[0]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(choice)[:, None]).sum()
            assert score == pytest.approx(float(expected), abs=2e-4)
            assert greedy == (logits.argmax(-1).tolist() == choice)


def test_a_row_stops_where_it_is_told_to() -> None:
    model = sepiola.build(spec("rotary"), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.0)
    asked = prompts(model)
    whole = [o[0] for o in model.engine.generate(asked, max_tokens=40)]
    steps = 0

    def stop() -> RowEnd:
        tokens: list[int] = []

        def over(token: int) -> bool:
            nonlocal steps
            tokens.append(token)
            steps = max(steps, len(tokens))
            return len(tokens) >= 5 and tokens[0] == whole[1][0]

        return over

    cut = [o[0] for o in model.engine.generate(asked[1:2], max_tokens=40, stop=stop)]
    assert cut == [whole[1][:5]] and steps == 5
    expected = [full[:5] if full[0] == whole[1][0] else full for full in whole]
    assert [o[0] for o in model.engine.generate(asked, max_tokens=40, stop=stop)] == expected
    fanned = model.engine.generate(asked, max_tokens=40, stop=stop, samples=3)
    assert fanned == [[row] * 3 for row in expected]  # each sample is watched by itself


def test_a_row_ends_at_the_first_of_the_end_tokens() -> None:
    model = sepiola.build(spec("rotary"), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.0)
    asked = prompts(model)
    executor = TorchExecutor(model.network)

    def written(ends: frozenset[int] | None) -> list[list[int]]:
        return [o[0] for o in Engine(executor, ends=ends).generate(asked, max_tokens=40)]

    endless = written(frozenset())
    assert {len(row) for row in endless} == {40}
    ends = frozenset({endless[0][7], endless[2][3]})
    expected = [next((row[:i] for i, token in enumerate(row) if token in ends), row) for row in endless]
    assert written(ends) == expected and len({len(row) for row in expected}) > 1
    assert written(None) == written(frozenset({1}))


def test_sampled_chains_differ_repeat_with_the_seed_and_follow_the_distribution() -> None:
    model = sepiola.build(spec("rotary"), seed=3)
    prompt = Prompt([5, 6, 7])
    draw = Sampling(temperature=1.0, seed=4)
    first = model.engine.generate([prompt], max_tokens=1, sampling=draw, samples=4000)[0]
    assert model.engine.generate([prompt], max_tokens=1, sampling=draw, samples=4000)[0] == first
    with torch.no_grad():
        expected = model(torch.tensor([[5, 6, 7]]))[0, -1].softmax(-1)
    counts = torch.zeros(60)
    for chain in first:
        counts[chain[0] if chain else 1] += 1
    assert (counts / 4000 - expected).abs().max() < 0.03


BART = {
    "vocab_size": 97,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 40,
    "forced_eos_token_id": None,
}
PEERS: dict[str, tuple[type, dict[str, Any]]] = {
    "gpt2": (transformers.GPT2Config, {**HUB_GPT, "bos_token_id": 2, "eos_token_id": 2}),
    "llama": (transformers.LlamaConfig, {**HUB_LLAMA, "pad_token_id": 0}),
    "t5": (transformers.T5Config, {**HUB_T5, "decoder_start_token_id": 0}),
    "bart": (transformers.BartConfig, BART),
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.6},
    {"no_repeat_ngram_size": 2},
    {"min_new_tokens": 9},
    {"min_length": 12},
    {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_new_tokens": 4, "forced_eos_token_id": 2},
]


@pytest.mark.parametrize("name", PEERS)
def test_greedy_texts_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    kind, settings = PEERS[name]
    config = kind(**settings)
    both = transformers.AutoModelForSeq2SeqLM, transformers.AutoModelForCausalLM
    peer = randomise(both[not config.is_encoder_decoder].from_config(config), std=0.4).eval()
    peer.save_pretrained(tmp_path)
    executor = TorchExecutor(sepiola.load(tmp_path).network)
    asked = [[5, 9, 9, 5, 9], [7], [33, 8, 40, 8, 40, 8, 5, 5, 60, 71], [50, 51, 3]]
    plain = Engine(executor, ends=frozenset()).generate([Prompt(a) for a in asked], max_tokens=12)
    ends = [plain[0][0][5], plain[2][0][8], 2]  # so that rows end at different places
    changed = []
    for each in SETTINGS:
        expected = []
        for row in asked:
            given = torch.tensor([row])
            ids = peer.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=12,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=0,
                **each,
            )[0, 1 if config.is_encoder_decoder else len(row) :].tolist()
            expected.append([token for token in ids if token not in ends])
        engine = Engine(executor, ends=frozenset(ends))
        written = engine.generate([Prompt(a) for a in asked], max_tokens=12, sampling=Sampling(**each))
        assert [o[0] for o in written] == expected, each
        changed.append(expected)
    assert sum(expected != changed[0] for expected in changed) >= 3


LIMITED = {
    "decoder": decoder(positions={"kind": "learned", "length": 16}),
    "encoder-decoder": encoder_decoder(positions={"kind": "learned", "length": 16}),
}


@pytest.mark.parametrize("kind", LIMITED)
@torch.no_grad()
def test_no_row_goes_past_the_last_learned_position(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model = randomise(sepiola.build({"language": LIMITED[kind]}, seed=3), std=1.0)
    engine = Engine(TorchExecutor(model.network), ends=frozenset())
    asked = [Prompt(torch.randint(2, 60, (n,)).tolist()) for n in (15, 3, 9, 12, 1)]
    rooms = [16 - len(p.tokens) if kind == "decoder" else 15 for p in asked]
    assert [engine.room(p, 80) for p in asked] == rooms
    written = engine.generate(asked, max_tokens=80)
    assert [len(o[0]) for o in written] == rooms
    assert "5 replies ended at the last of the model's 16 positions" in caplog.text
    assert [engine.generate([p], max_tokens=80)[0] for p in asked] == written
    for prompt, (row,) in zip(asked, written, strict=True):
        given, read = torch.tensor([list(prompt.tokens)]), torch.tensor([[0, *row[:-1]]])
        logits = model(torch.tensor([[*prompt.tokens, *row[:-1]]])) if kind == "decoder" else model(given, read)
        assert logits[0, -len(row) :].argmax(-1).tolist() == row
    short = Engine(TorchExecutor(model.network), ends=frozenset()).generate(asked, max_tokens=6)
    assert [o[0] for o in short] == [o[0][:6] for o in written]


@pytest.mark.parametrize("kind", LIMITED)
def test_what_does_not_fit_is_refused_before_anything_is_computed(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model = sepiola.build({"language": LIMITED[kind]}, seed=3)

    class Idle(TorchExecutor):
        def begin(self, *arguments: Any, **keywords: Any) -> Any:
            raise AssertionError("it computes")

    engine, long = Engine(Idle(model.network)), 16 if kind == "decoder" else 17
    with pytest.raises(
        DataError, match=f"a prompt of {long} tokens and a reply of at least 1 .* the model's 16 positions"
    ):
        engine.generate([Prompt([5]), Prompt([5] * long)], max_tokens=2)
    with pytest.raises(DataError, match=r"a prompt of 9 tokens and a continuation of 17 .* the model's 16 positions"):
        engine.score([Prompt([5]), Prompt([5] * 9)], [[[3]], [[4] * 17]])
    for token in (60, -1):
        with pytest.raises(DataError, match=f"token {token}, at place 1 .* vocabulary of 60: expected 0 to 59"):
            engine.generate([Prompt([5, token])], max_tokens=2)
        with pytest.raises(DataError, match=f"token {token}, at place 0 .* vocabulary of 60: expected 0 to 59"):
            engine.score([Prompt([5])], [[[token]]])
    for name, count in (("max_tokens", 0), ("max_tokens", -3), ("samples", 0), ("max_tokens", 1.5), ("samples", True)):
        with pytest.raises(SepiolaError, match=f"{name}: got {count}, expected at least 1"):
            engine.generate([Prompt([5])], **{"max_tokens": 2, name: count})
    assert not caplog.records


@pytest.mark.parametrize("kind", ["encoder-decoder", "rotary"])
def test_an_empty_prompt_is_the_start_token(kind: str) -> None:
    engine = randomise(sepiola.build(spec(kind), seed=3), std=1.0).engine
    opening = [0] if kind == "rotary" else [1]
    written = engine.generate([Prompt([]), Prompt([5, 6])], max_tokens=9)
    assert written == engine.generate([Prompt(opening), Prompt([5, 6])], max_tokens=9)
    assert engine.score([Prompt([])], [[[7, 8]]]) == engine.score([Prompt(opening)], [[[7, 8]]])
