"""Runs of reinforcement that are killed again and again end as those that are not."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from sepiola.data.metrics_log import MetricsLog
from sepiola.training.rollouts import Rollouts
from sepiola.training.trainer import Trainer
from tests.training.test_rollouts import resumable

PLACES = {
    "in a rollout": (Rollouts, "_rewards"),
    "in a loss": (Trainer, "_gradients"),
    "between gradient and update": (Trainer, "_clip"),
    "before a state is written": (Trainer, "_save"),
    "while a state is written": (torch, "save"),
    "before the figures are written": (MetricsLog, "write"),
}


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_ten_kills_at_random_points_change_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resumable(name, tmp_path / "whole")
    whole.run()
    random, kills = Random(7), 0
    while True:
        resumed = resumable(name, tmp_path / "cut")
        if kills == 10:
            resumed.run(resume=True)
            break
        where, left = random.choice([*PLACES]), random.randint(1, 3)
        owner, method = PLACES[where]
        real = getattr(owner, method)

        def killed(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
            patched.setattr(owner, method, killed)
            resumed.run(resume=True)
        kills += left <= 0
        if resumed.at.step == 9 and left > 0:  # it was over before
            shutil.rmtree(tmp_path / "cut")
    assert resumed.at.step == 9
    for name_, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name_]), name_
