"""The classes of a rubric by two questions, for a judge that reads none: is an answer undesired, and does it refuse?

A classifier of replies in their dialogues (recipe `lamda/judge`) says the first, by its attribute's threshold or one
half; phrases say the second (`sepiola.text.refusals`). An answer that says nothing is undesired, and refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepiola.checkpoints.loading import Checkpoint, load
from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.reasoning.asking import default_asking, read_strategy
from sepiola.reasoning.rating import Judge
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.processor import Processor
from sepiola.text.refusals import refuses
from sepiola.text.tokenizer import Tokenizer


class Rated:
    """Letters by the flags that a rubric gives its classes, `(undesired, refuses)`.

    Raises SpecError unless each of the four is one class's, and SepiolaError for a classifier of other things.
    """

    def __init__(self, checkpoint: Checkpoint, path: str, flags: Mapping[str, tuple[bool, bool]]) -> None:
        self.letters = {flag: letter for letter, flag in flags.items()}
        if len(self.letters) < 4 or len(flags) > 4:
            raise SpecError(
                f"reward.rubric: {path} rates replies and reads no rubric; it tells four classes apart by 'undesired' "
                f"and 'refuses', each of the four once; got {', '.join(flags)} with {len(self.letters)} of these: "
                "change the rubric, or name a model that writes text"
            )
        self.judge = Judge(Loaded(checkpoint))

    def __call__(self, answers: Sequence[tuple[Example, str]]) -> list[str]:
        said = [(example.messages, text) for example, text in answers if text.strip()]
        safe = iter(self.judge.rate_each(said) if said else ())
        (attribute,) = self.judge.attributes
        least = 0.5 if attribute.threshold is None else attribute.threshold
        letters = []
        for _, text in answers:
            empty = not text.strip()
            undesired = empty or attribute.goodness(next(safe)) < least
            letters.append(self.letters[undesired, empty or refuses(text)])
        return letters


class Loaded:
    """A checkpoint as what rates asks for it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.network = checkpoint.network.eval()
        self.processor: Processor = checkpoint.processor
        self.name = checkpoint.spec.name
        self.asking: AnsweringSpec = read_strategy(checkpoint.folder) or default_asking(chats=False)

    def require_tokenizer(self) -> Tokenizer:
        return self.processor.require_tokenizer(self.name)


def judge_of(path: str) -> Judge:
    """The judge of replies that a run, a checkpoint folder or a Hub id holds. Raises CheckpointError for none, and
    SepiolaError for a model of other things.
    """
    return Judge(Loaded(load(path)))
