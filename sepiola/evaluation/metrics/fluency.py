"""Whether what a model wrote is a text at all: the share of outputs that repeat themselves, and of fragments.

MiniGPT-4 (arXiv 2304.10592, sections 3.1 and 4.4) counts both by hand after its first stage, and finds that a second
stage on few well-made pairs takes them away. Here each is a rule, in words of English and characters of Chinese:

- A text **repeats** when some run of its words follows itself straight away, at least three times over for a run of one
  or two words (in Chinese one to three characters: reduplication such as 慢慢 and 走走停停 is language), at least twice
  over for a longer run; or when a sentence of at least three words (characters) stands in it twice.
- A text is a **fragment** when it has no word, when it does not end in a sentence's end (. ! ? 。 ！ ？, before any
  closing quotes or brackets; an ellipsis is none), or when the limit on tokens cut it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.evaluation.metrics.rationales import words

SHORT_RUN = {"en": 2, "zh": 3}
"""The longest run that may stand twice in a row."""

LEAST_SENTENCE = 3
_SENTENCE = re.compile(r"[.!?。！？\n]+")
_CLOSING = " \t\n\"'”’」』）)]】》"
_ENDS = (".", "!", "?", "。", "！", "？")
_ELLIPSIS = ("..", "…")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def repeats(text: str) -> bool:
    """Whether the text repeats itself, by the rule at the head of this module; its letters decide its language."""
    tokens = words(text)
    short = SHORT_RUN["zh" if 2 * len(_HAN.findall(text)) > len(tokens) else "en"]
    for run in range(1, len(tokens) // 2 + 1):
        times = 3 if run <= short else 2
        # How many positions in a row hold the same word as `run` positions before.
        same = 0
        for at in range(run, len(tokens)):
            same = same + 1 if tokens[at] == tokens[at - run] else 0
            if same == run * (times - 1):
                return True
    sentences = Counter(tuple(words(part)) for part in _SENTENCE.split(text))
    return any(number > 1 and len(sentence) >= LEAST_SENTENCE for sentence, number in sentences.items())


def is_fragment(text: str, *, cut: bool = False) -> bool:
    """Whether the text is no whole sentence; `cut` says that the limit on tokens ended it."""
    bare = text.rstrip(_CLOSING)
    return cut or not words(text) or not bare.endswith(_ENDS) or bare.endswith(_ELLIPSIS)


def fluency(texts: Sequence[str], cut: Sequence[bool] | None = None) -> Figures:
    """`count`, and of `repetition` and `fragments` the `rate` (0 to 1), its Wilson 95% `interval` and the `number`.

    `cut` says of each text whether the limit on tokens ended it; absent, none is known to be. Rates are None without
    texts.
    """
    ended = cut if cut is not None else [False] * len(texts)
    faults = {
        "repetition": sum(map(repeats, texts)),
        "fragments": sum(is_fragment(text, cut=by_limit) for text, by_limit in zip(texts, ended, strict=True)),
    }
    return {
        "count": len(texts),
        **{
            name: {
                "rate": number / len(texts) if texts else None,
                "interval": list(wilson_interval(number, len(texts))) if texts else None,
                "number": number,
            }
            for name, number in faults.items()
        },
    }
