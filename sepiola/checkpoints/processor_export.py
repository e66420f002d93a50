"""A processor in the Hub's layout: the files with which `transformers` asks, looks and stops as the original did.

What came from the Hub leaves as it came: the tokenizer's config with its class and tokens, the settings of writing. For
a tokenizer of our own the config says how texts are read here.
"""

from __future__ import annotations

import json

import tokenizers

from sepiola.checkpoints.config import JSON
from sepiola.checkpoints.processor import (
    ATTRIBUTES,
    FUNCTIONS,
    GENERATION,
    QFORMER_TOKENIZER,
    attributes_file,
    functions_file,
    generation_file,
)
from sepiola.checkpoints.store import TOKENIZER
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.text.chat import CONFIG as TOKENIZER_CONFIG
from sepiola.text.chat import DEFAULT, MORE, TEMPLATE, ChatTemplate
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

FILES = (GENERATION, TOKENIZER, TOKENIZER_CONFIG, TEMPLATE, FUNCTIONS)
"""What an export writes beside the weights; those that a new one has not must not stay from an older one."""
OUTDATED = ("chat_template.json", "special_tokens_map.json", "added_tokens.json")
"""What would contradict those files."""
_PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast"}  # tokenizer.json as it stands


def texts(processor: Processor, spec: ModelSpec) -> dict[str, str]:
    """The texts of all files but `config.json`, by their path in the folder."""
    files: dict[str, JSON | str] = {}
    language = spec.language
    if language is not None and spec.writes_no_text is None:
        starts = {} if language.kind == "decoder" else {"decoder_start_token_id": language.tokens.start}
        files[GENERATION] = {**starts, **generation_file(processor)}
    if language is not None and processor.tokenizer is not None:
        if processor.tokenizer_config:
            files[TOKENIZER] = processor.tokenizer.to_json()
            special = processor.template.special_tokens if processor.template is not None else {}
            files[TOKENIZER_CONFIG] = {**special, **processor.tokenizer_config}
        else:
            files |= _of_our_own(processor.tokenizer, language, processor.template)
    if processor.template is not None:
        for name, source in processor.template.templates.items():
            files[TEMPLATE if name == DEFAULT else f"{MORE}/{name}.jinja"] = source
    if processor.qformer_tokenizer is not None:
        files[f"{QFORMER_TOKENIZER}/{TOKENIZER}"] = processor.qformer_tokenizer.to_json()
        files[f"{QFORMER_TOKENIZER}/{TOKENIZER_CONFIG}"] = {
            **_PLAIN,
            "pad_token": processor.qformer_tokenizer.name_of(0),
        }
    if processor.functions is not None:
        files[FUNCTIONS] = functions_file(processor.functions)
    if processor.attributes is not None:
        files[ATTRIBUTES] = attributes_file(processor.attributes)
    return {
        path: content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
        for path, content in files.items()
    }


def with_ids(config: JSON, spec: ModelSpec, processor: Processor) -> JSON:
    """A model's `config.json` with the end and padding tokens of its processor, where it has them."""
    language = spec.language
    if language is None or spec.writes_no_text is not None:
        return config
    ends = list(processor.ends)
    ids = {"eos_token_id": ends[0] if len(ends) == 1 else ends or None, "pad_token_id": processor.pad}
    if (
        language.kind == "decoder"
        and processor.start is None
        and processor.generation_config.get("bos_token_id") is None
    ):
        ids["bos_token_id"] = None
    changed = {key: value for key, value in ids.items() if key in config and config[key] != value}
    config = {**config, **changed}
    if isinstance(inner := config.get("text_config"), dict):
        config["text_config"] = {**inner, **{key: value for key, value in ids.items() if key in inner}}
    return config


def _of_our_own(
    tokenizer: Tokenizer, language: TransformerSpec, template: ChatTemplate | None
) -> dict[str, JSON | str]:
    """`tokenizer.json` and the config with which `transformers` reads texts as we do.

    There is no start token, and for an encoder-decoder or a text tower the end token closes what they read.
    """
    backend = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    ids = {"eos_token": language.tokens.end, "pad_token": language.tokens.pad, "bos_token": language.tokens.start}
    if language.kind == "encoder-decoder":
        del ids["bos_token"]  # the start token is the decoder's, in config.json
    if language.kind == "encoder-decoder" or language.head.kind == "none":
        end = backend.id_to_token(language.tokens.end)
        if backend.post_processor is None and end is not None:
            backend.post_processor = tokenizers.processors.TemplateProcessing(
                single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, language.tokens.end)]
            )
    config = {
        **_PLAIN,
        "clean_up_tokenization_spaces": False,
        **{name: token for name, index in ids.items() if (token := backend.id_to_token(index)) is not None},
        **(template.special_tokens if template is not None else {}),
    }
    return {TOKENIZER: backend.to_str(pretty=False), TOKENIZER_CONFIG: config}
