"""Plain text over the engine: the model's own log-likelihoods, stop strings, long texts, and what is cut is counted."""

from __future__ import annotations

import pytest
import tokenizers
import torch

import sepiola
from sepiola.api import Model
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.text_scorer import TextScorer, windows
from sepiola.text.tokenizer import Tokenizer

TEXTS = ["Q: what is two plus two?\nA: four\n", "问题：二加二等于几？\n答案：四\n"]
LANGUAGE = {
    "width": 24,
    "layers": 2,
    "attention": {"heads": 3},
    "feed_forward": {"width": 40},
    "tied": False,
    "tokens": {"pad": 0, "end": 1, "start": 2},
}


def make(kind: str = "decoder", positions: dict[str, object] | None = None) -> Model:
    tokenizer = Tokenizer.train(TEXTS, 300)
    where = positions or {"kind": "relative" if kind == "encoder-decoder" else "rotary"}
    language = {**LANGUAGE, "kind": kind, "vocabulary": tokenizer.vocabulary, "positions": where}
    built = sepiola.build({"language": language}, seed=3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.6)
    return Model(built.network, built.spec, tokenizer)


def direct(model: Model, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """The sum of the log-softmax over the logits of one whole forward pass."""
    with torch.no_grad():
        if model.spec.language.kind == "decoder":
            logits = model(torch.tensor([[*context, *continuation[:-1]]]))[0, len(context) - 1 :]
        else:
            logits = model(torch.tensor([context]), torch.tensor([[2, *continuation[:-1]]]))[0]
    wanted = torch.tensor(continuation)
    total = logits.log_softmax(-1).gather(1, wanted[:, None]).sum()
    return float(total), bool((logits.argmax(-1) == wanted).all())


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_log_likelihoods_are_the_models(kind: str) -> None:
    model = make(kind)
    text_scorer, encode = model.text_scorer(), model.tokenizer.encode
    closing = [1] if kind == "encoder-decoder" else []
    pairs = [(TEXTS[0][:-6], " four"), (TEXTS[0][:-6], " five"), (TEXTS[1][:-2], "四"), ("", "二"), ("A:  ", "four")]
    split = [
        *(([*encode(c), *closing], encode(o)) for c, o in pairs[:3]),
        (closing or [2], encode("二")),  # nothing is read but the start token (an encoder: the end token)
        ([*encode("A:"), *closing], encode("  four")),  # the context's spaces go to the continuation
    ]
    assert [text_scorer.encode_pair(*pair) for pair in pairs] == split
    for (log_likelihood, greedy), (context, continuation) in zip(text_scorer.score(pairs), split, strict=True):
        expected = direct(model, context, continuation)
        assert (log_likelihood, greedy) == (pytest.approx(expected[0], abs=1e-3), expected[1])


def test_context_and_continuation_are_cut_into_tokens_together() -> None:
    text_scorer = TextScorer(make().engine, Tokenizer.train([" four" * 50], 290))
    encode = text_scorer.encode
    assert len(encode("A: four")) == len(encode("A:")) + 1 <= len(encode("A: fo"))  # the word is one token
    assert text_scorer.encode_pair("A:", " four") == (encode("A:"), encode(" four"))
    # As in lm-eval, a context keeps its own tokens and the continuation gets what is left of them all.
    context, whole = encode("A: fo"), encode("A: four, I say")
    assert text_scorer.encode_pair("A: fo", "ur, I say") == (context, whole[len(context) :])
    assert text_scorer.encode_pair("A: fo", "ur") == (encode("A: fo"), encode("ur"))  # nothing else is left of it
    with pytest.raises(DataError, match="must not be empty"):
        text_scorer.encode_pair("A:", "")


def test_a_long_text_is_predicted_token_by_token_once() -> None:
    tokens = list(range(10, 20))
    assert windows(tokens, 2, 4) == [
        ([2], [10, 11, 12, 13]),
        ([13], [14, 15, 16, 17]),
        ([15, 16, 17], [18, 19]),  # the last window is filled up with what stands before
    ]
    assert windows([], 2, 4) == []
    model = make()
    ids = model.tokenizer.encode(TEXTS[1])
    assert model.text_scorer().rolling([TEXTS[1], ""]) == pytest.approx([direct(model, [2], ids)[0], 0.0], abs=1e-3)
    expected = sum(direct(model, list(c), list(t))[0] for c, t in windows(ids, 2, 7))
    assert model.text_scorer(7).rolling([TEXTS[1]]) == pytest.approx([expected], abs=1e-3)


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_writing_stops_at_the_first_stop_string(kind: str) -> None:
    model = make(kind)
    text_scorer = model.text_scorer()
    (whole, other) = text_scorer.generate(TEXTS, max_tokens=40)
    assert len(whole) > 12 and whole != other
    stop = whole[8:10]
    steps: list[int] = []
    extend = model.network.extend

    def counted(tokens: torch.Tensor, *rest: object, **masks: object) -> torch.Tensor:
        steps.append(tokens.shape[1])
        return extend(tokens, *rest, **masks)

    model.network.extend = counted
    cut = text_scorer.generate(TEXTS[:1], max_tokens=40, stops=[stop, "never there"])
    assert cut == [whole[: whole.index(stop)]]
    assert steps.count(1) < 30  # it did stop, and was not only cut
    assert text_scorer.generate(TEXTS[:1], max_tokens=40, stops=["never there", ""]) == [whole]


def test_what_does_not_fit_loses_its_beginning_and_is_counted() -> None:
    text = TEXTS[0].strip()
    ids = make().text_scorer().encode(text)
    most = len(ids) - 2
    model = make(positions={"kind": "learned", "length": most})
    text_scorer = model.text_scorer()
    four = text_scorer.tokenizer.encode("四")
    assert text_scorer.length == most
    (score,) = text_scorer.score([(text, "四")])
    assert score.log_likelihood == pytest.approx(direct(model, ids[-(most + 1 - len(four)) :], four)[0], abs=1e-3)
    assert text_scorer.cut == 1
    with torch.no_grad():
        first = int(model(torch.tensor([ids[-(most - 4) :]]))[0, -1].argmax())
    assert text_scorer.generate([text], max_tokens=4)[0].startswith(text_scorer.tokenizer.decode([first]))
    assert text_scorer.cut == 2
    text_scorer.score([("A:", " four")])
    assert text_scorer.cut == 2
    with pytest.raises(SepiolaError, match="leave no room"):
        text_scorer.generate(["A:"], max_tokens=most)
    with pytest.raises(DataError, match=f"the model reads 1 to {most}"):
        text_scorer.score([("A:", text)])
    with pytest.raises(SepiolaError, match=f"expected 2 to {most}"):
        TextScorer(model.engine, model.tokenizer, length=most + 1)


def test_padding_of_a_batch_stays_within_a_learned_table() -> None:
    """Contexts are padded on the left and continuations on the right: together more than the model has positions."""
    model = make(positions={"kind": "learned", "length": 24})
    text_scorer = model.text_scorer()
    pairs = [(list(range(10, 32)), [40, 41]), ([7, 8], list(range(50, 72))), ([9], [3])]
    scores = text_scorer.score_tokens(pairs)
    for pair, score in zip(pairs, scores, strict=True):
        total, greedy = direct(model, *pair)
        assert score == (pytest.approx(total, abs=1e-3), greedy)
    text = TEXTS[0] * 4 + TEXTS[1] * 3
    tokens = model.tokenizer.encode(text)
    cut = windows(tokens, 2, 24)
    assert len(cut) > 2
    assert text_scorer.rolling([text]) == [pytest.approx(sum(direct(model, *map(list, w))[0] for w in cut), abs=1e-2)]


def test_a_text_opens_as_its_tokenizer_says() -> None:
    model = make()
    plain = model.text_scorer().encode("二")
    assert model.text_scorer().opening == [] and model.text_scorer().encode("") == [2]
    template = tokenizers.processors.TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 2)])
    model.tokenizer.backend.post_processor = template
    text_scorer = model.text_scorer()
    assert text_scorer.encode("二") == [2, *plain] and text_scorer.encode("") == [2]
    assert text_scorer.encode("<unk>二") == [2, *plain]  # written out already, as a chat template does
    assert text_scorer.encode_pair("", "<unk>二") == ([2], plain)
