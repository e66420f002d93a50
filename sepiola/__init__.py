"""sepiola: small multimodal language models that see, reason and act on your own device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepiola.acting.agent import Agent
    from sepiola.acting.functions import function
    from sepiola.api import Model, build, load
    from sepiola.calling.policy import Policy
    from sepiola.generation.sampling import Sampling
    from sepiola.reasoning.answer import Reply

_HOMES = {
    "Agent": "sepiola.acting.agent",
    "Model": "sepiola.api",
    "Policy": "sepiola.calling.policy",
    "Reply": "sepiola.reasoning.answer",
    "Sampling": "sepiola.generation.sampling",
    "build": "sepiola.api",
    "function": "sepiola.acting.functions",
    "load": "sepiola.api",
}
__all__ = ["Agent", "Model", "Policy", "Reply", "Sampling", "build", "function", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads what is first used, and torch with it: `import sepiola` itself is cheap."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sepiola' has no attribute '{name}'")
