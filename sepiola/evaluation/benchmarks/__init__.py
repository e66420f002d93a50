"""Benchmarks, one file each: `BENCHMARKS` lists them by name. A set is measured by the benchmark of its reader's name
where that measures such a model and such data, and by one of `GENERAL` otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks import (
    acting,
    bbh,
    captions,
    cmmlu,
    cmrc2018,
    daquar,
    easy_vqa,
    grounded,
    gsm8k,
    instruction_kinds,
    intents,
    lambada,
    nq_open,
    pope,
    preferences,
    ratings,
    retrieval,
    scienceqa,
    tasks,
    text,
    thucnews,
    tidepool,
)
from sepiola.evaluation.benchmarks.contract import Benchmark, Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings

BENCHMARKS: dict[str, Benchmark] = {
    "scienceqa": scienceqa.BENCHMARK,
    "tidepool": tidepool.BENCHMARK,
    "easy_vqa": easy_vqa.BENCHMARK,
    "daquar": daquar.BENCHMARK,
    "thucnews": thucnews.BENCHMARK,
    "pope": pope.BENCHMARK,
    "flickr8k": captions.BENCHMARK,
    "coco_mini": captions.BENCHMARK,
    "captions": captions.BENCHMARK,
    "retrieval": retrieval.BENCHMARK,
    "preferences": preferences.BENCHMARK,
    "intents": intents.BENCHMARK,
    "instruction_kinds": instruction_kinds.BENCHMARK,
    "acting": acting.BENCHMARK,
    "tasks": tasks.BENCHMARK,
    "ratings": ratings.BENCHMARK,
    "grounded": grounded.BENCHMARK,
    "text": text.BENCHMARK,
    "lambada": lambada.PLAIN,
    "lambada_cloze": lambada.CLOZE,
    "cmmlu": cmmlu.LETTERED,
    "cmmlu_cloze": cmmlu.CLOZE,
    "bbh": bbh.CHAIN,
    "bbh_direct": bbh.DIRECT,
    "gsm8k": gsm8k.BENCHMARK,
    "nq_open": nq_open.BENCHMARK,
    "cmrc2018": cmrc2018.BENCHMARK,
}

GENERAL = {
    "preferences": "a reward model on preferences",
    "ratings": "a model that rates replies, on ratings",
    "retrieval": "a dual encoder on pictures with texts",
    "intents": "a classifier on requests with intents",
    "acting": "a model that writes, on requests with calls",
    "captions": "a model that sees, on pictures with captions",
}
"""Benchmarks of any dataset: what each measures, and on what."""


def benchmark_of(model: MeasuredModel, settings: Settings) -> str:
    """The name of the benchmark that measures a model by these data. Raises SpecError when there is none."""
    reader = settings.data.reader
    for name in (reader, *GENERAL):
        if name in BENCHMARKS and BENCHMARKS[name].measures(model, settings):
            return name
    general = "; ".join(f"{name}: {what}" for name, what in GENERAL.items())
    own = ", ".join(name for name in BENCHMARKS if name not in GENERAL)
    raise SpecError(
        f"evaluation: no benchmark measures this model on '{reader}'. Of any dataset there are {general}. Datasets "
        f"with a benchmark of their own: {own}"
    )


def measure(model: MeasuredModel, settings: Settings) -> Measurement:
    """A model measured by its benchmark, whose name is `benchmark` among the figures."""
    name = benchmark_of(model, settings)
    measurement = BENCHMARKS[name].run(model, settings)
    return replace(measurement, figures={"benchmark": name, **measurement.figures})
