"""A classifier in the Hub's layout: `…ForSequenceClassification` of GPT-1, GPT-2, OPT, LLaMA and its heirs.

Its `score` is our layer. It reads one sequence, so classification and entailment have a place there, and
no other. With one label it is a reward model.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, filled
from sepiola.checkpoints.family import Family
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.errors import CheckpointError
from sepiola.models.classifier import CLASSIFIER
from sepiola.specs.classifier import ClassifierSpec
from sepiola.specs.model import ModelSpec

FAMILIES = ("openai-gpt", "gpt2", "opt", "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma3_text")
KINDS = ("classification", "entailment", "reward")
HEAD = "score."
KEY = "sepiola_classifier"  # the config's key for what `transformers` has no word for
MAX_LABELS = 100_000
_CLASS = "ForSequenceClassification"
_LANGUAGE, _LAYER = "language.", CLASSIFIER.removesuffix("weight")


def has_head(config: Config) -> bool:
    """Whether a Hub config is that of a classifier. Raises CheckpointError where its head is another."""
    listed = config.get("architectures") or []
    if not isinstance(listed, list):
        raise CheckpointError(f"config.json: architectures is {listed!r}; expected a list of classes' names")
    named = [str(name) for name in listed if str(name).endswith(_CLASS)]
    if named and config.get("model_type") not in FAMILIES:
        pooler = (
            "; BERT's reads a pooler's dense layer at the first token" if config.get("model_type") == "bert" else ""
        )
        raise CheckpointError(
            f"config.json: {named[0]} is not supported: a classifier is one linear layer without bias at the last "
            f"token, of {', '.join(FAMILIES)}{pooler}"
        )
    return bool(named)


class ClassifierFamily:
    """A family's classifier: what the family does, and the layer beside."""

    HOLDS_VISION = False

    def __init__(self, family: Family) -> None:
        self.family = family

    def spec_from_config(
        self, config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None
    ) -> ModelSpec:
        """The spec of a Hub checkpoint. Raises CheckpointError for several numbers or labels at once."""
        spec = self.family.spec_from_config(config, state, preprocessor=preprocessor)
        return spec.model_copy(update={"classifier": _classifier(config)})

    def config_from_spec(self, spec: ModelSpec) -> JSON:
        """The `config.json` that `transformers` reads. Raises CheckpointError for one without a place there."""
        classifier = spec.classifier
        if classifier is None or classifier.kind not in KINDS or spec.family not in FAMILIES:
            raise CheckpointError(
                f"the Hub's layout holds {', '.join(KINDS)} on {', '.join(FAMILIES)}; this one is of "
                f"{classifier.kind if classifier else 'none'}, on '{spec.family}': "
                "save it with save(), in our own layout"
            )
        if classifier.pooling != "last":
            raise CheckpointError(
                "the Hub's layout holds classifiers of the last token's state; this one reads the "
                f"{classifier.pooling} of all: save it with save(), in our own layout"
            )
        config = self.family.config_from_spec(spec)
        (language,) = config["architectures"]
        text = language.replace("Gemma3For", "Gemma3TextFor")  # the bare name is the model with vision
        labels = classifier.labels or ("LABEL_0",)
        return {
            **config,
            "architectures": [text.replace("LMHeadModel", _CLASS).replace("ForCausalLM", _CLASS)],
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
            KEY: classifier.to_dict(),
        }

    def processor_from_spec(self, spec: ModelSpec) -> JSON | None:
        """None: a language model alone needs no processor."""
        return None

    def to_ours(self, state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
        """Our state dict from a Hub one."""
        language = self.family.to_ours(renamed(state, lambda n: None if n.startswith(HEAD) else n), spec)
        head = renamed(state, lambda n: n.replace(HEAD, _LAYER) if n.startswith(HEAD) else None)
        return LazyTensors({**later(renamed(language, lambda name: f"{_LANGUAGE}{name}")), **later(head)})

    def to_hub(self, state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
        """The Hub's state dict from ours."""
        language = {n.removeprefix(_LANGUAGE): tensor for n, tensor in state.items() if n != CLASSIFIER}
        return {**self.family.to_hub(language, spec), f"{HEAD}weight": state[CLASSIFIER]}


def _classifier(config: Config) -> ClassifierSpec:
    if config.get(KEY):
        return ClassifierSpec.parse(config[KEY], f"config.json: {KEY}")
    count = filled(config, {"num_labels": 2})["num_labels"]
    names = config.get("id2label") or {n: f"LABEL_{n}" for n in range(min(count, MAX_LABELS))}
    if not isinstance(names, Mapping) or not all(str(n).isdigit() for n in names) or len(names) >= MAX_LABELS:
        raise CheckpointError(f"config.json: id2label, num_labels; expected numbers and names, fewer than {MAX_LABELS}")
    if len(names) == 1:
        return ClassifierSpec(kind="reward")
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise CheckpointError(
            f"config.json: problem_type '{config['problem_type']}' over {len(names)} labels is not supported; a "
            "classifier tells one label of several, and a reward model gives one score (one label)"
        )
    return ClassifierSpec(kind="classification", labels=tuple(str(names[n]) for n in sorted(names, key=int)))
