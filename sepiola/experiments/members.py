"""Runs of ensembles: the members of one recipe, each trained on a draw of the data, and what joins their answers.

A member's stages lie beside those of all other runs of the folder, named by what went into them: arms of a comparison
share members as they share stages, and a run that was stopped goes on with the member that it was at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sepiola.api import Model
from sepiola.data.example import Example
from sepiola.data.files import write_text
from sepiola.data.folds import bootstrap, group_of, weighted_draw
from sepiola.errors import TrainingError
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import accuracy
from sepiola.experiments.recipe_files import member_recipes, student_recipe
from sepiola.experiments.recipe_text import digest
from sepiola.experiments.run import Run
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.boosting import samme_round
from sepiola.reasoning.ensembles import StrategyScorer
from sepiola.reasoning.stacking import Scores, fit_stacked, out_of_fold
from sepiola.specs.data import DataSpec
from sepiola.specs.ensemble import (
    BaggingSpec,
    BoostingSpec,
    CombiningSpec,
    EnsembleSpec,
    MeanSpec,
    StackedSpec,
    StackingSpec,
    VotesSpec,
)
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.objectives import Objective
from sepiola.training.progress import say

SEED_STEP = 1000  # between the seeds of members
TEACHER = "teacher"  # where the ensemble lies that a distilled model learned from


@dataclass(frozen=True)
class Draw:
    """What of a stage's data a member trains on; `identity` tells it from other draws."""

    identity: Sequence[object]
    of: Callable[[list[Example]], list[Example]]


class Member(Run):
    """One member: the stages of `own` learn from what `draw` leaves of their data, from the member's own seed; the
    others are those of `base`.
    """

    def __init__(self, base: Run, own: Collection[str], seed: int, draw: Draw | None) -> None:
        recipe = base.recipe.model_copy(update={"seed": seed})
        super().__init__(
            recipe, base.folder, console=base.console, shared=base.shared, data=base.data, device=base.device
        )
        self.base = base
        self.own = own
        self.draw = draw

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The one of the whole data, which all members have."""
        return self.base.tokenizer

    def objective(self, stage: StageSpec) -> Objective:
        return super().objective(stage) if stage.name in self.own else self.base.objective(stage)

    def key(self, stage: StageSpec) -> str:
        if stage.name not in self.own:
            return self.base.key(stage)
        return super().key(stage) if self.draw is None else digest([super().key(stage), *self.draw.identity])

    def read(self, data: DataSpec) -> list[Example]:
        examples = super().read(data)
        drawn = self.draw is not None and any(s.data == data for s in self.recipe.stages if s.name in self.own)
        return self.draw.of(examples) if self.draw is not None and drawn else examples

    def train(self, stage: StageSpec) -> None:
        return super().train(stage) if stage.name in self.own else self.base.train(stage)


class EnsembleRun(Run):
    """A recipe's ensemble in one folder."""

    @cached_property
    def ensemble(self) -> EnsembleSpec:
        """What the recipe says of it."""
        assert self.recipe.ensemble is not None
        return self.recipe.ensemble

    @cached_property
    def answering(self) -> StageSpec:
        """The stage by which every member answers."""
        assert self.recipe.strategy is not None
        return self.stages[str(self.recipe.strategy.answer)]

    @cached_property
    def recipes(self) -> list[RecipeSpec]:
        """Each member's recipe."""
        return member_recipes(self.recipe)

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics of what was trained so far, a text a stage."""
        return []

    @cached_property
    def seen(self) -> set[str]:
        """The stages whose metrics are among them."""
        return set()

    def digests(self) -> dict[str, str]:
        """With the questions that the ensemble answers for the model that it is distilled into."""
        distilled = self.ensemble.distilled
        if distilled is None or distilled.questions is None:
            return super().digests()
        return super().digests() | {"ensemble.distilled: questions": self.data.digest(distilled.questions)}

    def learn(self) -> tuple[Model, list[str]]:
        members, combining = ENSEMBLES[self.ensemble.kind](self)
        model = Model.joined([member.model() for member in members], combining)
        if self.ensemble.distilled:
            model.save(self.folder / TEACHER)
            say(self.console, f"the ensemble of {len(members)} is saved in {self.folder / TEACHER}; distilling it")
            model = self.trained_member("distilled", self.student())
        return model, self.metrics

    def about(self, model: Model) -> Figures:
        """How each member does alone, and in how many questions two of them differ: what an ensemble can gain."""
        if model.ensemble is None or not self.recipe.evaluation:
            return {}
        examples = [e for e in self.data.read(self.recipe.evaluation[0]) if _closed(e)]
        answers = [member.strategy(score=True).answer(examples) for member in model.ensemble.members]
        pairs = [(a, b) for n, a in enumerate(answers) for b in answers[n + 1 :]]
        differ = [x.choice != y.choice for a, b in pairs for x, y in zip(a, b, strict=True)]
        about = {
            "kind": self.ensemble.kind,
            "members": [accuracy(examples, own).accuracy for own in answers] if examples else [],
            "differ": sum(differ) / len(differ) if differ else None,
            "combining": model.ensemble.combining.by.to_dict(),
        }
        return {"ensemble": about}

    @cached_property
    def asked(self) -> list[Example]:
        """The training questions that members answer: those with several options and a known answer."""
        examples = [e for e in super().read(self.answering.data) if _closed(e)]
        if not examples:
            raise TrainingError(
                f"ensemble: no question of {self.answering.data.reader} ({self.answering.data.split}) has several "
                f"options and a known answer, which {self.ensemble.kind} needs"
            )
        return examples

    def member(self, number: int, draw: Draw | None = None) -> Member:
        """The member of this number, on a draw of the data."""
        recipe = self.recipes[number]
        base = Run(recipe, self.folder, console=self.console, shared=self.shared, data=self.data, device=self.device)
        own = {stage.name for stage in recipe.stages} - {*self.ensemble.shared}
        return Member(base, own, self.recipe.seed + SEED_STEP * number, draw)

    def trained_member(self, name: str, member: Run) -> Model:
        """The member's model, trained if it is not. Its metrics go into the run's, under the member's name."""
        say(self.console, f"{name}:")
        model, lines = member.learn()
        for stage, text in zip(filter(member.runs, member.recipe.stages), lines, strict=True):
            if (key := member.key(stage)) not in self.seen:
                self.seen.add(key)
                shared = stage.name in self.ensemble.shared
                label = stage.name if shared else f"{stage.name}, {name}"
                rows = [json.loads(line) for line in text.splitlines()]
                self.metrics.append("".join(json.dumps({**row, "stage": label}) + "\n" for row in rows))
        return model

    def student(self) -> Run:
        """The recipe with the ensemble for its teacher."""
        recipe = student_recipe(self.recipe, str(self.folder / TEACHER))
        return Run(recipe, self.folder, console=self.console, shared=self.shared, data=self.data, device=self.device)

    def check_out_of_fold(self) -> None:
        """Raises TrainingError where a shared stage has read what members are asked out of fold."""
        asked = {group_of(example) for example in self.asked}
        for name in self.ensemble.shared:
            known = asked & {group_of(example) for example in super().read(self.stages[name].data)}
            if known and self.runs(self.stages[name]):
                raise TrainingError(
                    f"ensemble.shared: stage '{name}' reads {len(known)} of the {len(asked)} groups of questions that "
                    "members answer out of fold, so no answer would be: give it other data (another split), or do not "
                    "share it"
                )


def _closed(example: Example) -> bool:
    question = example.question
    return question is not None and question.answer is not None and len(question.choices) > 1


def bagging(run: EnsembleRun) -> tuple[list[Member], CombiningSpec]:
    """Each member on a bootstrap of its own."""
    spec = run.ensemble
    assert isinstance(spec, BaggingSpec)

    def draw(seed: int) -> Draw | None:
        return Draw(("bootstrap", seed), lambda examples: bootstrap(examples, seed)) if spec.bootstrap else None

    members = [run.member(n, draw(run.recipe.seed + SEED_STEP * n)) for n in range(spec.members)]
    for number, member in enumerate(members):
        run.trained_member(f"member {number}", member)
    return members, CombiningSpec(members=len(members), by=MeanSpec(kind="mean"))


def boosting(run: EnsembleRun) -> tuple[list[Member], CombiningSpec]:
    """Each member on what those before it got wrong. Raises TrainingError when the first is no better than chance."""
    spec = run.ensemble
    assert isinstance(spec, BoostingSpec)
    examples = run.asked
    options = [len(e.question.choices) if e.question else 0 for e in examples]
    weights = (1 / len(examples),) * len(examples)
    members: list[Member] = []
    alphas: list[dict[int, float]] = []
    for number in range(spec.members):
        member = run.member(number, _weighted(examples, weights, run.recipe.seed + number) if number else None)
        model = run.trained_member(f"member {number}", member)
        answers = _answers(run, member, model, examples)
        right = [
            e.question is not None and choice == e.question.answer for e, choice in zip(examples, answers, strict=True)
        ]
        earned = samme_round(weights, options, right)
        if not earned.alphas:
            say(run.console, f"member {number}: no better than chance on its weights; boosting ends before it")
            break
        members.append(member)
        alphas.append(dict(earned.alphas))
        say(run.console, f"member {number}: " + ", ".join(f"α {a:.2f} of {k} options" for k, a in alphas[-1].items()))
        if earned.perfect:
            say(run.console, f"member {number}: everything right; boosting ends with it")
            break
        weights = earned.weights
    if not members:
        raise TrainingError("ensemble: the first member is no better than chance on its own training questions")
    return members, CombiningSpec(members=len(members), by=VotesSpec(kind="votes", alphas=tuple(alphas)))


def _weighted(examples: Sequence[Example], weights: Sequence[float], seed: int) -> Draw:
    """Data drawn by the weights of their questions; what has none keeps the mean weight."""
    by_id: Mapping[str, float] = dict(zip((e.id for e in examples), weights, strict=True))

    def of(whole: list[Example]) -> list[Example]:
        return weighted_draw(whole, [by_id.get(e.id, 1 / len(by_id)) for e in whole], seed)

    return Draw(("weights", seed, digest([by_id])), of)


def _answers(run: EnsembleRun, member: Member, model: Model, examples: Sequence[Example]) -> list[int | None]:
    """What a member chooses for training questions, kept for a run that goes on."""
    key = digest([member.key(run.answering), [example.id for example in examples]])
    path = run.folder / "members" / f"choices-{key}.json"
    if not path.is_file():
        chosen: Sequence[Answer] = model.strategy(score=True).answer(examples)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps([answer.choice for answer in chosen]))
    choices: list[int | None] = json.loads(path.read_text(encoding="utf-8"))
    return choices


def stacking(run: EnsembleRun) -> tuple[list[Member], CombiningSpec]:
    """Members on all data, joined by weights that are fitted to what their likes answered out of fold."""
    spec = run.ensemble
    assert isinstance(spec, StackingSpec)
    run.check_out_of_fold()
    examples, groups = run.asked, {group_of(example) for example in run.asked}
    scored: list[list[Scores]] = []
    for number in range(len(spec.members)):

        def train(part: list[Example], number: int = number) -> StrategyScorer:
            left_out = groups - {group_of(example) for example in part}
            draw = Draw(
                ("without", digest([sorted(left_out)])),
                lambda whole: [example for example in whole if group_of(example) not in left_out],
            )
            name = f"member {number} without {len(left_out)} groups of {len(groups)}"
            return StrategyScorer(run.trained_member(name, run.member(number, draw)).strategy(score=True))

        scored.append(out_of_fold(examples, spec.folds, run.recipe.seed, train))
    members = [run.member(number) for number in range(len(spec.members))]
    for number, member in enumerate(members):
        run.trained_member(f"member {number}", member)
    answers = [e.question.answer or 0 for e in examples if e.question is not None]
    fitted = fit_stacked([*zip(*scored, strict=True)], answers, penalty=spec.penalty)
    say(run.console, "weights of the members: " + ", ".join(f"{weight:.2f}" for weight in fitted.weights))
    return members, CombiningSpec(members=len(members), by=StackedSpec(kind="stacked", weights=fitted.weights))


ENSEMBLES: dict[str, Callable[[EnsembleRun], tuple[list[Member], CombiningSpec]]] = {
    "bagging": bagging,
    "boosting": boosting,
    "stacking": stacking,
}
"""How the members of each kind of ensemble are trained, and what joins them."""


def run_of(recipe: RecipeSpec) -> type[Run]:
    """How a recipe runs: as one model, or as an ensemble."""
    return Run if recipe.ensemble is None else EnsembleRun
