"""Arithmetic: what Python's own fractions give, and nothing for what is no arithmetic or too large."""

from __future__ import annotations

import json
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest

from sepiola.reasoning.toolset.calculator import Calculator

calculate = Calculator()


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("135+7721", "7856"),
        ("16-3-4", "9"),
        ("1,234,567 + 1", "1234568"),
        ("２×（３＋４）÷７＝？", "2"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2**-1", "0.5"),
        ("1/3", "0.3333333333"),
        ("0.1+0.2", "0.3"),
        ("15% * 80", "12"),
        (".5*4=", "2"),
        ("1/10^12", "1e-12"),
        ("--3+1", "4"),
    ],
)
def test_arithmetic(text: str, result: str) -> None:
    assert calculate(text) == [result]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "hello",
        "1+",
        "(1+2",
        "1/0",
        "0^-1",
        "12,34+1",
        "1 2",
        "2^0.5",
        "9^9^9^9",
        "2^99999",
        "__import__('os')+1",
        "1;1+1",
        "1+1#",
        "(" * 60 + "1+1" + ")" * 60,
        "1+" * 150 + "1",
        "99999999999^64*99999999999^64",
    ],
)
def test_what_is_no_arithmetic_or_out_of_bounds_gives_nothing(text: str) -> None:
    assert calculate(text) == []


def test_sums_and_products_are_those_of_fractions() -> None:
    rng = random.Random(0)
    for _ in range(300):
        numbers = [rng.randrange(1, 200) for _ in range(rng.randrange(2, 6))]
        signs = [rng.choice("+-*") for _ in numbers[1:]]
        text = str(numbers[0]) + "".join(sign + str(number) for sign, number in zip(signs, numbers[1:], strict=True))
        products = [1]
        total, sign = Fraction(0), 1
        value = Fraction(numbers[0])
        for operation, number in zip(signs, numbers[1:], strict=True):
            if operation == "*":
                value *= number
            else:
                total, value, sign = total + sign * value, Fraction(number), 1 if operation == "+" else -1
        assert products and calculate(text) == [str(int(total + sign * value))]


def test_the_calls_of_gsm8k(data_root: Path) -> None:
    right = count = 0
    for line in (data_root / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        for asked, result in re.findall(r"<<([^<>=]+)=([^<>=]+)>>", json.loads(line)["answer"]):
            if re.search(r"[-+*/]", asked):
                found, written = calculate(asked), calculate(f"{result}+0")
                count += 1
                right += bool(found and written) and abs(float(found[0]) - float(written[0])) < 0.01
    assert count > 20_000 and right / count > 0.98
