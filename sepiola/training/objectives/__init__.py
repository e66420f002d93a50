"""What a stage may learn by. `OBJECTIVES` lists them by the name that recipes give."""

from __future__ import annotations

from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.objectives.alignment import Alignment
from sepiola.training.objectives.classification import Classification
from sepiola.training.objectives.conditional_logit import ConditionalLogitObjective
from sepiola.training.objectives.contract import Objective, Setting
from sepiola.training.objectives.contrastive import Contrastive
from sepiola.training.objectives.declared_calling import DeclaredCalling
from sepiola.training.objectives.denoising import Denoising
from sepiola.training.objectives.detection import Detection
from sepiola.training.objectives.distillation import Distillation
from sepiola.training.objectives.dpo import DPO
from sepiola.training.objectives.function_calling import FunctionCalling
from sepiola.training.objectives.generate_and_rate import GenerateAndRate
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.objectives.ipo import IPO
from sepiola.training.objectives.kto import KTO
from sepiola.training.objectives.language_modelling import LanguageModelling
from sepiola.training.objectives.linear_reward import LinearRewardObjective
from sepiola.training.objectives.masked import Masked
from sepiola.training.objectives.own_replies import RatesOwnReplies
from sepiola.training.objectives.peer import Peer
from sepiola.training.objectives.ppo import PPO
from sepiola.training.objectives.reward import RewardModelling
from sepiola.training.objectives.rloo import RLOO
from sepiola.training.objectives.self_consistency_training import SelfConsistencyTraining
from sepiola.training.objectives.self_taught import SelfTaught
from sepiola.training.objectives.span_corruption import SpanCorruption
from sepiola.training.objectives.verifier import Verifying

OBJECTIVES: dict[str, type[Objective]] = {
    "language-modelling": LanguageModelling,
    "self-consistency-training": SelfConsistencyTraining,
    "self-taught": SelfTaught,
    "masked": Masked,
    "span-corruption": SpanCorruption,
    "denoising": Denoising,
    "distillation": Distillation,
    "detection": Detection,
    "contrastive": Contrastive,
    "image-text-alignment": Alignment,
    "classification": Classification,
    "entailment": Classification,
    "similarity": Classification,
    "multiple-choice": Classification,
    "conditional-logit": ConditionalLogitObjective,
    "function-calling": FunctionCalling,
    "declared-calling": DeclaredCalling,
    "generate-and-rate": GenerateAndRate,
    "rate-own-replies": RatesOwnReplies,
    "grpo": GRPO,
    "ppo": PPO,
    "rloo": RLOO,
    "reward": RewardModelling,
    "linear-reward": LinearRewardObjective,
    "verifier": Verifying,
    "peer": Peer,
    "dpo": DPO,
    "ipo": IPO,
    "kto": KTO,
}


def objective_specs() -> dict[str, type[ObjectiveSpec]]:
    """The specs that a stage's `objective` may be, by their kinds: what `StageSpec.parse` is given."""
    return {kind: objective.spec for kind, objective in OBJECTIVES.items()}


def objective_of(stage: StageSpec, setting: Setting) -> Objective:
    """The objective that a stage names."""
    return OBJECTIVES[stage.objective.kind](stage, setting)
