"""Small tokenizers as those of GPT-2, SmolLM2, Qwen2, Llama and Gemma are made."""

from __future__ import annotations

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from sepiola.text.tokenizer import Tokenizer
from tests.tiny import TEXTS

CUT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False)
CUTS = {
    "gpt-2": WORDS,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), WORDS]),
    "qwen2": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(tokenizers.Regex(CUT % r"\p{N}"), "isolated"), BYTES],
    ),
    "llama-bpe": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(tokenizers.Regex(CUT % r"\p{N}{1,3}"), "isolated"), BYTES],
    ),
}
NAMES = ["<|im_start|>", "<|im_end|>"]
TOLD = [*TEXTS, "从前有一只耳乌贼，它住在海里。", "Once there was a squid; it lived in the sea."]


def bytewise(cut: str) -> Tokenizer:
    """A byte-level BPE as GPT-2, SmolLM2, Qwen2 or Llama 3 cut texts."""
    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=cut == "llama-bpe"))
    backend.pre_tokenizer, backend.decoder = CUTS[cut], decoders.ByteLevel()
    if cut == "qwen2":
        backend.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<end>", "<begin>"])
    backend.train_from_iterator(TOLD, trainer)
    backend.add_special_tokens(NAMES)
    backend.add_tokens(["<tool>"])
    if cut == "llama-bpe":
        backend.post_processor = processors.TemplateProcessing(
            single="<begin> $A", special_tokens=[("<begin>", backend.token_to_id("<begin>"))]
        )
    return Tokenizer(backend)


def sentencepiece(*, gemma: bool) -> Tokenizer:
    """SentencePiece's BPE as `tokenizer.json` has it: merges are all pairs that make a word, by the words' order."""
    raw = tokenizers.Tokenizer(models.BPE())
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("▁?[^▁]+"), "isolated")
    raw.train_from_iterator([f" {text}" for text in TOLD], trainers.BpeTrainer(vocab_size=330, max_token_length=6))
    learned = sorted(raw.get_vocab(), key=raw.get_vocab().__getitem__)
    words = ["<pad>", "<eos>", "<bos>", "<unk>"] if gemma else ["<unk>", "<s>", "</s>"]
    special = len(words)
    words = list(dict.fromkeys([*words, *(f"<0x{byte:02X}>" for byte in range(256)), *learned]))
    ids = {word: index for index, word in enumerate(words)}
    merges = [
        (word[:at], word[at:])
        for word in words[special + 256 :]
        for at in range(1, len(word))
        if word[:at] in ids and word[at:] in ids
    ]
    backend = tokenizers.Tokenizer(models.BPE(ids, merges, fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if gemma:
        backend.normalizer = normalizers.Replace(" ", "▁")
        backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        steps.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(steps)
    backend.add_special_tokens(words[:special])
    backend.add_special_tokens(NAMES)
    begin = "<bos>" if gemma else "<s>"
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, backend.token_to_id(begin))]
    )
    return Tokenizer(backend)
