"""Reward models: their loss is trl's and the paper's, they learn, they see, and what is saved scores alike."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

import sepiola
from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.errors import DataError, SepiolaError, SpecError, TrainingError
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.models.classifier import CLASSIFIER
from sepiola.models.reward import last_scores, scores
from sepiola.specs.model import ModelSpec
from sepiola.training.objectives.reward import ranking_loss
from sepiola.training.rewards import Written, reward_of, reward_spec
from tests import policies, preferences, tiny
from tests.preferences import LANGUAGES, SEEING
from tests.trainers import stage_of


@pytest.mark.parametrize(("margin", "centring"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.01), (0.7, 0.3)])
def test_the_loss_and_its_gradient_are_those_of_trl(margin: float, centring: float) -> None:
    """Those of trl 1.16's RewardTrainer, of the same scores in float64."""
    trainer = pytest.importorskip("trl", reason="compared with trl, from the dev extra").RewardTrainer
    made = preferences.tokenizer()
    _, spec = preferences.model(LANGUAGES["decoder"], made)
    batch = preferences.all_of(
        preferences.objective({"kind": "reward"}, spec, made, preferences.rankings(replies=2)[:5])
    )
    torch.manual_seed(0)
    scored = (3 * torch.randn(10, dtype=torch.float64)).requires_grad_()
    our = ranking_loss(scored, batch, margin=margin, centring=centring)
    ordered = scored[torch.cat([batch.better, batch.worse])][:, None]
    inputs = {"attention_mask": torch.ones(10, 1)} | ({"margin": margin * batch.gaps.double()} if margin else {})
    trl = of_trl(centring)
    their = trainer.compute_loss(trl, lambda **_: SimpleNamespace(logits=ordered), inputs)
    torch.testing.assert_close(our.total / our.tokens, their, atol=1e-9, rtol=1e-9)
    gradients = [torch.autograd.grad(loss, scored, retain_graph=True)[0] for loss in (our.total / our.tokens, their)]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)
    shown, metrics = {name: value.item() / our.tokens for name, value in our.parts.items()}, trl._metrics["eval"]
    assert shown["accuracy"] == pytest.approx(metrics["accuracy"][0])
    assert shown["lead"] == pytest.approx(metrics["margin"][0])
    assert shown["score"] == pytest.approx(metrics["mean_reward"][0])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_models_loss_and_gradients_are_those_of_trl(side: str, tmp_path: Path) -> None:
    """From weights that transformers wrote. Rows of odd lengths, which trl pads on either side by a token of its own;
    ours are padded by the end token.
    """
    trainer = pytest.importorskip("trl", reason="compared with trl, from the dev extra").RewardTrainer
    made = preferences.tokenizer()
    torch.manual_seed(0)
    pad = made.vocabulary
    sizes = {**tiny.HUB_LLAMA, "vocab_size": made.vocabulary + 1, "initializer_range": 0.3, "num_labels": 1}
    reference = LlamaForSequenceClassification(LlamaConfig(**sizes, pad_token_id=pad))
    reference.save_pretrained(tmp_path)
    model = sepiola.load(tmp_path)
    assert model.spec.language is not None
    language = {**model.spec.language.to_dict(), "tokens": {"start": 1, "end": 1, "pad": 1}}
    bare = ModelSpec.parse({"language": language})
    asked = preferences.rankings(replies=2)[:5]
    learned = preferences.objective({"kind": "reward", "margin": 0.7, "centring": 0.3}, bare, made, asked)
    batch = preferences.all_of(learned)
    our = learned.loss(model.network, batch)
    (our.total / our.tokens).backward()

    rows = [row[: int(real.sum())] for row, real in zip(batch.target, batch.real, strict=True)]
    order = [*batch.better.tolist(), *batch.worse.tolist()]
    width = max(map(len, rows))
    ids, mask = torch.full((len(order), width), pad), torch.zeros(len(order), width, dtype=torch.long)
    for place, row in enumerate(rows[i] for i in order):
        at = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[place, at], mask[place, at] = row, 1
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    their = trainer.compute_loss(of_trl(0.3), reference, {**inputs, "margin": 0.7 * batch.gaps})
    their.backward()
    torch.testing.assert_close(our.total / our.tokens, their, atol=1e-5, rtol=1e-5)
    assert len({*map(len, rows)}) > 1
    for mine, other in (
        (model.network.get_parameter(CLASSIFIER), reference.score.weight),
        (model.network.get_parameter("language.embedding.weight"), reference.model.embed_tokens.weight),
    ):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def of_trl(centring: float) -> Any:
    return preferences.of_trl(args=SimpleNamespace(center_rewards_coefficient=centring or None))


def test_rankings_are_their_pairs_and_ties_are_dropped() -> None:
    """The formula written out: the mean of −log σ over the pairs of a prompt, and of prompts."""
    made = preferences.tokenizer()
    _, spec = preferences.model(LANGUAGES["decoder"], made)
    asked = preferences.rankings(replies=5)[:4]
    learned = preferences.objective({"kind": "reward"}, spec, made, asked)
    batch = preferences.all_of(learned)
    scored = torch.randn(len(batch.prompts), dtype=torch.float64, requires_grad=True)
    loss = ranking_loss(scored, batch, margin=0.5, centring=0.1)
    total, ties = torch.zeros((), dtype=torch.float64), 0
    for prompt in range(4):
        rows = [row for row, whose in enumerate(batch.prompts.tolist()) if whose == prompt]
        pairs = []
        for i, j in combinations(rows, 2):
            gap = float(batch.rewards[i] - batch.rewards[j])
            if gap == 0:
                ties += 1
                continue
            better, worse = (i, j) if gap > 0 else (j, i)
            lead = scored[better] - scored[worse] - 0.5 * abs(gap)
            pairs.append(torch.log1p((-lead).exp()) + 0.1 * (scored[better] + scored[worse]) ** 2)
        total = total + sum(pairs) / len(pairs)
    assert ties == 4
    torch.testing.assert_close(loss.total, total, atol=1e-9, rtol=1e-9)
    (ours,) = torch.autograd.grad(loss.total, scored, retain_graph=True)
    (theirs,) = torch.autograd.grad(total, scored)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    assert loss.tokens == 4, "a prompt counts once, however many pairs it has"


@pytest.mark.parametrize("kind", list(LANGUAGES))
def test_a_batch_is_its_prompts_alone(kind: str) -> None:
    made = preferences.tokenizer()
    network, spec = preferences.model(LANGUAGES[kind], made)
    learned = preferences.objective({"kind": "reward"}, spec, made)
    model = learned.prepare(tiny.randomise(network, std=0.3))
    nn.init.normal_(model.get_parameter(CLASSIFIER))
    made_batches = preferences.batches(learned)
    alone = [learned.loss(model, made_batches.laid_out([i])) for i in range(6)]
    together = learned.loss(model, made_batches.laid_out(range(6)))
    assert together.total.item() == pytest.approx(sum(loss.total.item() for loss in alone), abs=1e-5)
    assert together.tokens == sum(loss.tokens for loss in alone) == 6


def test_each_reply_is_read_once() -> None:
    """Of nine replies, nine rows and not two for each of 36 pairs."""
    made = preferences.tokenizer()
    _, spec = preferences.model(LANGUAGES["decoder"], made)
    completions = [Completion(str(n), float(n)) for n in range(9)]
    asked = [preference("e", [Message("user", ("nine",))], completions)]
    batch = preferences.all_of(preferences.objective({"kind": "reward"}, spec, made, asked))
    assert len(batch.target) == 9
    assert len(batch.better) == 36


@pytest.mark.parametrize("kind", list(LANGUAGES))
def test_a_score_is_read_at_the_end_token_whatever_pads(kind: str) -> None:
    """pad = end, and padding of other tokens: the scores stay. Read one place before, or at the row's last place, they
    would not.
    """
    made = preferences.tokenizer()
    network, spec = preferences.model(LANGUAGES[kind], made)
    learned = preferences.objective({"kind": "reward"}, spec, made)
    model = learned.prepare(tiny.randomise(network, std=0.4))
    nn.init.normal_(model.get_parameter(CLASSIFIER))
    batch = preferences.all_of(learned)
    end = spec.language.tokens.end  # type: ignore[union-attr]
    last = batch.real.sum(1) - 1
    assert batch.target[torch.arange(len(last)), last].eq(end).all(), "the end token is read, and scored"
    before = scores(model, batch)
    for pad in (end, 7):
        padded = replace(batch, target=batch.target.where(batch.real, pad))
        torch.testing.assert_close(scores(model, padded), before, atol=1e-6, rtol=1e-6)
    single = [preferences.batches(learned).laid_out([0])][0]
    torch.testing.assert_close(scores(model, single), before[: len(single.target)], atol=1e-5, rtol=1e-5)


def test_padding_on_either_side_leaves_the_last_real_token() -> None:
    model = nn.Module()
    model.add_module("classifier", nn.Linear(3, 1, bias=False))
    states = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    real = torch.tensor([[False, True, True, False], [True, True, True, True]])
    with torch.no_grad():
        model.get_parameter(CLASSIFIER).copy_(torch.tensor([[1.0, 0.0, 0.0]]))
    assert last_scores(model, states, real).tolist() == [6.0, 21.0]


def test_the_layer_begins_as_the_paper_has_it() -> None:
    made = preferences.tokenizer()
    network, spec = preferences.model(tiny.decoder(width=400, layers=1), made)
    learned = preferences.objective({"kind": "reward"}, spec, made)
    weight = learned.prepare(network).get_parameter(CLASSIFIER)
    assert weight.shape == (1, 400)
    assert float(weight.detach().std() * 401) == pytest.approx(1.0, abs=0.12)
    again = learned.prepare(network).get_parameter(CLASSIFIER)
    assert torch.equal(weight, again), "the run's seed draws it"


def test_the_prompt_is_made_into_tokens_once() -> None:
    """No token of the completion reaches into the prompt: 'se' + 'ven' are not 'seven'."""
    made = preferences.tokenizer()
    _, spec = preferences.model(LANGUAGES["decoder"], made)
    completions = [Completion("ven", 1.0), Completion("x", 0.0)]
    asked = [preference("e", [Message("user", ("se",))], completions)]
    (ranking,) = preferences.objective({"kind": "reward"}, spec, made, asked).rankings(asked)
    first, second = ranking.parts
    assert list(first.source) == list(second.source) == made.encode("se")
    assert list(first.target) == [*made.encode("ven"), spec.language.tokens.end]  # type: ignore[union-attr]
    assert len(made.encode("seven")) < len(first.source) + len(first.target) - 1, "together they would melt"


def taught(kind: str, folder: Path) -> Path:
    return tiny.run_recipe(preferences.recipe(kind, {"kind": "reward"}, steps=3, batch=4), folder)


@pytest.mark.parametrize("kind", [*LANGUAGES, "encoder", *SEEING])
def test_a_recipe_ends_as_a_reward_model(kind: str, preference_reader: str, tmp_path: Path) -> None:
    """Of any model that writes text; loaded and saved again it scores alike, as training scored."""
    folder = taught(kind, tmp_path / "run")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"accuracy", "lead", "score", "validation_loss"} <= set(lines[-1])
    model = sepiola.load(folder)
    talks = [
        [*example.messages, Message("assistant", (example.metadata["completions"][0]["text"],))]
        for example in preferences.rankings(picture=kind in SEEING)[:6]
    ]
    found = [model.reward(talk) for talk in talks]
    assert all(isinstance(score, float) for score in found)
    assert len({*found}) == len(found)
    assert model.score(talks) == pytest.approx(found, abs=1e-5), "in one batch"
    model.save(tmp_path / "again")
    assert sepiola.load(tmp_path / "again").score(talks) == pytest.approx(found, abs=1e-6)
    if kind in SEEING:
        other = [[Message("user", (tiny.colour_picture("black"), talk[0].text)), talk[-1]] for talk in talks]
        assert model.score(other) != pytest.approx(found, abs=1e-6), "it sees"
    else:
        learned = preferences.objective({"kind": "reward"}, bare(model), model.require_tokenizer())
        batch = preferences.batches(learned).laid_out(range(6))
        firsts = [batch.prompts.tolist().index(prompt) for prompt in range(6)]
        assert scores(model.network, batch)[firsts].tolist() == pytest.approx(found, abs=1e-5)


def bare(model: sepiola.Model) -> Any:
    return model.spec.model_copy(update={"classifier": None})


def test_a_reward_model_learns_what_is_better(tmp_path: Path) -> None:
    made = preferences.tokenizer()
    network, spec = preferences.model(LANGUAGES["decoder"], made)
    stage = {"steps": 60, "batch": 10, "learning_rate": 3e-3, "schedule": "constant"}
    learned = preferences.objective({"kind": "reward", "centring": 0.01}, spec, made, **stage)
    policies.trainer(learned, network, tmp_path, log_every=1).run()  # type: ignore[arg-type]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["tied_prompts"] == 0
    assert lines[1]["accuracy"] < 0.8 < 0.97 < lines[-1]["accuracy"]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_the_hub_takes_it_and_gives_it_back(family: str, tmp_path: Path) -> None:
    """A layer that was taught here scores alike under transformers, and comes back."""
    made = preferences.tokenizer()
    base = LlamaConfig(**{**tiny.HUB_LLAMA, "vocab_size": made.vocabulary}).to_dict()
    known = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 64}
    config: dict[str, Any] = {**{key: base[key] for key in known}, **heads, "tie_word_embeddings": family == "qwen2"}
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    auto = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(family, **config))
    auto.save_pretrained(tmp_path / "first")
    first = sepiola.load(tmp_path / "first")
    learned = preferences.objective({"kind": "reward"}, first.spec, made)
    network = learned.prepare(first.network)
    nn.init.normal_(network.get_parameter(CLASSIFIER))
    model = sepiola.Model(network, learned.model(), made)
    model.save_hub(tmp_path / "hub")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hub")
    ids = torch.tensor([made.encode("seven 七 7")])
    with torch.no_grad():
        wanted = theirs(ids).logits.item()
    assert model.score(["seven 七 7"]) == pytest.approx([wanted], abs=1e-5)
    assert sepiola.load(tmp_path / "hub").score(["seven 七 7"]) == pytest.approx([wanted], abs=1e-5)
    assert theirs.config.num_labels == 1


def test_a_policy_is_paid_by_it_in_its_own_words(preference_reader: str, tmp_path: Path) -> None:
    """The reward of a reply is `model.reward` of the conversation; a cut reply has no end token."""
    folder = taught("prefix", tmp_path / "run")
    model = sepiola.load(folder)
    examples = preferences.rankings(picture=True)[:3]
    paid = reward_of(reward_spec({"kind": "learned", "model": str(folder)}))
    written = [Written(str(n), str(n), True) for n in range(3)]
    found = paid.score(examples, written)
    assert found == pytest.approx(
        [model.reward([*e.messages, Message("assistant", (w.text,))]) for e, w in zip(examples, written, strict=True)],
        abs=1e-5,
    )
    cut = paid.score(examples, [replace(one, ended=False) for one in written])
    assert all(abs(one - other) > 1e-6 for one, other in zip(cut, found, strict=True))


def test_other_words_are_refused(preference_reader: str, tmp_path: Path) -> None:
    """A reward model of a chat template, and a policy that writes without; and the other way round."""
    plain = taught("decoder", tmp_path / "run")
    reward_spec({"kind": "learned", "model": str(plain)}).check_words("one message a line")
    made = preferences.tokenizer()
    _, spec = policies.policy(policies.KINDS["decoder"], made)
    (tmp_path / "run" / "checkpoint" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    raw = {"kind": "grpo", "samples": 2, "reward": {"kind": "learned", "model": str(plain)}}
    learned = policies.objective(raw, spec, made)
    with pytest.raises(SpecError, match=r"by the chat template [0-9a-f]{12}, and the policy writes by one"):
        policies.rollouts(learned, None)


@pytest.mark.parametrize("kind", ["grpo", "ppo"])
def test_policies_learn_by_a_reward_model(kind: str, preference_reader: str, tmp_path: Path) -> None:
    judge = taught("encoder-decoder", tmp_path / "judge")
    data = {"reader": preferences.READER}
    objective = {"kind": kind, "reward": {"kind": "learned", "model": str(judge)}, "samples": 2}
    stages = [{"name": "taught", "data": data, "steps": 2, "batch": 4, "target_tokens": 8}]
    stages.append({**stages[0], "name": "paid", "start": "taught", "objective": objective})
    raw = tiny.recipe("paid", {"language": {**LANGUAGES["decoder"], "vocabulary": 400}}, stages)
    folder = tiny.run_recipe(raw, tmp_path / "policy")
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["reward"] != 0


def test_a_dry_run_explains_it(preference_reader: str) -> None:
    stage = {
        "name": "judge",
        "data": {"reader": preference_reader},
        "objective": {"kind": "reward"},
        "steps": 3,
        "batch": 4,
    }
    raw = tiny.recipe("judged", {"language": {**LANGUAGES["decoder"], "vocabulary": 400}}, [stage])
    (run,) = explain(parse_recipe(raw), tiny.QUIET)["runs"]
    assert run["stages"][0]["samples"] == 20


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    made = preferences.tokenizer()
    _, spec = preferences.model(LANGUAGES["decoder"], made)
    asked = [Message("user", ("one",))]
    single = [preference("e", asked, [Completion("1", 1.0)])]
    with pytest.raises(DataError, match="e: one completion alone is compared with none; reward needs two or more"):
        preferences.batches(preferences.objective({"kind": "reward"}, spec, made, single))
    tied = [preference("e", asked, [Completion("1", 1.0), Completion("2", 1.0)])]
    with pytest.raises(TrainingError, match="none of the 1 prompts"):
        preferences.batches(preferences.objective({"kind": "reward"}, spec, made, tied))
    plain = [Example("e", tuple(asked), "1")]
    with pytest.raises(DataError, match="no completions"):
        preferences.batches(preferences.objective({"kind": "reward"}, spec, made, plain))
    stage = stage_of(steps=1, packed=True, objective={"kind": "reward", "format": "QCM-A"})
    with pytest.raises(ValueError, match="unset format, packed"):
        stage.check(spec)
    model = tiny.byte_model(tiny.decoder())
    with pytest.raises(SepiolaError, match="only a reward model scores texts"):
        model.reward([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder", "prefix"])
def test_a_chat_template_lays_out_what_is_scored(kind: str, preference_reader: str, tmp_path: Path) -> None:
    """With all that it sets after a reply; the template goes with the model, and pictures stand in it."""
    folder = tiny.run_recipe(preferences.recipe(kind, {"kind": "reward", "layout": "chat"}, steps=2), tmp_path)
    model = sepiola.load(folder)
    assert model.template is not None
    examples = preferences.rankings(picture=kind in SEEING)[:4]
    firsts = [[*e.messages, Message("assistant", (e.metadata["completions"][0]["text"],))] for e in examples]
    found = model.score(firsts)
    assert len({*found}) == 4
    if kind == "decoder":
        texts = [model.template.render(talk, add_generation_prompt=False) for talk in firsts]
        assert texts[0].startswith("User: zero?\nAssistant: 1</s>")
        assert model.score(texts) == pytest.approx(found, abs=1e-5)
    if kind == "prefix":
        other = [[Message("user", (tiny.colour_picture("black"), talk[0].text)), talk[-1]] for talk in firsts]
        assert model.score(other) != pytest.approx(found, abs=1e-6)
    paid = reward_of(reward_spec({"kind": "learned", "model": str(folder)}))
    written = [Written(talk[-1].text, "", True) for talk in firsts]
    assert paid.score(examples, written) == pytest.approx(found, abs=1e-5)
    assert paid.score(examples, [replace(one, ended=False) for one in written]) != pytest.approx(found, abs=1e-6)
    made = preferences.tokenizer()
    _, spec = policies.policy(policies.KINDS["decoder"], made)
    raw = {"kind": "grpo", "samples": 2, "layout": "chat", "reward": {"kind": "learned", "model": str(folder)}}
    (tmp_path / "own").mkdir()
    chatting = policies.objective(raw, spec, made)
    assert policies.rollouts(chatting, None).samples[0].source is not None, "its own template is the reward model's"
    with pytest.raises(SpecError, match="and the policy writes by one message a line"):
        policies.rollouts(policies.objective({**raw, "layout": None}, spec, made), None)


def test_a_blind_twin_is_blind_where_it_scores(preference_reader: str, tmp_path: Path) -> None:
    raw = {**preferences.recipe("prefix", {"kind": "reward"}, steps=2), "images": False}
    model = sepiola.load(tiny.run_recipe(raw, tmp_path))
    reply = Message("assistant", ("1",))
    shown = [[Message("user", (tiny.colour_picture(colour, (64, 64)), "one")), reply] for colour in ("red", "blue")]
    assert model.reward(shown[0]) == model.reward(shown[1]) == model.reward([Message("user", ("one",)), reply])
