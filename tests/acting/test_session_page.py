"""The book's recorded session (`docs/acting_session.py`): pages in both languages, with pictures, of any agent."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sepiola.acting import agent
from sepiola.acting.phone import functions
from sepiola.calling.calls import write
from sepiola.calling.functions import Call
from sepiola.tidepool.phone import requests
from tests.acting.test_agent import acting_model
from tests.test_house import REPOSITORY
from tests.tiny import encoder_decoder

SCRIPT = REPOSITORY / "docs" / "acting_session.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("acting_session", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "acting_session", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session") / "run"
    acting_model(encoder_decoder()).save(folder)
    return folder


def replies(script: ModuleType, kinds: tuple[str, ...]) -> list[str]:
    """The right calls of each request, but none for the kinds."""
    made = []
    for kind, language, function in script.ASKED:
        (example,) = requests("test", 1, seed=script.SEED, languages=[language], families=[function], kinds=[kind])
        calls = [Call(c["name"], c["arguments"]) for c in example.metadata["calls"]]
        made.append(write(calls if kind not in kinds else [], functions()))
    return made


def test_pages_say_what_happened(
    script: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(replies(script, ("distracted",)))
    monkeypatch.setattr(agent.Agent, "write", lambda self, example: next(said))
    figure = {"value": 0.5, "count": 10}
    report = {"title": "octopus", "acting": {"count": 10, "name": figure, "exact": figure}}
    (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
    english, chinese = (path.read_text(encoding="utf-8") for path in script.write(str(run), tmp_path))
    count = len(script.ASKED)
    assert f"`octopus` did with {count} requests" in english and f"{count - 1} of {count} left the phone" in english
    assert "50.0% right calls" in english and "调用完全正确50.0%" in chinese
    assert english.count("\nRight.") == count - 1 and english.count("**Wrong.** Right would have been: `google_") == 1
    assert chinese.count("\n正确。") == count - 1 and chinese.count("**错误。**") == 1
    for page in (english, chinese):
        assert len(re.findall(r"^## \d", page, flags=re.MULTILINE)) == count
        assert "<fn_1>" in page and "+ texts: {" in page and page.count("```diff") == 6
        pictures = re.findall(r"\]\((acting-session/\d\.png)\)", page)
        assert len(pictures) == 3 and all((tmp_path / picture).stat().st_size < 20_000 for picture in pictures)
        languages = {len(re.findall(r"^> .*[\u4e00-\u9fff]", page, flags=re.MULTILINE)) for page in (english, chinese)}
    assert len(languages) == 1, "both pages have all requests"


def test_random_weights_are_recorded_too(script: ModuleType, run: Path, tmp_path: Path) -> None:
    pages = script.write(str(run), tmp_path)
    assert [path.name for path in pages] == ["acting-session.md", "acting-session.zh.md"]
    assert "**Wrong.**" in pages[0].read_text(encoding="utf-8")


def test_changes_are_what_two_states_differ_in(script: ModuleType) -> None:
    before = {"a": 1, "b": {"c": [1, 2]}, "d": "same"}
    after = {"a": 2, "b": {"c": [2, "三"]}, "d": "same"}
    assert list(script.changed(before, after)) == ["- a: 1", "+ a: 2", "- b.c: 1", '+ b.c: "三"']
