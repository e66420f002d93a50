"""Raw pictures to a small well-made training set, as MiniGPT-4 makes its second one (arXiv 2304.10592, section 3.2):
describe, continue, repair, filter, and a sheet for a person to look through.

A folder holds the work (`described.jsonl`, `repaired.jsonl`), which a second call goes on with, and what comes of it:
`pairs.jsonl`, `dropped.jsonl`, `review.html`, `summary.json` and, of pictures that lie in no file, `images/`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepiola.api import Model
from sepiola.curation.describe import Picture, describe, items_of
from sepiola.curation.repair import Repair, request_of
from sepiola.curation.review import review_page
from sepiola.curation.rules import agreement, disagreeing, fault_of
from sepiola.data.example import Example
from sepiola.data.files import locked, make_folder, replacing, write_text
from sepiola.data.journal import Journal
from sepiola.datasets.pairs import PAIRS
from sepiola.errors import SepiolaError
from sepiola.generation.matcher import Matcher
from sepiola.specs.base import Plain

DESCRIBED, REPAIRED, DROPPED = "described.jsonl", "repaired.jsonl", "dropped.jsonl"
TOGETHER = 8  # pictures that are described at once: what a kill can cost
Advance = Callable[[str, int, int], None]
"""Called after each part of a step: the step, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Rules:
    """What is kept: lengths in words (Chinese characters); of what a dual encoder scores, the best share `keep` of each
    language and what reaches `threshold`.
    """

    shortest: int = 5
    longest: int = 400
    keep: float | None = None
    threshold: float | None = None


def curate(
    examples: Sequence[Example],
    folder: Path,
    *,
    model: tuple[str, Callable[[], Model]],
    tokens: int = 256,
    continue_under: int = 80,
    repair: tuple[str, Callable[[], Repair]] | None = None,
    matcher: Callable[[], Matcher] | None = None,
    rules: Rules | None = None,
    advance: Advance = lambda step, done, of: None,
) -> Plain:
    """Curates the pictures of the examples into `folder`, and returns the summary that is written there too.

    `model` and `repair` are a name, which a later call must give again, and what makes them, called when there is work
    for them. Raises DataError for a folder that was made otherwise; whatever is raised, finished work is kept.
    """
    rules = rules or Rules()
    make_folder(folder)
    with locked(folder):
        items = items_of(examples)
        name, load = model
        settings = {"model": name, "tokens": tokens, "continue_under": continue_under}
        described = _described(items, Journal(folder / DESCRIBED, settings), load, settings, advance)
        repaired: dict[str, str] = {}
        if repair is not None:
            journal = Journal(folder / REPAIRED, {"repair": repair[0]})
            repaired = _repaired(items, described, journal, repair[1], advance)
        records = [_record(item, described[item.id], repaired.get(item.id), rules) for item in items]
        if matcher is not None:
            _match(items, records, matcher(), rules)
        return _write(folder, items, records)


def _described(
    items: Sequence[Picture], journal: Journal, load: Callable[[], Model], settings: Plain, advance: Advance
) -> dict[str, Plain]:
    left = [item for item in items if item.id not in journal.records]
    model = load() if left else None
    for start in range(0, len(left), TOGETHER):
        assert model is not None
        some = left[start : start + TOGETHER]
        journal.add(describe(model, some, tokens=settings["tokens"], continue_under=settings["continue_under"]))
        advance("describing", len(items) - len(left) + start + len(some), len(items))
    return journal.records


def _repaired(
    items: Sequence[Picture],
    described: dict[str, Plain],
    journal: Journal,
    make: Callable[[], Repair],
    advance: Advance,
) -> dict[str, str]:
    """The repaired texts by id. A text that was described anew since its repair is repaired anew."""
    wanted = {item.id: (item, described[item.id]["text"]) for item in items if described[item.id].get("text")}
    known = journal.records
    left = [(i, text) for i, text in wanted.values() if known.get(i.id, {}).get("before") != text]
    repairer = make() if left else None
    for number, (item, text) in enumerate(left):
        assert repairer is not None
        done = len(wanted) - len(left) + number
        try:
            after = repairer(request_of(text, item.language))
        except SepiolaError as error:
            raise SepiolaError(
                f"{error}; {done} of {len(wanted)} texts are repaired and kept in {journal.path.parent}: run the same "
                "command again to go on"
            ) from None
        journal.add([{"id": item.id, "before": text, "text": after}])
        advance("repairing", done + 1, len(wanted))
    return {name: known[name]["text"] for name in wanted}


def _record(item: Picture, described: Plain, repaired: str | None, rules: Rules) -> Plain:
    """A line of `pairs.jsonl`, or with a `reason` of `dropped.jsonl`; `image` is still to come."""
    record: Plain = {"id": item.id, "image": None, "request": item.request, "language": item.language}
    record |= {"group": item.group}
    if "fault" in described:
        return {**record, "text": "", "reason": "picture", "fault": described["fault"]}
    text = described["text"] if repaired is None else repaired
    cut = described["cut"] and text == described["text"]  # who writes it anew ends it
    record |= {"text": text, "continued": described["continued"], "repaired": text != described["text"]}
    if record["repaired"]:
        record["described"] = described["text"]
    reason = fault_of(text, item.language, cut=cut, shortest=rules.shortest, longest=rules.longest)
    return {**record, "reason": reason} if reason else record


def _match(items: Sequence[Picture], records: list[Plain], matcher: Matcher, rules: Rules) -> None:
    """Scores what the rules for texts have left, and gives a reason to what agrees least."""
    good = [(item, record) for item, record in zip(items, records, strict=True) if "reason" not in record]
    scores = agreement(matcher, [item.image for item, _ in good], [record["text"] for _, record in good])
    languages = [record["language"] for _, record in good]
    out = disagreeing(scores, languages, keep=rules.keep, threshold=rules.threshold)
    for place, (_, record) in enumerate(good):
        record["agreement"] = round(scores[place], 4)
        if place in out:
            record["reason"] = "agreement"


def _write(folder: Path, items: Sequence[Picture], records: Sequence[Plain]) -> Plain:
    for item, record in zip(items, records, strict=True):
        kept = "reason" not in record
        record["image"] = _place(folder, item) if kept or item.image.path is not None else None
    pairs = [record for record in records if "reason" not in record]
    dropped = [record for record in records if "reason" in record]
    summary = {
        "folder": str(folder),
        "pictures": len({item.image for item in items}),
        "texts": len(records),
        "continued": sum(record.get("continued", False) for record in records),
        "repaired": sum(record.get("repaired", False) for record in records),
        "kept": len(pairs),
        "languages": dict(sorted(Counter(record["language"] for record in pairs).items())),
        "dropped": dict(Counter(record["reason"] for record in dropped).most_common()),
    }
    write_text(folder / DROPPED, "".join(_lines(dropped)))
    write_text(
        folder / "review.html", review_page(summary, [(i.image, r) for i, r in zip(items, records, strict=True)])
    )
    write_text(folder / "summary.json", json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    write_text(folder / PAIRS, "".join(_lines(pairs)))
    return summary


def _lines(records: Sequence[Plain]) -> Iterator[str]:
    return (json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _place(folder: Path, item: Picture) -> str:
    """Where a picture lies: its own file, or one in `images/` that holds its bytes as they are."""
    if item.image.path is not None:
        return str(item.image.path.resolve())
    data = item.image.encoded
    place = folder / "images" / f"{item.image.digest[:16]}.{item.image.format.lower()}"
    if not place.exists():
        make_folder(place.parent)
        with replacing(place) as temporary:
            temporary.write_bytes(data)
    return place.relative_to(folder).as_posix()
