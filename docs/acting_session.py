"""Records a session of an agent for the book: `python docs/acting_session.py RUN`.

It asks for the first held-out request of each kind, whatever comes of it, and writes two pages, in English and Chinese,
with the picture, the text that the model wrote, the calls, and what they changed on the phone.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sepiola
from sepiola.acting.phone import functions
from sepiola.acting.phone.tasks import Task, task_of
from sepiola.calling.policy import Acted
from sepiola.specs.base import Plain
from sepiola.tidepool.phone import requests

NAME = "acting-session"
SEED = 7
SIZE = 64
ASKED = (
    ("text", "en", "send_text_message"),
    ("text", "zh", "animal_care"),
    ("picture", "en", "amazon_shopping"),
    ("picture", "zh", "smart_recycling"),
    ("several", "en", "doordash_delivery"),
    ("several", "zh", "send_email"),
    ("distracted", "en", "google_search"),
    ("near miss", "zh", "instacart_shopping"),
    ("irrelevant", "en", "interior_design"),
)
"""Kind, language and function of each request."""

WORDS = {
    "en": {
        "title": "A recorded session",
        "lead": (
            "What the agent of the run `{run}` did with {count} requests: for each kind the first one of Tidepool's "
            "test split (seed {seed}), whose phrasing and values it has not seen, whatever came of it. {right} of "
            "{count} left the phone as the right calls would. {figures}\n\n"
            "`python docs/acting_session.py RUN` writes this page anew. "
            "The same session [in Chinese](acting-session.zh.md)."
        ),
        "figures": (
            "On {n:,} held-out requests its run's report has {name:.1f}% right functions and {exact:.1f}% right calls."
        ),
        "text": "From the text alone",
        "picture": "What is missing stands in the picture",
        "several": "Several calls",
        "distracted": "A picture that has nothing to do with it",
        "near miss": "Nearly an order, and none",
        "irrelevant": "Nothing that its functions do",
        "en": "English",
        "zh": "Chinese",
        "picture of": "The picture",
        "wrote": "The model wrote {tokens} tokens:",
        "nothing": "Nothing is called.",
        "unread": "It could not be read, and calls nothing.",
        "after": "The phone after it:",
        "unchanged": "The phone is as it was.",
        "right": "Right.",
        "wrong": "**Wrong.** Right would have been: {calls}",
        "no call": "no call",
    },
    "zh": {
        "title": "一次录制的会话",
        "lead": (
            "训练结果`{run}`的智能体对{count}个请求做了什么：每一类取Tidepool测试集的第一个（种子{seed}），它没有见过其中的说法和"
            "取值；无论结果如何都列在这里。{count}个中有{right}个使手机到达了正确的状态。{figures}\n\n"
            "`python docs/acting_session.py RUN`会重新生成本页。同一次会话的[英文页](acting-session.md)。"
        ),
        "figures": "在{n:,}个留出的请求上，其运行报告为：函数正确{name:.1f}%，调用完全正确{exact:.1f}%。",
        "text": "只凭文字",
        "picture": "缺少的内容在图中",
        "several": "多个调用",
        "distracted": "与图无关",
        "near miss": "近似命令，实则不是",
        "irrelevant": "它的函数都做不到",
        "en": "英文",
        "zh": "中文",
        "picture of": "图片",
        "wrote": "模型写出了{tokens}个词元：",
        "nothing": "没有调用任何函数。",
        "unread": "无法解析，因此不调用任何函数。",
        "after": "之后的手机：",
        "unchanged": "手机没有变化。",
        "right": "正确。",
        "wrong": "**错误。**正确的应是：{calls}",
        "no call": "不调用",
    },
}


@dataclass(frozen=True)
class Turn:
    """One request, what the model wrote, what became of it, and the phone's state after it."""

    task: Task
    acted: Acted
    state: Plain
    right: bool
    tokens: int = 0

    @property
    def reply(self) -> Mapping[str, str]:
        """The log's line of what was written, and of the fault where it could not be read."""
        return next(line for line in self.acted.log if "written" in line)


def record(run: str) -> list[Turn]:
    """The agent's session. Raises SpecError for a model that was not taught the phone's functions."""
    model = sepiola.load(run)
    turns = []
    for kind, language, function in ASKED:
        (example,) = requests("test", 1, seed=SEED, languages=[language], families=[function], size=SIZE, kinds=[kind])
        task = task_of(example)
        agent = sepiola.Agent(model, functions(), phone=task.phone())
        acted = agent.run(task.request, example.images, task.today, measured=True)
        turn = Turn(task, acted, agent.phone.snapshot(), task.reached(agent.phone))
        turns.append(replace(turn, tokens=len(model.require_tokenizer().encode(turn.reply["written"]))))
    return turns


def page(turns: Sequence[Turn], language: str, run: str, figures: Plain | None) -> str:
    """The session in Markdown, its words in `en` or `zh`."""
    words = WORDS[language]
    counts = {"run": run, "seed": SEED, "count": len(turns), "right": sum(turn.right for turn in turns)}
    parts = [f"# {words['title']}", words["lead"].format(**counts, figures=_figures(words, figures)).strip()]
    for number, turn in enumerate(turns, start=1):
        parts += _section(number, turn, words)
    return "\n\n".join(parts) + "\n"


def _figures(words: Mapping[str, str], figures: Plain | None) -> str:
    if figures is None:
        return ""
    shares = {key: 100 * figures[key]["value"] for key in ("name", "exact")}
    return words["figures"].format(n=figures["count"], **shares)


def _section(number: int, turn: Turn, words: Mapping[str, str]) -> Iterator[str]:
    example, results = turn.task.example, turn.acted.results
    about = example.metadata
    yield f"## {number}. {words[about['kind']]} ({words[about['language']]})"
    yield "\n".join(f"> {line}" for line in [f"*{turn.task.today.isoformat()}*", "", _text(turn.task.request)])
    if example.images:
        yield f"![{words['picture of']} {number}]({NAME}/{number}.png){{ width=192 }}"
    yield f"{words['wrote'].format(tokens=turn.tokens)}\n\n```text\n{turn.reply['written']}\n```"
    if "error" in turn.reply:
        yield words["unread"]
    elif not results:
        yield words["nothing"]
    for result in results:
        said = json.dumps(result.value, ensure_ascii=False) if result.status == "done" else result.error
        yield f"- `{result.call}`  \n  {result.status}: {_text(said)}"
    changes = list(changed(turn.task.start, turn.state))
    yield f"{words['after']}\n\n```diff\n" + "\n".join(changes) + "\n```" if changes else words["unchanged"]
    calls = ", ".join(f"`{call}`" for call in turn.task.calls) or words["no call"]
    yield words["right"] if turn.right else words["wrong"].format(calls=calls)


def changed(before: Plain, after: Plain, path: str = "") -> Iterator[str]:
    """What two states differ in, a line each: members that are gone (-) and new ones (+)."""
    for key in dict.fromkeys((*before, *after)):
        old, new, name = before.get(key), after.get(key), f"{path}{key}"
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changed(old, new, f"{name}.")
        elif isinstance(old, list) and isinstance(new, list):
            yield from (f"- {name}: {json.dumps(member, ensure_ascii=False)}" for member in old if member not in new)
            yield from (f"+ {name}: {json.dumps(member, ensure_ascii=False)}" for member in new if member not in old)
        else:
            yield f"- {name}: {json.dumps(old, ensure_ascii=False)}"
            yield f"+ {name}: {json.dumps(new, ensure_ascii=False)}"


def _text(text: str) -> str:
    """A text from outside as Markdown shows it, letter by letter."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else c for c in text)


def write(run: str, docs: Path) -> list[Path]:
    """Records the session and writes its pages and pictures under `docs`."""
    turns = record(run)
    report = Path(run) / "report.json"
    known = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    figures = known.get("acting")
    figures = figures if figures and figures["exact"]["value"] is not None else None
    folder = docs / NAME
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, turn in enumerate(turns, start=1):
        for image in turn.task.example.images:
            (folder / f"{number}.png").write_bytes(image.encoded)
    pages = {docs / f"{NAME}.md": "en", docs / f"{NAME}.zh.md": "zh"}
    for path, language in pages.items():
        title = str(known.get("title", Path(run).name))
        path.write_text(page(turns, language, title, figures), encoding="utf-8")
    return list(pages)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of octopus-v3/phone, or its checkpoint")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parent, help="where the pages go")
    given = parser.parse_args()
    print(*write(given.run, given.docs), sep="\n")
