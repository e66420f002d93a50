"""Whether calls come from the picture: another picture, none at all, and pictures that have nothing to do with it.

For Tidepool's phone requests, whose pictures are needed, or irrelevant, and can be drawn anew.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.calls import Judged, share
from sepiola.tidepool.phone import exchanged
from sepiola.tidepool.phone.forms import FORMS

Ask = Callable[[Sequence[Example]], list[Judged]]


def sight_figures(rows: Sequence[Judged], ask: Ask) -> Figures:
    """Of the requests in `rows`, asked again by `ask`; empty where no picture is needed or irrelevant.

    `exchanged`: exact calls with another picture of the same kind. `blind`: exact calls without the picture, and
    `majority`, those of whoever knows all but the picture and says what is seen most often (of these very requests).
    `unchanged`: calls that are the same with an irrelevant picture as without it.
    """
    needed = [row for row in rows if row.example.metadata.get("picture") == "needed" and _form(row.example)]
    beside = [row for row in rows if row.example.metadata.get("picture") == "irrelevant" and row.example.images]
    figures: Figures = {}
    if needed:
        examples = [row.example for row in needed]
        figures["exchanged"] = share([row.exact for row in ask(exchanged(examples))])
        figures["blind"] = share([row.exact for row in ask([_without_picture(example) for example in examples])])
        figures["majority"] = share(_majority(examples))
    if beside:
        alone = ask([_without_picture(row.example) for row in beside])
        figures["unchanged"] = share([row.calls == other.calls for row, other in zip(beside, alone, strict=True)])
    return figures


def _form(example: Example) -> bool:
    form = FORMS.get(str(example.metadata.get("form")))
    return form is not None and form.read is not None


def _without_picture(example: Example) -> Example:
    messages = tuple(
        Message(m.role, tuple(part for part in m.content if not isinstance(part, ImageRef))) for m in example.messages
    )
    return dataclasses.replace(example, messages=messages)


def _majority(examples: Sequence[Example]) -> list[bool]:
    """Whether a request's own arguments that are seen are those of most requests of its form and language."""
    seen: dict[tuple[str, str], list[str]] = defaultdict(list)
    for example in examples:
        seen[_kind(example)].append(_read(example))
    most = {kind: Counter(values).most_common(1)[0][0] for kind, values in seen.items()}
    return [_read(example) == most[_kind(example)] for example in examples]


def _kind(example: Example) -> tuple[str, str]:
    return str(example.metadata["form"]), str(example.metadata["language"])


def _read(example: Example) -> str:
    """The arguments that are in no word of the request."""
    (call,) = example.metadata["calls"]
    return str(
        sorted((key, str(value)) for key, value in call["arguments"].items() if str(value) not in example.prompt)
    )
