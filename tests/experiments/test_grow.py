"""`sepiola act add` and `sepiola act remove`: one more function, and the agent before it bit for bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

import sepiola
from sepiola.acting import phone
from sepiola.acting.phone import android
from sepiola.acting.sets import as_taught, functions_named, taught
from sepiola.calling.calls import lark, tokens_of
from sepiola.calling.constraints import Grammar
from sepiola.checkpoints.store import write_yaml_file
from sepiola.checkpoints.tensors import read_tensors
from sepiola.cli.app import app
from sepiola.data.example import Example, Message
from sepiola.datasets import DataCache, read_spec
from sepiola.datasets.requests import read_requests
from sepiola.errors import SpecError
from sepiola.experiments.agent import train_agent, write_requests
from sepiola.experiments.grow import add_functions, additions, begin, kept_of, remove_function, requests_to_add
from sepiola.experiments.recipe_files import parse_recipe, read_recipe
from sepiola.experiments.stages import Stages
from sepiola.generation.keeping import KeepingEngine
from sepiola.models.build import build
from sepiola.specs.base import read_yaml
from sepiola.specs.model import ModelSpec
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from tests.experiments.test_agent import FILE
from tests.tiny import llama

MORE = '''
import sepiola


@sepiola.function
def start_timer(minutes: int) -> int:
    """Starts a timer.

    Examples:
        tell me when {minutes} minutes are over
        {minutes}分钟后叫我
    """
    return minutes


@sepiola.function
def water_plants(litres: float = 1.0) -> float:
    """Waters the plants."""
    return litres
'''
SMALL = ("stages.0.steps=2", "stages.0.batch=4", "evaluation.0.count=8")
QUICK = (*SMALL, "evaluation.1.count=8", "stages.0.optimizer.learning_rate=0.02")
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent that knows two functions, in `agent`, and one that has learned two more, in `more`."""
    folder = tmp_path_factory.mktemp("grow")
    (folder / "pets.py").write_text(FILE, encoding="utf-8")
    (folder / "more.py").write_text(MORE, encoding="utf-8")
    changes = [*SMALL, "tokenizer.vocabulary=400", "model.language.layers=1"]
    train_agent(str(folder / "pets.py"), folder / "agent", console=QUIET, count=100, changes=changes)
    add_functions(folder / "agent", str(folder / "more.py"), folder / "more", console=QUIET, count=12, changes=QUICK)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_old_stays_and_the_last_to_come_is_taken_away_bit_for_bit(home: Path, tmp_path: Path) -> None:
    """Weights, tokenizer, functions: the files of the agent, whichever addition is undone."""
    more = home / "more"
    assert additions(more) == ["water_plants", "start_timer"]
    old, new = (json.loads((home / name / "checkpoint" / "functions.json").read_text()) for name in ("agent", "more"))
    assert new[:2] == old and [entry["name"] for entry in new[2:]] == ["start_timer", "water_plants"]
    tokenizers = [sepiola.load(home / name).tokenizer for name in ("agent", "more")]
    assert tokenizers[0] is not None and tokenizers[1] is not None
    names = [tokenizers[0].name_of(number) for number in range(tokenizers[0].vocabulary)]
    assert [tokenizers[1].name_of(number) for number in range(len(names) + 2)] == [*names, "<fn_2>", "<fn_3>"]
    assert remove_function(more, "water_plants", tmp_path / "three") == ["feed_pet", "play_song", "start_timer"]
    assert files(tmp_path / "three" / "checkpoint") == files(more / "earlier" / "checkpoint")
    assert remove_function(tmp_path / "three", "start_timer", tmp_path / "two") == ["feed_pet", "play_song"]
    assert files(tmp_path / "two" / "checkpoint") == files(home / "agent" / "checkpoint")
    with pytest.raises(SpecError, match="holds files already"):
        remove_function(more, "water_plants", tmp_path / "two")


def test_an_adapter_may_learn_in_place_of_all_weights(home: Path, tmp_path: Path) -> None:
    """Then an addition changes low rank and its own row alone."""
    changes = [*QUICK, "stages.0.lora={rank: 4, alpha: 8}", "stages.0.optimizer.kind=adamw"]
    add_functions(
        home / "agent", str(home / "more.py"), tmp_path / "out", console=QUIET, only=["start_timer"], count=12,
        changes=changes,
    )  # fmt: skip
    before, after = (
        read_tensors(folder / "checkpoint" / "model.safetensors") for folder in (home / "agent", tmp_path / "out")
    )
    rows = len(before["language.embedding.weight"])
    assert torch.equal(after["language.embedding.weight"][:rows], before["language.embedding.weight"])
    assert len(after["language.embedding.weight"]) == rows + 1
    moved = [
        name for name in before if name != "language.embedding.weight" and not torch.equal(before[name], after[name])
    ]
    assert moved and all(name.startswith("language.") and before[name].dim() == 2 for name in moved)
    assert torch.linalg.matrix_rank(after[moved[0]] - before[moved[0]], rtol=1e-3) <= 3 * 4


def test_before_the_first_step_the_old_outputs_are_those_of_before(home: Path) -> None:
    """Bit for bit, but for the new token's own logit, whose row is the mean of its description's."""
    earlier = sepiola.load(home / "agent")
    function = functions_named(home / "more.py")[0]
    begun = begin(earlier, function)
    prompt, target = torch.arange(3, 33)[None], torch.arange(40, 52)[None]
    with torch.no_grad():
        for network in (earlier.network, begun.network):
            network.eval()
        old, new = (network(prompt, target) for network in (earlier.network, begun.network))
    assert begun.tokenizer is not None
    token = begun.tokenizer.id_of("<fn_2>")
    assert token == old.shape[-1] == new.shape[-1] - 1
    assert torch.equal(new[..., :token], old)
    said = begun.tokenizer.encode("start timer Starts a timer.")
    rows = begun.network.state_dict()["language.embedding.weight"]
    assert torch.equal(rows[token], rows[said].mean(0))
    grammar = lark(as_taught(earlier.processor.functions or ()))
    asked = [Example("request", (Message("user", (text,)),), "") for text in ("feed the cat", "播放一首歌")]
    texts = [
        model.example_generator(40).write(asked, grammar=model.vocabulary.compiled("lark", grammar))
        for model in (earlier, begun)
    ]
    assert texts[0] == texts[1]


def test_it_is_used_and_added_to_as_any_other(home: Path, tmp_path: Path) -> None:
    ask = ["act", "start a timer for 5 minutes", "--model", str(home / "more"), "--json"]
    given = [part for name in ("pets.py", "more.py") for part in ("--functions", str(home / name))]
    said = CliRunner().invoke(app, [*ask, *given], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    names = {"feed_pet", "play_song", "start_timer", "water_plants"}
    assert {call["name"] for call in json.loads(said.stdout)["calls"]} <= names
    out = tmp_path / "again"
    arguments = [
        "act",
        "add",
        str(home / "more"),
        "android",
        "--only",
        "toggle_flashlight",
        "--out",
        str(out),
        "--json",
    ]
    arguments += ["--count", "12", *(part for one in QUICK for part in ("--set", one))]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    added = json.loads(done.stdout)["added"][0]
    assert added["function"] == "toggle_flashlight" and added["new"]["exact"]["count"] == 8
    assert added["old"]["exact"]["count"] == added["before"]["exact"]["count"]
    removed = CliRunner().invoke(app, ["act", "remove", str(out), "toggle_flashlight", "--out", str(tmp_path / "less")])
    assert removed.exit_code == 0 and files(tmp_path / "less" / "checkpoint") == files(home / "more" / "checkpoint")


def test_with_one_token_more_it_leaves_for_the_hub_and_comes_back(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["feed the cat, water the plants"] * 9, 300, extra=tokens_of(10))
    spec = ModelSpec.parse({"family": "llama", "language": {**llama(tokenizer.vocabulary), "family": "llama"}})
    processor = dataclasses.replace(Processor.of(spec, tokenizer), functions=taught(phone.functions()))
    grown = begin(sepiola.Model(build(spec), spec, processor), android.functions()[0])
    grown.save_hub(tmp_path)
    back = sepiola.load(tmp_path)
    assert tokenizer.id_of("<fn_10>") is None and back.tokenizer is not None
    assert back.tokenizer.id_of("<fn_10>") == tokenizer.vocabulary == back.spec.language.vocabulary - 1
    assert [entry["name"] for entry in back.processor.functions or ()][-2:] == ["animal_care", "take_a_photo"]
    assert back.processor.functions == grown.processor.functions
    tokens = torch.arange(3, 23)[None]
    assert torch.equal(back.network(tokens), grown.network(tokens))


def test_requests_call_the_new_function_and_replay_the_old_ones(home: Path) -> None:
    functions = [*functions_named(home / "pets.py"), functions_named(home / "more.py")[0]]
    made = requests_to_add(functions, home / "agent", 20, seed=0, replayed=120)
    calling = [e for e in made["train"] if "start_timer" in called(e)]
    assert len({e.prompt for e in calling}) == 20 and len(calling) == 60
    assert any(e.metadata["calls"][0]["name"] != "start_timer" for e in calling)
    old = [e for e in made["train"] if e not in calling and e.metadata["calls"]]
    for split, some in (("train", old), ("test", [e for e in made["old"] if e.metadata["calls"]])):
        kept = {e.prompt for e in read_requests(home / "agent" / "requests", split)}
        assert len(some) > 40 and all(e.prompt in kept for e in some)
        counts = [sum(e.metadata["function"] == name for e in some) for name in ("feed_pet", "play_song")]
        assert max(counts) - min(counts) < 0.3 * len(some)
    assert any(e.metadata["kind"] == "irrelevant" for e in made["train"])
    assert all("start_timer" in called(e) for e in made["new"])
    assert not {e.prompt for e in made["train"]} & {e.prompt for name in ("new", "old") for e in made[name]}
    assert len({e.id for e in made["train"]}) == len(made["train"]) == 180
    nothing_there = requests_to_add(functions, home, 20, seed=0, replayed=120)
    assert {name for e in nothing_there["train"] for name in called(e)} == {f.name for f in functions}


def test_what_was_added_before_is_replayed_twice_as_often_as_one_of_the_first(home: Path) -> None:
    """One added function beside two: half of what is replayed, and no more of a single one among many."""
    functions = [f for name in ("pets.py", "more.py") for f in functions_named(home / name)]
    made = requests_to_add(functions, home / "more" / "earlier", 20, seed=0, replayed=24)
    replayed = {e.prompt: called(e) for e in made["train"] if called(e) and "water_plants" not in called(e)}
    added = sum("start_timer" in names for names in replayed.values())
    assert 9 <= added <= 10 and len(replayed) - added >= 8


def test_where_nothing_added_is_called_the_first_agent_writes(home: Path) -> None:
    """However many were added: its weights are kept, bit for bit, and so are its replies. (A copy that has learned for
    two steps is hardly sure of anything.)
    """
    agent, grown = sepiola.load(home / "agent"), sepiola.load(home / "more")
    assert isinstance(grown.engine, KeepingEngine)
    grown.engine.sure = 0.0
    assert grown.kept is not None and grown.kept.kept is None
    assert all(torch.equal(grown.kept.state_dict()[name], value) for name, value in agent.state_dict().items())
    asked = [e for e in read_requests(home / "agent" / "requests", "test") if e.metadata["kind"] != "several"][:40]
    ours, theirs = (
        [text for (text,) in model.example_generator(40).write(asked, grammar=grammar_for(model))]
        for model in (grown, agent)
    )
    adapted = sepiola.api.Model(grown.network, grown.spec, grown.processor, grown.answering)
    alone = [text for (text,) in adapted.example_generator(40).write(asked, grammar=grammar_for(adapted))]
    new = ["<fn_2>" in text or "<fn_3>" in text for text in alone]
    assert ours == [a if added else b for a, b, added in zip(alone, theirs, new, strict=True)]
    assert alone != theirs and not all(new)


def test_what_is_trained_from_it_is_one_model(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = parse_recipe(read_yaml(home / "more" / "recipe.yaml"), "recipe")
    recipe = recipe.model_copy(update={"weights": str(home / "more")})
    begun = Stages(recipe, tmp_path, DataCache(), "cpu").begun(recipe.stages[0])
    assert "more keeps what it was before functions were added" in caplog.text
    for name, value in sepiola.load(home / "more").network.state_dict().items():
        assert torch.equal(begun.state_dict()[name], value)


def test_what_is_kept_has_no_rows_for_what_is_added() -> None:
    """A model with more rows than its tokenizer has tokens; its logits of these stay."""
    tokenizer = Tokenizer.train(["feed the cat, water the plants"] * 9, 300, extra=tokens_of(10))
    spec = ModelSpec.parse({"family": "llama", "language": {**llama(tokenizer.vocabulary + 9), "family": "llama"}})
    model = sepiola.Model(build(spec), spec, tokenizer)
    kept, tokens = kept_of(model), torch.arange(3, 23)[None]
    assert kept.spec.language is not None and kept.spec.language.vocabulary == tokenizer.vocabulary
    assert torch.equal(kept.network(tokens), model.network(tokens)[..., : tokenizer.vocabulary])
    assert kept_of(kept) is kept


def grammar_for(model: sepiola.Model) -> Grammar:
    return model.vocabulary.compiled("lark", lark(as_taught(model.processor.functions or ())))


def test_what_an_earlier_recipe_reads_is_replayed_with_its_pictures(tmp_path: Path) -> None:
    """Of an agent of the road, whose requests are Tidepool's."""
    recipe = read_recipe("octopus-v3/phone", ["stages.3.data.count=60", "evaluation.0.count=60"])
    write_yaml_file(tmp_path / "recipe.yaml", recipe.to_dict())
    functions = [*phone.functions(), android.functions()[9]]
    made = requests_to_add(functions, tmp_path, 10, seed=0, replayed=40)
    ours = read_spec(recipe.stages[3].data)
    assert sum(e.prompt in {one.prompt for one in ours} for e in made["train"]) >= 20
    write_requests(tmp_path / "requests" / "train.jsonl", made["train"])
    back = read_requests(tmp_path / "requests", "train")
    assert [e.prompt for e in back] == [e.prompt for e in made["train"]]
    assert [[i.digest for i in e.images] for e in back] == [[i.digest for i in e.images] for e in made["train"]]
    assert any(e.images for e in back)


def called(example: Example) -> set[str]:
    return {call["name"] for call in example.metadata["calls"]}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("start_timer", "others were learned after it: remove them first, water_plants"),
        ("feed_pet", "taught from the beginning; what can be removed is water_plants"),
        ("water_plant", "knows no function 'water_plant'; did you mean 'water_plants'"),
    ],
)
def test_what_cannot_be_removed_is_refused_by_name(home: Path, name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=said):
        remove_function(home / "more", name, tmp_path / "out")
    with pytest.raises(SpecError, match="nothing was added"):
        remove_function(home / "agent", "feed_pet", tmp_path / "out")


def test_what_cannot_be_added_is_refused_by_name(home: Path, tmp_path: Path) -> None:
    changed = tmp_path / "pets.py"
    changed.write_text(FILE.replace("le=500", "le=900"), encoding="utf-8")
    agent = tmp_path / "agent"
    shutil.copytree(home / "agent", agent)
    for out, said in ((agent, "holds files already"), (agent / "new", "lies in the agent")):
        with pytest.raises(SpecError, match=said):
            add_functions(agent, str(home / "more.py"), out, console=QUIET)
    assert files(agent) == files(home / "agent")
    for source, only, said in (
        (home / "pets.py", (), "knows these functions already: feed_pet, play_song"),
        (changed, (), "feed_pet: the agent knows it by another signature"),
        (home / "pets.py", ("feed_pet",), "feed_pet: the agent knows it already"),
        (home / "more.py", ("timer",), "--only: no function is named 'timer'"),
    ):
        with pytest.raises(SpecError, match=said):
            add_functions(home / "agent", str(source), tmp_path / "out", console=QUIET, only=only)
    plain = tmp_path / "plain"
    shutil.copytree(home / "agent" / "checkpoint", plain)
    (plain / "functions.json").unlink()
    with pytest.raises(SpecError, match="was taught no functions; begin with sepiola act train"):
        add_functions(plain, str(home / "more.py"), tmp_path / "out", console=QUIET)
    assert not (tmp_path / "out").exists()
