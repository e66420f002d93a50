"""The conditional logit: its likelihood, what it learns, saved and asked, with eyes and blind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import sepiola
from sepiola.data.image import ImageRef
from sepiola.datasets import read_spec
from sepiola.errors import DataError, SepiolaError, SpecError
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.models.build import build
from sepiola.models.conditional_logit import ConditionalLogit
from sepiola.models.hashed_linear import laid_out, padded
from sepiola.specs.conditional_logit import ConditionalLogitSpec
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.training.objectives.conditional_logit import OptionsBatches
from sepiola.training.optimizers import optimizer_for
from tests import tiny
from tests.tiny import QUIET, Raw, colour_picture, run_recipe
from tests.trainers import stage_of

CHOICES = ["attract", "repel"]


def recipe(count: int = 60, **changes: object) -> Raw:
    data = {"reader": "tidepool", "count": count, "options": {"size": 64, "families": ["magnets"]}}
    return {
        "name": "choice",
        "model": {"options": {"buckets": 1 << 14, "pictures": {"side": 16}, "texts": [{"buckets": 4096}]}},
        "stages": [
            {
                "name": "options",
                "objective": {"kind": "conditional-logit", "common": 5},
                "data": data,
                "epochs": 3,
                "optimizer": {"kind": "adagrad", "learning_rate": 0.3, "weight_decay": 0, "clip": None},
                "precision": "float32",
            }
        ],
        "strategy": {"kind": "direct", "answer": "options"},
        "evaluation": [{**data, "split": "test", "count": 40}],
        **changes,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_recipe(recipe(60), tmp_path_factory.mktemp("runs") / "choice")


def test_it_learns_by_its_eyes_what_text_cannot_tell(tmp_path: Path) -> None:
    colours = ("red", "blue", "green")
    problems, splits = {}, {"train": [], "test": []}
    for number in range(60):
        answer, split = number % 3, "train" if number < 45 else "test"
        names = [colours[(number // 3 + n) % 3] for n in range(3)]
        colour_picture(names[answer]).open().save(tmp_path / f"{number}.png")
        problems[str(number)] = {
            "question": f"Which colour does flag {number} have?",
            "choices": names,
            "answer": answer,
            "hint": "",
            "image": "image.png",
            "image_file": f"{number}.png",
            "split": split,
            **dict.fromkeys(("lecture", "solution", "task", "grade", "subject", "topic", "category", "skill")),
        }
        splits[split].append(str(number))
    (tmp_path / "problems.json").write_text(json.dumps(problems), encoding="utf-8")
    (tmp_path / "pid_splits.json").write_text(json.dumps(splits), encoding="utf-8")
    data = {"reader": "scienceqa", "root": str(tmp_path)}
    raw = recipe(evaluation=[{**data, "split": "test"}])
    raw["stages"][0]["data"] = data
    folders = {images: tmp_path / f"run-{images}" for images in ("true", "false")}
    for images, folder in folders.items():
        run_recipe(raw, folder, f"images={images}")
    reports = {images: json.loads((f / "report.json").read_text("utf-8")) for images, f in folders.items()}
    assert reports["true"]["accuracy"] == 1.0 and reports["true"]["unparsed"] == 0
    assert reports["false"]["accuracy"] < 0.7


def test_what_is_saved_answers_alike_whatever_the_order_of_options(run: Path) -> None:
    model = sepiola.load(run)
    examples = read_spec(DataSpec.parse(recipe(40)["evaluation"][0]))[:20]
    lines = (run / "answers-tidepool-test.jsonl").read_text(encoding="utf-8").splitlines()
    before = {line["id"]: line["probabilities"] for line in map(json.loads, lines)}
    for example, answer in zip(examples, model.answer(examples), strict=True):
        assert answer.probabilities == pytest.approx(before[example.id], abs=1e-5)
        question = example.question
        assert question is not None and answer.probabilities is not None
        reply = model.ask(question.text, image=example.images, choices=question.choices[::-1], hint=question.hint or "")
        assert reply.probabilities == pytest.approx(answer.probabilities[::-1], abs=1e-4)
        assert reply.confidence == pytest.approx(max(answer.probabilities), abs=1e-4)


def test_its_blind_twin_does_not_look(run: Path) -> None:
    model = sepiola.load(run).blind()
    examples = read_spec(DataSpec.parse(recipe(40)["evaluation"][0]))[:5]
    for example in examples:
        assert example.question is not None
        with pytest.raises(DataError, match="text alone"):
            model.ask(example.question.text, image=example.images, choices=example.question.choices)
        assert model.ask(example.question.text, choices=example.question.choices, hint=example.question.hint or "")


def test_it_writes_nothing_and_asks_for_options(run: Path) -> None:
    model = sepiola.load(run)
    with pytest.raises(SepiolaError, match="chooses among options"):
        model.generate("Hello")
    with pytest.raises(DataError, match="there are none"):
        model.ask("What is a squid?")
    for kind in ("self-consistency", "two-stage", "sample-and-rank"):
        with pytest.raises(SepiolaError, match=f"no {kind} over it"):
            model.ask("Which?", choices=CHOICES, strategy=kind)


def test_the_saved_model_is_saved_again_as_it_was(run: Path, tmp_path: Path) -> None:
    model = sepiola.load(run)
    model.save(tmp_path / "again")
    again = sepiola.load(tmp_path / "again")
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_a_folder_of_long_numbers_is_read_as_it_is(run: Path, tmp_path: Path) -> None:
    short, folder = sepiola.load(run), tmp_path / "long"
    short.save(folder)
    state = load_file(folder / "model.safetensors")
    long = {
        n: v.float() if v.is_floating_point() else v.long() if v.dtype != torch.uint8 else v for n, v in state.items()
    }
    save_file(long, folder / "model.safetensors")
    examples = read_spec(DataSpec.parse(recipe(40)["evaluation"][0]))[:10]
    assert sepiola.load(folder).answer(examples) == short.answer(examples)


def test_the_scores_are_sums_and_their_gradient_is_that_of_the_likelihood() -> None:
    network = ConditionalLogit(ConditionalLogitSpec(buckets=50, pictures=None, texts=()))
    rng = torch.Generator().manual_seed(0)
    network.weight.data = torch.randn(50, generator=rng)
    features = [
        [(torch.randint(50, (n,), generator=rng).numpy(), torch.rand(n, generator=rng).numpy()) for n in lengths]
        for lengths in ((3, 4), (2, 5, 1))
    ]
    scores = network(*laid_out(features))
    flat = [option for question in features for option in question]
    for score, (places, values) in zip(scores, flat, strict=True):
        assert score.item() == pytest.approx(float((network.weight.detach().numpy()[places] * values).sum()), abs=1e-5)
    table = padded(scores, torch.tensor([2, 3]))
    assert table.shape == (2, 3) and table[0, 2] == -torch.inf
    torch.nn.functional.cross_entropy(table, torch.tensor([1, 0]), reduction="sum").backward()
    expected = torch.zeros(50)
    shares = [*table[0, :2].softmax(0).tolist(), *table[1].softmax(0).tolist()]
    for (places, values), share, right in zip(flat, shares, (0, 1, 1, 0, 0), strict=True):
        for place, value in zip(places, values, strict=True):
            expected[place] += value * (share - right)
    assert network.weight.grad is not None
    torch.testing.assert_close(network.weight.grad, expected, atol=1e-5, rtol=1e-4)


def test_a_dry_run_says_what_it_would_do() -> None:
    explained = explain(parse_recipe(recipe(12)), QUIET)
    assert explained["runs"][0]["stages"][0]["samples"] == 12
    assert explained["runs"][0]["parameters"] == {"total": 1 << 14}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokenizer": {"vocabulary": 300}}, "give both or neither"),
        ({"model": {"options": {"texts": [{"by": "states"}]}}}, "give both or neither"),
        ({"model": {"options": {"families": ["colours"]}}}, "families"),
        ({"model": {"options": {}, "vision": {"kind": "vit"}}}, "vision"),
    ],
)
def test_what_does_not_fit_is_refused(changes: Raw, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        parse_recipe(recipe(**changes))


def test_another_objective_and_decay_are_refused() -> None:
    raw = recipe()
    raw["stages"][0]["objective"] = {"kind": "language-modelling", "format": "QCM-A"}
    with pytest.raises(SpecError, match="conditional-logit teaches"):
        parse_recipe(raw)
    raw = recipe()
    del raw["stages"][0]["optimizer"]["weight_decay"]
    with pytest.raises(SpecError, match="set weight_decay: 0"):
        parse_recipe(raw)


def test_adagrad_divides_by_the_root_of_all_squared_gradients() -> None:
    weight = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.ones_(weight.weight)
    optimizer = optimizer_for(
        weight, stage_of(steps=1, optimizer={"kind": "adagrad", "learning_rate": 0.5, "weight_decay": 0})
    )
    expected, squares = torch.ones(1, 2), torch.full((1, 2), 1e-6)
    for gradient in (torch.tensor([[3.0, 0.0]]), torch.tensor([[4.0, -0.5]])):
        weight.weight.grad = gradient.clone()
        optimizer.step()
        squares += gradient**2
        expected -= 0.5 * gradient / squares.sqrt()
    torch.testing.assert_close(weight.weight.detach(), expected, atol=1e-5, rtol=1e-5)


def test_a_model_of_options_alone_is_a_spec() -> None:
    spec = ModelSpec.parse({"options": {}})
    assert spec.sees and spec.writes_no_text
    assert not ModelSpec.parse({"options": {"pictures": None}}).sees


def test_pictures_of_any_kind_are_taken(run: Path) -> None:
    example = next(e for e in read_spec(DataSpec.parse(recipe(40)["evaluation"][0])) if e.images)
    assert example.question is not None
    picture = example.images[0].open()
    same = [
        sepiola.load(run).ask(example.question.text, image=image, choices=example.question.choices)
        for image in (picture, ImageRef.of(picture))
    ]
    assert same[0].probabilities == same[1].probabilities


def test_texts_may_be_compared_by_an_encoder_that_stays_as_it_is(tmp_path: Path) -> None:
    language = {**tiny.encoder(300), "head": {"kind": "none"}}
    options = {"buckets": 1 << 12, "pictures": None, "texts": [{"by": "states", "question_power": 8}]}
    raw = recipe(30, model={"language": language, "options": options}, tokenizer={"vocabulary": 300})
    explain(parse_recipe(raw), QUIET)
    folder = run_recipe(raw, tmp_path / "states")
    model = sepiola.load(folder)
    fresh = build(model.spec.model_copy(update={"options": None}), seed=0)
    for name, value in fresh.state_dict().items():
        found = model.network.language.state_dict()[name]
        assert found.dtype == torch.float32 and torch.equal(value.half().float(), found), name
    vectors = model.network.texts[0].question_vectors
    questions = read_spec(DataSpec.parse(raw["stages"][0]["data"]))
    distinct = {(e.question.text, e.question.hint) for e in questions if e.question}
    assert len(vectors) == len(distinct) < 30, "each text once"
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0] * len(vectors), abs=1e-3)
    stored = load_file(folder / "checkpoint" / "model.safetensors")
    long = {name for name, value in stored.items() if value.dtype == torch.float32}
    assert long == {"weight"}, "all else is stored in half precision"
    again = sepiola.load(folder)
    again.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").stat().st_size == sum(
        f.stat().st_size for f in (folder / "checkpoint").glob("*.safetensors")
    )
    assert sum(model.ask("Attract or repel?", choices=CHOICES).probabilities or ()) == pytest.approx(1.0)


def test_batches_go_on_where_they_stood() -> None:
    rng = torch.Generator().manual_seed(0)
    features = [[(torch.randint(50, (3,), generator=rng).numpy(), torch.rand(3).numpy())] * 2 for _ in range(7)]
    first, second = (
        OptionsBatches([*"abcdefg"], features, [0] * 7, stage_of(epochs=2, batch=2, objective="conditional-logit"), 3)
        for _ in range(2)
    )
    for _ in range(5):
        first.next()
    second.restore(first.state())
    assert first.fingerprint() == second.fingerprint() and first.epoch == second.epoch == 1.25
    for _ in range(6):
        (mine,), (theirs,) = first.next(), second.next()
        assert mine.ids == theirs.ids and torch.equal(mine.target, theirs.target)
