"""Files of recipes: what is none is one message, and an unknown name has its nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
from tests.tiny import RECIPE


@pytest.mark.parametrize("text", ["[1, 2", "3", "a: [unclosed", "\ufeffkey"])
def test_a_file_that_is_no_recipe_is_one_message(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"broken\.yaml"):
        read_recipe(str(path))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'mm-cot/demo'"):
        read_recipe("mm-cot/dmeo")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "/dev/zero", "..", ""])
def test_what_can_be_no_file_is_no_recipe(name: str) -> None:
    with pytest.raises(SpecError, match="no recipe '") as error:
        read_recipe(name)
    assert len(str(error.value)) < 900


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("arms={'../../x': {}}", "the name '../../x' holds"),
        ("arms={'': {}}", "the name '' is empty"),
        ("arms={checkpoint: {}}", "arms: 'checkpoint' may be what the comparison's own folder holds"),
        ("arms={Report.json: {}}", "arms: 'Report.json' may be what the comparison's own folder holds"),
        ("arms={a: {}, A: {}}", "arms: two names differ in case or in composed letters"),
        ('arms={"Å": {}, "A\\u030a": {}}', "arms: two names differ in case or in composed letters"),
        ("arms={blind: {stages.9.steps: 1}}", "demo, arm 'blind': stages.9.steps: '9' is not an index of this list"),
        ("seeds=[1, 1]", "seeds: expected each once, got [1, 1]"),
        ("seeds=[-1]", "seeds[0]: input should be greater than or equal to 0"),
        ("jobs=100000", "jobs: input should be less than or equal to 256"),
        ("stages.0.name=../x", "stages[0].name: the name '../x' holds"),
    ],
)
def test_a_comparison_keeps_to_its_folder_and_names_what_is_wrong(change: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        read_recipe("mm-cot/demo", [change])
    assert message in str(error.value)


def test_an_arm_may_change_a_key_to_any_plain_value(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    arms = {"named": {"description": "a: b = c"}, "更长": {"stages.0.steps": 9}}
    path.write_text(yaml.safe_dump({"name": "two", "base": RECIPE, "arms": arms}), encoding="utf-8")
    spec = read_recipe(str(path))
    assert isinstance(spec, ComparisonSpec)
    recipes = spec.recipes()
    assert recipes["named", 0].description == "a: b = c" and recipes["更长", 0].stages[0].steps == 9
    assert recipes["named", 0].stages[0].steps == RECIPE["stages"][0]["steps"]
