"""Chat templates, word for word as `transformers` renders them, and what a template may not do.

The templates are shortened retellings of the published ones: each keeps the features that its family relies on.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer as Backend
from tokenizers import models
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import sepiola
from sepiola.data.example import Message
from sepiola.data.image import ImageRef
from sepiola.errors import CheckpointError, DataError
from sepiola.text.chat import ChatTemplate, as_dict, as_message, as_messages
from sepiola.text.tokenizer import Tokenizer

TEMPLATES = {p.stem: p.read_text(encoding="utf-8") for p in (Path(__file__).parent / "templates").glob("*.jinja")}
SMOLLM, QWEN_TOOLS, QWEN_THINKS = TEMPLATES["smollm2"], TEMPLATES["qwen2.5"], TEMPLATES["qwen3"]
LLAMA, GEMMA, MISTRAL, ZEPHYR = (TEMPLATES[name] for name in ("llama3", "gemma3", "mistral", "zephyr"))
SMOLVLM, LLAVA, DOCUMENTS = TEMPLATES["smolvlm"], TEMPLATES["llava"], TEMPLATES["documents"]
SPECIAL = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
ENGLISH = [
    {"role": "user", "content": '  What <is> "this" & that?\n'},
    {"role": "assistant", "content": "A squid's eye. "},
    {"role": "user", "content": "Is it big?"},
]
CHINESE = [
    {"role": "system", "content": "你是一个助手。"},
    {"role": "user", "content": "这是什么？"},
    {"role": "assistant", "content": "这是一只耳乌贼。", "reasoning_content": "眼睛很大，\n所以…"},
    {"role": "user", "content": "它大吗？👀"},
]
THOUGHT = [*ENGLISH, {"role": "assistant", "content": "<think>\nHm, 大概。\n</think>\n\nYes.", "tool_calls": None}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a <city> 天气",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CALLS = [
    {"role": "user", "content": "成都的天气？"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"type": "function", "function": {"name": "get_weather", "arguments": {"city": c, "days": np.int64(2)}}}
            for c in ("成都", "Vienna")
        ],
    },
    {"role": "tool", "content": '{"晴": 21}'},
    {"role": "tool", "content": "rain"},
    {"role": "assistant", "content": "晴，21 度；rain in Vienna."},
]
PICTURES = [
    {"role": "system", "content": [{"type": "text", "text": "Look closely."}]},
    {
        "role": "user",
        "content": [{"type": "image", "image": object()}, {"type": "text", "text": "几只？"}, {"type": "image"}],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "两只。"}]},
    {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
]


def peer(source: str, special: dict[str, str] = SPECIAL) -> PreTrainedTokenizerFast:
    backend = Backend(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=source, **special)


def ours(source: str) -> ChatTemplate:
    return ChatTemplate({"default": source}, SPECIAL)


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize(
    ("source", "messages", "options"),
    [
        (SMOLLM, ENGLISH, {}),
        (SMOLLM, CHINESE, {}),
        (QWEN_TOOLS, CHINESE, {}),
        (QWEN_TOOLS, CALLS, {"tools": TOOLS}),
        (QWEN_TOOLS, [CHINESE[0], *CALLS], {"tools": TOOLS}),
        (QWEN_THINKS, CHINESE, {"enable_thinking": False}),
        (QWEN_THINKS, THOUGHT, {}),
        (
            QWEN_THINKS,
            [*ENGLISH, {"role": "assistant", "content": "是。", "thinking": "想"}],
            {"enable_thinking": True},
        ),
        (LLAMA, ENGLISH, {}),
        (LLAMA, CHINESE, {"date_string": "26 Jul 2024", "tools": TOOLS}),
        (LLAMA, ENGLISH, {"bos_token": "<s>", "source": "a variable of any name"}),
        (GEMMA, ENGLISH, {}),
        (GEMMA, CHINESE, {}),
        (GEMMA, PICTURES, {}),
        (MISTRAL, ENGLISH, {}),
        (MISTRAL, CHINESE[1:], {}),
        (ZEPHYR, ENGLISH, {}),
        (ZEPHYR, CHINESE, {}),
        (SMOLVLM, PICTURES, {}),
        (SMOLVLM, ENGLISH, {}),
        (LLAVA, PICTURES, {}),
        (DOCUMENTS, CHINESE * 2, {"documents": [{"title": "鱿鱼", "text": "Big eyes."}]}),
        (DOCUMENTS, ENGLISH, {}),
    ],
)
def test_the_text_is_that_of_transformers(
    source: str, messages: list[dict[str, Any]], options: dict[str, Any], begin: bool
) -> None:
    expected = peer(source).apply_chat_template(messages, tokenize=False, add_generation_prompt=begin, **options)
    assert ours(source).render(messages, add_generation_prompt=begin, **options) == expected


@pytest.mark.parametrize("source", [SMOLLM, LLAMA, GEMMA, SMOLVLM])
@pytest.mark.parametrize("text", ["It is", "它很大，", "Well,  "])
def test_the_last_message_can_stay_open(source: str, text: str) -> None:
    content = [{"type": "text", "text": text}] if source == SMOLVLM else text
    messages = [PICTURES[1] if source == SMOLVLM else ENGLISH[0], {"role": "assistant", "content": content}]
    expected = peer(source).apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert ours(source).render(messages, continue_final_message=True) == expected
    assert messages[-1]["content"] == content


def test_our_messages_are_laid_out_as_the_template_takes_them() -> None:
    picture = ImageRef.of(Image.new("RGB", (2, 2)))
    seen = Message("user", (picture, "几只？", picture))
    assert as_dict(seen) == {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "几只？"}, {"type": "image"}],
    }
    plain = [Message("system", ("Look ", "closely.")), Message("user", ("What?",))]
    dicts = [as_dict(m, in_parts=False) for m in plain]
    assert dicts[0] == {"role": "system", "content": "Look closely."}
    for source in (SMOLLM, GEMMA, ZEPHYR):
        assert ours(source).render(plain) == ours(source).render(dicts)
    assert ours(SMOLVLM).render(plain[1:]) == "<|im_start|>User: What?<end_of_utterance>\nAssistant:"
    assert ours(LLAVA).render([seen]) == "<|im_start|>user <image><image>\n几只？<|im_end|>"
    assert ours(LLAVA).render(plain[1:]) == "<|im_start|>user \nWhat?<|im_end|>"
    assert "<start_of_image>几只？<start_of_image>" in ours(GEMMA).render([seen])


@pytest.mark.parametrize(
    ("source", "messages", "options", "message"),
    [
        (GEMMA, CHINESE[:1] + CHINESE[2:], {}, "refuses this conversation: Conversation roles must alternate"),
        (MISTRAL, CHINESE, {}, "refuses this conversation: Conversation roles"),
        (SMOLLM, PICTURES, {}, "fails on this conversation (TypeError"),
        (SMOLLM, [], {}, "an empty conversation"),
        (SMOLLM, ["hello"], {}, "a message is a dict with 'role' and 'content', or a Message; got 'hello'"),
        (QWEN_TOOLS, ENGLISH, {"tools": [print]}, "tools are JSON schemas"),
        (SMOLLM, ENGLISH, {"template": "rag"}, "no chat template is named 'rag'; this checkpoint has: default"),
        ("a\n{% for x %}", ENGLISH, {}, "line 2 of the chat template cannot be read as Jinja"),
        ("always this", ENGLISH, {"continue_final_message": True}, "does not show the last message's text"),
        (
            SMOLVLM,
            [{"role": "user", "content": [{"type": "image"}]}],
            {"continue_final_message": True},
            "no text to go on",
        ),
    ],
)
def test_a_mistake_is_one_message(source: str, messages: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        ours(source).render(messages, **options)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ ''['__class__'] | attr('__base__') }}{{ (messages | attr('__len__'))() }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns.__html__ = 1 %}",
        "{% for i in range(10000000000) %}{% endfor %}",
    ],
)
def test_a_malicious_template_gets_nowhere(source: str) -> None:
    with pytest.raises(DataError, match=r"what the sandbox bars|fails on this conversation"):
        ours(source + "{{ 'reached' }}").render(ENGLISH)


@pytest.mark.parametrize("source", ["{{ raise_exception.__globals__ }}", "{{ '{0.__class__}'.format(messages) }}"])
def test_what_the_sandbox_hides_is_nothing(source: str) -> None:
    assert ours(source + "|").render(ENGLISH) == "|"


def test_objects_in_a_conversation_reach_no_template() -> None:
    source = "{{ messages[0].content[0].image }} {{ messages[0].content[0].image.save is defined }} {{ x }}"
    message = {"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (2, 2))}]}
    assert ours(source).render([message], x=np.zeros(2)) == "<Image> False <ndarray>"


def write(folder: Path, files: dict[str, Any]) -> None:
    backend = Backend(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    backend.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}
SHOW = "{{ bos_token }}|{{ eos_token }}|{{ image_token }}|"


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config.json": {**CLASS, **SPECIAL, "pad_token": None, "chat_template": SHOW + ZEPHYR}},
        {
            "tokenizer_config.json": {
                **CLASS,
                "bos_token": {"__type": "AddedToken", "content": "<B>", "special": True},
                "add_bos_token": True,
                "extra_special_tokens": {"image_token": "<image>"},
                "added_tokens_decoder": {},
                "chat_template": "not this one",
            },
            "special_tokens_map.json": {"eos_token": "not read"},
            "chat_template.jinja": SHOW + SMOLLM,
        },
        {
            "tokenizer_config.json": {
                **CLASS,
                "bos_token": "<old>",
                "image_token": "<img>",
                "chat_template": SHOW + LLAMA,
            },
            "special_tokens_map.json": {"bos_token": {"content": "<new>"}, "eos_token": "<|e|>"},
        },
        {
            "tokenizer_config.json": {
                **CLASS,
                "chat_template": [
                    {"name": "default", "template": SMOLLM},
                    {"name": "tool_use", "template": QWEN_TOOLS},
                ],
            }
        },
        {
            "tokenizer_config.json": CLASS,
            "chat_template.jinja": SMOLLM,
            "additional_chat_templates/tool_use.jinja": QWEN_TOOLS,
        },
    ],
)
def test_a_folder_is_read_and_kept_as_transformers_does(tmp_path: Path, files: dict[str, Any]) -> None:
    write(tmp_path, files)
    template = ChatTemplate.load(tmp_path)
    assert template is not None
    reference = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template
    again = tmp_path / "again"
    again.mkdir()
    write(again, {"tokenizer_config.json": template.to_config()})
    kept = AutoTokenizer.from_pretrained(again).apply_chat_template
    for tools in (None, TOOLS):
        expected = reference(CHINESE, tools=tools, tokenize=False)
        assert template.render(CHINESE, tools, add_generation_prompt=False) == expected
        assert kept(CHINESE, tools=tools, tokenize=False) == expected
    assert ChatTemplate.load(again) == template


def test_a_processors_template_and_none_at_all(tmp_path: Path) -> None:
    assert ChatTemplate.load(tmp_path) is None
    write(tmp_path, {"tokenizer_config.json": SPECIAL})
    assert ChatTemplate.load(tmp_path) is None
    write(tmp_path, {"chat_template.json": {"chat_template": SMOLVLM}})
    assert ChatTemplate.load(tmp_path) == ChatTemplate({"default": SMOLVLM}, SPECIAL)
    for damaged, message in (
        ("{", "not valid JSON"),
        ("[]", "a JSON object"),
        ('{"chat_template": [1]}', "'template'"),
    ):
        write(tmp_path, {"tokenizer_config.json": damaged, "chat_template.json": {}})
        with pytest.raises(CheckpointError, match=message):
            ChatTemplate.load(tmp_path)


def test_a_model_keeps_its_template(tmp_path: Path) -> None:
    theirs, mine, hub = tmp_path / "theirs", tmp_path / "mine", tmp_path / "hub"
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, num_hidden_layers=1, **sizes)).save_pretrained(theirs)
    (theirs / "tokenizer.json").write_text(Tokenizer.train(["你好，hello"], 270).to_json(), encoding="utf-8")
    assert sepiola.load(theirs).template is None
    (theirs / "tokenizer_config.json").write_text(json.dumps(SPECIAL), encoding="utf-8")
    (theirs / "chat_template.jinja").write_text(LLAMA, encoding="utf-8")
    model = sepiola.load(theirs)
    model.save(mine)
    sepiola.load(mine).save_hub(hub)
    kept = sepiola.load(hub).template  # the Hub's layout names pad and start besides
    assert model.template is not None and kept is not None and kept.templates == model.template.templates
    assert kept.special_tokens.items() >= model.template.special_tokens.items()
    text = model.template.render(CHINESE, date_string="")
    again = AutoTokenizer.from_pretrained(hub)
    ids = again.apply_chat_template(CHINESE, date_string="", add_generation_prompt=True, return_dict=False)
    assert again.decode(ids) == text
    assert model.tokenizer is not None and model.tokenizer.encode("你好，\n hello 12") == again.encode(
        "你好，\n hello 12"
    )


OPENAI = [
    {"role": "user", "content": "成都的天气？"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": f"call_{i}", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
            for i, arguments in enumerate(('{"city": "成都", "days": 2}', "{}"))
        ],
    },
    {"role": "tool", "tool_call_id": "call_0", "content": '{"晴": 21}'},
    {"role": "tool", "tool_call_id": "call_1", "name": "get_weather", "content": [{"type": "text", "text": "rain"}]},
]
WITH_IDS = (
    "{% for m in messages %}{{ m.role }} {{ m.tool_call_id }} {{ m.name }}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call.id }}{{ call.function | tojson }}{% endfor %}\n{% endfor %}"
)


@pytest.mark.parametrize("source", [QWEN_TOOLS, WITH_IDS])
def test_calls_and_what_tools_say_are_laid_out_as_by_transformers(source: str) -> None:
    read = [*OPENAI[:1], {**OPENAI[1], "content": ""}, OPENAI[2], {**OPENAI[3], "content": "rain"}]
    read[1]["tool_calls"] = [  # transformers is given the arguments read
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in OPENAI[1]["tool_calls"]  # type: ignore[attr-defined]
    ]
    expected = peer(source).apply_chat_template(read, tokenize=False, add_generation_prompt=True)
    assert "get_weather" in expected and "成都" in expected and "rain" in expected
    for content in (None, ""):
        said = [OPENAI[0], {**OPENAI[1], "content": content}, *OPENAI[2:]]
        assert ours(source).render([as_message(message) for message in said]) == expected
    beside = as_message({**OPENAI[1], "content": "Let me see."})
    assert beside.content[0] == "Let me see." and len(beside.calls) == 2


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "assistant", "content": None}, "with 'role' and 'content'"),
        ({"role": "user", "content": None, "tool_calls": OPENAI[1]["tool_calls"]}, "in a message of the assistant"),
        ({"role": "assistant", "tool_calls": "f()"}, "tool_calls are a list"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "a call is {'type': 'function'"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "or its JSON"),
        ({"role": "assistant", "tool_calls": [3]}, "got 3"),
    ],
)
def test_a_call_that_is_none_is_one_message(message: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)):
        as_message(message)


@pytest.mark.parametrize("given", [None, "hi", {"role": "user", "content": "你好"}, 3])
def test_a_conversation_is_a_list(given: Any) -> None:
    with pytest.raises(DataError, match=r"messages: got .*; expected a list of dicts with 'role' and 'content'"):
        as_messages(given)
