"""How close captions are to the references of their pictures: CIDEr-D, BLEU-1 to BLEU-4 and ROUGE-L.

The definitions are those of the COCO caption evaluation (Chen et al., arXiv 1504.00325). CIDEr-D (Vedantam et al.,
arXiv 1411.5726, equation 5) is written here; the n-grams of BLEU are counted by sacrebleu, against the reference of
the closest length, and the longest common subsequence of ROUGE-L by rouge-score, of whose precision and recall the
best over the references count (beta 1.2). BLEU is of the whole corpus; the others are means over pictures.

Texts are compared by their words, lower-cased and without punctuation, as the Java tokenizer of the COCO evaluation
leaves them but for its splitting of contractions; each Chinese character is a word. Figures that are to be set beside
published ones of Chinese must be cut into characters too. BLEU and ROUGE-L are 0 to 100, and CIDEr-D 0 to 1000: its
formula is 0 to 10, and papers print 115 for 1.15. It depends on the whole set, since the rarity of an n-gram is that
among the set's references: do not compare the figures of different sets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sepiola.errors import DataError, SepiolaError
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.bootstrap import RESAMPLES, drawn_counts, percentiles
from sepiola.evaluation.metrics.rationales import words

METRICS = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "rougeL")
ORDER = 4
SIGMA = 6.0
BETA = 1.2

Tokens = Sequence[str]
_Floats = npt.NDArray[np.float64]


def caption_metrics(
    captions: Sequence[str], references: Sequence[Sequence[str]], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Figures]:
    """Each of METRICS as `{"value", "interval"}`: one caption a picture, and that picture's references.

    `interval` is the 95% percentile bootstrap over pictures; the rarities of CIDEr-D stay those of the whole set.
    Raises DataError without pictures and for one without references, SepiolaError without the `eval` extra.
    """
    if not captions or len(captions) != len(references):
        raise DataError(f"{len(captions)} captions and the references of {len(references)} pictures; expected as many")
    if not all(references):
        raise DataError("a picture has no reference caption; leave it out")
    given = [words(caption) for caption in captions]
    known = [[words(text) for text in texts] for texts in references]
    means = {"cider": 100 * cider_d(given, known), "rougeL": 100 * _rouge_l(given, known)}
    counts = _bleu_counts(given, known)
    pictures = len(captions)
    drawn = drawn_counts(pictures, seed, resamples)
    whole = np.ones((1, pictures))
    found = {name: ((whole @ values)[0] / pictures, (drawn @ values) / pictures) for name, values in means.items()}
    scores, spread = _bleu(whole @ counts)[0], _bleu(drawn @ counts)
    found |= {f"bleu{n + 1}": (scores[n], spread[:, n]) for n in range(ORDER)}
    return {name: {"value": float(found[name][0]), "interval": percentiles(found[name][1])} for name in METRICS}


def cider_d(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> _Floats:
    """CIDEr-D of each caption, 0 to 10: `(pictures,)`.

    An n-gram weighs its count times log(pictures / pictures that have it in a reference), so nothing counts of a single
    picture, nor of an n-gram that every picture has. The counts of a caption are clipped to its reference's, and a
    difference in length costs exp(-difference² / (2 · 6²)).
    """
    seen = Counter(gram for texts in references for gram in {g for text in texts for g in _ngrams(text)})
    rarity = {gram: math.log(len(references) / number) for gram, number in seen.items()}
    unseen = math.log(len(references)) if references else 0.0

    def weighed(tokens: Tokens) -> tuple[list[dict[tuple[str, ...], float]], list[float]]:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(ORDER)]
        for gram, count in _ngrams(tokens).items():
            weights[len(gram) - 1][gram] = count * rarity.get(gram, unseen)
        return weights, [math.sqrt(sum(w * w for w in order.values())) for order in weights]

    scores = []
    for caption, texts in zip(captions, references, strict=True):
        own, own_norms = weighed(caption)
        total = 0.0
        for text in texts:
            other, other_norms = weighed(text)
            penalty = math.exp(-((len(caption) - len(text)) ** 2) / (2 * SIGMA**2))
            for n in range(ORDER):
                shared = sum(min(w, other[n][g]) * other[n][g] for g, w in own[n].items() if g in other[n])
                if shared:
                    total += penalty * shared / (own_norms[n] * other_norms[n])
        scores.append(10 * total / (ORDER * len(texts)))
    return np.array(scores)


def _ngrams(tokens: Tokens) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(tokens) - n + 1))


def _bleu_counts(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> _Floats:
    """For each picture its n-grams that match, all of them, and both lengths: `(pictures, 10)`."""
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise _missing("sacrebleu") from None
    metric = BLEU(max_ngram_order=ORDER, tokenize="none", smooth_method="none")
    rows = []
    for caption, texts in zip(captions, references, strict=True):
        score = metric.corpus_score([" ".join(caption)], [[" ".join(text)] for text in texts])
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, dtype=np.float64)


def _bleu(counts: _Floats) -> _Floats:
    """BLEU-1 … BLEU-4 (0 to 100) of summed counts `(rows, 10)`: `(rows, 4)`."""
    matches, totals = counts[:, :ORDER], counts[:, ORDER : 2 * ORDER]
    length, wanted = counts[:, -2], counts[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(totals > 0, matches / totals, 0.0)
        logs = np.cumsum(np.log(precision), axis=1) / np.arange(1, ORDER + 1)
        brevity = np.where(length > 0, np.minimum(0.0, 1 - wanted / length), -np.inf)
    return np.asarray(100 * np.exp(logs + brevity[:, None]))


def _rouge_l(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> _Floats:
    """ROUGE-L of each caption, 0 to 1: `(pictures,)`."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise _missing("rouge-score") from None

    class Cut:
        """Texts come as words joined by spaces; rouge-score's own tokenizer drops what is not Latin."""

        def tokenize(self, text: str) -> list[str]:
            return text.split()

    scorer = RougeScorer(["rougeL"], tokenizer=Cut())
    scores = []
    for caption, texts in zip(captions, references, strict=True):
        pairs = [scorer.score(" ".join(text), " ".join(caption))["rougeL"] for text in texts]
        precision, recall = max(p.precision for p in pairs), max(p.recall for p in pairs)
        scores.append((1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if precision else 0.0)
    return np.array(scores)


def _missing(package: str) -> SepiolaError:
    return SepiolaError(f"caption metrics need {package}: pip install 'sepiola[eval]'")
