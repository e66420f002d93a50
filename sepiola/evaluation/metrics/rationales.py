"""How close a rationale is to the reference: BLEU-1, BLEU-4 (Papineni et al., 2002), ROUGE-L (Lin, 2004) and
a TF-IDF cosine, each scored per rationale and averaged, as the ScienceQA evaluation averages them.

What is computed: BLEU is the sentence BLEU of the reference code (words split at white space and full stops,
case kept, no smoothing, so a rationale without a common 4-gram scores 0), by sacrebleu. ROUGE-L is the
F-measure of the longest common subsequence over lower-cased words, without stemming, by rouge-score; the
reference uses another library, whose figures differ slightly. `tfidf_cosine` is the cosine of TF-IDF vectors
of words and word pairs; it is not the sentence-BERT similarity of the papers and must not be set beside it.
In all four, each Chinese character is a token of its own. All figures are on a scale of 0 to 100.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from sepiola.data.example import Example
from sepiola.errors import SepiolaError
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import join_by_id
from sepiola.reasoning.answer import Answer

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CHINESE = re.compile(f"([{_HAN}\u3000-\u303f\uff00-\uffef])")
_WORDS = re.compile(f"[{_HAN}]|[^\\W_{_HAN}]+")


def rationale_metrics(examples: Sequence[Example], answers: Sequence[Answer]) -> Figures:
    """BLEU-1, BLEU-4, ROUGE-L and TF-IDF cosine (0 to 100) over the examples with a known reference
    rationale.

    Returns `count` (rationales scored), `without_reference` (the example's solution is not known or empty),
    `without_rationale` (the answer has none because its strategy asks for none), `lecture_unknown` (scored
    against the solution alone), `empty` (scored, and 0 in all), `bleu1`, `bleu4`, `rougeL`, `tfidf_cosine`
    (None when `count` is 0). Raises DataError when ids do not match, SepiolaError when the `eval` extra is
    not installed.
    """
    pairs: list[tuple[str, str]] = []
    counts = {"without_reference": 0, "without_rationale": 0, "lecture_unknown": 0, "empty": 0}
    for example, answer in join_by_id(examples, answers):
        reference = reference_rationale(example)
        if reference is None:
            counts["without_reference"] += 1
        elif answer.rationale is None:
            counts["without_rationale"] += 1
        else:
            assert example.question is not None
            counts["lecture_unknown"] += example.question.lecture is None
            counts["empty"] += not answer.rationale.strip()
            pairs.append((reference, answer.rationale))
    scores: dict[str, float | None] = dict.fromkeys(("bleu1", "bleu4", "rougeL", "tfidf_cosine"))
    if pairs:
        scores = {
            "bleu1": fmean(bleu(reference, given, 1) for reference, given in pairs),
            "bleu4": fmean(bleu(reference, given, 4) for reference, given in pairs),
            "rougeL": fmean(_rouge_l(pairs)),
            "tfidf_cosine": fmean(_tfidf_cosine(pairs)),
        }
    return {"count": len(pairs), **counts, **scores}


def reference_rationale(example: Example) -> str | None:
    """Lecture and solution, one line each; None when the solution is not known or both are empty.

    A lecture that is not known is left out.
    """
    question = example.question
    if question is None or question.solution is None:
        return None
    return "\n".join(part.strip() for part in (question.lecture or "", question.solution) if part.strip()) or None


def bleu(reference: str, given: str, order: int) -> float:
    """Sentence BLEU with n-grams up to `order`, 0 to 100, unsmoothed."""
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise _missing("sacrebleu") from None
    metric = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", effective_order=False)
    reference, given = (" ".join(_bleu_tokens(text)) for text in (reference, given))
    # A corpus of one sentence: the same figure as `sentence_score`, which warns at every call.
    return float(metric.corpus_score([given], [[reference]]).score)


def words(text: str) -> list[str]:
    """Lower-cased words without punctuation; each Chinese character is a word."""
    return _WORDS.findall(text.lower())


def _bleu_tokens(text: str) -> list[str]:
    return [token for token in re.split(r"[\s.。]+", _CHINESE.sub(r" \1 ", text)) if token]


def _rouge_l(pairs: Sequence[tuple[str, str]]) -> list[float]:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise _missing("rouge-score") from None

    class Words:
        """rouge-score's own tokenizer drops every character that is not Latin."""

        def tokenize(self, text: str) -> list[str]:
            return words(text)

    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    return [100 * float(scorer.score(reference, given)["rougeL"].fmeasure) for reference, given in pairs]


def rouge_l(given: str, reference: str) -> float:
    """ROUGE-L of one text, 0 to 1; each Chinese character is a word."""
    return _rouge_l([(reference, given)])[0] / 100


def _tfidf_cosine(pairs: Sequence[tuple[str, str]]) -> list[float]:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise _missing("scikit-learn") from None
    vectorizer = TfidfVectorizer(tokenizer=words, token_pattern=None, lowercase=False, ngram_range=(1, 2))
    # Fitted on both sides: a word that no reference has must still lower the cosine.
    texts = [reference for reference, _ in pairs] + [given for _, given in pairs]
    if not any(words(text) for text in texts):
        return [0.0] * len(pairs)
    vectors = vectorizer.fit_transform(texts)
    products = vectors[: len(pairs)].multiply(vectors[len(pairs) :]).sum(axis=1)
    return [100 * min(1.0, float(product)) for product in np.asarray(products).ravel()]


def _missing(package: str) -> SepiolaError:
    return SepiolaError(f"rationale metrics need {package}: pip install 'sepiola[eval]'")
