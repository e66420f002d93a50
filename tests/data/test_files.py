"""Files and folders are replaced whole: no planted link is followed, no leftover stays, a killed save is no mix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sepiola.data import files
from sepiola.data.files import finish_save, interrupted, locked, replacing, replacing_folder, sweep, write_text
from sepiola.errors import CheckpointError

LEFT = f".{'0123456789abcdef'}{files.ASIDE}"
ANY = re.compile("part/.*|gone/.*")


@pytest.mark.parametrize(
    ("number", "fix"), [(28, "make room"), (30, "write elsewhere"), (13, "write elsewhere")], ids=["full", "ro", "no"]
)
def test_a_refusal_of_the_system_is_one_message(
    number: int, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    write_text(tmp_path / "a.txt", "旧 old")
    for name in ("mkdir", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            with pytest.raises(CheckpointError, match=rf"a\.txt: cannot be written \({os.strerror(number)}\).*{fix}"):
                write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "旧 old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_links_that_were_planted_are_replaced_and_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for place in (outside, folder):
        place.mkdir()
    (outside / "mine").write_text("untouched")
    for name in ("spec.yaml", ".spec.yaml.tmp"):
        (folder / name).symlink_to(outside / "mine")
    for name in ("part", ".saving", LEFT, files.REPLACING):
        (folder / name).symlink_to(outside)
    with replacing_folder(folder, ANY) as aside:
        (aside / "part").mkdir()
        for name in ("spec.yaml", "part/x"):
            write_text(aside / name, "new")
    assert [file.name for file in outside.iterdir()] == ["mine"]
    assert (outside / "mine").read_text() == "untouched"
    assert (folder / "part" / "x").read_text() == (folder / "spec.yaml").read_text() == "new"
    assert not (folder / "spec.yaml").is_symlink() and not (folder / "part").is_symlink()


def test_leftovers_of_the_dead_go_and_what_a_living_writer_has_stays(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sepiola.data.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as path: path.write_text('new'); print(path, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        written = Path(writer.stdout.readline().strip())
        sweep(tmp_path)
        assert written.read_text() == "new", "its writer lives"
        writer.kill()
    assert written.exists()
    write_text(tmp_path / "b", "next")
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def two_saves(folder: Path, text: str) -> None:
    with replacing_folder(folder, ANY) as aside:
        (aside / "part").mkdir()
        (aside / "gone" / "deep").mkdir(parents=True)
        for name in (
            "spec.yaml",
            "weights",
            "part/spec.yaml",
            "part/weights",
            *(["gone/deep/old"] if text == "old" else []),
        ):
            write_text(aside / name, text)


def held(folder: Path) -> set[str]:
    return {file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_whose_save_ends_at_any_moment_is_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, cut = [], []
    for moment in range(90):
        folder, left = tmp_path / str(moment), iter(range(moment))
        two_saves(folder, "old")
        child = os.fork()
        if child == 0:  # ends like a process that is killed: nothing is tidied up
            for name in ("replace", "unlink", "rename", "mkdir", "rmdir", "open"):
                monkeypatch.setattr(os, name, ending(getattr(os, name), left))
            two_saves(folder, "new")
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        cut.append(interrupted(folder))
        if moment % 2:  # the next save comes before the next reader
            two_saves(folder, "new")
        finish_save(folder)
        outcomes.append({f.read_text() for f in folder.rglob("*") if f.is_file() and ".saving" not in str(f)})
        assert len(outcomes[-1]) == 1 and (folder / "gone").is_dir() == (outcomes[-1] == {"old"})
        assert not interrupted(folder) and not (folder / files.REPLACING).exists()
        two_saves(folder, "new")
        assert held(folder) == {"new"} and not list(folder.rglob(".*"))
        if status == 0:
            break
    assert {"old"} in outcomes and outcomes[-1] == {"new"} and any(cut) and not cut[-1]


def ending(change: object, left: Iterator[int]) -> object:
    def call(*arguments: object, **keywords: object) -> object:
        if next(left, None) is None:
            os._exit(9)
        return change(*arguments, **keywords)  # type: ignore[operator]

    return call


def test_a_full_write_inside_a_folder_names_the_place_where_it_would_stand(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=rf"{re.escape(str(tmp_path))}/m/spec\.yaml: cannot be written \(No space"),
        replacing_folder(tmp_path / "m", ANY) as aside,
        replacing(aside / "spec.yaml"),
    ):
        raise OSError(28, "No space left on device")
    assert not (tmp_path / "m").exists()


def test_another_process_waits_for_a_locked_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sepiola.data.files import locked\n"
        "print('waits', flush=True)\n"
        "with locked(Path(sys.argv[1])): print(Path(sys.argv[1], 'mark').read_text())"
    )
    with locked(tmp_path / "new"):
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new")], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None and other.stdout.readline() == "waits\n"
        (tmp_path / "new" / "mark").write_text("held before")
    assert other.communicate(timeout=120)[0] == "held before\n"


def test_the_lock_of_a_folder_that_takes_no_file_is_one_message() -> None:
    with (
        pytest.raises(CheckpointError, match=r"^/proc: cannot be written \(.+\); write elsewhere"),
        locked(Path("/proc")),
    ):
        pass


def test_a_folder_where_a_file_comes_is_one_message(tmp_path: Path) -> None:
    two_saves(tmp_path / "m", "old")
    (tmp_path / "m" / "weights").unlink()
    (tmp_path / "m" / "weights" / "mine").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"m: cannot be written \(weights is a folder there\).*is unharmed"):
        two_saves(tmp_path / "m", "new")
    assert held(tmp_path / "m") == {"old"}
