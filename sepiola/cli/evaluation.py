"""`sepiola eval`: a model measured on a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from sepiola.cli.options import (
    Adapter,
    AsJson,
    Bits,
    Calibrate,
    ChainsOption,
    DataFolder,
    Device,
    ModelName,
    OneCall,
    ReaderOption,
    Retriever,
    Runtime,
    StrategyOption,
    Top,
    calibration,
    console_of,
    data_spec,
    load_retriever,
    out_file,
    print_json,
    strategy_of,
)
from sepiola.errors import SpecError

DRAWN = {"tidepool": 3000}  # training examples that baselines learn from, of a dataset that has no end


class EvalCommand(TyperCommand):
    """Lists the benchmarks under its options: their import waits until someone reads this help."""

    @property
    def epilog(self) -> str | None:
        from sepiola.evaluation.benchmarks import BENCHMARKS, GENERAL

        names = ", ".join(name for name in BENCHMARKS if name not in GENERAL)
        return (
            f"Benchmarks: {names}. Any other dataset is measured by {' or '.join(GENERAL)}, whichever fits the model. "
            "Example: sepiola eval tidepool --model runs/demo --option size=64"
        )

    @epilog.setter
    def epilog(self, value: str | None) -> None:
        """Nothing: the list is made when it is read."""


def evaluate(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name (listed below), or a dataset's.")],
    model: ModelName,
    data: DataFolder = None,
    split: Annotated[str | None, typer.Option("--split", help="Which split (default: the benchmark's).")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=out_file, metavar="PATH", help="Write all figures to this JSON file."),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Answer only so many questions: the first, or drawn by --seed.")
    ] = None,
    shots: Annotated[
        int, typer.Option("--shots", min=0, max=1024, help="How many solved questions to show before each.")
    ] = 0,
    rices: Annotated[bool, typer.Option("--rices", help="Of pictures: those most like the question's.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Prompted: draws the shots and the questions.")] = 0,
    show: Annotated[int, typer.Option("--show", min=0, help="Prompted: print so many whole prompts, judged.")] = 0,
    length: Annotated[int | None, typer.Option("--length", help="Prompted: most tokens the model reads.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Prompted: one subject or task. Repeatable.")] = None,
    no_chat_template: Annotated[
        bool,
        typer.Option(
            "--no-chat-template",
            help="Prompted: ask a chat model by plain text, not in its template, shots as turns.",
        ),
    ] = False,
    strategy: StrategyOption = None,
    chains: ChainsOption = None,
    adapter: Adapter = None,
    retriever: Retriever = None,
    top: Top = None,
    one_call: OneCall = False,
    unconstrained: Annotated[
        bool, typer.Option("--unconstrained", help="Of calls: ask without the constraint as well, and show both.")
    ] = False,
    kl_divergence: Annotated[
        str | None,
        typer.Option(
            "--kl-divergence",
            metavar="MODEL",
            help="Of plain text: how far the next token's distribution is from this model's by torch in float32; "
            "--model may be the same one under --runtime native --bits 4.",
        ),
    ] = None,
    device: Device = "cpu",
    runtime: Runtime = "torch",
    bits: Bits = None,
    calibrate: Calibrate = None,
    option: ReaderOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a benchmark: its figures with their intervals, buckets, and what baselines would earn."""
    from sepiola.api import load
    from sepiola.data.files import make_folder, write_text
    from sepiola.datasets import DATASETS, DataCache
    from sepiola.evaluation.benchmarks import BENCHMARKS, GENERAL, benchmark_of, measure
    from sepiola.evaluation.benchmarks.settings import Settings
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.specs.base import nearest
    from sepiola.specs.recipe import FewShotSpec

    known = [name for name in dict.fromkeys((*BENCHMARKS, *DATASETS)) if name in DATASETS or name not in GENERAL]
    if benchmark not in known:
        raise SpecError(f"no benchmark is named '{benchmark}'; {nearest(benchmark, known)}")
    given: dict[str, object] = {
        "shots": shots,
        "rices": rices,
        "seed": seed,
        "show": show,
        "length": length,
        "only": only,
    }
    given |= {"no-chat-template": no_chat_template, "retriever": retriever, "top": top, "unconstrained": unconstrained}
    given |= {"kl-divergence": kl_divergence, "strategy": strategy, "one-call": one_call}
    if rices and not shots:
        raise SpecError("--rices chooses the examples that --shots shows: add --shots 4")
    asked = [name for name, value in {**given, "option": option}.items() if value]
    if benchmark in BENCHMARKS:
        _check_options(benchmark, asked, BENCHMARKS[benchmark].takes)
    split = split or (BENCHMARKS[benchmark].split if benchmark in BENCHMARKS else "test")
    spec = data_spec(benchmark, data, split, count, option)
    train = spec.model_copy(update={"split": "train", "count": DRAWN.get(benchmark)})
    cache = DataCache()
    chosen = strategy_of(strategy, chains)
    rounded_by = calibration(calibrate, bits)
    loaded = load(model, adapter=adapter, device=device, runtime=runtime, bits=bits, calibrate=rounded_by)
    loaded = loaded if chosen is None else loaded.by(chosen)
    looks = loaded.spec.sees and loaded.asking.images
    settings = Settings(
        spec,
        console_of(as_json),
        partial(cache.read, look=looks),
        training=lambda reader: cache.read(train, look=False),
        few_shot=FewShotSpec(shots=(shots,), choose="rices" if rices else "random", shuffled=False, data=train)
        if shots
        else None,
        retriever=load_retriever(retriever, top),
        unconstrained=unconstrained,
        one_call=one_call,
        base=None if kl_divergence is None else load(kl_divergence, device=device),
        seed=seed,
        show=show,
        only=tuple(only or ()),
        length=length,
        chat_template=not no_chat_template,
    )
    _check_options(benchmark, asked, BENCHMARKS[benchmark_of(loaded, settings)].takes)
    figures = {"title": f"{benchmark} {split}", "model": model, "split": split, **measure(loaded, settings).figures}
    if out is not None:
        make_folder(out.parent)
        write_text(out, json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
    if as_json:
        print_json(figures)
        return
    for table in terminal_tables(figures):
        settings.console.print(table)


def _check_options(benchmark: str, asked: list[str], takes: Sequence[str]) -> None:
    for name in asked:
        if name not in takes:
            known = ", ".join(f"--{one}" for one in takes) or "none of its kind"
            raise SpecError(f"{benchmark} has no --{name}; it takes {known}")
