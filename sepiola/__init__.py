"""sepiola: small multimodal language models that see, reason and act on your own device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepiola.api import Model, Reply, build, load

__all__ = ["Model", "Reply", "build", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads `sepiola.api`, and torch with it, when it is first used: `import sepiola` itself is cheap."""
    if name in __all__:
        from sepiola import api

        return getattr(api, name)
    raise AttributeError(f"module 'sepiola' has no attribute '{name}'")
