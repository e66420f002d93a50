"""The checker of `bfcl_eval` (PyPI), as it is published, without the hundred packages that it would install.

Of its table of hosted models it reads whether dots in names become underscores, which no model of ours does; its
readers of Java and JavaScript are not asked. In the place of both stands what needs nothing.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

WHY_NOT = "bfcl_eval is not installed (pip install --no-deps bfcl_eval)"
Verdict = Callable[[Sequence[Any], Sequence[Any], Sequence[Any], str], bool]
"""Whether calls are right: of the functions, the calls, the answers and the category."""


def verdict() -> Verdict | None:
    """Its verdict; None where it is not installed (`WHY_NOT`)."""
    if importlib.util.find_spec("bfcl_eval") is None:
        return None
    models: Any = types.ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = defaultdict(lambda: types.SimpleNamespace(underscore_to_dot=False))
    sys.modules.setdefault(models.__name__, models)
    for name in ("java_type_converter", "js_type_converter"):
        reader: Any = types.ModuleType(f"bfcl_eval.eval_checker.ast_eval.type_convertor.{name}")
        setattr(reader, name, lambda value, *kinds: value)
        sys.modules.setdefault(reader.__name__, reader)
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def judge(functions: Sequence[Any], calls: Sequence[Any], answers: Sequence[Any], category: str) -> bool:
        return bool(ast_checker(functions, calls, answers, Language.PYTHON, category, "any")["valid"])

    return judge
