"""BIG-Bench Hard (Suzgun et al., 2022, arXiv 2210.09261): 27 tasks, with the authors' three shots for each.

`bbh` shows the shots' chains of thought and asks to think step by step; the answer is what follows the last "the
answer is", without its full stop. `bbh_direct` shows the same questions with their answers alone, and reads the first
line where nothing is announced. Where the question lists its options, the one that is named counts, however it is
written. An answer is right when it equals the target, in large letters or small.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sepiola.datasets.records import field, read_file, read_json
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import Generate
from sepiola.text.answers import read_choice, read_final
from sepiola.text.replies import answer_of

CUE = " Let's think step by step."
_ANSWER = re.compile(r".*[Tt]he answer is\s+(?P<answer>[^\n]+)", re.DOTALL)
_LETTERED = re.compile(r"^\(([A-Z])\) (.+)$", re.MULTILINE)
_LISTED = re.compile(r"^(-) (.+)$", re.MULTILINE)
_SENTENCE = re.compile(r"\w\s+\w+\s+\w.*[.。]?$")
_SHOT = re.compile(r"(?P<question>.*)\nA:" + re.escape(CUE) + r"(?P<chain>.*)", re.DOTALL)


def read(root: Path, *, chain: bool) -> PromptSet:
    """The questions of every `bbh/TASK.json`, with the shots of `cot-prompts/TASK.txt`."""
    tested: list[PromptItem] = []
    shots: list[PromptItem] = []
    for path in sorted((root / "bbh").glob("*.json")):
        task, prompts = path.stem, root / "cot-prompts" / f"{path.stem}.txt"
        # A warning stands above the dashes; below them what the task is, then the shots.
        head, *solved = read_file(prompts).split("\n-----\n")[-1].strip().split("\n\nQ: ")
        opening = f"{head}\n\n"
        for number, text in enumerate(solved):
            shot = _SHOT.fullmatch(text)
            answer = read_chain(shot["chain"]) if shot else None
            if shot is None or answer is None:
                raise DataError(f"{prompts}: shot {number + 1} has no 'A:{CUE}', or names no answer")
            shown = shot["chain"] if chain else f" {answer}"
            prompt = _prompt(shot["question"], chain)
            shots.append(
                PromptItem(f"{task}/shot-{number}", prompt, shown, references=(answer,), head=opening, group=task)
            )
        for number, record in enumerate(field(read_json(path), "examples", (list,), str(path))):
            question, target = (field(record, key, (str,), f"{path}, example {number}") for key in ("input", "target"))
            prompt = _prompt(question, chain)
            tested.append(
                PromptItem(f"{task}/{number}", prompt, f" {target}", references=(target,), head=opening, group=task)
            )
    if not tested:
        raise DataError(f"{root / 'bbh'}: no task there; give the folder that holds bbh/ and cot-prompts/")
    return PromptSet(tuple(tested), tuple(shots))


def read_chain(text: str) -> str | None:
    """The answer at the end of a shot's chain of thought; None when it names none."""
    found = _ANSWER.match(text)
    return found["answer"].strip().removesuffix(".") if found else None


def read_reply(text: str, item: PromptItem, *, chain: bool) -> str | None:
    """The answer of a reply: what it announces, else its first line, of a `chain` of thought its last one.

    Among options one of them; elsewhere a chain that announces nothing and has several lines or sentences is unread.
    """
    final, lines = read_final(text), [line for line in answer_of(text).splitlines() if line.strip()]
    if final is None and lines and (not chain or len(lines) == 1):
        final = lines[0].strip().strip("*")
    marks = _LETTERED.findall(item.prompt) or _LISTED.findall(item.prompt)
    if marks:
        lettered = marks[0][0] != "-"
        said = final if final is not None else lines[-1] if lines else ""
        choice = read_choice(said, [option for _, option in marks], lettered=lettered)
        return None if choice is None else f"({marks[choice][0]})" if lettered else marks[choice][1]
    return None if not final or (chain and len(lines) == 1 and _SENTENCE.search(final)) else final


def compare(answer: str, references: Sequence[str]) -> dict[str, float]:
    """Exact match, but for the case."""
    return {"exact_match": float(answer.casefold() in (reference.casefold() for reference in references))}


def _prompt(question: str, chain: bool) -> str:
    return f"Q: {question}\nA:{CUE if chain else ''}"


_STOPS = ("\n\n", "Q:")
_THINK = Generate(_STOPS, 1024, partial(read_reply, chain=True), compare)
_ANSWER_ALONE = Generate(_STOPS, 128, partial(read_reply, chain=False), compare)
CHAIN = Prompted("test", partial(read, chain=True), _THINK, True, "task")
DIRECT = Prompted("test", partial(read, chain=False), _ANSWER_ALONE, True, "task")
