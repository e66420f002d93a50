"""Files and folders that are written whole or not at all.

What is new is written aside, in a folder of a name that nobody can know before, and takes its place by renaming. A link
that lies where something is written is replaced, never followed. What writers that were killed have left aside is
removed by the next one in that folder: a writer holds a lock on its own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, BaseFileLock, FileLock, Timeout
from safetensors import SafetensorError

from sepiola.errors import CheckpointError

if sys.platform != "win32":  # there, nothing tells writers from leftovers, which stay
    import fcntl

ASIDE = ".saving"  # what the name of a folder of unfinished files ends with
REPLACING = ".replacing"  # the new files of a folder, while they move to their places
OUTDATED = ".outdated.json"  # among them: a list of the files of the save before that have no successor
MARKERS = ("config.json", "spec.yaml", "ensemble.yaml")  # without its marker nobody reads a checkpoint
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path for a new file, which is synced and takes the place of `path` once it is written.

    Raises CheckpointError when it cannot be written; what was at `path` is then still there.
    """
    with _reported(path), _aside(path.parent) as aside:
        temporary = aside / path.name
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; half a character pair becomes a question mark."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


@contextlib.contextmanager
def replacing_folder(folder: Path, owned: re.Pattern[str]) -> Iterator[Path]:
    """A folder whose files move to `folder` at the end; inside another such folder, `folder` itself.

    Files of `folder` that are not among the new ones and whose relative paths match `owned` are removed: they are of
    the save before. A process that is killed leaves the old files, or new ones whose move `finish_save` ends. Raises
    CheckpointError when it cannot be written.
    """
    if any(_is_aside(part) for part in folder.parts):
        make_folder(folder)
        yield folder
        return
    present = folder.exists()
    make_folder(folder)
    try:
        with _reported(folder), _aside(folder) as aside:
            yield aside
            with _locked(folder):
                _move(aside, folder, owned)
    finally:
        if not present:
            with contextlib.suppress(OSError):  # it is not empty: all is well
                folder.rmdir()


def named_path(path: str | Path) -> Path:
    """The path. Raises CheckpointError for an empty text, which would be the current folder."""
    if not str(path):
        raise CheckpointError("the path to write to is an empty text; name a folder or a file ('.' is the current one)")
    return Path(path)


def interrupted(folder: Path) -> bool:
    """Whether a save was killed while its files moved to this folder."""
    left = folder / REPLACING
    return left.is_dir() and any(not file.is_dir() for file in left.rglob("*"))


def finish_save(folder: Path) -> None:
    """Ends a save that was killed while its files moved to this folder: before that they were whole, and synced.

    Where another process is at it, this one waits. Raises CheckpointError when it cannot be done.
    """
    if not (folder / REPLACING).is_dir():
        return
    reason = "which of its files are outdated is not known"
    try:
        with _locked(folder):
            _finish(folder)
    except OSError as error:
        reason = error.strerror or str(error)
    if interrupted(folder):
        raise CheckpointError(
            f"{folder}: a save was interrupted here, so the folder holds a part of the old checkpoint and a part of "
            f"the new one, and it cannot be finished ({reason}); save it again, or fetch it again"
        )


class _FolderLock(FileLock):
    """The lock of a folder, which says by CheckpointError that the folder cannot be written."""

    def acquire(self, *arguments: Any, **keywords: Any) -> AcquireReturnProxy:
        try:
            # Where no file can be made (/proc), filelock would try for ever.
            os.close(no_links(self.lock_file, os.O_RDWR | os.O_CREAT))
            return super().acquire(*arguments, **keywords)
        except Timeout:
            raise
        except OSError as error:
            folder, reason = Path(self.lock_file).parent, error.strerror or error
            raise CheckpointError(f"{folder}: cannot be written ({reason}); write elsewhere") from None


def locked(folder: Path) -> BaseFileLock:
    """One process at a time for what lies in a folder, inside `with`; a second one waits.

    Raises CheckpointError when the folder cannot be made or written.
    """
    make_folder(folder)
    return _FolderLock(folder / ".lock")


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents. Raises CheckpointError when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{named(folder)}: the folder cannot be made ({error.strerror})") from None


def sweep(folder: Path) -> None:
    """Removes what writers that were killed have left in a folder."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        left = [entry.name for entry in os.scandir(folder) if _is_aside(entry.name)]
        for name in left:
            with contextlib.suppress(OSError):
                handle = os.open(folder / name, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder / name, ignore_errors=True)
                finally:
                    os.close(handle)


def no_links(path: str | Path, flags: int) -> int:
    """An `opener` for `open` that follows no link."""
    return os.open(path, flags | _NOFOLLOW, 0o666)


def named(path: Path) -> Path:
    """A path as a message names it: where a file will stand, not where it is written first."""
    return Path(*(part for part in path.parts if not _is_aside(part)))


def _is_aside(name: str) -> bool:
    return re.fullmatch(rf"\.[0-9a-f]{{16}}{re.escape(ASIDE)}", name) is not None


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, with a lock that says that its writer lives."""
    sweep(folder)
    while True:
        aside = folder / f".{secrets.token_hex(8)}{ASIDE}"
        aside.mkdir()
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(_locked(aside))
            except FileNotFoundError:
                continue
            if not aside.is_dir():  # another writer took it for a leftover before the lock was there
                continue
            try:
                yield aside
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            return


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with its process. Where there are no such locks, none is taken."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _move(aside: Path, folder: Path, owned: re.Pattern[str]) -> None:
    """Lets the new files take their places: they are those of the folder from the moment of the renaming on."""
    _finish(folder)
    new = _files(aside)
    for file in new:
        if (folder / file).is_dir() and not (folder / file).is_symlink():
            raise OSError(errno.EISDIR, f"{file} is a folder there")
        if any((folder / place).is_file() and not (folder / place).is_symlink() for place in file.parents):
            raise OSError(errno.ENOTDIR, f"{file.parent} is a file there")
    kept = {file.as_posix() for file in new}
    old = [file.as_posix() for file in _files(folder)]
    write_text(aside / OUTDATED, json.dumps([file for file in old if file not in kept and owned.fullmatch(file)]))
    _remove(folder / REPLACING)
    os.rename(aside, folder / REPLACING)
    _finish(folder)


def _finish(folder: Path) -> None:
    """Moves new files to their places, from wherever a kill has left that. What is read first goes first, comes last.

    Does nothing without the list of outdated files, which goes when all is done. The folder may come from anywhere, so
    nothing outside it is touched.
    """
    moving = folder / REPLACING
    listed = None if moving.is_symlink() else _listed(moving / OUTDATED)
    if listed is None:
        if not interrupted(folder):
            _remove(moving)
        return
    new = [file for file in _files(moving) if file.as_posix() != OUTDATED]
    present = _files(folder)
    outdated = {file for file in map(Path, listed) if file not in new}
    for file in sorted(present, key=lambda file: (file.name not in MARKERS, file)):
        if file in outdated or (file in new and file.name in MARKERS):
            (folder / file).unlink()
    for root, _, _ in os.walk(folder, topdown=False):  # links not followed
        if any(Path(root).relative_to(folder) in file.parents for file in outdated) and Path(root) != folder:
            with contextlib.suppress(OSError):  # there are other files
                os.rmdir(root)
    places = {place for file in new for place in file.parents if place != Path()}
    for place in sorted(places, key=lambda place: len(place.parts)):
        if (folder / place).is_symlink():
            (folder / place).unlink()
        (folder / place).mkdir(exist_ok=True)
    for file in sorted(new, key=lambda file: (file.name in MARKERS, -len(file.parts), file)):
        os.replace(moving / file, folder / file)
    (moving / OUTDATED).unlink()
    _remove(moving)


def _listed(path: Path) -> list[str] | None:
    """A list of names; None when the file is not there or holds anything else."""
    try:
        names = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (ValueError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _files(folder: Path) -> list[Path]:
    """The files of a folder and of its folders, links to folders not followed."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != REPLACING and not _is_aside(name)]
        found += [(Path(root) / name).relative_to(folder) for name in files]
    return found


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turns the system's refusal to write `path` into one message."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save raises RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        full = getattr(error, "errno", None) in _FULL or "no space" in reason.lower()
        place = named(path)
        kept = "; what stood there before is unharmed" if place.exists() and not interrupted(place) else ""
        fix = f"{_free(place.parent)} free on this disk: make room, or write elsewhere" if full else "write elsewhere"
        raise CheckpointError(f"{place}: cannot be written ({reason}){kept}; {fix}") from None


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    except OSError:
        return "an unknown amount"
