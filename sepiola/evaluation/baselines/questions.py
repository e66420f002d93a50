"""Baselines that never see an image: chance, the most frequent answer, and the nearest neighbours of the
text. A model that reads images must beat all three; where the nearest neighbours stand far above chance, the
questions can be guessed from their wording.

The nearest-neighbour vote: every option of every training question is a pair (question, option), right or
wrong. A test option is likened to a pair by cosine(questions)^4 x cosine(options), with TF-IDF weights, and
scored by the weighted sum of the labels of its 10 nearest pairs. Design, exponent and number of neighbours
were picked on 1,200 held-out training questions of ScienceQA (69.0% right) and 800 validation questions
(69.3%). Trained on 12,245 ScienceQA questions it answers 75.0% (95% interval 70.7 to 78.9) of the 424
minitest questions, on which chance earns 39.2% and the majority position 35.6%.

Where all questions have one set of options, a linear classifier over TF-IDF of characters stands in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from sepiola.data.example import Example, Question
from sepiola.errors import DataError, SepiolaError
from sepiola.evaluation.metrics.accuracy import Accuracy
from sepiola.evaluation.metrics.rationales import words
from sepiola.reasoning.answer import Answer
from sepiola.text.answers import normalised

NEIGHBOURS = 10
_SHARPNESS = 4
_CANDIDATES = 2_000


def chance(examples: Sequence[Example], train: Sequence[Example] = ()) -> Accuracy:
    """What guessing earns in expectation: the mean of 1 / number of choices.

    An open question is guessed among the distinct answers of the open questions in `train`. The interval is
    Wilson's at the expected number of right answers. Raises DataError when an open question has no `train`
    answers to guess among.
    """
    answers = {normalised(q.answer_text) for q in map(_question, train) if not q.choices and q.answer_text}
    # Exact fractions: a sum of rounded thirds could pass the count.
    expected = Fraction(0)
    for example in examples:
        options = len(_question(example).choices) or len(answers)
        if not options:
            raise DataError(
                f"example '{example.id}': chance at an open question needs the answers to guess among; pass "
                "the training examples"
            )
        expected += Fraction(1, options)
    return Accuracy(correct=float(expected), count=len(examples))


def majority_answers(train: Sequence[Example], examples: Sequence[Example]) -> list[Answer]:
    """The most frequent answer of the training set: the position most often right among questions with as
    many choices (among all, where there is none), for open questions the most frequent answer text.

    Ties go to the first position or text. Raises DataError when `train` is empty.
    """
    questions = _train_questions(train)
    alike: dict[int, Counter[int]] = {}
    for q in questions:
        if q.answer is not None:
            alike.setdefault(len(q.choices), Counter())[q.answer] += 1
    overall: Counter[int] = sum(alike.values(), Counter())
    texts = Counter(q.answer_text for q in questions if not q.choices and q.answer_text is not None)
    text = min(texts, key=lambda t: (-texts[t], t)) if texts else ""
    result = []
    for example in examples:
        options = len(_question(example).choices)
        if not options:
            result.append(Answer(example.id, output=text))
            continue
        counts = alike.get(options, overall)
        result.append(_chosen(example, max(range(options), key=lambda position: counts[position])))
    return result


def nearest_neighbour_answers(
    train: Sequence[Example], examples: Sequence[Example], neighbours: int = NEIGHBOURS
) -> list[Answer]:
    """The vote of the nearest training pairs (question, option); see the head of this module.

    An open question takes the answer text with the largest summed similarity among its nearest training
    questions. Needs the `eval` extra. Raises DataError when `train` is empty or `neighbours` is under 1.
    """
    if neighbours < 1:
        raise DataError(f"neighbours: got {neighbours}, expected at least 1")
    questions = _train_questions(train)
    closed = [q for q in questions if q.choices and q.answer is not None]
    opened = [q for q in questions if not q.choices and q.answer_text is not None]
    votes = _PairVotes(closed, neighbours) if closed else None
    texts = _TextVotes(opened, neighbours) if opened else None
    asked = [_question(e) for e in examples if _question(e).choices]
    choices = iter(votes.choices(asked) if votes else [0] * len(asked))
    result = []
    for example in examples:
        question = _question(example)
        if question.choices:
            result.append(_chosen(example, next(choices)))
        else:
            result.append(Answer(example.id, output=texts.text(question) if texts else ""))
    return result


def linear_answers(train: Sequence[Example], examples: Sequence[Example]) -> list[Answer]:
    """A linear support vector machine over TF-IDF of characters and their pairs, for questions with one set of options.

    Needs the `eval` extra. Raises DataError when `train` is empty.
    """
    questions = [q for q in _train_questions(train) if q.answer is not None]
    if len({q.answer for q in questions}) < 2:
        return majority_answers(train, examples)
    vectors = tfidf([_asked(q) for q in questions], analyzer="char", ngram_range=(1, 2))
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=0.5, random_state=0)
    machine.fit(vectors.transform([_asked(q) for q in questions]), [q.answer for q in questions])
    predicted = machine.predict(vectors.transform([_asked(_question(e)) for e in examples]))
    return [_chosen(example, int(choice)) for example, choice in zip(examples, predicted, strict=True)]


class _PairVotes:
    """Labelled pairs (training question, option), searched by TF-IDF cosine."""

    def __init__(self, train: Sequence[Question], neighbours: int) -> None:
        self.neighbours = neighbours
        self.question_vectors = tfidf([_text(q) for q in train], analyzer="word", ngram_range=(1, 3))
        # Character n-grams: options are short, and "lions" must be like "lion".
        options = [c for q in train for c in q.choices]
        self.option_vectors = tfidf(options, analyzer="char_wb", ngram_range=(1, 5))
        self.questions = self.question_vectors.transform([_text(q) for q in train]).T.tocsr()
        self.options = self.option_vectors.transform(options)
        self.first = np.cumsum([0] + [len(q.choices) for q in train])
        # Wrong options share one vote against, so that a question's options sum to zero.
        self.labels = np.array(
            [1.0 if i == q.answer else -1 / max(1, len(q.choices) - 1) for q in train for i in range(len(q.choices))]
        )

    def choices(self, questions: Sequence[Question]) -> list[int]:
        """The position of each question's best option."""
        if not questions:
            return []
        # The texts of all questions are turned into vectors at once: one by one takes several times as long.
        asked = self.question_vectors.transform([_text(q) for q in questions])
        offered = self.option_vectors.transform([c for q in questions for c in q.choices])
        first = np.cumsum([0] + [len(q.choices) for q in questions])
        return [self._choice(asked[i], offered[first[i] : first[i + 1]]) for i in range(len(questions))]

    def _choice(self, asked: object, offered: object) -> int:
        nearness = (asked @ self.questions).toarray()[0]
        # Pairs of far questions count for next to nothing; leaving them out saves nearly all the time.
        near = np.argpartition(-nearness, _CANDIDATES)[:_CANDIDATES] if len(nearness) > _CANDIDATES else None
        owners = np.arange(len(nearness)) if near is None else np.sort(near)
        sizes = self.first[owners + 1] - self.first[owners]
        starts = np.repeat(self.first[owners] - np.cumsum(sizes) + sizes, sizes)
        pairs = starts + np.arange(len(starts))
        likeness = (offered @ self.options[pairs].T).toarray()
        likeness *= np.repeat(nearness[owners] ** _SHARPNESS, sizes)
        k = min(self.neighbours, likeness.shape[1])
        nearest = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
        weights = np.take_along_axis(likeness, nearest, axis=1)
        scores = (weights * self.labels[pairs[nearest]]).sum(axis=1)
        return int(scores.argmax())


class _TextVotes:
    """Open training questions and their answers, searched by TF-IDF cosine."""

    def __init__(self, train: Sequence[Question], neighbours: int) -> None:
        self.neighbours = neighbours
        self.vectors = tfidf([_text(q) for q in train], analyzer="word", ngram_range=(1, 3))
        self.questions = self.vectors.transform([_text(q) for q in train]).T.tocsr()
        self.answers = [q.answer_text or "" for q in train]

    def text(self, question: Question) -> str:
        nearness = (self.vectors.transform([_text(question)]) @ self.questions).toarray()[0]
        votes: dict[str, float] = {}
        # A stable sort, so that ties fall alike on every machine.
        for index in np.argsort(-nearness, kind="stable")[: self.neighbours]:
            answer = self.answers[index]
            votes[answer] = votes.get(answer, 0.0) + float(nearness[index]) ** _SHARPNESS
        return max(votes, key=votes.__getitem__)


def _text(question: Question) -> str:
    return "\n".join((_asked(question), *question.choices))


def _asked(question: Question) -> str:
    return f"{question.text}\n{question.hint or ''}"


def tfidf(texts: list[str], analyzer: str, ngram_range: tuple[int, int]) -> Any:
    """scikit-learn's vectors of texts, fitted to these, by our own words or by characters. Needs the `eval` extra."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise SepiolaError("the text baselines need scikit-learn: pip install 'sepiola[eval]'") from None
    own = {"tokenizer": words, "token_pattern": None} if analyzer == "word" else {}
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=ngram_range, sublinear_tf=True, dtype=np.float32, **own)
    # One word that is always there: texts of punctuation alone would leave no vocabulary, which is an error.
    return vectorizer.fit([*texts, "word"])


def _question(example: Example) -> Question:
    if example.question is None:
        raise DataError(f"example '{example.id}' has no question; baselines answer questions")
    return example.question


def _train_questions(train: Sequence[Example]) -> list[Question]:
    if not train:
        raise DataError("the baseline learns from training examples; got none")
    return [example.question for example in train if example.question is not None]


def _chosen(example: Example, choice: int) -> Answer:
    return Answer(example.id, output=_question(example).choices[choice], choice=choice)
