"""Questions and conversations about pictures without torch: the answers are those of sepiola's native runtime."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sepiola
from sepiola.api import Model
from sepiola.errors import DataError, SepiolaError, SpecError
from sepiola.generation.edge import save_edge
from sepiola.generation.edge_asking import asking_of, words_of
from sepiola.generation.edge_frame import frame_of
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.chat_questions import ChatQuestions
from sepiola.text.prompts import PromptFormat, split_rationale
from sepiola.text.tokenizer import Tokenizer
from tests.hub_folders import TEMPLATE, vision_language_folder
from tests.tiny import byte_model, decoder, detr, encoder_decoder, llama, noise_picture, randomise, vit

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
import sepiola_edge
from sepiola_edge.questions import split_rationale as edge_rationale

QUESTIONS: list[tuple[str, tuple[str, ...], str]] = [
    ("What is it?", (), ""),
    ("这是什么？", (), "看图。"),
    ("Which one is it?", ("a cat", " two dogs", "12"), "Look."),
    ("哪一个？", ("猫", "狗", "鱼"), ""),
    ("Is it red?", ("yes", "no"), ""),
    ("它是红色的吗？", ("是", "否"), ""),
]


def picture(width: int, height: int) -> Image.Image:
    draw = np.random.default_rng(width + height)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


def assert_same_answers(ours: Model, edge: Any, images: list[Any]) -> None:
    for question, choices, hint in QUESTIONS:
        for image in images:
            expected = ours.ask(question, image=image, choices=choices, hint=hint)
            given = edge.ask(question, image=image, choices=choices, hint=hint)
            assert (given.answer, given.choice, given.choices) == (expected.answer, expected.choice, expected.choices)
            assert given.rationale == expected.rationale
            if expected.probabilities is not None:
                assert np.allclose(given.probabilities, expected.probabilities, atol=1e-4)


SEEING = [("smolvlm", TEMPLATE), ("smolvlm", None), ("llava", TEMPLATE), ("onevision", TEMPLATE)]
SEEING += [("blip-2 opt", None), ("blip-2 t5", None)]


@pytest.mark.parametrize(("name", "template"), SEEING)
def test_a_published_model_sees_as_by_sepiola(tmp_path: Path, name: str, template: str | None) -> None:
    vision_language_folder(tmp_path / "model", name, template)
    model = sepiola.load(tmp_path / "model")
    wide, small = picture(100, 40), picture(30, 30)
    for bits in (8, 4):
        assert save_edge(tmp_path / "edge", model, bits) == []
        edge = sepiola_edge.load(tmp_path / "edge")
        model.run("native", bits=bits)
        assert_same_answers(model, edge, [None, small, wide, [small, wide]])
        shown = [{"type": "image", "image": wide}, {"type": "text", "text": " What? "}]
        talk: list[dict[str, Any]] = [
            {"role": "user", "content": shown},
            {"role": "assistant", "content": "Cat. 猫"},
            {"role": "user", "content": [{"type": "text", "text": "再看"}, *shown]},
        ]
        for turns in (talk[:1], talk, [{"role": "system", "content": "Go."}, *talk]):
            expected, given = (one.chat(turns, max_tokens=10) for one in (model, edge))
            assert (given.text, given.prompt_tokens) == (expected.text, expected.prompt_tokens)
        for prompt, seen in (("Look: <image> and", wide), ("海", [small, wide]), ("", small), ("a", None)):
            assert edge.generate(prompt, images=seen, max_tokens=8) == model.generate(prompt, images=seen, max_tokens=8)


def flamingo(language: Any) -> Model:
    """A model whose gates are open, and which tells its tokens' names."""
    tokenizer = Tokenizer.train(["What is it? 这是什么？"], 300, extra=["<image>"])
    heads = {"heads": 2, "head_width": 12}
    bridge = {"kind": "gated-cross", "token": tokenizer.id_of("<image>"), "attention": heads}
    bridge["resampler"] = {"latents": 4, "depth": 2, "attention": heads}
    built = sepiola.build(
        {"language": {**language, "vocabulary": tokenizer.vocabulary}, "vision": vit(), "bridge": bridge}
    )
    randomise(built.network, std=0.4, generator=torch.Generator().manual_seed(3))
    for name, parameter in built.network.named_parameters():
        if name.endswith("_gate"):
            parameter.data.fill_(2.0)
    return Model(built.network, built.spec, tokenizer)


@pytest.mark.parametrize("language", [llama(layers=3), encoder_decoder(layers=2)])
def test_flamingo_sees_as_by_sepiola(tmp_path: Path, language: Any) -> None:
    model = flamingo(language)
    wide, small = picture(100, 40), picture(30, 30)
    for bits in (8, 4):
        save_edge(tmp_path / "edge", model, bits)
        edge = sepiola_edge.load(tmp_path / "edge")
        model.run("native", bits=bits)
        assert_same_answers(model, edge, [None, small, [small, wide]])
        for prompt, seen in (("Look: <image> and", wide), ("a <image>b<image> c", [small, wide]), ("海", None)):
            written = edge.generate(prompt, images=seen, max_tokens=8)
            assert written == model.generate(prompt, images=seen, max_tokens=8)
        with pytest.raises(sepiola_edge.EdgeError, match="2 places"):
            edge.generate("<image> <image>", images=wide)
    config = json.loads((tmp_path / "edge" / "edge.json").read_text())
    config["images"]["name"] = "\ud800"
    (tmp_path / "edge" / "edge.json").write_text(json.dumps(config))
    with pytest.raises(sepiola_edge.EdgeError, match="name"):
        sepiola_edge.load(tmp_path / "edge")
    answers = [edge.ask("What is it?", image=seen, choices=("a cat", "two dogs")) for seen in (wide, small, wide)]
    assert answers[0].probabilities != answers[1].probabilities
    assert answers[0].probabilities == answers[2].probabilities


def test_what_a_conversation_showed_is_not_read_again(tmp_path: Path) -> None:
    vision_language_folder(tmp_path / "model", "smolvlm", TEMPLATE)
    save_edge(tmp_path / "edge", sepiola.load(tmp_path / "model"), 8)
    edge = sepiola_edge.load(tmp_path / "edge")
    turn = {"role": "user", "content": [{"type": "image", "image": picture(90, 60)}, {"type": "text", "text": "What?"}]}
    reply = edge.chat([turn], max_tokens=6)
    read = edge.core.computed
    talk = [turn, {"role": "assistant", "content": reply.text}, {"role": "user", "content": "And?"}]
    alone = sepiola_edge.load(tmp_path / "edge").chat(talk, max_tokens=6)
    longer = edge.chat(talk, max_tokens=6)
    assert (longer.text, longer.prompt_tokens) == (alone.text, alone.prompt_tokens)
    assert edge.core.computed - read < longer.prompt_tokens - reply.prompt_tokens + 30


@pytest.mark.parametrize(
    "answering",
    [
        AnsweringSpec(layout="text"),
        AnsweringSpec(answer_format="QCM-LEA", kind="one-stage", rationale_tokens=6, answer_tokens=6),
        AnsweringSpec(answer_format="QM-AE", kind="one-stage", rationale_tokens=6, answer_tokens=6),
        AnsweringSpec(answer_format="Q-A", source_tokens=20, answer_tokens=5),
        AnsweringSpec(answer_format="QM-T", answer_tokens=5),
        AnsweringSpec(answer_format="B-A", answer_tokens=5),
        AnsweringSpec(answer_format="QG-A", kind="two-stage", rationale_format="QC-E", rationale_tokens=8),
    ],
    ids=lambda one: f"{one.layout} {one.kind} {one.answer_format}",
)
@pytest.mark.parametrize(
    "language", [llama(), encoder_decoder(), decoder(positions={"kind": "learned", "length": 300})]
)
def test_models_without_pictures_are_asked_alike(tmp_path: Path, answering: AnsweringSpec, language: Any) -> None:
    model = byte_model(language)
    model = Model(model.network, model.spec, model.processor, answering, byte_model(language, 0.4))
    assert save_edge(tmp_path / "edge", model, 8) == []
    edge = sepiola_edge.load(tmp_path / "edge")
    model.run("native", bits=8)
    assert model.rationale is not None
    model.rationale.run("native", bits=8)
    assert_same_answers(model, edge, [None])


@pytest.mark.parametrize("vision", [detr(), vit(32, 8)], ids=["detr", "vit"])
def test_a_fused_model_reasons_and_answers_alike(tmp_path: Path, vision: Any) -> None:
    """Multimodal-CoT's two stages, each with its own vision encoder."""
    tokenizer = Tokenizer.train([], 259)
    language = encoder_decoder(tokenizer.vocabulary, 24, 2)
    spec = {"language": language, "vision": vision, "bridge": {"kind": "gated-fusion"}}
    stages = []
    for seed in (1, 2):
        built = sepiola.build(spec, seed=seed)
        randomise(built.network, std=0.25, generator=torch.Generator().manual_seed(seed))
        stages.append(Model(built.network, built.spec, tokenizer))
    asked = AnsweringSpec(answer_format="QG-A", kind="two-stage", rationale_format="QC-E", rationale_tokens=8)
    model = Model(stages[0].network, stages[0].spec, tokenizer, asked, stages[1])
    for bits in (8, 16):
        assert save_edge(tmp_path / "edge", model, bits) == []
        edge = sepiola_edge.load(tmp_path / "edge")
        model.run("native", bits=bits)
        stages[1].run("native", bits=bits)
        assert_same_answers(model, edge, [None, picture(90, 60), [picture(30, 30), picture(64, 64)]])
    shown = [{"type": "image", "image": picture(64, 64)}, {"type": "text", "text": "What?"}]
    turn = [{"role": "user", "content": shown}]
    assert edge.chat(turn, max_tokens=6).text == model.chat(turn, max_tokens=6).text
    model.answering = asked.model_copy(update={"images": False})
    save_edge(tmp_path / "edge", model, 16)
    blind = sepiola_edge.load(tmp_path / "edge")
    with pytest.raises(sepiola_edge.EdgeError, match="reads text alone"):
        blind.ask("What?", image=picture(64, 64))
    with pytest.raises(DataError, match="reads text alone"):
        model.ask("What?", image=picture(64, 64))
    assert_same_answers(model, blind, [None])


class Counting:
    """A core that counts the pictures that its vision encoder reads."""

    def __init__(self, core: Any) -> None:
        self.core, self.seen = core, 0

    def features(self, pixels: Any) -> Any:
        self.seen += len(pixels)
        return self.core.features(pixels)


def test_stages_of_one_vision_encoder_see_a_picture_once(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train([], 259)
    spec = {"language": encoder_decoder(tokenizer.vocabulary, 24, 2), "vision": detr()}
    spec |= {"bridge": {"kind": "gated-fusion"}}
    stages = []
    for seed in (1, 2):
        built = sepiola.build(spec, seed=seed)
        randomise(built.network, std=0.25, generator=torch.Generator().manual_seed(seed))
        stages.append(Model(built.network, built.spec, tokenizer))
    stages[1].network.vision.load_state_dict(stages[0].network.vision.state_dict())
    asked = AnsweringSpec(answer_format="QG-A", kind="two-stage", rationale_format="QC-E", rationale_tokens=8)
    model = Model(stages[0].network, stages[0].spec, tokenizer, asked, stages[1])
    save_edge(tmp_path / "edge", model, 8)
    for stage in (model, stages[1]):
        stage.run("native", bits=8)
    edge = sepiola_edge.load(tmp_path / "edge")
    assert not any("vision" in name for name in json.loads((tmp_path / "edge/rationale/edge.json").read_text())["core"])
    counting = edge.images.vision.core = Counting(edge.core)
    one, two = picture(90, 60), picture(64, 64)
    assert_same_answers(model, edge, [one])
    assert counting.seen == 1
    assert_same_answers(model, edge, [two, [two, one]])
    assert counting.seen == 1 + len(QUESTIONS) * 3
    with pytest.raises(sepiola_edge.EdgeError, match="its vision encoder is not there"):
        sepiola_edge.load(tmp_path / "edge" / "rationale")


def test_formats_that_nobody_can_fill_are_named() -> None:
    for answering, reason in (
        (AnsweringSpec(answer_format="QCML-A"), "QCML-A shows the record's own lecture"),
        (AnsweringSpec(answer_format="QCMG-A"), "QCMG-A shows a rationale, which nobody writes"),
        (AnsweringSpec(layout="minigpt-4"), "no prompt layout 'minigpt-4'"),
        (AnsweringSpec(strategy={"kind": "self-consistency"}), "no strategy 'self-consistency'; it has direct"),
    ):
        with pytest.raises(SpecError, match=reason):
            asking_of(answering, context=None, opening=())
    for name in ("QCM-A", "QM-T", "QC-E", "QCM-LE", "QCMG-A", "B-A", "QCM-LEA", "QCM-ALE", "Q-A"):
        assert words_of(PromptFormat.parse(name)).keys() == {"en", "zh"}
    assert words_of(ChatQuestions()).keys() == {"en", "zh"}
    texts = [
        "Solution: It is red. The answer is (A).",
        "答案是（B）。因为：它是红的",
        "因为：红。",
        "The answer is a cat.",
        "",
    ]
    texts += [
        "It is. The answer is (A). No. The answer is (B).",
        "The answer is (C). BECAUSE: see",
        "答案：好的。答案是猫。",
    ]
    assert [edge_rationale(text) for text in texts] == [split_rationale(text)[0] for text in texts]


SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
LLAVA = (  # pictures before the text of their message
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
NUMBERED = SMOLVLM.replace("'<image>' }}", "'Picture ' ~ loop.index ~ '<image>' }}")


def test_places_of_pictures_are_read_off_templates() -> None:
    for source, in_order in ((SMOLVLM, True), (LLAVA, False)):
        frame, reason = frame_of(ChatTemplate({"default": source}), place="<image>")
        assert reason is None and frame.shown is not None and frame.shown.in_order is in_order
    frame, reason = frame_of(ChatTemplate({"default": NUMBERED}), place="<image>")
    assert frame.shown is None and reason is not None


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    model = byte_model(llama())
    save_edge(tmp_path / "edge", model, 8)
    edge = sepiola_edge.load(tmp_path / "edge")
    with pytest.raises(sepiola_edge.EdgeError, match="reads text alone; leave them out"):
        edge.ask("What?", image=picture(4, 4))
    with pytest.raises(sepiola_edge.EdgeError, match="question, hint and choices are texts"):
        edge.ask("What?", choices="ab")
    for choices in (("a", ""), ("a", "a")):
        with pytest.raises(sepiola_edge.EdgeError, match=r"choices\[1\] is .*; expected texts, each of them once"):
            edge.ask("What?", choices=choices)
    model.answering = AnsweringSpec(layout="minigpt-4")
    (note,) = save_edge(tmp_path / "edge", model, 8)
    assert note == "it cannot be asked: the edge runtime has no prompt layout 'minigpt-4'"
    with pytest.raises(sepiola_edge.EdgeError, match="exported without a way to be asked"):
        sepiola_edge.load(tmp_path / "edge").ask("What?")
    vision_language_folder(tmp_path / "instructed", "instructblip")
    with pytest.raises(SepiolaError, match="gives a Q-Former no instruction"):
        save_edge(tmp_path / "other", sepiola.load(tmp_path / "instructed"), 8)
    assert not (tmp_path / "other").exists()
    model.answering, model.processor = None, dataclasses.replace(model.processor, functions=())
    (note,) = save_edge(tmp_path / "edge", model, 8)
    assert note == "it calls functions that a request declares, which the edge runtime does not"
    vision_language_folder(tmp_path / "seeing", "smolvlm", TEMPLATE)
    save_edge(tmp_path / "edge", sepiola.load(tmp_path / "seeing"), 8)
    seeing = sepiola_edge.load(tmp_path / "edge")
    with pytest.raises(sepiola_edge.EdgeError, match="names <image>, which stands for pictures"):
        seeing.chat([{"role": "user", "content": "an <image>"}])
    with pytest.raises(sepiola_edge.EdgeError, match="2 pictures, and 1 places for them"):
        seeing.generate("an <image>", images=[picture(4, 4), picture(4, 4)])


def test_parts_that_do_not_fit_together_are_one_message(tmp_path: Path) -> None:
    vision_language_folder(tmp_path / "seeing", "smolvlm", TEMPLATE)
    save_edge(tmp_path / "edge", sepiola.load(tmp_path / "seeing"), 8)
    path = tmp_path / "edge" / "edge.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for part, key, value, fault in (
        ("images", "tokens", 2**63, "'images' is damaged"),
        ("core", "bridge", None, "do not fit together: this model has no bridge"),
    ):
        damaged = {**whole, part: {**whole[part], key: value}}
        if value is None:
            del damaged[part][key]
        path.write_text(json.dumps(damaged), encoding="utf-8")
        with pytest.raises(sepiola_edge.EdgeError, match=fault):
            sepiola_edge.load(tmp_path / "edge").ask("What?", image=picture(9, 7))


def test_it_is_a_command(tmp_path: Path) -> None:
    vision_language_folder(tmp_path / "model", "smolvlm", TEMPLATE)
    model = sepiola.load(tmp_path / "model")
    save_edge(tmp_path / "edge", model, 8)
    model.run("native", bits=8)
    (tmp_path / "a.png").write_bytes(noise_picture(3, 40).encoded)

    def said(*more: str) -> Any:
        command = [
            sys.executable,
            "-m",
            "sepiola_edge",
            str(tmp_path / "edge"),
            "这是什么？",
            "--image",
            str(tmp_path / "a.png"),
        ]
        return subprocess.run([*command, *more], capture_output=True, text=True, cwd="/")

    expected = model.ask("这是什么？", image=tmp_path / "a.png", choices=["猫", "狗"])
    answer = json.loads(said("--choice", "猫", "--choice", "狗", "--json").stdout)
    assert answer["answer"] == expected.answer and answer["choices"] == ["猫", "狗"]
    parts = [{"type": "image", "path": str(tmp_path / "a.png")}, {"type": "text", "text": "这是什么？"}]
    reply = model.chat([{"role": "user", "content": parts}], max_tokens=5)
    assert json.loads(said("--max-tokens", "5", "--json").stdout)["text"] == reply.text
    assert said("--max-tokens", "5").stdout.strip() == reply.text
    for ignored in (("--choice", "猫", "--max-tokens", "5"), ("--hint", "看", "--temperature", "1")):
        failed = said(*ignored)
        assert failed.returncode == 2 and "a question is answered greedily" in failed.stderr
    assert "--raw continues a text" in said("--raw", "--choice", "猫").stderr
    command = [sys.executable, "-m", "sepiola_edge", str(tmp_path / "edge"), "a", "--raw", "--max-tokens", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/") as piped:
        assert piped.stdout is not None and piped.stderr is not None
        piped.stdout.close()  # as `| head` does
        assert piped.stderr.read() == b"" and piped.wait() == 1
    failed = said("--image", "nowhere.png")
    assert (failed.returncode, failed.stderr) == (2, "error: nowhere.png: no such picture\n")
