"""Agents as folders: the agent before each addition lies whole in the one after it (`sepiola.experiments.grow`)."""

from __future__ import annotations

import shutil
from pathlib import Path

from sepiola.checkpoints.loading import folder_of
from sepiola.data.files import make_folder
from sepiola.errors import SpecError
from sepiola.experiments.agent import REQUESTS

EARLIER = "earlier"
"""The agent before the last addition, in the folder of the one after it."""
KEPT = ("checkpoint", REQUESTS, EARLIER, "recipe.yaml", "report.json", "report.html")
"""What of a run is the agent, and not the way to it."""


def folder_of_run(run: str | Path) -> Path:
    """The folder of an agent: a run, or a checkpoint alone. Raises CheckpointError when there is none."""
    found = folder_of(run)
    return found.parent if found.name == "checkpoint" else found


def copy_agent(source: Path, target: Path) -> None:
    """Copies an agent, file by file, with the agents that it was before; what is killed leaves no half of one there.

    Raises SpecError when `target` has files, or lies in the agent itself.
    """
    check_empty(target)
    if target.resolve().is_relative_to(source.resolve()):
        raise SpecError(f"{target}: lies in the agent that is copied, {source}; choose another folder (--out)")
    make_folder(target.parent)
    aside = target.parent / f".{target.name}.half"
    shutil.rmtree(aside, ignore_errors=True)
    if not (source / "checkpoint").is_dir():
        shutil.copytree(source, aside / "checkpoint")
    for name in KEPT:
        if (source / name).is_dir():
            shutil.copytree(source / name, aside / name)
        elif (source / name).is_file():
            shutil.copy2(source / name, aside / name)
    aside.replace(target)


def check_empty(folder: Path) -> None:
    """Raises SpecError for a folder that has files."""
    if folder.exists() and any(folder.iterdir()):
        raise SpecError(f"{folder}: holds files already; choose another folder (--out), or remove this one")
