"""A teacher's rationales for a dataset's questions (T-SciQ, Wang et al., 2023, arXiv 2305.03453), checked against the
answers that are known.

Of two kinds: `cot`, a chain of thought; `plan`, for which the teacher first says what questions of one skill need to
know (the lecture) and how to go about them (the plan), from some of them with their answers, and then follows the plan.
Of what it writes only what comes to the right answer is kept. With `tell` it knows the right answer beforehand, as in
T-SciQ. A folder holds all that the teacher answered (`asked-cot.jsonl`, `plans.jsonl` …), with which a second call goes
on, and what was kept (`cot.jsonl`, `plan.jsonl`): rationales that any stage can learn (`DataSpec.rationales`).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track

from sepiola.api import Model
from sepiola.curation.describe import replies
from sepiola.data.example import Example, Message
from sepiola.data.files import locked, make_folder, write_text
from sepiola.data.image import ImageRef
from sepiola.data.journal import Journal
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.endpoint import Endpoint
from sepiola.reasoning.answer import Chain
from sepiola.reasoning.verdicts import is_right
from sepiola.specs.base import Plain
from sepiola.text.answers import normalised, read_open
from sepiola.text.prompts import PromptFormat, split_rationale

Kind = Literal["cot", "plan"]
KINDS: tuple[Kind, ...] = ("cot", "plan")
TOGETHER = 32
"""Questions whose answers are kept at once: what a kill can cost."""
SHOWN = 5
"""Questions of a skill that the teacher sees before it plans."""
LAYOUT, OPEN = PromptFormat.parse("QCM-LEA"), PromptFormat.parse("QC-EA")
RIGHT, WRONG, UNREAD, EMPTY = "right", "wrong", "no answer can be read", "no rationale before the answer"
WORDS = {
    "en": {
        "given": "The right answer is {answer}.",
        "cot": "Explain step by step how to find the answer. End with one sentence of the form: {ending}",
        "about": "Here are some questions about {skill}.",
        "lecture": "Say in one sentence what one must know to answer questions like these.",
        "plan": "To know for {skill}: {lecture}\nWrite a short general plan, in numbered steps, for answering them.",
        "follow": "To know for {skill}: {lecture}\nPlan: {plan}\nFollow the plan step by step and answer the question. "
        "End with one sentence of the form: {ending}",
        "letter": "The answer is (A).",
        "open": "The answer is …",
    },
    "zh": {
        "given": "正确答案是{answer}。",
        "cot": "请一步一步说明怎样得出答案。最后用一句话作答，写成：{ending}",
        "about": "下面是一些关于{skill}的题目。",
        "lecture": "请用一句话说明回答这类题目需要知道什么。",
        "plan": "关于{skill}需要知道：{lecture}\n请写出回答这类题目的简短通用步骤，并编上号。",
        "follow": "关于{skill}需要知道：{lecture}\n步骤：{plan}\n请按这些步骤一步一步回答题目。"
        "最后用一句话作答，写成：{ending}",
        "letter": "答案是（A）。",
        "open": "答案是……",
    },
}


@dataclass(frozen=True)
class Teacher:
    """Who is asked: a name, which a later call must give again, and what `answers` some prompts, in their order. An
    error stands where there is no answer.
    """

    name: str
    answers: Callable[[Sequence[tuple[Message, ...]]], Iterable[str | SepiolaError]]


def remote(endpoint: Endpoint) -> Teacher:
    """A chat model behind an endpoint. It reads text alone, and sees no picture."""
    return Teacher(
        f"{endpoint.url} {endpoint.model}",
        lambda asked: endpoint.ask_each(["".join(message.text for message in talk) for talk in asked]),
    )


def local(name: str, load: Callable[[], Model], tokens: int) -> Teacher:
    """A model that is loaded here when it is first asked; it sees pictures if it can."""
    loaded: list[Model] = []

    def answers(asked: Sequence[tuple[Message, ...]]) -> list[str]:
        if not loaded:
            loaded.append(load())
        (model,) = loaded
        sees = model.spec.vision is not None
        talks = asked if sees else [tuple(Message(m.role, (m.text,)) for m in talk) for talk in asked]
        return [text.strip() for text, _ in replies(model, talks, tokens)]

    return Teacher(name, answers)


@dataclass(frozen=True)
class Teaching:
    """What is asked for: the `kind` of rationale, whether the teacher knows the right answer, and the key of
    examples' metadata that says a question's skill (`by`).
    """

    kind: Kind
    tell: bool = False
    by: str = "skill"


def teach(
    examples: Sequence[Example], folder: Path, teacher: Teacher, how: Teaching, *, console: Console, seed: int = 0
) -> Plain:
    """Asks the teacher what the folder does not hold yet, writes what is kept, and returns the counts.

    Raises DataError where no question can be asked or none is answered right, and SepiolaError when the teacher answers
    no longer: what it has answered is kept, and a second call goes on.
    """
    asked = [e for e in examples if e.question is not None and _answer(e)]
    skilled = [e for e in asked if how.kind == "cot" or e.metadata.get(how.by)]
    if not skilled:
        lack = "a question whose answer is known" if not asked else f"'{how.by}' in its metadata, which a plan is for"
        raise DataError(f"there is nothing to ask: no example of {len(examples)} has {lack}")
    make_folder(folder)
    with locked(folder):
        work = _Work(folder, teacher, how, console)
        plans = work.plans(skilled, seed) if how.kind == "plan" else {}
        records = work.answered({e.id: (e, prompt_of(e, how, plans.get(_group(e, how)))) for e in skilled})
        kept = [
            {
                "id": e.id,
                "kind": how.kind,
                "skill": e.metadata.get(how.by),
                "lecture": plans[_group(e, how)]["lecture"] if how.kind == "plan" else "",
                "solution": records[e.id]["rationale"],
            }
            for e in skilled
            if records.get(e.id, {}).get("verdict") == RIGHT
        ]
        verdicts = Counter(record["verdict"] for e in skilled if (record := records.get(e.id)))
        if not kept:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in verdicts.items())
            raise DataError(f"{teacher.name} answers none of {len(skilled)} questions right ({reasons})")
        path = folder / f"{how.kind}.jsonl"
        write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept))
    return {
        "questions": len(asked),
        "without_a_skill": len(asked) - len(skilled),
        "kept": len(kept),
        "dropped": {reason: verdicts[reason] for reason in (WRONG, UNREAD, EMPTY) if verdicts[reason]},
        "no_answer": len(skilled) - verdicts.total(),
        "file": str(path),
    }


class _Work:
    """The teacher's answers in a folder."""

    def __init__(self, folder: Path, teacher: Teacher, how: Teaching, console: Console) -> None:
        self.folder, self.teacher, self.how, self.console = folder, teacher, how, console
        self.settings = {"teacher": teacher.name, "tell": how.tell, "by": how.by}

    def plans(self, examples: Sequence[Example], seed: int) -> Mapping[str, Plain]:
        """A lecture and a plan for each skill in each language."""
        skills: defaultdict[str, list[Example]] = defaultdict(list)
        for example in examples:
            skills[_group(example, self.how)].append(example)
        shown = {
            name: random.Random(f"plan {seed} {name}").sample(own, min(SHOWN, len(own))) for name, own in skills.items()
        }
        lectures = self._texts("lectures", {name: _lecture_asked(own, self.how) for name, own in shown.items()})
        plans = self._texts("plans", {n: _plan_asked(shown[n], self.how, lectures[n]) for n in lectures})
        return {name: {"lecture": lectures[name], "plan": plan} for name, plan in plans.items()}

    def _texts(self, step: str, prompts: Mapping[str, str]) -> dict[str, str]:
        asked = {name: (Message("user", (prompt,)),) for name, prompt in prompts.items()}
        records = self._ask(step, asked, lambda name, text: {"text": text})
        lacking = [name for name in prompts if not records.get(name, {}).get("text")]
        if lacking:
            raise SepiolaError(
                f"{self.teacher.name} gives no {step[:-1]} for {len(lacking)} of {len(prompts)} skills, such as "
                f"'{lacking[0]}'; the others are kept in {self.folder}: run the same command again to ask for them"
            )
        return {name: records[name]["text"] for name in prompts}

    def answered(self, prompts: Mapping[str, tuple[Example, str]]) -> Mapping[str, Plain]:
        """What became of each question: the teacher's `text`, its `rationale` and the `verdict`."""
        asked = {name: (Message("user", (*e.images, prompt)),) for name, (e, prompt) in prompts.items()}
        return self._ask(f"asked-{self.how.kind}", asked, lambda name, text: judged(prompts[name][0], text))

    def _ask(
        self, step: str, asked: Mapping[str, tuple[Message, ...]], record: Callable[[str, str], Plain]
    ) -> Mapping[str, Plain]:
        """The records of a step by their names; those that are there already are of the very same prompts."""
        journal = Journal(self.folder / f"{step}.jsonl", self.settings)
        marks = {name: _mark(talk) for name, talk in asked.items()}
        left = [name for name in asked if journal.records.get(name, {}).get("asked") != marks[name]]
        starts = range(0, len(left), TOGETHER)
        refusal: SepiolaError | None = None
        bar = track(starts, f"asking: {step}", console=self.console, transient=True)
        for start in bar if self.console.is_terminal else starts:
            some = left[start : start + TOGETHER]
            try:
                answers = zip(some, self.teacher.answers([asked[name] for name in some]), strict=True)
                found = []
                for name, text in answers:
                    if isinstance(text, SepiolaError):
                        refusal = text
                    else:
                        found.append((name, text))
            except SepiolaError as error:
                done = len(asked) - len(left) + start
                raise SepiolaError(
                    f"the teacher: {error}; {done} of {len(asked)} answers are kept in {journal.path}: run the same "
                    "command again to go on"
                ) from None
            journal.add([{"id": name, "asked": marks[name], **record(name, text)} for name, text in found])
        known = {name: one for name, one in journal.records.items() if name in asked and one["asked"] == marks[name]}
        if refusal is not None and not known:
            raise SepiolaError(f"the teacher: {refusal}")
        return known


def prompt_of(example: Example, how: Teaching, plan: Plain | None = None) -> str:
    """What the teacher is asked about a question, in the question's language; a `plan` has `lecture` and `plan`."""
    words = _words(example)
    lines = [_laid_out(example, given=how.tell)]
    ending = words["letter" if example.question is not None and example.question.choices else "open"]
    if plan is None:
        return "\n".join([*lines, words["cot"].format(ending=ending)])
    return "\n".join([*lines, words["follow"].format(skill=example.metadata[how.by], ending=ending, **plan)])


def judged(example: Example, text: str) -> Plain:
    """A teacher's text, the rationale in it, and whether its answer is the question's."""
    question = example.question
    assert question is not None
    rationale, said = split_rationale(text)
    choice = LAYOUT.parse_answer(text, question)
    spoken = None if question.choices else normalised(read_open(said)) or None
    chain = Chain(text, choice, 0.0, 0, rationale, spoken)
    if chain.vote is None:
        verdict = UNREAD
    elif not is_right(example, chain):
        verdict = WRONG
    else:
        verdict = RIGHT if rationale.strip() else EMPTY
    return {"text": text, "rationale": rationale.strip(), "verdict": verdict}


def _lecture_asked(shown: Sequence[Example], how: Teaching) -> str:
    words = _words(shown[0])
    about = words["about"].format(skill=shown[0].metadata[how.by])
    return "\n\n".join([about, *(_laid_out(e, given=True) for e in shown), words["lecture"]])


def _plan_asked(shown: Sequence[Example], how: Teaching, lecture: str) -> str:
    words, skill = _words(shown[0]), shown[0].metadata[how.by]
    plan = words["plan"].format(skill=skill, lecture=lecture)
    return "\n\n".join([words["about"].format(skill=skill), *(_laid_out(e, given=True) for e in shown), plan])


def _laid_out(example: Example, *, given: bool) -> str:
    """The question's parts, a line each, and the right answer where it is given."""
    assert example.question is not None
    layout = LAYOUT if example.question.choices else OPEN
    prompt = layout.apply(example).prompt.rsplit("\n", 1)[0]
    return "\n".join([prompt, _words(example)["given"].format(answer=_answer(example))]) if given else prompt


def _answer(example: Example) -> str:
    """The right answer, by letter and text where there are options; "" where it is not known."""
    question = example.question
    if question is None:
        return ""
    if question.choices:
        return (
            ""
            if question.answer is None
            else f"({chr(ord('A') + question.answer)}) {question.choices[question.answer]}"
        )
    return (question.answer_text or "").strip()


def _words(example: Example) -> Mapping[str, str]:
    return WORDS["zh" if example.metadata.get("language") == "zh" else "en"]


def _group(example: Example, how: Teaching) -> str:
    language = "zh" if example.metadata.get("language") == "zh" else "en"
    return f"{language}: {example.metadata.get(how.by)}"


def _mark(talk: Sequence[Message]) -> str:
    said = [part.mark if isinstance(part, ImageRef) else part for message in talk for part in message.content]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
