"""Options of several commands: values are read as YAML, JSON stands alone on standard output."""

from __future__ import annotations

import json
import sys

import pytest

from sepiola.cli.options import console_of, print_json, reader_options
from sepiola.errors import SpecError


def test_reader_options_are_read_as_yaml() -> None:
    given = ["size=64", "with_image=true", "languages=[en, zh]", "name=图"]
    assert reader_options(given) == {"size": 64, "with_image": True, "languages": ["en", "zh"], "name": "图"}
    assert reader_options(None) == {}
    with pytest.raises(SpecError, match="size"):
        reader_options(["size"])


def test_with_json_people_read_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert console_of(True).file is sys.stderr and console_of(False).file is sys.stdout
    console_of(True).print("训练")
    print_json({"回答": [1, "红色"]})
    streams = capsys.readouterr()
    assert json.loads(streams.out) == {"回答": [1, "红色"]} and "红色" in streams.out
    assert streams.err == "训练\n"
