"""A dataset of coins: questions whose answer nothing tells, for models that learn from what they are not sure of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sepiola.data.example import Example, Message, Question


def read_coins(
    root: Path | None, split: str, *, count: int = 64, sure: bool = False, told: bool = True
) -> list[Example]:
    """Coins whose answer no question tells; where they are `sure`, all show heads; where `told`, with solutions."""
    made = []
    for n in range(count):
        side = "heads" if sure or n % 2 else "tails"
        question = Question("Which side?", answer_text=side, hint="", lecture="", solution="It fell." if told else "")
        about = {"split": split, "language": "en", "group": f"{split}{n}"}
        made.append(Example(f"{split}-{n}", (Message("user", (question.text,)),), side, question, about))
    return made


def judged(vote: str) -> dict[str, Any]:
    """Chains of the stage `answer`, by a vote that the stage `judge` scores."""
    chains = {"kind": "self-consistency", "chains": 8, "temperature": 1.0, "answer": "answer"}
    return {**chains, "vote": vote, "verifier": "judge"}
