"""An agent learns one more function, or forgets the last one: `sepiola act add` and `sepiola act remove`.

A copy of the earlier agent learns, with a token for the new function that begins as the mean of its description's
tokens. Training requests call the new function, replay what the earlier agent was taught, or call nothing; none of them
are a user's.

The agent as it was before anything was added is kept in the checkpoint, and its reply counts where none of the added
functions is called, or not surely (`sepiola.generation.keeping`): so an old request is answered as ever, unless an
added function is called in its place. However many are added, they share one network beside the one that is kept.

Functions are added one at a time, and the agent before each addition lies whole in `earlier`, so that taking the last
function away gives that agent back bit for bit.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from sepiola.acting.sets import as_taught, functions_named, taught
from sepiola.acting.synthesis import TO_LEARN, synthesize
from sepiola.api import Model, load
from sepiola.calling.calls import tokens_of
from sepiola.calling.functions import Function
from sepiola.checkpoints import adapters
from sepiola.checkpoints.loading import folder_of
from sepiola.checkpoints.processor import FUNCTIONS, read_functions
from sepiola.checkpoints.store import TOKENIZER
from sepiola.data.example import Example
from sepiola.data.files import make_folder
from sepiola.datasets import read_spec
from sepiola.datasets.requests import read_requests
from sepiola.errors import SpecError, brief
from sepiola.evaluation.benchmarks import measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.figures import Figures
from sepiola.experiments.agent import REQUESTS, described, filled_in, write_requests
from sepiola.experiments.earlier import EARLIER, check_empty, copy_agent, folder_of_run
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.models.build import build
from sepiola.models.vocabulary import TOKEN_ROWS
from sepiola.specs.base import nearest, read_yaml
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.load_parts import load_parts
from sepiola.training.objectives.function_calling import FunctionCallingSpec
from sepiola.training.preparation import parts_of

RECIPE = "octopus-v3/add"
BEGUN = "begun"
"""The earlier agent with a row for the new token, before the first step."""
MOST = 10_000
"""Requests that are read of an earlier recipe's data."""
REPLAYED = 10_000
"""Requests of the earlier agent's, in each addition; the new function's are repeated until they are half as many."""
MEASURED_NEW, MEASURED_OLD = 400, 1000


def add_functions(
    run: str | Path,
    functions: str,
    out: Path,
    *,
    console: Console,
    only: Sequence[str] = (),
    count: int = 5000,
    changes: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
) -> list[Figures]:
    """Teaches an agent the functions of a file or a set that it does not know (or `only` some), one after the other,
    from `count` requests for each. Returns what each addition did to the new function and to the old ones.

    Raises SpecError for an agent that knows no functions, or all of these, or one of these by another signature; and as
    `sepiola.experiments.agent.train_agent`.
    """
    known = _known(run)
    new = unknown(known, functions_named(functions), only)
    where = [out.joinpath(*[EARLIER] * steps) for steps in range(len(new))][::-1]
    if not resume or not (where[0] / EARLIER).is_dir():
        check_empty(out)
        copy_agent(folder_of_run(run), where[0] / EARLIER)
    return [
        _add(folder, function, console, count, changes, seed, device, resume)
        for function, folder in zip(new, where, strict=True)
    ]


def remove_function(run: str | Path, name: str, out: Path) -> list[str]:
    """Writes the agent before its last addition, `name`, into `out`, bit for bit; returns the names that it knows.

    Raises SpecError for a function that the agent does not know, and for one that was not the last to be added.
    """
    folder, known = folder_of_run(run), [str(entry["name"]) for entry in _known(run)]
    if name not in known:
        raise SpecError(f"the agent knows no function '{brief(name)}'; {nearest(name, known)}")
    added = additions(folder)
    if not added:
        raise SpecError(f"{folder}: nothing was added to this agent, so nothing can be removed (sepiola act add)")
    if name != added[0]:
        later = added[: added.index(name)] if name in added else added
        after = f"others were learned after it: remove them first, {', '.join(later)}"
        began = f"it was taught from the beginning; what can be removed is {added[0]}, then what was added before it"
        raise SpecError(f"{name} cannot be removed bit for bit: {after if name in added else began}")
    copy_agent(folder / EARLIER, out)
    return [str(entry["name"]) for entry in _known(out)]


def additions(folder: Path) -> list[str]:
    """The functions that were added to an agent, the last first."""
    names: list[str] = []
    while (folder / EARLIER).is_dir():
        before = {str(entry["name"]) for entry in _known(folder / EARLIER)}
        names += [str(entry["name"]) for entry in _known(folder) if entry["name"] not in before]
        folder /= EARLIER
    return names


def unknown(
    known: Sequence[Mapping[str, object]], given: Sequence[Function], only: Sequence[str] = ()
) -> list[Function]:
    """The given functions that an agent does not know, or `only` some of them. Raises SpecError as `add_functions`."""
    signatures = {entry["name"]: entry["signature"] for entry in known}
    names = [function.name for function in given]
    for name in only:
        if name not in names:
            raise SpecError(f"--only: no function is named '{brief(name)}'; {nearest(name, names)}")
    chosen = [function for function in given if not only or function.name in only]
    for function in chosen:
        if function.name in signatures and (only or signatures[function.name] != function.signature):
            same = signatures[function.name] == function.signature
            reason = "already" if same else "by another signature; give the new one another name, or train anew"
            raise SpecError(f"{function.name}: the agent knows it {reason}")
    new = [function for function in chosen if function.name not in signatures]
    if not new:
        raise SpecError(f"the agent knows these functions already: {', '.join(names)[:200]}")
    return new


def begin(model: Model, function: Function, examples: Sequence[Example] = ()) -> Model:
    """The model with a token for the function, behind all others: its rows are the mean of the description's tokens,
    and everything else is as it was. The requests of the `examples` say which of its arguments are copied.
    """
    earlier, tokenizer, spec = model.processor.functions, model.require_tokenizer(), model.spec
    assert earlier is not None and spec.language is not None
    tokenizer = Tokenizer(type(tokenizer.backend).from_str(tokenizer.to_json()))
    name = _token(len(earlier))
    token = tokenizer.with_token(name).id_of(name)
    assert token is not None
    size = max(spec.language.vocabulary, tokenizer.vocabulary)
    spec = spec.model_copy(update={"language": spec.language.model_copy(update={"vocabulary": size})})
    network = build(spec)
    load_parts(network, model.network, model.spec, "the earlier agent")
    said = tokenizer.encode(f"{function.name.replace('_', ' ')} {function.description}")
    state = parts_of(network)["language"].state_dict()
    with torch.no_grad():
        for name in TOKEN_ROWS:
            if name in state:
                state[name][token] = state[name][said].mean(0)
    processor = dataclasses.replace(
        model.processor, tokenizer=tokenizer, functions=(*earlier, *taught([function], examples))
    )
    return Model(network, spec, processor, model.answering)


def kept_of(model: Model) -> Model:
    """What writes where nothing is called that was added: the model before the first addition. It has no rows for
    tokens that its tokenizer lacks, so that it can write none that are added to that.
    """
    if model.kept is not None:
        return model.kept
    language, size = model.spec.language, model.require_tokenizer().vocabulary
    assert language is not None
    if language.vocabulary <= size:
        return model
    spec = model.spec.model_copy(update={"language": language.model_copy(update={"vocabulary": size})})
    network = build(spec)
    for name, part in parts_of(model.network).items():
        rows = {key: value[:size] if key.endswith(TOKEN_ROWS) else value for key, value in part.state_dict().items()}
        parts_of(network)[name].load_state_dict(rows if name == "language" else part.state_dict())
    return Model(network, spec, model.processor, model.answering)


class Adding(Run):
    """One addition: `kept` writes where none of the added functions is called."""

    kept: Model

    def model(self) -> Model:
        model = super().model()
        model.kept = self.kept
        return model


def requests_to_add(
    functions: Sequence[Function], folder: Path, count: int, seed: int, replayed: int = REPLAYED
) -> dict[str, list[Example]]:
    """Requests for the last of the functions (`new`) and for the others (`old`), to train on (`train`) and to measure.

    The old ones are those of the earlier agent in `folder`: what lies in its `requests`, or what its recipe reads;
    where it has neither, they are made. Each function that was added before has up to twice as many as one of the
    first, since nothing else holds it. A quarter call nothing, and are made for all functions: what none of the old
    ones did may be what the new one does.
    """
    rng = random.Random(f"grow {seed} {functions[-1].name}")
    new, old = _requests(functions, folder, "train", count, replayed, seed, rng)
    train = [*_repeated(old, replayed), *_repeated(new, max(len(new), replayed // 2))]
    test_new, test_old = _requests(functions, folder, "test", MEASURED_NEW, MEASURED_OLD, seed, rng)
    return {"train": _numbered(train), "new": _numbered(test_new), "old": _numbered(test_old)}


def _add(
    out: Path,
    function: Function,
    console: Console,
    count: int,
    changes: Sequence[str],
    seed: int,
    device: str,
    resume: bool,
) -> Figures:
    """One addition, to the agent in `earlier`."""
    console.print(f"[bold]{function.name}[/bold]: {escape(str(out))}", soft_wrap=True)
    out = out.resolve()
    model = load(out / EARLIER)
    functions = [*as_taught(model.processor.functions or ()), function]
    data = out / REQUESTS
    if not (data / "train.jsonl").is_file():
        for name, examples in requests_to_add(functions, out / EARLIER, count, seed).items():
            folder = data if name == "train" else data / name
            make_folder(folder)
            write_requests(folder / f"{'train' if name == 'train' else 'test'}.jsonl", examples)
    begun = begin(model, function, read_requests(data, "train"))
    begun.save(out / BEGUN)
    recipe = _recipe(out, begun, function.name, seed, changes)
    run = Adding(recipe, out, console=console, device=device, resume=resume)
    run.kept = kept_of(model)
    report = run.go()
    before = _measured(model, recipe.evaluation[1])
    new, old = (one["acting"] for one in report["evaluations"])
    return {"function": function.name, "new": new, "old": old, "before": before, "folder": str(out)}


def _recipe(out: Path, begun: Model, name: str, seed: int, changes: Sequence[str]) -> RecipeSpec:
    fixed: dict[str, object] = {
        "name": out.name,
        "description": f"An agent that has learned {name}.",
        "seed": seed,
        "model": begun.spec.to_dict(),
        "weights": str(out / BEGUN),
        "tokenizer": {"path": str(out / BEGUN / TOKENIZER)},
        "images": begun.asking.images if begun.spec.bridge is not None else False,
        "stages.0.objective.functions": str(out / BEGUN / FUNCTIONS),
        "stages.0.data.root": str(out / REQUESTS),
        "evaluation.0.root": str(out / REQUESTS / "new"),
        "evaluation.1.root": str(out / REQUESTS / "old"),
    }
    recipe = filled_in(RECIPE, fixed, changes)
    token = begun.require_tokenizer().id_of(_token(len(begun.processor.functions or ()) - 1))
    if recipe.stages[0].lora is not None:  # an adapter, where one is asked for, does not learn the new row by itself
        recipe = filled_in(RECIPE, fixed, [*changes, f"stages.0.lora.tokens=[{token}]"])
    return recipe


def _measured(model: Model, data: DataSpec) -> Figures:
    figures: Figures = measure(model, Settings(data)).figures["acting"]
    return figures


def _token(number: int) -> str:
    """The name of a function's token."""
    return tokens_of(number + 1)[number]


def _known(run: str | Path) -> Sequence[Mapping[str, object]]:
    """What an agent was taught. Raises SpecError where it was taught nothing."""
    folder = folder_of(run)
    if adapters.is_alone(folder):
        raise SpecError(f"{folder}: an adapter alone; merge it first: sepiola.load(…).save(FOLDER)")
    known = read_functions(folder)
    if not known:
        raise SpecError(f"{folder}: was taught no functions; begin with sepiola act train FUNCTIONS.py --out RUN")
    return known


def _requests(
    functions: Sequence[Function], folder: Path, split: str, new: int, old: int, seed: int, rng: random.Random
) -> tuple[list[Example], list[Example]]:
    """Requests that call the last function, and others: as many as asked of those, and at most so many of these."""
    *before, name = (function.name for function in functions)
    make = partial(
        synthesize, described(functions), split, seed=seed, kinds=TO_LEARN if split == "train" else None, about=[name]
    )
    made, calling = list[Example](), list[Example]()
    while len(calling) < new:
        made = make(2 * len(made) or new + new // 3)
        calling = [example for example in made if example.metadata["calls"]]
    quiet = _balanced([example for example in made if not example.metadata["calls"]], old // 4, rng)
    chain = _chain(folder)
    known = [e for place in chain for e in _own(place, split) if e.metadata.get("kind") != "irrelevant"]
    known = known or [e for e in make(2 * old, about=before) if e.metadata["kind"] != "irrelevant"]
    first = {str(entry["name"]) for entry in _known(chain[-1])} if len(chain) > 1 else {*before}
    added = [e for e in known if not first.issuperset(_called(e))]
    left, twice = old - len(quiet), 2 * (len(before) - len(first))
    others = _balanced(added, left * twice // (twice + len(first)), rng)
    others += _balanced([e for e in known if first.issuperset(_called(e))], left - len(others), rng)
    mixed = [*quiet, *others]
    rng.shuffle(mixed)
    return calling[:new], mixed


def _chain(folder: Path) -> list[Path]:
    """An agent's folder, and those of what it was before."""
    return [folder, *(_chain(folder / EARLIER) if (folder / EARLIER).is_dir() else ())]


def _own(folder: Path, split: str) -> list[Example]:
    """The requests of an agent's own: those of its last addition, those that lie with it, or what its recipe reads."""
    data = folder / REQUESTS
    for place in (data / "new", data):
        if (place / f"{split}.jsonl").is_file():
            return read_requests(place, split)
    recipe = read_yaml(folder / "recipe.yaml") if (folder / "recipe.yaml").is_file() else None
    if not isinstance(recipe, dict) or data.is_dir():
        return []
    stages = parse_recipe(recipe, str(folder / "recipe.yaml")).stages
    stage = next((one for one in reversed(stages) if isinstance(one.objective, FunctionCallingSpec)), None)
    if stage is None:
        return []
    return read_spec(stage.data.model_copy(update={"split": split, "count": min(stage.data.count or MOST, MOST)}))


def _called(example: Example) -> list[str]:
    return [str(call["name"]) for call in example.metadata["calls"]]


def _about(example: Example) -> str:
    """The function that a request is about, or the first that it calls."""
    return str(example.metadata.get("function") or next(iter(_called(example)), ""))


def _balanced(examples: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    """So many of the examples at most, each once, functions in turns."""
    groups: dict[str, list[Example]] = {}
    for example in {(e.prompt, e.images): e for e in examples}.values():
        groups.setdefault(_about(example), []).append(example)
    for some in groups.values():
        rng.shuffle(some)
    longest = max(map(len, groups.values()), default=0)
    turns = [some[place] for place in range(longest) for _, some in sorted(groups.items()) if place < len(some)]
    return turns[:count]


def _numbered(examples: Sequence[Example]) -> list[Example]:
    """With ids of their own: one may come several times, and some of one id come from several places."""
    return [dataclasses.replace(e, id=f"{number:06d}-{e.id}") for number, e in enumerate(examples)]


def _repeated(examples: Sequence[Example], count: int) -> list[Example]:
    """So many: each once before any comes again."""
    return [examples[number % len(examples)] for number in range(count)]
