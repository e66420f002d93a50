"""The kinds of work that are killed, each a command that makes a folder, and what it may leave when it is killed.

`KINDS` holds them by name. Everything a kind needs is made once, in its `source`; its target is always the same path.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import sepiola
from sepiola.api import Model
from sepiola.errors import SepiolaError
from sepiola.specs.recipe import AnsweringSpec
from tests.kills.contents import contents, difference
from tests.tiny import byte_model, captioner, encoder_decoder, llama, recipe, tidepool, vision_language

Command = list[str]
PROJECTION = vision_language({"kind": "projection"})
LEARNING: dict[str, Any] = {"batch": 8, "optimizer": {"learning_rate": 1e-3}, "target_tokens": 48}


class Kind(ABC):
    """Work in `home`: `command` makes or goes on with `target`, of which a kill is tried below `watched`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.source = home / "source"
        self.source.mkdir(parents=True)
        self.target = home / "target"
        self.make()

    @abstractmethod
    def make(self) -> None:
        """Writes what the command reads, into `source`."""

    @abstractmethod
    def command(self, *, again: bool) -> Command:
        """The arguments of Python; `again` after a kill."""

    @property
    def watched(self) -> Path:
        """Where the changes are counted at which a kill may come."""
        return self.target

    def begin(self) -> None:
        """Puts the target as it is before the command."""
        shutil.rmtree(self.target, ignore_errors=True)

    def fault(self) -> str | None:
        """What is wrong with what a killed command has left; looking at it changes nothing."""
        return None


class Training(Kind):
    """Two stages, with dropout, validation and few saves, then an evaluation."""

    def make(self) -> None:
        data = tidepool(32, "objects", "counting")
        held_out = {**data, "split": "val", "count": 6}
        vision = {"name": "vision", "objective": "detection", "learn": ["vision"], "data": data, "steps": 5, **LEARNING}
        answer = {"name": "answer", "start": "vision", "data": data, "objective": {"format": "QCM-A"}, "steps": 7}
        answer |= {"learn": ["language", "bridge"], "validation": held_out, "validate_every": 3, **LEARNING}
        stages = [{**stage, "save_every": 2} for stage in (vision, answer)]
        _write(
            self.source / "recipe.yaml",
            recipe(
                "run",
                {**PROJECTION, "language": {**PROJECTION["language"], "dropout": 0.1}},
                stages,
                strategy={"answer": "answer"},
                evaluation=[{**data, "split": "test", "count": 6}],
            ),
        )

    def command(self, *, again: bool) -> Command:
        train = ["-m", "sepiola", "train", str(self.source / "recipe.yaml"), "--runs", str(self.target)]
        return [*train, "--resume"] if again else train

    @property
    def watched(self) -> Path:
        return self.target / "run"


class Features(Training):
    """One stage that asks a frozen vision encoder for many pictures, of which kills come in the cache alone."""

    def make(self) -> None:
        stage = {"name": "answer", "data": tidepool(72, "objects"), "objective": {"format": "QCM-A"}, **LEARNING}
        stage |= {"learn": ["bridge"], "steps": 9, "save_every": 4}
        _write(self.source / "recipe.yaml", recipe("run", PROJECTION, [stage]))

    @property
    def watched(self) -> Path:
        return self.target / "run" / "features"


class Reinforcing(Training):
    """A policy that was taught a little, reinforced by GRPO and then by PPO, whose completions serve several steps."""

    def make(self) -> None:
        data, common = tidepool(24, "magnets"), {"learn": ["language"], "save_every": 2, **LEARNING}
        taught = {"name": "taught", "data": data, "objective": {"format": "QCM-A"}, "steps": 2, **LEARNING}
        drawn = {"format": "QCM-A", "reward": "exact", "samples": 4, "beta": 0.1, "iterations": 2}
        held_out = {**data, "split": "val", "count": 4}
        stages = [taught]
        for kind, start in (("grpo", "taught"), ("ppo", "grpo")):
            stage = {"name": kind, "start": start, "data": data, "objective": {"kind": kind, **drawn}, "steps": 5}
            stages.append({**stage, **common, "validation": held_out, "validate_every": 3, "target_tokens": 8})
        language = {"language": llama(400, dropout=0.1)}
        _write(self.source / "recipe.yaml", recipe("run", language, stages, strategy={"answer": "ppo"}))


class Curating(Kind):
    """Descriptions of pictures, and their repair by a model."""

    def make(self) -> None:
        captioner(self.source / "model")

    def command(self, *, again: bool) -> Command:
        model = str(self.source / "model")
        options = ["--count", "18", "--option", "task=captions", "--option", "size=64", "--max-tokens", "4"]
        command = ["-m", "sepiola", "curate", "tidepool", "--model", model, "--repair", model, "--shortest", "0"]
        return [*command, *options, "--out", str(self.target)]


class Saving(Kind):
    """A model saved over a two-stage one of another shape: what a kill leaves is one of both, whole."""

    HOW = "save(sys.argv[2])"

    def make(self) -> None:
        old, new = self.models()
        self.write(old, self.source / "old")
        self.write(new, self.source / "expected")
        for name in ("old", "expected"):
            (self.source / name / "README.md").write_text("mine")
        new.save(self.source / "new")

    def models(self) -> tuple[Model, Model]:
        """What is there, and what is saved over it."""
        old, new = byte_model(llama()), byte_model(encoder_decoder())
        old.rationale, old.answering = byte_model(llama(layers=1)), AnsweringSpec()
        return old, new

    def write(self, model: Model, folder: Path) -> None:
        model.save(folder)

    def command(self, *, again: bool) -> Command:
        code = f"import sys, sepiola; sepiola.load(sys.argv[1]).{self.HOW}"
        return ["-c", code, str(self.source / "new"), str(self.target)]

    def begin(self) -> None:
        super().begin()
        shutil.copytree(self.source / "old", self.target)

    def fault(self) -> str | None:
        look = self.home / "look"
        shutil.rmtree(look, ignore_errors=True)
        shutil.copytree(self.target, look)
        try:
            sepiola.load(look)
        except SepiolaError as error:
            return f"what is left does not load: {error}"
        left = contents(look, unfinished=False)
        faults = [difference(contents(self.source / name), left) for name in ("old", "expected")]
        return None if None in faults else f"what is left is neither the old ({faults[0]}) nor the new ({faults[1]})"


class Exporting(Saving):
    """A vision-language model in the Hub's layout, in several shards, over another."""

    HOW = "save_hub(sys.argv[2], max_shard=1_000_000)"

    def models(self) -> tuple[Model, Model]:
        return sepiola.build("llava-tiny", seed=1), sepiola.build("smolvlm-tiny", seed=2)

    def write(self, model: Model, folder: Path) -> None:
        model.save_hub(folder, max_shard=1_000_000)


def _write(path: Path, raw: Any) -> None:
    path.write_text(json.dumps(raw), encoding="utf-8")


KINDS: dict[str, type[Kind]] = {
    "training": Training,
    "features": Features,
    "reinforcing": Reinforcing,
    "curating": Curating,
    "saving": Saving,
    "exporting": Exporting,
}
