"""A calculator: arithmetic of numbers, `+ - * / ^ %` and parentheses, read by a parser of its own and counted in exact
fractions. Nothing is evaluated as code; texts, nesting, exponents and numbers have bounds.
"""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST, DEEPEST, MOST_POWER, MOST_BITS = 200, 24, 64, 512
PLACES = 10
"""Digits after the point that a result has at most."""
_SIGNS = str.maketrans("×÷−–（）＋－，＝·％＊／０１２３４５６７８９", "*/--()+-,=*%*/0123456789")
_TOKEN = re.compile(r"\s*(\d[\d,]*(?:\.\d+)?|\.\d+|\*\*|[-+*/^%()])")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?|\d+(\.\d+)?|\.\d+")


class Calculator:
    """`135+7721` gives `["7856"]`; what is no arithmetic, has no operation or is out of bounds gives `[]`."""

    def __call__(self, text: str) -> list[str]:
        if len(text) > LONGEST:
            return []
        plain = text.translate(_SIGNS).strip()
        tokens = _tokens(re.sub(r"\s*=\s*[?？]?$", "", plain))
        if not tokens or not any(token in "+-*/^%**" for token in tokens):
            return []
        try:
            parser = _Parser(tokens)
            value = parser.sum(0)
            return [_written(value)] if parser.at == len(tokens) else []
        except (_NoArithmeticError, ZeroDivisionError):
            return []


class _NoArithmeticError(Exception):
    """The text is not arithmetic, or beyond the bounds."""


class _Parser:
    """Recursive descent: sums of products of powers of signed numbers; powers bind to the right."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def sum(self, depth: int) -> Fraction:
        value = self._product(depth)
        while self._next("+", "-"):
            sign = 1 if self._take() == "+" else -1
            value = _bounded(value + sign * self._product(depth))
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._signed(depth)
        while self._next("*", "/"):
            value = _bounded(value * self._signed(depth) if self._take() == "*" else value / self._signed(depth))
        return value

    def _signed(self, depth: int) -> Fraction:
        sign = 1
        while self._next("+", "-"):
            sign = sign if self._take() == "+" else -sign
        return sign * self._power(depth)

    def _power(self, depth: int) -> Fraction:
        if depth > DEEPEST:
            raise _NoArithmeticError
        value = self._number(depth)
        while self._next("%"):
            self._take()
            value /= 100
        if not self._next("^", "**"):
            return value
        self._take()
        sign = -1 if self._next("-") and self._take() else 1
        power = sign * self._power(depth + 1)
        if power.denominator != 1 or abs(power) > MOST_POWER or abs(power) * _bits(value) > MOST_BITS:
            raise _NoArithmeticError
        return _bounded(value ** int(power))

    def _number(self, depth: int) -> Fraction:
        if self.at == len(self.tokens):
            raise _NoArithmeticError
        token = self._take()
        if token == "(":
            value = self.sum(depth + 1)
            if not self._next(")"):
                raise _NoArithmeticError
            self._take()
            return value
        if not _THOUSANDS.fullmatch(token):
            raise _NoArithmeticError
        return _bounded(Fraction(token.replace(",", "")))

    def _next(self, *tokens: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] in tokens

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]


def _tokens(text: str) -> list[str]:
    """The numbers and signs of a text; none where something else stands in it."""
    tokens, at = list[str](), 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return []
        tokens.append(found[1])
        at = found.end()
    return tokens


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MOST_BITS:
        raise _NoArithmeticError
    return value


def _written(value: Fraction) -> str:
    """A whole number as it is, another rounded to PLACES digits, half to even, without zeros at its end."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = round(abs(value) * 10**PLACES)
    if scaled == 0:
        return f"{float(value):.{PLACES}g}"
    whole, part = divmod(scaled, 10**PLACES)
    digits = f"{part:0{PLACES}d}".rstrip("0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
