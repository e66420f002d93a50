"""One kill of each kind of work, two processes at one run, and the comparison that must see what is not the same."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from sepiola.training import state
from tests.kills.contents import contents, difference
from tests.kills.kinds import KINDS
from tests.kills.process import SIGNALS, draw
from tests.kills.trials import Measured


@pytest.mark.parametrize("kind", KINDS)
def test_killed_work_ends_as_if_it_never_had_been(kind: str, tmp_path: Path) -> None:
    measured = Measured(KINDS[kind], tmp_path / kind)
    moment = draw(measured.times, random.Random(kind))
    assert measured.trial(kind, random.Random(0), (moment,)).fault is None
    if kind == "training":
        assert measured.race(again=False).fault is None


def test_moments_are_drawn_at_the_changes_and_between_them() -> None:
    times = [0.0, 0.1, 0.1, 4.1]
    moments = [draw(times, random.Random(seed)) for seed in range(400)]
    assert {m.change for m in moments if not m.delay} >= {1, 2, 3, 4} and {m.signal for m in moments} == set(SIGNALS)
    late = [times[m.change - 1] + m.delay for m in moments if m.delay]
    assert 120 < len(late) < 280 and min(late) >= 0 and max(late) <= 4.1
    assert sum(when > 2 for when in late) > 60, "where the work takes its time, kills come"


def test_a_difference_is_seen_and_a_time_is_none(tmp_path: Path) -> None:
    def folder(name: str, loss: float, seconds: float, weight: float) -> dict[str, str]:
        place = tmp_path / name
        (place / "tensorboard").mkdir(parents=True)
        (place / "tensorboard" / name).touch()
        (place / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": loss, "seconds": seconds}) + "\n")
        progress = {"step": 1, "seconds": seconds, "window": {"seconds": seconds}}
        state.save({"model": {"a": torch.tensor([weight])}, "progress": progress}, place / "state.pt")
        return contents(place)

    first = folder("a", 0.5, 1.0, 2.0)
    assert difference(first, folder("b", 0.5, 9.0, 2.0)) is None
    assert difference(first, folder("c", 0.6, 1.0, 2.0)) == "metrics.jsonl differs"
    assert difference(first, folder("d", 0.5, 1.0, 2.5)) == "state.pt differs"
    (tmp_path / "b" / f".{'0' * 16}.saving").mkdir()
    assert difference(first, contents(tmp_path / "b")) == f".{'0' * 16}.saving is left over"
    assert difference(first, contents(tmp_path / "b", unfinished=False)) is None
    (tmp_path / "b" / "state.pt").unlink()
    assert difference(first, contents(tmp_path / "b", unfinished=False)) == "state.pt is missing"


def test_a_mix_of_two_saves_is_seen(tmp_path: Path) -> None:
    work = KINDS["saving"](tmp_path / "saving")
    work.begin()
    assert work.fault() is None
    (work.target / "spec.yaml").write_bytes((work.source / "expected" / "spec.yaml").read_bytes())
    assert str(work.fault()).startswith("what is left does not load")
    work.begin()
    (work.target / "strategy.yaml").unlink()
    assert str(work.fault()).startswith("what is left is neither the old (strategy.yaml is missing) nor the new (")
