"""Copies of agents: whole, or not there, and none in the agent itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sepiola.errors import SpecError
from sepiola.experiments.earlier import copy_agent


def an_agent(folder: Path) -> Path:
    """A folder with the files of an agent that one function was added to, and others that are none of it."""
    for name in ("checkpoint/spec.yaml", "requests/train.jsonl", "earlier/checkpoint/spec.yaml", "stages/state.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "recipe.yaml").write_text("recipe")
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_the_agent_is_copied(tmp_path: Path) -> None:
    agent = an_agent(tmp_path / "agent")
    (tmp_path / "new").mkdir()  # an empty folder is as good as none
    copy_agent(agent, tmp_path / "new")
    assert files(tmp_path / "new") == {n: t for n, t in files(agent).items() if not n.startswith("stages")}
    copy_agent(agent / "checkpoint", tmp_path / "lone" / "one")
    assert files(tmp_path / "lone" / "one") == {"checkpoint/spec.yaml": "checkpoint/spec.yaml"}


def test_no_agent_is_copied_into_itself_or_over_another(tmp_path: Path) -> None:
    agent = an_agent(tmp_path / "agent")
    (tmp_path / "link").symlink_to(agent)
    before = files(agent)
    for target, said in (
        (agent, "holds files already"),
        (agent / "new", "lies in the agent"),
        (agent / "earlier" / "a" / "b", "lies in the agent"),
        (tmp_path / "link" / "new", "lies in the agent"),
    ):
        with pytest.raises(SpecError, match=said):
            copy_agent(agent, target)
    assert files(agent) == before


def test_a_copy_that_was_stopped_leaves_no_half_of_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, target = an_agent(tmp_path / "agent"), tmp_path / "out" / "earlier"

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copy2", stopped)  # the recipe, behind the checkpoint
        copy_agent(agent, target)
    assert not target.exists()
    copy_agent(agent, target)
    assert files(target) == {n: t for n, t in files(agent).items() if not n.startswith("stages")}
    assert [path.name for path in target.parent.iterdir()] == ["earlier"]
