"""Trains one stage: batches, loss, AdamW (arXiv 1711.05101), and everything that lets a run be trusted and
resumed.

Weights and optimizer are float32; products run in bfloat16 where the machine has it (autocast). Several
batches of a step (`accumulate`) count each token alike, as one large batch would. The run's folder holds
`metrics.jsonl`, `state.pt` (all that a resume needs) and, when there is validation data, `best.safetensors`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from sepiola.checkpoints.tensors import read_tensors
from sepiola.data.batching import Batch
from sepiola.data.features import encoder_key
from sepiola.data.files import sweep
from sepiola.data.metrics_log import MetricsLog
from sepiola.errors import CheckpointError, TrainingError
from sepiola.nn.precision import autocast, resolve
from sepiola.specs.stage import StageSpec
from sepiola.training import nonfinite, state
from sepiola.training.batches import Batches
from sepiola.training.loss import Loss
from sepiola.training.memory import keep_pages, peak_memory
from sepiola.training.optimizers import optimizer_for
from sepiola.training.progress import Display
from sepiola.training.ranks import Ranks
from sepiola.training.schedules import learning_rate, planned_steps
from sepiola.training.signals import InterruptedTrainingError, StopSignals
from sepiola.training.state import WINDOW, Progress, State

_log = logging.getLogger(__name__)

SAVE_SECONDS = 600.0  # without `save_every`, a state is written this often
BAD = "not finite"  # what a rank counts its faulty losses by


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended. Losses are nats a target token; `loss` is that of the last logged steps."""

    steps: int
    loss: float | None
    validation_loss: float | None
    best_loss: float | None
    best_step: int | None
    seconds: float


class Trainer:
    """One stage of training of `model`, in place, by `loss` over `batches`: of all its parameters that need a gradient.

    Validation (`validation`, each of its batches once) runs every `validate_every` steps, by default after each epoch,
    and at the end; what is random in its batches is drawn alike each time. A state is written every `save_every` steps,
    by default every ten minutes, and at the end. Where the stage has `lora`, states and best weights hold the adapter
    alone, and not what it is laid on. Of several `ranks` each takes its share of every step; the first one alone
    validates, writes files and speaks.
    """

    def __init__(
        self,
        model: nn.Module,
        stage: StageSpec,
        loss: Callable[[nn.Module, Batch], Loss],
        batches: Batches,
        *,
        folder: Path,
        validation: Batches | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        log_every: int = 10,
        tensorboard: bool = False,
        console: Console | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        self.ranks.join(model, stage, batches, validation)
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.stage = stage
        self.loss = loss
        self.batches = batches
        self.validation = validation
        self.folder = Path(folder)
        self.seed = seed
        self.log_every = log_every
        self.tensorboard = tensorboard
        self.steps = planned_steps(stage, batches.steps_per_epoch)
        self.learning = [p for p in model.parameters() if p.requires_grad]
        still = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
        self.base = still if stage.lora else {}
        self.optimizer = optimizer_for(model, stage, batches.steps_per_epoch)
        self.dtype = resolve(stage.precision, self.device)
        base = encoder_key(stage.lora, self.base) if stage.lora else None
        self.identity = state.identity(stage, batches.fingerprint(), seed=seed, products=str(self.dtype), base=base)
        self.at = Progress()
        self.display = Display(stage.name, self.steps, console=console if self.ranks.first else Console(quiet=True))

    @property
    def state_file(self) -> Path:
        """The run's state, from which it resumes."""
        return self.folder / "state.pt"

    @property
    def best_file(self) -> Path:
        """The weights with the lowest validation loss."""
        return self.folder / "best.safetensors"

    def run(self, *, resume: bool = False) -> TrainingResult:
        """Trains to the stage's end; the model then holds the last weights (`load_best` gives the best).

        With `resume` it goes on from the folder's state, if there is one. Raises TrainingError when the
        folder holds a run and `resume` is not set, when that run is another, or when the loss or a gradient
        is not finite; InterruptedTrainingError after Ctrl-C or SIGTERM; CheckpointError when the state cannot
        be written or read.
        """
        if self.device.type == "cpu":
            keep_pages()
        with state.seeded(self.seed), StopSignals(alone=self.ranks.size == 1) as stop:
            resumed = self._restore(resume)
            self.ranks.check_alike(lambda: (encoder_key(self.stage, self.model.state_dict()), self.identity))
            log = None
            if self.ranks.first:
                sweep(self.folder)
                log = MetricsLog(self.folder, self.at.step if resumed else None, tensorboard=self.tensorboard)
            try:
                if log is not None and not log.resumed:
                    log.write(self._opening())
                with self.display:
                    self._train(log, stop)
            finally:
                if log is not None:
                    log.close()
        at = self.at
        if stop.received is not None:  # whenever it came: the caller's work after the last step is not begun
            raise InterruptedTrainingError(
                f"stage '{self.stage.name}' stopped by {stop.received} after step {at.step} of {self.steps}; "
                f"everything is saved in {self.folder}. Run the same command with --resume to go on",
                stop.status,
            )
        return TrainingResult(at.step, at.loss, at.validation_loss, at.best_loss, at.best_step, at.seconds)

    def _train(self, log: MetricsLog | None, stop: StopSignals) -> None:
        saved = time.monotonic()
        while not stop.agreed(self.ranks.gather) and self.at.step < self.steps:
            self._step(log)
            every, late = self.stage.save_every, time.monotonic() - saved > SAVE_SECONDS
            due = self.at.step % every == 0 if every else late
            if due or self.at.step == self.steps:
                self._save(self._snapshot())
                saved = time.monotonic()
        if self.at.step < self.steps:
            self._save(self._snapshot())

    def _step(self, log: MetricsLog | None) -> None:
        began = time.monotonic()
        before = self._place()
        rate = learning_rate(self.stage, self.at.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batches = [batch.to(self.device) for batch in self.batches.next()]
        own = Counter[str]()
        for batch in batches:
            own.update(labelled=batch.labelled, tokens=batch.tokens, samples=len(batch.ids))
        count = sum(self.ranks.gather(own), Counter[str]())
        labelled = count["labelled"]
        sums, norm = {"loss": 0.0}, 0.0
        if labelled:
            with self.ranks.own_draws(self.seed, self.at.step):
                sums = self._gradients(batches, before, labelled)
            norm = self._clip(before, batches)
            self.optimizer.step()
        elif not self.at.unlabelled and batches:
            _log.warning(
                "stage '%s', step %d: its samples hold nothing to predict (%s …); such steps change nothing",
                *(self.stage.name, self.at.step + 1, batches[0].ids[0]),
            )
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.monotonic() - began
        at, window = self.at, self.at.window
        at.step += 1
        at.seconds += seconds
        at.samples += count["samples"]
        at.unlabelled += not labelled
        for name, value in sums.items():
            window[name] = window.get(name, 0.0) + value
        window["labelled"] += labelled
        window["tokens"] += count["tokens"]
        window["seconds"] += seconds
        self.display.update(at.step, sums["loss"] / max(labelled, 1), window["tokens"] / max(window["seconds"], 1e-9))
        self._record(log, rate, norm)

    def _gradients(self, batches: Sequence[Batch], before: State, labelled: int) -> dict[str, float]:
        """Adds the gradients of the mean loss over all tokens of the step; returns the summed loss and its parts, of
        all ranks.
        """
        sums, bad = {"loss": 0.0}, list[Batch]()
        # One context for all batches: autocast casts each weight once and keeps it until the context ends.
        with autocast(self.device, self.dtype):
            for batch in batches:
                loss = self.loss(self.model, batch)
                value = loss.loss_sum.item()
                if not abs(value) < float("inf"):
                    bad = [batch]
                    break
                (loss.total / labelled).backward()
                for name, part in {"loss": value, **loss.parts}.items():
                    sums[name] = sums.get(name, 0.0) + float(part)
        sums = self.ranks.sum({**sums, BAD: len(bad)})
        if sums.pop(BAD):
            self._refuse("the loss", before, *bad)
        self.ranks.sum_gradients(self.learning)
        return sums

    def _clip(self, before: State, batches: Sequence[Batch]) -> float:
        """Scales the gradient down to the stage's `clip`; returns its norm before. It must be finite."""
        gradients = [p.grad for p in self.learning if p.grad is not None]
        norm = get_total_norm(gradients).item()
        if not norm < float("inf"):
            self._refuse("the gradient", before, *batches)
        if self.stage.optimizer.clip is not None and norm > self.stage.optimizer.clip:
            torch._foreach_mul_(gradients, self.stage.optimizer.clip / (norm + 1e-6))
        return norm

    def _refuse(self, what: str, before: State, *batches: Batch) -> None:
        """Saves the state before this step, which is not applied, and says where the fault began, on ranks that give
        `batches`.
        """
        self._restore_place(before)
        with autocast(self.device, self.dtype):
            where = nonfinite.locate(self.model, [partial(self.loss, self.model, batch) for batch in batches])
        self.optimizer.zero_grad(set_to_none=True)
        self._restore_place(before)
        self._save(self._snapshot())
        every = self.ranks.gather((where, [identity for batch in batches for identity in batch.ids]))
        where = next(place for place, some in every if some)
        ids = [identity for _, some in every for identity in some]
        shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        raise TrainingError(
            f"stage '{self.stage.name}', step {self.at.step + 1}: {what} is not finite, {where}; "
            f"samples {shown}. The step was not applied; the weights before it are in {self.state_file}. "
            f"Check these samples, or lower learning_rate ({self.stage.optimizer.learning_rate:g}), lengthen warmup "
            f"({self.stage.optimizer.warmup}) or use precision: float32"
        )

    def _record(self, log: MetricsLog | None, rate: float, norm: float) -> None:
        """A line every `log_every` steps and after each validation."""
        at = self.at
        every = self.stage.validate_every
        validate = self.validation is not None and (
            at.step == self.steps or (at.step % every == 0 if every else self.batches.epoch.is_integer())
        )
        if at.step % self.log_every and at.step != self.steps and not validate:
            return
        line: dict[str, float | int | str | None] = {}
        if at.window["labelled"]:
            at.loss = at.window["loss"] / at.window["labelled"]
        line |= {
            "step": at.step,
            "stage": self.stage.name,
            "epoch": round(self.batches.epoch, 4),
            "loss": at.loss,
            **{name: at.window[name] / max(at.window["labelled"], 1) for name in at.window if name not in WINDOW},
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens_per_second": round(at.window["tokens"] / max(at.window["seconds"], 1e-9), 1),
            "samples": at.samples,
            "seconds": round(at.seconds, 3),
            "peak_memory_gb": peak_memory(self.device),
        }
        at.window = Progress().window
        if validate:
            began = time.monotonic()
            line["validation_loss"] = self.ranks.by_first(self._validate)
            at.seconds += time.monotonic() - began
        if log is not None:
            log.write(line)

    def _validate(self) -> float:
        at, loss = self.at, self.validation_loss()
        at.validation_loss = loss
        if at.best_loss is None or loss < at.best_loss:
            at.best_loss, at.best_step = loss, at.step
            state.save_weights(self._weights(), self.best_file)
            at.best_checksum = state.checksum(self.best_file)
        self.display.say(f"{self.stage.name}: step {at.step}  validation loss {loss:.4f}")
        return loss

    def _opening(self) -> dict[str, float | int | str | None]:
        """The first line of the metrics: what is about to happen."""
        return {
            "step": 0,
            "stage": self.stage.name,
            "steps": self.steps,
            **self.batches.counts,
            "validation_samples": self.validation.counts["samples"] if self.validation is not None else 0,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "learning_parameters": sum(p.numel() for p in self.learning),
            "precision": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "seed": self.seed,
        }

    @torch.no_grad()
    def validation_loss(self) -> float:
        """The mean loss of a target token over the validation samples (nats), without dropout."""
        assert self.validation is not None
        modes = [module.training for module in self.model.modules()]
        self.model.eval()
        total, labelled = 0.0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for batch in self.validation.once():
                with autocast(self.device, self.dtype):  # features are float16, which autocast on a CPU refuses
                    loss = self.loss(self.model, batch.to(self.device))
                total, labelled = total + loss.loss_sum.item(), labelled + loss.tokens
        for module, mode in zip(self.model.modules(), modes, strict=True):
            module.training = mode
        if not labelled:
            raise TrainingError(
                f"stage '{self.stage.name}': the validation samples hold nothing to predict; give it others, or none"
            )
        return total / labelled

    def load_best(self) -> None:
        """Puts the weights with the lowest validation loss into the model; CheckpointError without them."""
        if not self.best_file.exists():
            raise CheckpointError(f"{self.best_file}: no such file; this stage has no validation data")
        if self.at.best_checksum != state.checksum(self.best_file):
            raise CheckpointError(
                f"{self.best_file}: damaged, or of another run; put it back from a copy, or remove the folder to begin "
                "the stage anew"
            )
        self._put_back(read_tensors(self.best_file))

    def _weights(self) -> dict[str, Tensor]:
        """What is saved of the model: all of it, but no base under an adapter."""
        return {name: value for name, value in self.model.state_dict().items() if name not in self.base}

    def _put_back(self, weights: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict({**self.base, **weights})

    def _place(self) -> State:
        return {"data": self.batches.state(), "random": state.random_state()}

    def _restore_place(self, place: State) -> None:
        self.batches.restore(place["data"])
        state.restore_random_state(place["random"])

    def _snapshot(self) -> State:
        return {
            **self._place(),
            "progress": vars(self.at),
            "run": self.identity,
            "model": self._weights(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _save(self, snapshot: State) -> None:
        if self.ranks.first:
            state.save(snapshot, self.state_file)

    def _restore(self, resume: bool) -> bool:
        if not self.state_file.exists():
            return False
        if not resume:
            raise TrainingError(
                f"{self.folder} already holds a run of stage '{self.stage.name}'; resume it with --resume, "
                "or take another folder"
            )
        saved = state.load(self.state_file)
        run = saved.get("run")
        if isinstance(run, dict):
            state.check_identity(self.identity, run, self.folder)
        try:
            self._put_back(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.at = Progress(**saved["progress"])
            self._restore_place(saved)
            if not isinstance(run, dict) or not 0 <= self.at.step <= self.steps:
                raise ValueError("its step is none of this stage")
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{self.state_file}: does not fit this stage ({type(error).__name__}: {reason}); remove it to begin "
                "the stage anew"
            ) from None
        return True
