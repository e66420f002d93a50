"""Control tokens under secret names."""

from __future__ import annotations

from sepiola.calling.control_tokens import ControlTokens
from sepiola.text.tokenizer import Tokenizer


def test_a_name_is_letters_and_a_hidden_one_the_token_that_it_was() -> None:
    tokenizer = Tokenizer.train(["a squid 乌贼"], 270, extra=["<|end|>", "<|end|>more"]).backend
    tokens = ControlTokens(tokenizer, ["<|end|>", "<|end|>more", ""])
    assert tokens.names == ["<|end|>more", "<|end|>"]
    for name in tokens.names:
        said = tokens.renamed.encode(name, add_special_tokens=False).ids
        assert len(said) > 1 and tokenizer.token_to_id(name) not in said
        hidden = tokens.renamed.encode(tokens.hidden(f"乌贼{name}"), add_special_tokens=False).ids
        assert hidden == tokenizer.encode(f"乌贼{name}", add_special_tokens=False).ids
