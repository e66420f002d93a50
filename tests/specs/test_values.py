"""Names that become folders: words in any script, and never a path."""

from __future__ import annotations

import pytest

from sepiola.specs.values import check_name


@pytest.mark.parametrize(
    "name", ["demo", "two-stage, with eyes", "pre-trained, λ = 0.5", "有图", "a.b", "x" * 100, "_", "console", "com"]
)
def test_names_of_words_are_kept(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".lock", "../x", "/abs/path", "a/b", "a\\b", "C:x", "~", "~root", "-rf", " a", "a ", "a."),
        *("a\nb", "a\0b", "a\u202eb", "a\u2028b", "\ud800", "x" * 101, "图" * 34, "a*", "<a>"),
        *("con", "NUL.txt", "Com1", "aux .x"),
    ],
)
def test_names_that_may_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="it names a folder"):
        check_name(name)
