"""What a run's model costs: parameters, tokens that a picture takes, time to the first token, time of training."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from sepiola.api import Model, load
from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.data.metrics_log import read_metrics
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.report.tables import whole
from sepiola.models.build import count
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.chat_questions import format_of
from sepiola.text.encoding import ids_of
from sepiola.training.preparation import parts_of

ASKED = 21  # questions, each on its own; the first warms up
COLUMNS = {
    "learned_parameters": "parameters learned",
    "bridge_parameters": "of the bridge",
    "image_tokens": "tokens a picture",
    "first_token_ms": "ms to the first token",
    "training_seconds": "seconds of training",
}


def costs(recipe: RecipeSpec, run: Path, examples: Sequence[Example]) -> dict[str, float | None]:
    """The figures of a finished run, by the names of `COLUMNS`; None where a model has none of it.

    The time to the first token is the median over questions asked one by one: opening the picture, the vision encoder,
    reading the prompt, and one token. The figures of an ensemble are its members' together.
    """
    model = load(run)
    members = [model] if model.ensemble is None else model.ensemble.members
    parts = [(name, count(part)) for member in members for name, part in parts_of(member.network).items()]
    learned = {name for stage in recipe.stages if not stage.objective.encodes for name in stage.learn}
    images = next((example.images[:1] for example in examples if example.images), None)
    times = [_first_token_ms(member, examples[:ASKED]) for member in members]
    return {
        "learned_parameters": sum(size for name, size in parts if name in learned)
        or sum(count(member.network) for member in members),
        "bridge_parameters": sum(size for name, size in parts if name == "bridge") or None,
        "image_tokens": _image_tokens(members[0], images) if images else 0,
        "first_token_ms": round(sum(t for t in times if t is not None), 2) if None not in times else None,
        "training_seconds": _training_seconds(run / "metrics.jsonl"),
    }


def _image_tokens(model: Model, images: Sequence[ImageRef]) -> int:
    """How many tokens the images take in a prompt; 0 where they do not stand in it."""
    network = interleaved(model.network)
    if network is None:
        return 0
    return sum(len(ids_of(run, model.require_tokenizer())) for run in network.image_tokens(images))


def _first_token_ms(model: Model, examples: Sequence[Example]) -> float | None:
    answering = model.answering
    if answering is None or len(examples) < 2 or model.spec.writes_no_text is not None:
        return None
    layout, writer = format_of(answering.answer_format), model.example_generator(1, answering)
    times = []
    for example in examples:
        prompt = example
        if example.question is not None:
            prompt = layout.apply(example, "") if layout.takes_rationale else layout.apply(example)
        began = time.perf_counter()
        writer.write([prompt])
        times.append(time.perf_counter() - began)
    return round(1000 * statistics.median(times[1:]), 2)


def _training_seconds(metrics: Path) -> float:
    """The stages' seconds together, from their last lines."""
    lasts = {record["stage"]: record["seconds"] for record in read_metrics(metrics) if "seconds" in record}
    return round(sum(lasts.values()), 1)


def costs_table(rows: Sequence[Figures]) -> Table:
    """The costs of a comparison's arms for the terminal."""
    table = Table("", title="what it costs")
    for name in COLUMNS.values():
        table.add_column(name, justify="right")
    for row in rows:
        values = (row[column] for column in COLUMNS)
        table.add_row(escape(row["name"]), *("" if value is None else f"{value:,}" for value in values))
    return whole(table)
