"""A classifier: a linear layer on a language model reads the state at each sequence's last token (GPT-1, Radford
et al., "Improving Language Understanding by Generative Pre-Training", 2018, sections 3.2 and 3.3), or the mean of a
sequence's states (Sentence-BERT, arXiv 1908.10084).

Classification and entailment read one sequence. Similarity has no order, so both orders of its texts are read and their
states added. Multiple choice reads a sequence an option, and the layer gives each one number. A reward model reads
one sequence and gives one number; its layer may stand on any model that writes text (`sepiola.models.reward`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepiola.data.example import Example
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.models.vocabulary import grow
from sepiola.nn.dropout import Dropout
from sepiola.specs.classifier import ClassifierKind, ClassifierSpec, ClassifierTokens, Pooling
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.text.classification import labels_of

LAYER = "classifier"
CLASSIFIER = f"{LAYER}.weight"  # the layer's only tensor


class Classifier(nn.Module):
    """A language model alone under a linear layer; the layer has no bias, as in the paper. Only a reward model's stands
    on an encoder-decoder.
    """

    def __init__(self, language: LanguageModel | EncoderDecoder, classifier: ClassifierSpec) -> None:
        super().__init__()
        self.language = language
        self.classifier_spec = classifier
        self.dropout = Dropout(language.spec.dropout)
        self.classifier = nn.Linear(language.spec.width, len(classifier.labels) or 1, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.02)

    @property
    def spec(self) -> TransformerSpec:
        return self.language.spec

    def parts(self) -> dict[str, nn.Module]:
        """The language model; the layer belongs to no part."""
        return {"language": self.language}

    def states(self, *tokens: Tensor, **masks: Tensor | None) -> Tensor:
        """The language model's final states, without its head."""
        states: Tensor = self.language.states(*tokens, **masks)  # type: ignore[arg-type]
        return states

    def forward(self, tokens: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """Logits `(batch, labels)`, or `(batch, options)` of multiple choice, or scores `(batch, 1)`.

        `tokens` `(batch, sequences, tokens)`, or `(batch, tokens)` where a sequence each is read. `attention_mask`, of
        the same shape, is 0 where padding stands, on either side; an option that a question lacks is all padding, and
        its logit is -inf. Where the layer reads a sequence's last state, its last token must be the one.
        """
        batch, width = tokens.shape[0], tokens.shape[-1]
        rows = tokens.reshape(-1, width)
        mask = None if attention_mask is None else attention_mask.reshape(-1, width)
        states = self.states(rows, attention_mask=mask)
        real = torch.ones_like(rows) if mask is None else mask
        places = torch.arange(rows.numel(), device=rows.device).view(rows.shape)
        ends = torch.where(real != 0, places, -1).amax(dim=1).view(batch, -1)
        return self.read(states, ends, (real != 0).sum(dim=1).view(batch, -1))

    def read(self, states: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
        """Logits, as `forward` gives them, of the language model's states `(rows, tokens, width)`.

        `ends` `(batch, sequences)` says where each sequence's last token stands in the flattened rows, -1 where a
        question has fewer options than others; `lengths` how many tokens it has, 0 there.
        """
        pool = mean_states if self.classifier_spec.pooling == "mean" else last_states
        chosen = pool(states.flatten(0, 1), ends, lengths)
        if self.classifier_spec.kind == "multiple-choice":
            return self.classifier(self.dropout(chosen))[..., 0].masked_fill(ends < 0, -torch.inf)
        return self.classifier(self.dropout(chosen.sum(dim=1)))


def score_layer(width: int) -> nn.Linear:
    """A reward model's layer."""
    layer = nn.Linear(width, 1, bias=False)
    nn.init.normal_(layer.weight, std=1 / (width + 1))
    return layer


def last_states(states: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
    """The state at each sequence's last token `(batch, sequences, width)`, of states `(tokens, width)`."""
    return states[ends.clamp(min=0)]


def mean_states(states: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
    """The mean of each sequence's states `(batch, sequences, width)`, of states `(tokens, width)`."""
    back = torch.arange(int(lengths.max()), device=states.device)
    inside = (back < lengths[..., None])[..., None]
    gathered = states[(ends[..., None] - back).clamp(min=0)].float() * inside
    return gathered.sum(dim=-2) / lengths.clamp(min=1)[..., None]


def with_classifier(
    spec: ModelSpec,
    kind: ClassifierKind,
    examples: Sequence[Example],
    *,
    tokens: ClassifierTokens | None = None,
    pooling: Pooling = "last",
) -> ModelSpec:
    """The spec of the language model `spec` under a classifier: its labels are the examples' own, and its three tokens
    come after the vocabulary unless they are given.

    Raises DataError when no one set of labels belongs to all examples.
    """
    assert spec.language is not None
    first = spec.language.vocabulary
    language = spec.language if tokens else spec.language.model_copy(update={"vocabulary": first + 3})
    tokens = tokens or ClassifierTokens(start=first, delimiter=first + 1, extract=first + 2)
    classifier = ClassifierSpec(kind=kind, labels=labels_of(examples, kind), tokens=tokens, pooling=pooling)
    return spec.model_copy(update={"language": language, "classifier": classifier})


def add_classifier(network: nn.Module, spec: ModelSpec, seed: int) -> Classifier:
    """The language model `network` under the classifier of `spec`, in eval mode; its own tensors are kept.

    The layer, and the rows of new tokens, are initialised from `seed`; the rows vary as the old ones do.
    """
    assert spec.language is not None and spec.classifier is not None
    with torch.device("meta"):
        model = Classifier(LanguageModel(spec.language), spec.classifier)
    wanted = model.state_dict()
    generator = torch.Generator().manual_seed(seed)
    layer = 0.02 * torch.randn(wanted[CLASSIFIER].shape, generator=generator)
    copied = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grown = grow(copied, spec.language.vocabulary, "spread", generator)
    state = {CLASSIFIER: layer, **{f"language.{name}": tensor for name, tensor in grown.items()}}
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(True).eval()
