"""Instructions in the shapes that people share: what each becomes, what is left out, and what is refused."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sepiola.data.example import Example, each_reply
from sepiola.datasets import read
from sepiola.errors import DataError
from tests.tiny import picture_file

DATA = os.environ.get("SEPIOLA_DATA")
CALL = {"name": "weather", "arguments": {"city": "成都"}}
TOOL = {"name": "weather", "description": "天气", "parameters": {"type": "object", "properties": {}}}


def written(path: Path, records: Any, lines: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(records, ensure_ascii=False, indent=1)
    path.write_text("\n".join(json.dumps(r) for r in records) if lines else text, encoding="utf-8")
    return path


def one(tmp_path: Path, record: Any, **options: Any) -> Example:
    """The only example that a record becomes, in whichever split it falls."""
    path = written(tmp_path / "set.json", [record])
    found = []
    for split in ("train", "val", "test"):
        try:
            found += read("instructions", path, split, look=False, **options)
        except DataError as error:
            assert "nothing of the split" in str(error)
    (example,) = found
    return example


def said(example: Example) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in example.messages] + [("reply", example.target)]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"instruction": "Sum.", "input": "1, 2", "output": "3"}, [("user", "Sum.\n1, 2"), ("reply", "3")]),
        (
            {"instruction": "再说", "input": "", "output": "好", "history": [["你好", "您好"]], "system": "短"},
            [("system", "短"), ("user", "你好"), ("assistant", "您好"), ("user", "再说"), ("reply", "好")],
        ),
        ({"question": "几？", "std_answer": "三", "class": "math"}, [("user", "几？"), ("reply", "三")]),
        (
            {"instruction": "Human:你好\nAssistant:您好\nHuman:再见\nAssistant:", "input": "", "output": "慢走"},
            [("user", "你好"), ("assistant", "您好"), ("user", "再见"), ("reply", "慢走")],
        ),
        (
            {
                "textbox_q_instruction": "选择",
                "textbox_q_context": "",
                "textbox_question": "1+1=?",
                "textbox_answer": "2",
                "textbox_answer_analysis": "相加",
            },
            [("user", "选择\n1+1=?"), ("reply", "2\n相加")],
        ),
        (
            {"id": "t", "instruction": "Name", "instances": [{"input": "a fruit", "output": "fig"}]},
            [("user", "Name\na fruit"), ("reply", "fig")],
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}], "system": "S"},
            [("system", "S"), ("user", "Hi"), ("reply", "Yo")],
        ),
        (
            {"messages": [{"role": "developer", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "Yo"}]},  # noqa: E501
            [("system", "S"), ("user", "Hi"), ("reply", "Yo")],
        ),
        (["你 好 ， hi there", "不 错 ！"], [("user", "你好，hi there"), ("reply", "不错！")]),
    ],
    ids=["alpaca", "history", "belle-eval", "belle-chat", "coig-exam", "seed", "sharegpt", "openai", "dialogue"],
)  # fmt: skip
def test_each_shape_is_known_by_its_keys(tmp_path: Path, record: Any, expected: list[tuple[str, str]]) -> None:
    example = one(tmp_path, record)
    assert said(example) == expected
    assert example.metadata["language"] == ("zh" if any(c >= "\u4e00" for c in expected[-1][1]) else "en")


def test_calls_of_tools_are_kept_as_calls(tmp_path: Path) -> None:
    openai = [
        {"role": "user", "content": "天气"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": {**CALL, "arguments": json.dumps(CALL["arguments"])}}]},  # noqa: E501
        {"role": "tool", "tool_call_id": "a", "content": "晴"},
        {"role": "assistant", "content": "晴天"},
    ]  # fmt: skip
    glaive = [
        {"from": "human", "value": "天气"},
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "晴"},
        {"from": "gpt", "value": "晴天"},
    ]
    for record in (
        {"messages": openai, "tools": [{"type": "function", "function": TOOL}]},
        {"conversations": glaive, "tools": json.dumps([TOOL])},
    ):
        example = one(tmp_path, record)
        assert [m.role for m in example.messages] == ["user", "assistant", "tool"]
        assert example.messages[1].calls == (CALL,) and json.loads(example.messages[1].text) == [CALL]
        assert example.metadata["replies"] == [1] and example.target == "晴天"
        assert example.metadata["tools"][0]["function"]["name"] == "weather"
        assert each_reply(example)[0].metadata["calls"] == [CALL]
    last = one(tmp_path, {"conversations": glaive[:2], "tools": json.dumps([TOOL])})
    assert (last.metadata["calls"], json.loads(last.target)) == ([CALL], [CALL])


def test_pictures_stand_where_the_text_names_them(tmp_path: Path) -> None:
    llava = [{"from": "human", "value": "<image>\n谁？"}, {"from": "gpt", "value": "A."}]
    example = one(tmp_path, {"id": "1", "image": "p/a.png", "conversations": llava}, images=str(tmp_path))
    picture, text = example.messages[0].content
    assert (getattr(picture, "path", None), text) == (tmp_path / "p" / "a.png", "谁？")
    turns = [{"role": "user", "content": "Which<image>or <image>?"}, {"role": "assistant", "content": "A"}]
    example = one(tmp_path, {"messages": turns, "images": ["a.png", "b.png"]})
    assert [part if isinstance(part, str) else part.path.name for part in example.messages[0].content if part] == [
        "Which", "a.png", "or ", "b.png", "?",
    ]  # fmt: skip
    bare = one(tmp_path, {"messages": [{"role": "user", "content": "谁"}, turns[1]], "images": ["a.png"]})
    assert len(bare.images) == 1 and bare.messages[0].text == "谁"
    parts = [{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "Who?"}]
    assert one(tmp_path, {"messages": [{"role": "user", "content": parts}, turns[1]]}).images[0].path is not None
    path = written(tmp_path / "set.json", [{"messages": turns, "images": ["a.png", "b.png"]}])
    for name in ("a.png", "b.png"):
        picture_file(tmp_path / name)
    read("instructions", path, one(tmp_path, {"messages": turns, "images": ["a.png", "b.png"]}).metadata["split"])


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    user, gpt = {"role": "user", "content": "Hi 1"}, {"role": "assistant", "content": "Yo"}
    records = [
        {"messages": [user, gpt]},
        {"messages": [user, gpt]},
        {"messages": [user]},
        {"messages": []},
        {"messages": [{**user, "content": None}, gpt]},
        {"messages": [user, user, gpt]},
        {"messages": [{**user, "content": "<video>"}, gpt], "videos": ["a.mp4"]},
        {"messages": [{**user, "content": [{"type": "audio", "audio": "a.wav"}]}, gpt]},
        {"messages": [{**user, "content": "<image><image>"}, gpt], "images": ["a.png"]},
        {"messages": [user, {"role": "assistant", "content": " "}]},
        {"messages": [user, gpt], "label": False},
        {"messages": [{"role": "user", "content": "New"}, {**gpt, "loss_weight": 0.0}, user, {**gpt, "content": "Z"}]},
    ]
    path, found = written(tmp_path / "set.json", records), list[Example]()
    with caplog.at_level(logging.WARNING):
        for split in ("train", "val", "test"):
            try:
                found += read("instructions", path, split, look=False)
            except DataError:
                continue
    assert sorted(e.target for e in found) == ["Yo", "Z"]
    assert all("replies" not in e.metadata for e in found), "a reply of weight 0 is not learned"
    for reason in (
        "repeat another", "ask nothing", "do not take turns", "hold video, which no model here sees",
        "hold sound, which no model here hears", "name more pictures than they have", "have an empty reply",
        "are labelled undesirable",
    ):  # fmt: skip
        assert f"1 record is left out: they {reason}" in caplog.text
    assert "2 records are left out: they hold no reply" in caplog.text


def test_an_empty_conversation_says_nothing_of_the_others(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]
    path = written(tmp_path / "set.json", [{"id": "0", "conversations": []}, {"id": "1", "conversations": talk}])
    (example,) = read("instructions", path, "train")
    assert (example.prompt, example.target) == ("问", "答")


def test_an_index_names_columns_and_tags(tmp_path: Path) -> None:
    written(tmp_path / "a.json", [{"q": f"Ask {n}", "a": f"Say {n}"} for n in range(40)])
    written(tmp_path / "b.jsonl", [{"talk": [{"who": "me", "what": f"问{n}"}, {"who": "it", "what": "答"}]} for n in range(40)], lines=True)  # fmt: skip # noqa: E501
    index = {
        "first": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}},
        "second": {
            "file_name": "b.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "talk"},
            "tags": {"role_tag": "who", "content_tag": "what", "user_tag": "me", "assistant_tag": "it"},
        },
        "far": {"hf_hub_url": "x/y"},
        "plain": {"file_name": "a.json", "columns": {"prompt": "q"}},
    }
    written(tmp_path / "dataset_info.json", index)
    splits = {
        s: read("instructions", tmp_path, s, sets=["first", "second"], held_out=4) for s in ("train", "val", "test")
    }
    assert sum(map(len, splits.values())) == 80 and all(splits.values())
    groups = [{e.metadata["group"] for e in examples} for examples in splits.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert {e.metadata["set"] for e in splits["train"]} == {"first", "second"}
    for options, message in (
        ({}, r"name the sets that are to be read, `sets: \[first, second, plain\]`"),
        ({"sets": ["firts"]}, r"no set is named 'firts'; did you mean 'first'\?"),
        ({"sets": ["far"]}, "has no file_name: it lies on a hub"),
        ({"sets": ["plain"]}, r"its column \('q',\) is plain text"),
        ({"sets": ["first"], "languages": ["zh"]}, "nothing of the split 'train' in zh"),
    ):
        with pytest.raises(DataError, match=message):
            read("instructions", tmp_path, "train", **options)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "Once."}, r"plain text \('text'\), and no instruction"),
        ({"a": 1}, r"its keys are \['a'\]; expected messages or conversations"),
        ({"instruction": 3, "output": "x"}, "'instruction' is 3; expected a text"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "'role' is 'alien'; known: .*assistant"),
        ({"messages": ["x"]}, "expected turns with 'role' and 'content'"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "a preference, .*the reader is 'preferences'"),
        (7, "expected an object, or a dialogue as a list of texts; got 7"),
    ],
)
def test_damage_and_unknown_shapes_are_named(tmp_path: Path, record: Any, message: str) -> None:
    path = written(tmp_path / "set.json", [record])
    with pytest.raises(DataError, match=rf"set\.json, record 1.*{message}"):
        read("instructions", path, "train")


@pytest.mark.skipif(not DATA, reason="no $SEPIOLA_DATA: LLaMA-Factory's demonstration sets")
def test_real_sets_are_read_whole() -> None:
    folder = Path(DATA or "") / "align" / "llamafactory_demo"
    counts = {"identity": 91, "alpaca_zh_demo": 992, "glaive_toolcall_zh_demo": 255, "kto_en_demo": 150, "mllm_demo": 6}
    for name, count in counts.items():
        examples = []
        for split in ("train", "val", "test"):
            try:
                examples += read("instructions", folder, split, sets=[name])
            except DataError:
                assert name == "mllm_demo"
        assert len(examples) == count, name
