"""Options that several commands share, and where and how commands print."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sepiola.errors import CheckpointError

if TYPE_CHECKING:
    from sepiola.acting.retrieval import FunctionRetriever
    from sepiola.specs.data import DataSpec


def _there(name: str) -> str:
    """The device's own name. Raises SpecError, before anything else is done, when the machine has none such."""
    from sepiola.nn.device import find_device

    return str(find_device(name)) if name != "cpu" else name


def out_path(path: str | Path) -> Path:
    """The path of what a command writes. Raises CheckpointError for an empty text."""
    from sepiola.data.files import named_path

    return named_path(path)


def out_file(path: str | Path) -> Path:
    """As `out_path`, of a file. Raises CheckpointError, before any work is done, where it cannot be one."""
    named = out_path(path)
    folder = next((each for each in named.absolute().parents if each.exists()), named)
    if named.is_dir() or not folder.is_dir():
        raise CheckpointError(
            f"{named}: no file can be written there, for {named if named.is_dir() else folder} is a "
            f"{'folder' if named.is_dir() else 'file'}; name another"
        )
    if not os.access(folder, os.W_OK):
        raise CheckpointError(f"{named}: {folder} is not yours to write in; name another folder")
    return named


ModelName = Annotated[str, typer.Option("--model", help="A run, a checkpoint folder, an adapter's or a Hub id.")]
Runtime = Annotated[
    str,
    typer.Option("--runtime", help="What runs the model: torch, prepacked, or native, the C++ core (see --bits)."),
]
Bits = Annotated[int | None, typer.Option("--bits", help="Of a weight under --runtime native: 4, 8 (default) or 16.")]
Calibrate = Annotated[
    str | None,
    typer.Option(
        "--calibrate",
        metavar="DATA",
        help="With 4 bits: round by what matrices multiply in these data (GPTQ), which costs less. A dataset's name, "
        "or data in a recipe's words: '{reader: text, root: FOLDER}'; 64 examples where they name no count.",
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option("--adapter", help="A LoRA adapter for the model: a folder or a Hub id, in peft's layout."),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="STRATEGY",
        help="How answers are reached, if not as the model was trained: direct, one-stage, two-stage, "
        "self-consistency, or in a recipe's words: '{kind: self-consistency, chains: 16, stop: 0.95}'.",
    ),
]
ChainsOption = Annotated[
    int | None, typer.Option("--chains", min=1, help="Of --strategy self-consistency: chains that vote.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the recipe, for example --set stages.0.steps=9. Repeatable.",
    ),
]

Device = Annotated[str, typer.Option(callback=_there, help="Where to compute: cpu, cuda, cuda:1 …")]
Runs = Annotated[Path, typer.Option(parser=out_path, metavar="PATH", help="The folder that runs land in.")]
DataFolder = Annotated[str | None, typer.Option("--data", help="The dataset's folder (Tidepool needs none).")]
ReaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="An option of the reader, for example --option with_image=true. Repeatable.",
    ),
]

Retriever = Annotated[
    str | None,
    typer.Option(
        "--retriever",
        help="A sentence encoder (all-MiniLM-L6-v2 …) that chooses the functions which a request may call.",
    ),
]
OneCall = Annotated[
    bool, typer.Option("--one-call", help="Of calls: each reply is one call, and neither none nor several.")
]
Top = Annotated[int | None, typer.Option("--top", min=1, help="Functions that the retriever chooses (default: 4).")]


def strategy_of(strategy: str | None, chains: int | None) -> dict[str, object] | None:
    """What `--strategy` and `--chains` say, in a recipe's words. Raises SpecError for what is no strategy."""
    from sepiola.errors import SpecError
    from sepiola.specs.recipe import AnsweringSpec
    from sepiola.specs.safe_yaml import load_yaml

    if strategy is None:
        if chains is not None:
            raise SpecError("--chains: several chains are a strategy: add --strategy self-consistency")
        return None
    read = load_yaml(strategy, "--strategy")
    found: dict[str, object] = {**read} if isinstance(read, dict) else {"kind": strategy}
    if chains is not None:
        found["chains"] = chains
    AnsweringSpec().by(found)  # what is no strategy is said before anything is loaded
    return found


def calibration(data: str | None, bits: int | None) -> dict[str, object] | None:
    """The data that `--calibrate` names. Raises SpecError for other numbers of bits than 4."""
    from sepiola.errors import SpecError
    from sepiola.specs.data import DataSpec
    from sepiola.specs.safe_yaml import load_yaml

    if data is None:
        return None
    if bits != 4:
        raise SpecError("--calibrate rounds to 4 bits: add --bits 4")
    raw = load_yaml(data, "--calibrate")
    return DataSpec.parse({"reader": raw} if isinstance(raw, str) else raw, "--calibrate").to_dict()


def load_retriever(name: str | None, top: int | None) -> FunctionRetriever | None:
    """The retriever that a command names. Raises SpecError for --top without one."""
    from sepiola.acting.retrieval import TOP, FunctionRetriever
    from sepiola.api import load
    from sepiola.errors import SpecError

    if name is None:
        if top is not None:
            raise SpecError("--top says how many functions a retriever chooses: add --retriever MODEL")
        return None
    return FunctionRetriever(load(name), top or TOP)


def data_spec(reader: str, root: str | None, split: str, count: int | None, assignments: list[str] | None) -> DataSpec:
    """The dataset that a command names, checked before anything is read. Raises SpecError or DataError."""
    from sepiola.datasets import check_options
    from sepiola.specs.data import DataSpec

    given = {"reader": reader, "root": root, "split": split, "count": count, "options": reader_options(assignments)}
    spec = DataSpec.parse(given, reader)
    check_options(spec)
    return spec


def reader_options(assignments: list[str] | None) -> dict[str, object]:
    """The values of `--option`, as YAML reads them."""
    from sepiola.specs.base import override

    return override({}, assignments or [], "--option")


def console_of(as_json: bool) -> Console:
    """Where people read: standard output, or standard error when standard output carries JSON."""
    return Console(stderr=as_json)


def print_json(value: object) -> None:
    """Prints plain data as JSON, Chinese as it is; half a character pair, which UTF-8 cannot hold, is escaped."""
    print(json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace").decode())
