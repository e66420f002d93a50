"""Files of recipes: what is none is one message, and an unknown name has its nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import read_recipe


@pytest.mark.parametrize("text", ["[1, 2", "3", "a: [unclosed", "\ufeffkey"])
def test_a_file_that_is_no_recipe_is_one_message(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"broken\.yaml"):
        read_recipe(str(path))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'mm-cot/demo'"):
        read_recipe("mm-cot/dmeo")
