"""A model as the runtime without torch reads it (`edge/sepiola_edge`): packed weights, tokenizer, and what stands
around a conversation's messages, read off the chat template.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from torch import nn

from sepiola.checkpoints import store
from sepiola.errors import DataError, SepiolaError, SpecError, shown
from sepiola.generation.chat import Chat
from sepiola.generation.engine import Engine
from sepiola.generation.sampling import Sampling
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.runtime.native import BUILD, built
from sepiola.runtime.native_weights import core_spec, core_tensors
from sepiola.runtime.plain import TorchExecutor
from sepiola.text.chat import ChatTemplate, as_message
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

BITS = (4, 8, 16)


class Frame(TypedDict):
    """`sepiola_edge.frame.Frame`, as `edge.json` holds it."""

    start: str
    system: tuple[str, str] | None
    answered: str
    following: str
    reply: str
    strips: bool
    framed: bool


def save_edge(folder: Path, network: nn.Module, processor: Processor, tokenizer: Tokenizer, bits: int) -> str | None:
    """Writes the folder, in place of one that is there; returns why it cannot chat, or None where it can.

    Raises SepiolaError for a model that the core does not run, or that sees: the edge runtime reads text alone so far.
    """
    if bits not in BITS:
        raise SpecError(f"bits: got {shown(bits)}; expected 4, 8 or 16")
    if not isinstance(network, LanguageModel | EncoderDecoder):
        raise SepiolaError("the edge runtime reads text alone so far: this model sees, compares or tells labels apart")
    if not built():
        raise SepiolaError(f"the native core is not built: {BUILD}")
    from sepiola_edge import folder as folders

    engine = Engine(TorchExecutor(network), ends=frozenset(processor.ends))
    chat = Chat(engine, processor, tokenizer)
    generation = processor.generation
    penalty = generation.repetition_penalty
    if Sampling.of(generation) != Sampling(repetition_penalty=penalty):
        raise SepiolaError("the checkpoint forces or forbids tokens (generation_config.json); the edge runtime cannot")
    try:
        frame, reason = frame_of(chat.template, framed=chat.bare), None
    except DataError as error:
        frame, reason = None, str(error)
    config = {
        "core": core_spec(network.spec, network),
        "bits": bits,
        "ends": sorted(engine.ends),
        "chat_ends": sorted(chat.ends),
        "start": engine.tokens.start,
        "end": engine.tokens.end,
        "limits": [generation.max_new_tokens, generation.max_length],
        "stop_strings": list(generation.stop_strings),
        "repetition_penalty": penalty,
        "frame": frame,
    }
    with store.saving(folder) as aside:
        folders.write(aside, config, core_tensors(network, bits), tokenizer.to_json())
    return reason


def frame_of(template: ChatTemplate, *, framed: bool = False) -> Frame:
    """What a chat template sets around messages, found with messages that nobody writes and held against others.

    Raises DataError for a template that does more than set texts around messages.
    """
    if any("strftime_now" in source for source in template.templates.values()):
        raise DataError("the chat template states the date, which a frame cannot")
    said = [f"q{secrets.token_hex(8)}z" for _ in range(4)]
    first, answer, second, system = said

    def split(roles: Sequence[str], contents: Sequence[str]) -> list[str]:
        text, parts = _rendered(template, roles, contents), list[str]()
        for content in contents:
            before, found, text = text.partition(content)
            if not found:
                raise DataError("the chat template moves, changes or leaves out a message")
            parts.append(before)
        return [*parts, text]

    start, reply = split(["user"], [first])
    _, answered, following, end = split(["user", "assistant", "user"], [first, answer, second])
    try:
        head, tail, _ = split(["system", "user"], [system, first])
        around: tuple[str, str] | None = (head, tail)
    except DataError:
        around = None
    padded = f" {first}\n"
    strips = padded not in _rendered(template, ["user"], [padded])
    frame = Frame(
        start=start,
        system=around,
        answered=answered,
        following=following,
        reply=reply,
        strips=strips,
        framed=framed,
    )
    if end != reply:
        raise DataError("the chat template sets other texts around later turns")
    _check(template, frame, said)
    return frame


def _check(template: ChatTemplate, frame: Frame, said: Sequence[str]) -> None:
    """Raises DataError where conversations laid out by the frame are not the template's."""
    from sepiola_edge.frame import Frame as EdgeFrame

    edge = EdgeFrame.of(frame)
    talk = ["user", "assistant"] * 3
    for roles in (["user"], [*talk, "user"], *([["system", "user"], ["system", *talk, "user"]] if edge.system else [])):
        for around in ("{}", "  {}\n\n", "{} 你好 <b>"):
            contents = [around.format(said[i % len(said)]) for i in range(len(roles))]
            messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
            if "".join(text for text, _ in edge.pieces(messages)) != _rendered(template, roles, contents):
                raise DataError("the chat template does more than set texts around messages")


def _rendered(template: ChatTemplate, roles: Sequence[str], contents: Sequence[str]) -> str:
    turns = zip(roles, contents, strict=True)
    return template.render([as_message({"role": role, "content": text}) for role, text in turns])
