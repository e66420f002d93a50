"""What reinforcement learning pays for. `REWARDS` lists rewards by the name that recipes give."""

from __future__ import annotations

from collections.abc import Mapping

from sepiola.errors import shown
from sepiola.specs.base import nearest
from sepiola.training.rewards.calls import Calls
from sepiola.training.rewards.contract import Reward, RewardSpec, Written
from sepiola.training.rewards.end_state import EndState
from sepiola.training.rewards.exact import Exact
from sepiola.training.rewards.judge import Judge
from sepiola.training.rewards.learned import Learned
from sepiola.training.rewards.rubric import ByRubric

__all__ = ["REWARDS", "Reward", "RewardSpec", "Written", "reward_of", "reward_spec"]

REWARDS: dict[str, type[Reward]] = {
    "exact": Exact,
    "calls": Calls,
    "end-state": EndState,
    "judge": Judge,
    "learned": Learned,
    "rubric": ByRubric,
}


def reward_spec(raw: object) -> RewardSpec:
    """The spec of a reward from its name, or its keys and values. Raises ValueError for one that is none."""
    if isinstance(raw, RewardSpec):
        return raw
    named = {"kind": raw} if isinstance(raw, str) else raw
    if not isinstance(named, Mapping):
        raise ValueError(f"expected a reward's name, or its keys and values; got {shown(raw)}")
    kind = named.get("kind")
    if not isinstance(kind, str) or kind not in REWARDS:
        raise ValueError(f"no reward is named {shown(kind)}; {nearest(str(kind), REWARDS)}")
    return REWARDS[kind].spec.model_validate(named)


def reward_of(spec: RewardSpec) -> Reward:
    """The reward that a spec names."""
    return REWARDS[spec.kind](spec)
