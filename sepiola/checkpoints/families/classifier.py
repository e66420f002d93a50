"""A classifier in the Hub's layout: `…ForSequenceClassification` of GPT-1, GPT-2, OPT, LLaMA and its heirs.

Its `score` is our layer. It reads one sequence, so classification and entailment have a place there, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.family import Family
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.errors import CheckpointError
from sepiola.models.classifier import CLASSIFIER
from sepiola.specs.classifier import ClassifierSpec
from sepiola.specs.model import ModelSpec

FAMILIES = ("openai-gpt", "gpt2", "opt", "llama", "mistral", "mixtral", "qwen2", "qwen3")
KINDS = ("classification", "entailment")
HEAD = "score.weight"
KEY = "sepiola_classifier"  # the config's key for what `transformers` has no word for
_CLASS = "ForSequenceClassification"
_LANGUAGE = "language."


def has_head(config: Config) -> bool:
    """Whether a Hub config is that of a language model under a head which we read."""
    named = config.get("architectures") or ()
    return config.get("model_type") in FAMILIES and any(str(name).endswith(_CLASS) for name in named)


class ClassifierFamily:
    """A family's classifier: what the family does, and the layer beside."""

    HOLDS_VISION = False

    def __init__(self, family: Family) -> None:
        self.family = family

    def spec_from_config(
        self, config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None
    ) -> ModelSpec:
        """The spec of a Hub checkpoint. Raises CheckpointError for a head with one label."""
        spec = self.family.spec_from_config(config, state, preprocessor=preprocessor)
        return spec.model_copy(update={"classifier": _classifier(config)})

    def config_from_spec(self, spec: ModelSpec) -> JSON:
        """The `config.json` that `transformers` reads. Raises CheckpointError for one without a place there."""
        classifier = spec.classifier
        if classifier is None or classifier.kind not in KINDS or spec.family not in FAMILIES:
            raise CheckpointError(
                f"the Hub's layout holds {' and '.join(KINDS)} on {', '.join(FAMILIES)}; this one is of "
                f"{classifier.kind if classifier else 'none'}, on '{spec.family}': "
                "save it with save(), in our own layout"
            )
        config = self.family.config_from_spec(spec)
        (language,) = config["architectures"]
        return {
            **config,
            "architectures": [language.replace("LMHeadModel", _CLASS).replace("ForCausalLM", _CLASS)],
            "id2label": dict(enumerate(classifier.labels)),
            "label2id": {label: number for number, label in enumerate(classifier.labels)},
            KEY: classifier.to_dict(),
        }

    def processor_from_spec(self, spec: ModelSpec) -> JSON | None:
        """None: a language model alone needs no processor."""
        return None

    def to_ours(self, state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
        """Our state dict from a Hub one."""
        language = self.family.to_ours(renamed(state, lambda name: None if name == HEAD else name), spec)
        head = renamed(state, lambda name: CLASSIFIER if name == HEAD else None)
        return LazyTensors({**later(renamed(language, lambda name: f"{_LANGUAGE}{name}")), **later(head)})

    def to_hub(self, state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
        """The Hub's state dict from ours."""
        language = {n.removeprefix(_LANGUAGE): tensor for n, tensor in state.items() if n != CLASSIFIER}
        return {**self.family.to_hub(language, spec), HEAD: state[CLASSIFIER]}


def _classifier(config: Config) -> ClassifierSpec:
    if config.get(KEY):
        return ClassifierSpec.parse(config[KEY], f"config.json: {KEY}")
    names = config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
    if len(names) < 2:
        raise CheckpointError("config.json: a head with one label is a regression, which is not supported")
    return ClassifierSpec(kind="classification", labels=tuple(str(names[n]) for n in sorted(names, key=int)))
