"""Captions of pictures, once in each language: CIDEr-D, BLEU, ROUGE-L and fluency, beside baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.data.sampler import spread
from sepiola.datasets import check_pictures
from sepiola.errors import DataError
from sepiola.evaluation.baselines.captions import Features, frequent_captions, nearest_captions, pixel_features
from sepiola.evaluation.benchmarks.answering import answer_all
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.retrieval import compares
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.caption_figures import (
    FAULTS,
    asks_for_captions,
    caption_figures,
    caption_headlines,
    caption_tables,
    one_each,
    references,
)
from sepiola.evaluation.metrics.captions import METRICS, caption_metrics
from sepiola.evaluation.metrics.seeds import mean_over_seeds
from sepiola.reasoning.answer import Answer

NEIGHBOURS = 4000  # training pictures at most that the nearest one is sought among


class Captions:
    """Examples with pictures and no question: whatever their messages ask for is compared with the references."""

    split = "test"
    takes: Sequence[str] = ("option",)

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return not compares(model, settings) and asks_for_captions(settings.examples)

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        """Figures of one example a picture and language."""
        examples = one_each(settings.examples)
        answers = answer_all(model, examples, settings)
        known, missing = settings.learnable(None, look=True)
        try:
            check_pictures(examples)
        except DataError as error:  # a model that looks at none has answered; the baselines do look
            known, missing = (), str(error)
        figures = caption_figures(examples, answers, _baselines(model, examples, known))
        if missing:
            figures["baselines_left_out"] = {"baselines": "those that learn from training captions", "reason": missing}
        return Measurement(figures, list(zip(examples, answers, strict=True)))

    def tables(self, figures: Figures) -> list[Table]:
        return caption_tables(figures)

    def headlines(self, figures: Figures) -> list[Headline]:
        return caption_headlines(figures)

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """The captions of the first arm, with the other arms among its baselines."""
        first, *others = arms
        merged = {}
        for language, figures in arms[first][0]["captions"].items():
            over = {arm: _over_seeds([seed["captions"][language] for seed in seeds]) for arm, seeds in arms.items()}
            baselines = {**{arm: over[arm] for arm in others}, **figures["baselines"]}
            merged[language] = {**over[first], "count": figures["count"], "baselines": baselines}
        return {"captions": merged}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """ROUGE-L with the references, 0 to 1: CIDEr-D weighs words by a whole set, and one picture is none."""
        if example.question is not None or not example.images:
            return None
        rouge = caption_metrics([answer.output], [references(example)])["rougeL"]["value"]
        return float(rouge) / 100


def _baselines(
    model: MeasuredModel, examples: Sequence[Example], train: Sequence[Example]
) -> dict[str, Sequence[Answer]]:
    """Captions by other means: the model without the picture, and what `train` offers.

    Examples of `train` that ask a question, and plain documents, are passed over.
    """
    known = [e for e in train if e.question is None and e.messages]
    pictures = spread(one_each([e for e in known if len(e.images) == 1]), NEIGHBOURS)
    baselines: dict[str, Sequence[Answer]] = {}
    if known:
        baselines["most_frequent"] = frequent_captions(known, examples)
    if pictures:
        baselines["nearest_pixels"] = nearest_captions(pictures, examples, pixel_features)
    image_encoder = model.example_generator(1).image_encoder
    if image_encoder is None:
        return baselines

    def describe(images: Sequence[ImageRef]) -> Features:
        rows = (image_encoder([image]).float().flatten(0, -2).mean(dim=0).cpu().numpy() for image in images)
        return np.stack(list(rows))

    baselines["eyes_shut"] = _blind(model, examples)
    if pictures:
        baselines["nearest_features"] = nearest_captions(pictures, examples, describe)
    return baselines


def _blind(model: MeasuredModel, examples: Sequence[Example]) -> list[Answer]:
    """What the model writes by the prompt alone, asked once for each prompt."""
    prompts = list({e.prompt: e for e in examples}.values())
    written = {e.prompt: a for e, a in zip(prompts, model.blind().answer(prompts), strict=True)}
    return [Answer(e.id, written[e.prompt].output, cut=written[e.prompt].cut) for e in examples]


def _over_seeds(seeds: Sequence[Figures]) -> Figures:
    """Metrics and fluency of one arm and language over its seeds."""
    faults = {name: mean_over_seeds([seed["fluency"][name] for seed in seeds], "rate", 1.0) for name in FAULTS}
    metrics = {name: mean_over_seeds([seed[name] for seed in seeds], "value", math.inf) for name in METRICS}
    return {**metrics, "fluency": faults}


BENCHMARK = Captions()
