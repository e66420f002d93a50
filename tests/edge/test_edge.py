"""The runtime without torch: a folder that `sepiola export` wrote writes what sepiola writes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from typer.testing import CliRunner

import sepiola
from sepiola.api import Model
from sepiola.cli.app import app
from sepiola.data.example import Message
from sepiola.errors import DataError, SepiolaError, SpecError
from sepiola.generation.edge import save_edge
from sepiola.generation.edge_frame import frame_of
from sepiola.text.chat import ChatTemplate
from sepiola.text.conversation import Conversations
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import byte_model, decoder, encoder_decoder, llama, randomise

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
import sepiola_edge
from sepiola_edge.sampling import Sampling

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMOL = (  # a system prompt of its own where none is given
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\\nBe good<|im_end|>\\n' }}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
STRIPS = (  # as Llama 2 and Gemma lay out: no system turn of its own, and texts without the spaces around them
    "{% if messages[0].role == 'system' %}{% set lead = messages[0].content | trim + '\\n\\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set lead = '' %}{% endif %}"
    "{% for m in messages %}{{ ('[INST] ' if m.role == 'user' else ' ') + (lead if loop.first else '') "
    "+ m.content | trim + (' [/INST]' if m.role == 'user' else ' </s>') }}{% endfor %}"
)
GEMMA = (  # the system prompt as it is in the user's first turn, and the other texts without the spaces around them
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set lead = messages[0].content + '\\n\\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set lead = '' %}{% endif %}"
    "{% for m in messages %}{{ '<|turn|>' + m.role + '\\n' + (lead if loop.first else '') + m.content | trim }}"
    "{{ '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|turn|>model\\n' }}{% endif %}"
)
THINKS = (  # as Qwen3: the last answer, and it alone, begins with an empty thought
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "What is red?"},
    {"role": "assistant", "content": "An apple. 苹果"},
    {"role": "user", "content": "And green? "},
]


def exported(model: Model, folder: Path, bits: int = 8) -> Any:
    save_edge(folder, model, bits)
    return sepiola_edge.load(folder)


def test_it_writes_what_sepiola_writes(tmp_path: Path) -> None:
    for name, language in {
        "decoder": llama(tied=False),
        "learned": decoder(positions={"kind": "learned", "length": 64}),
        "experts": llama(
            feed_forward={
                **{"width": 40, "activation": "silu", "gated": True, "experts": 5, "chosen": 2},
                **{"renormalise": False, "shared": 24, "dense": (0,), "dense_width": 70},
            },
            tied=False,
        ),
        "encoder-decoder": encoder_decoder(),
    }.items():
        model = byte_model(language)
        for bits in (4, 8, 16):
            edge = exported(model, tmp_path / f"{name}{bits}", bits)
            model.run("native", bits=bits)
            for prompt in ("The sea", "海很大", ""):
                expected = model.generate(prompt, max_tokens=9)
                pieces: list[str] = []
                assert edge.generate(prompt, max_tokens=9, on_text=pieces.append) == expected
                assert "".join(pieces) == expected
                assert len(expected) > 0


def test_guessed_tokens_change_nothing_but_the_time(tmp_path: Path) -> None:
    for name, language in {"decoder": llama(tied=False), "encoder-decoder": encoder_decoder()}.items():
        edge = exported(byte_model(language), tmp_path / name)
        for how in (Sampling(), Sampling(temperature=0.6, top_k=4, repetition_penalty=1.2, seed=2)):
            for prompt in ("abcabcabcabc", "海海海海海海", "The sea"):
                expected = edge.generate(prompt, max_tokens=24, sampling=how)
                before = edge.core.computed
                guessing = dataclasses.replace(how, prompt_lookup_num_tokens=5)
                assert edge.generate(prompt, max_tokens=24, sampling=guessing) == expected
                assert edge.core.computed > before
                for limit in (1, 4, 7):
                    short = edge.generate(prompt, max_tokens=limit, sampling=how)
                    assert edge.generate(prompt, max_tokens=limit, sampling=guessing) == short
    with pytest.raises(sepiola_edge.EdgeError, match="prompt_lookup_num_tokens: got -1"):
        Sampling(prompt_lookup_num_tokens=-1)


@pytest.mark.parametrize("source", [None, CHATML, SMOL, STRIPS, GEMMA, THINKS])
def test_it_talks_as_sepiola_does(tmp_path: Path, source: str | None) -> None:
    model = byte_model(llama())
    if source is not None:
        tokenizer = model.require_tokenizer().with_token("<|im_end|>")
        model = Model(sepiola.build({"language": llama(tokenizer.vocabulary)}).network, model.spec, tokenizer)
        randomise(model, std=0.5, generator=torch.Generator().manual_seed(3))
        model.template = ChatTemplate({"default": source}, {"eos_token": "<|im_end|>"})
    edge = exported(model, tmp_path / "edge")
    model.run("native")
    named = [{"role": "user", "content": "a<|im_end|>\n<think> </s>[INST]"}]
    for talk in (TALK, TALK[1:2], TALK[1:], named):  # the second and third begin as another did, and go on from there
        expected = model.chat(talk, max_tokens=8)
        reply = edge.chat(talk, max_tokens=8)
        assert (reply.text, reply.prompt_tokens) == (expected.text, expected.prompt_tokens)
        assert reply.tokens <= 8 and reply.first_token_seconds <= reply.seconds
    for choices in (("an apple", "苹果"), ("<|im_end|>", "no")):
        wanted, given = (one.ask("Which <|im_end|> is it?", choices=choices) for one in (model, edge))
        assert given.answer == wanted.answer and np.allclose(given.probabilities, wanted.probabilities, atol=1e-4)
    with pytest.raises(sepiola_edge.EdgeError, match="expected user and assistant by turns, the user last"):
        edge.chat(TALK[:3])


def test_templates_that_do_more_than_set_texts_are_refused() -> None:
    reversing = "{% for m in messages | reverse %}{{ m.role + m.content }}{% endfor %}"
    counting = "{% for m in messages %}{{ loop.index ~ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    shouting = "{% for m in messages %}{{ m.role + ': ' + m.content | upper + '\\n' }}{% endfor %}"
    dated = "{{ strftime_now('%Y') }}" + CHATML
    for source in (reversing, counting, shouting, dated):
        with pytest.raises(DataError, match="the chat template"):
            frame_of(ChatTemplate({"default": source}))


@pytest.mark.parametrize("scheme", [None, "first", "always"])
def test_names_of_control_tokens_in_a_message_are_the_same_letters(scheme: Any) -> None:
    """As one text, for a tokenizer that marks the start of a text by a space too, and for added tokens of no kind."""
    tokenizer = byte_model(llama()).require_tokenizer().with_token("<|im_end|>")
    if scheme is not None:
        words = ["<unk>", "</s>", "▁", *"<|im_startend>userHis/tk\nore", "</"]
        backend = tokenizers.Tokenizer(
            tokenizers.models.BPE(
                {word: i for i, word in enumerate(dict.fromkeys(words))}, [("<", "/")], unk_token="<unk>"
            )
        )
        backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        backend.add_special_tokens(["</s>", "<|im_end|>"])
        backend.add_tokens([tokenizers.AddedToken("<think>", special=False)])
        tokenizer = Tokenizer(backend)
    for source in (CHATML, THINKS):
        talk = Conversations(tokenizer, ChatTemplate({"default": source}))
        frame, _ = frame_of(talk.template, controls=talk.guard.names)
        for text in ("Hi<|im_end|>\nmore", "</s>", " </s> <think>s", "<think", "more"):
            for framed in (False, True):
                (laid,), letters = talk.laid_out([Message("user", (text,))])
                wanted = letters.encode(laid, framed=framed)
                pieces = frame.pieces([{"role": "user", "content": text}])
                assert frame.letters(tokenizer.backend).encode(pieces, framed=framed) == wanted
                assert wanted.count(tokenizer.id_of("<|im_end|>")) == 1


def test_calls_in_a_conversation_are_refused_by_name(tmp_path: Path) -> None:
    edge = exported(byte_model(llama()), tmp_path / "edge")
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    asked, called = {"role": "user", "content": "谁?"}, {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "1", "content": "安娜"}
    for messages, what in (([asked, called, result], "tool_calls"), ([asked, result], "a message of the role 'tool'")):
        with pytest.raises(sepiola_edge.EdgeError, match=f"the edge runtime has no place for {what}"):
            edge.chat(messages)
    with pytest.raises(sepiola_edge.EdgeError, match="the edge runtime has no place for tools"):
        edge.chat([asked], tools=[{"type": "function", "function": {"name": "find"}}])


def test_a_prompt_past_the_context_is_warned_of_as_by_the_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = byte_model(llama())
    model.processor = dataclasses.replace(model.processor, context=40)
    edge = exported(model, tmp_path / "edge")
    config = json.loads((tmp_path / "edge" / "edge.json").read_text(encoding="utf-8"))
    del config["context"]  # as folders were that were exported before
    (tmp_path / "edge" / "edge.json").write_text(json.dumps(config), encoding="utf-8")
    said = []
    for one in (model, edge, sepiola_edge.load(tmp_path / "edge")):
        caplog.clear()
        one.chat([{"role": "user", "content": "a"}], max_tokens=1)
        one.generate("a" * 30, max_tokens=1)
        assert not caplog.records
        one.chat([{"role": "user", "content": "a" * 50}], max_tokens=1)
        one.generate("a" * 50, max_tokens=1)
        said.append([record.getMessage() for record in caplog.records])
    assert (
        said[0] == said[1] == said[2]
        and len(said[0]) == 2
        and "the model was made to read 40: it may fail" in said[0][0]
    )


def test_stop_strings_limits_and_draws(tmp_path: Path) -> None:
    edge = exported(byte_model(llama()), tmp_path / "edge")
    edge.ends = frozenset()
    text = edge.generate("ab", max_tokens=30)
    at = text[12:14]
    for stop in ([at], at):
        assert edge.generate("ab", max_tokens=30, stop=stop) == text[: text.index(at)]
    assert edge.generate("ab", max_tokens=30, stop=None) == text
    with pytest.raises(sepiola_edge.EdgeError, match="stop: got ''; expected texts, none of them empty"):
        edge.generate("ab", stop="")
    drawn = [edge.generate("ab", max_tokens=12, sampling=Sampling(temperature=1.5, seed=s)) for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    greedy = edge.generate("ab", max_tokens=12)
    assert edge.generate("ab", max_tokens=12, sampling=Sampling(temperature=9.0, top_k=1)) == greedy
    likely = np.array([2.0, 1.0, -3.0, 0.5], np.float32)
    draws = {Sampling(temperature=1.0, top_p=0.6).draw(likely.copy(), [], np.random.default_rng(i)) for i in range(50)}
    assert draws == {0}
    assert Sampling(repetition_penalty=4.0).draw(likely.copy(), [0, 0], np.random.default_rng(0)) == 1
    with pytest.raises(sepiola_edge.EdgeError, match="top_p: got 0; expected more than 0"):
        Sampling(top_p=0)
    with pytest.raises(sepiola_edge.EdgeError, match="max_tokens: got 0"):
        edge.generate("ab", max_tokens=0)


def test_the_runtime_needs_no_torch(tmp_path: Path) -> None:
    exported(byte_model(llama()), tmp_path / "edge")
    script = (
        "import sys, sepiola_edge\n"
        f"print(repr(sepiola_edge.load({str(tmp_path / 'edge')!r}).generate('ab', max_tokens=3)))\n"
        "print({'torch', 'sepiola', 'jinja2', 'pydantic'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.splitlines()[1] == "set()"


def test_export_is_a_command(tmp_path: Path) -> None:
    byte_model(llama()).save(tmp_path / "model")
    command = [
        "export",
        str(tmp_path / "model"),
        "--to",
        "edge",
        "--bits",
        "4",
        "--out",
        str(tmp_path / "edge"),
        "--json",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["bytes"] == sum(p.stat().st_size for p in (tmp_path / "edge").iterdir())
    assert sepiola_edge.load(tmp_path / "edge").core.read_bytes < figures["bytes"]
    shaped = byte_model(llama())
    Model(shaped.network, shaped.spec.model_copy(update={"family": "llama"}), shaped.tokenizer).save(tmp_path / "model")
    hub = ["export", str(tmp_path / "model"), "--to", "hf", "--out", str(tmp_path / "hf")]
    assert CliRunner().invoke(app, hub).exit_code == 0
    assert (tmp_path / "hf" / "config.json").is_file()
    with pytest.raises(SpecError, match="--bits is for --to edge"):
        CliRunner().invoke(app, [*hub, "--bits", "4"], catch_exceptions=False)


def test_what_cannot_leave_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="bits: got 5"):
        save_edge(tmp_path / "edge", byte_model(llama()), 5)
    tokenizer = byte_model(llama()).require_tokenizer()
    for name, reason in {
        "vit-tiny": "compares, or tells labels apart",
        "flamingo-tiny": "the tokenizer has no token None",
    }.items():
        built = sepiola.build(name)
        with pytest.raises(SepiolaError, match=reason):
            save_edge(tmp_path / "edge", Model(built.network, built.spec, tokenizer), 8)
    assert not (tmp_path / "edge").exists()


def test_damaged_folders_are_one_message(tmp_path: Path) -> None:
    folder = tmp_path / "edge"
    with pytest.raises(sepiola_edge.EdgeError, match="expected a folder that `sepiola export"):
        sepiola_edge.load(folder)
    exported(byte_model(llama()), folder)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    draw = np.random.default_rng(0)
    loaded = refused = 0
    for path, data in whole.items():
        for _ in range(60):
            damaged = bytearray(data)
            match int(draw.integers(3)):
                case 0:
                    damaged = damaged[: int(draw.integers(len(data)))]
                case 1:
                    for place in draw.integers(min(len(data), 2000), size=3):
                        damaged[place] = int(draw.integers(256))
                case _:
                    place = int(draw.integers(min(len(data), 3000)))
                    damaged[place : place + 4] = b"9999"
            path.write_bytes(damaged)
            try:
                edge = sepiola_edge.load(folder)
                edge.generate("ab", max_tokens=2)
                edge.ask("ab", choices=["a", "b"])
                loaded += 1
            except sepiola_edge.EdgeError:
                refused += 1
        path.write_bytes(data)
    assert loaded + refused == 180 and refused > 60


def test_what_is_no_prompt_message_or_setting_is_one_message(tmp_path: Path) -> None:
    edge: Any = exported(byte_model(llama()), tmp_path / "edge")
    said = [{"role": "user", "content": "hi"}]
    wrong: list[tuple[Callable[[], object], str]] = [
        (partial(sepiola_edge.load, None), "a model is a folder that .* wrote; got None"),  # type: ignore[arg-type]
        (partial(sepiola_edge.load, ""), "a model is a folder that .* wrote; got ''"),
        (partial(edge.generate, None), "the prompt: got None; expected a text"),
        (partial(edge.generate, "耳\ud83d"), "the prompt: got .*; expected a text, without half a character pair"),
        (partial(edge.generate, "a", max_tokens="3"), "max_tokens: got '3'; expected at least 1, a whole number"),
        (partial(edge.generate, "a", max_tokens=True), "max_tokens: got True"),
        (partial(edge.generate, "a", sampling={"seed": 1}), "sampling: got .*; expected sepiola_edge.Sampling"),
        (partial(sepiola_edge.Sampling, temperature="1"), "temperature: got '1'; expected a number"),
        (partial(sepiola_edge.Sampling, seed=1.5), "seed: got 1.5; expected a whole number"),
        (partial(sepiola_edge.Sampling, seed=-1), "seed: got -1; expected 0 or more"),
        (partial(edge.chat, "hi"), "messages: got 'hi'; expected a list of dicts"),
        (partial(edge.chat, ["hi"]), "messages: got .*; expected a list of dicts"),
        (
            partial(edge.chat, [{"role": "user", "content": "\ud83d"}]),
            "a message: got .*; expected a text, without half",
        ),
        (partial(edge.chat, said, sampling=3), "sampling: got 3"),
    ]
    for ask, fault in wrong:
        with pytest.raises(sepiola_edge.EdgeError, match=fault):
            ask()
