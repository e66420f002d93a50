"""House rules that a machine can check: a cheap import, short files, a wheel that is whole, true READMEs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
READMES = ("README.md", "README.zh.md")
PAGES = [*READMES, "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((REPOSITORY / "docs").glob("*.md")))]
# Import names of the optional packages, where they differ from the package's name.
IMPORT_NAMES = {"scikit-learn": "sklearn", "rouge-score": "rouge_score", "lm-eval": "lm_eval"}
LONGEST_FILE = 400
# What the package may hold at most of what is easily too much: the pattern, how often, what to do instead.
SPARING = {
    "Any": (r"\bAny\b", 250, "name the type: object, Mapping[str, object], Plain, a TypedDict, a Protocol"),
    "hasattr": (r"\bhasattr\(", 3, "let the object's own contract say what it is"),
    "private words": (r"\b(Look|StandIn|stand_in|ByHead|told|weigh)\b", 5, "use the field's own terms"),
}


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def code_lines(page: str) -> list[str]:
    """The commands and code of a page's fenced blocks, without comments and blank lines."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"\s*#.*", "", line) for block in blocks for line in block.splitlines())
    return [line for line in lines if line.strip()]


def optional_imports() -> Iterator[str]:
    """Top-level import names of the extras that a user may lack, and of transformers, which is a rival."""
    for extra in ("train", "eval"):
        for requirement in PROJECT["optional-dependencies"][extra]:
            name = re.match(r"[A-Za-z0-9-]+", requirement)
            assert name is not None
            yield IMPORT_NAMES.get(name.group(), name.group())
    yield "transformers"


def loaded_by(code: str) -> set[str]:
    """Names of the modules that a fresh Python holds after this code."""
    return set(run_python(f"import sys\n{code}\nprint('\\n' + ' '.join(sys.modules))").splitlines()[-1].split())


def test_import_loads_the_standard_library_alone() -> None:
    """That is what makes it cheap: torch and all of the package come when they are first used."""
    loaded = loaded_by("import sepiola") - loaded_by("")
    foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"sepiola"}


def test_help_loads_no_heavy_library() -> None:
    code = "sys.argv = ['sepiola', '--help']\nfrom sepiola.cli.app import main\ntry: main()\nexcept SystemExit: pass"
    heavy = {"torch", "numpy", "PIL", "pydantic", "safetensors", "tokenizers", "huggingface_hub", "jinja2", "yaml"}
    loaded = loaded_by(code)
    assert "typer" in loaded
    assert not loaded & {*heavy, *optional_imports()}


def test_the_interface_needs_no_extra() -> None:
    loaded = loaded_by("import sepiola\nsepiola.load, sepiola.build")
    assert "torch" in loaded
    assert not loaded & set(optional_imports())


@pytest.mark.parametrize("page", READMES)
def test_sepiola_commands_of_the_readme_exist(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, function = PROJECT["scripts"]["sepiola"].split(":")
    main = getattr(importlib.import_module(module), function)
    commands = {match.group(1) for line in code_lines(page) if (match := re.match(r"sepiola ([a-z]+)", line))}
    assert commands, f"{page} shows no sepiola command"
    for arguments in (["--help"], *([command, "--help"] for command in sorted(commands))):
        monkeypatch.setattr(sys, "argv", ["sepiola", *arguments])
        try:
            status = main()
        except SystemExit as end:
            status = end.code
        assert status in (None, 0), f"sepiola {' '.join(arguments)}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_that_a_page_names_exist(page: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))
    assert named <= targets, f"{page} names targets that the Makefile lacks: {sorted(named - targets)}"
    if page in READMES:
        assert {"demo", "test"} <= named


def test_benchmarks_take_the_options_that_pages_name() -> None:
    folder, wrong = REPOSITORY / "benchmarks", []
    sources = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    for page in [*REPOSITORY.glob("README*.md"), *REPOSITORY.glob("docs/**/*.md")]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, rest in re.findall(r"benchmarks/(\w+)\.py([^`\n;&|]*)", text):
            helpers = re.findall(r"^ *from (\w+) import", sources[name], re.MULTILINE)
            code = "".join(sources.get(one, "") for one in (name, *helpers))
            options = re.findall(r"(?<!\S)--[a-z][\w-]*", rest)
            wrong += [f"{page.name}: {name}.py {option}" for option in options if f'"{option}"' not in code]
    assert not wrong


def test_the_chinese_readme_is_a_twin() -> None:
    """Same code, and as many headings of each level."""
    english, chinese = READMES
    assert code_lines(chinese) == code_lines(english)
    levels = [
        Counter(re.findall(r"^(#+) ", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for page in READMES
    ]
    assert levels[0] == levels[1]


def test_continuous_integration_runs_the_readme_test_command() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
    assert "exec make test </dev/null" in script.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("folder", ["sepiola", "tests", "benchmarks"])
def test_files_stay_short(folder: str) -> None:
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in (REPOSITORY / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long, f"files over {LONGEST_FILE} lines ask to be two: {long}"


@pytest.mark.parametrize("name", SPARING)
def test_the_package_is_sparing(name: str) -> None:
    pattern, most, instead = SPARING[name]
    files = {
        str(path.relative_to(REPOSITORY)): count
        for path in (REPOSITORY / "sepiola").rglob("*.py")
        if (count := len(re.findall(pattern, path.read_text(encoding="utf-8"))))
    }
    total = sum(files.values())
    assert total <= most, f"{name}: {total} in the package, at most {most}; {instead}: {Counter(files).most_common(8)}"


def test_the_lock_pins_every_direct_dependency_and_no_cuda() -> None:
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    names = {pin.partition("==")[0] for pin in pins}
    wanted = [*PROJECT["dependencies"], *(r for e in PROJECT["optional-dependencies"].values() for r in e)]
    direct = {re.split(r"[<>=!~\[ ]", requirement)[0].lower() for requirement in wanted}
    assert direct <= names, f"run `make lock`: no pin for {sorted(direct - names)}"
    assert not {n for n in names if n.startswith(("nvidia", "triton", "cuda"))}


def test_the_wheel_holds_presets_recipes_and_templates(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the wheel is built by hatchling, from the dev extra")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    package, recipes = REPOSITORY / "sepiola", REPOSITORY / "recipes"
    data = [p for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".j2")]
    wanted = {p.relative_to(REPOSITORY).as_posix() for p in data}
    wanted |= {f"sepiola/_recipes/{p.relative_to(recipes).as_posix()}" for p in recipes.rglob("*.yaml")}
    assert any(name.startswith("sepiola/_recipes/") for name in wanted), "recipes/ holds no recipe"
    assert wanted <= packed, f"missing in the wheel: {sorted(wanted - packed)}"
    assert not [name for name in packed if name.startswith(("tests/", "docs/", "recipes/", "benchmarks/"))]
