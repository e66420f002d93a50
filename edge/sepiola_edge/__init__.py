"""Small language models on a plain CPU, without torch: `sepiola_edge.load(FOLDER).chat([...])`.

A folder is what `sepiola export MODEL --to edge --bits 4 --out FOLDER` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sepiola_edge.errors import EdgeError

if TYPE_CHECKING:
    from sepiola_edge.model import Model

__all__ = ["EdgeError", "load"]


def load(folder: str | Path, *, threads: int = 0) -> Model:
    """The model of a folder. Raises EdgeError for a folder that holds none.

    `threads` is by default as many as there are processors that the process may use.
    """
    from sepiola_edge.model import Model

    return Model.load(Path(folder), threads=threads)
