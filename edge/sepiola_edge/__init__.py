"""Small language models on a plain CPU, without torch: `sepiola_edge.load(FOLDER).chat([...])`, or `.act(request)`.

A folder is what `sepiola export MODEL --to edge --bits 4 --out FOLDER` writes. `Agent` runs Python callables as a model
calls them, as far as its `Policy` allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sepiola_edge.acting import Agent
from sepiola_edge.calling.functions import Call
from sepiola_edge.calling.policy import Policy
from sepiola_edge.errors import EdgeError
from sepiola_edge.sampling import Sampling

if TYPE_CHECKING:
    from sepiola_edge.model import Model

__all__ = ["Agent", "Call", "EdgeError", "Policy", "Sampling", "load"]


def load(folder: str | Path, *, threads: int = 0) -> Model:
    """The model of a folder. Raises EdgeError for a folder that holds none.

    `threads` is by default as many as there are processors that the process may use.
    """
    from sepiola_edge.model import Model

    if not isinstance(folder, str | Path) or not str(folder):
        raise EdgeError(f"a model is a folder that `sepiola export MODEL --to edge` wrote; got {folder!r:.200}")
    return Model.load(Path(folder), threads=threads)
