"""YAML from outside: plain data, or one line that says what is wrong and where."""

from __future__ import annotations

import pytest

from sepiola.errors import SpecError
from sepiola.specs.safe_yaml import DEEPEST, load_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", r"expected the node content.*\(line 1, column 2\)"),
        ("@x", "cannot start any token"),
        ("a: b: c", "mapping values are not allowed here"),
        ("a: 1\nb: 2\na: 3", r"the key 'a' stands twice, first in line 1 \(line 3"),
        ("{图: 1, 图: 2}", "the key '图' stands twice"),
        ("[" * 800 + "]" * 800, "nested more than 60 levels"),
        (BOMB, "aliases make more than 100,000 values"),
        ("&a [*a]", "holds itself"),
        ("9" * 5000, "a number of 5,000 digits"),
        ("0x_", "'0x_' is no number"),
        ("!!int ''", "'' is no number"),
        ("!!bool maybe", "'maybe' is neither true nor false"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("!!set {a}", "could not determine a constructor"),
        ("? [1]\n: 2", "unhashable key"),
        ("- \x00", "unacceptable character"),
        ("a\n---\nb", "another document"),
        ("x" * (1 << 23), "8,388,608 characters"),
    ],
)
def test_what_is_no_plain_data_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match=rf"^SOURCE: .*{reason}") as error:
        load_yaml(text, "SOURCE")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_plain_data_is_read_as_it_is_written() -> None:
    text = "{when: 2024-13-45, sign: =, rate: 5e-5, far: .inf, 图: [1, -0x1F, 1.5, yes, null], base: &b {x: 1, y: 2}}"
    assert load_yaml(text, "s") == {
        "when": "2024-13-45",
        "sign": "=",
        "rate": "5e-5",
        "far": float("inf"),
        "图": [1, -31, 1.5, True, None],
        "base": {"x": 1, "y": 2},
    }


def test_aliases_and_merges_may_be_used() -> None:
    text = "base: &b {x: 1, y: 2}\nover: {<<: *b, y: 3}\nagain: [*b, *b]"
    assert load_yaml(text, "s")["over"] == {"x": 1, "y": 3}
    assert load_yaml(text, "s")["again"] == [{"x": 1, "y": 2}] * 2
    assert load_yaml("[" * DEEPEST + "]" * DEEPEST, "s")
