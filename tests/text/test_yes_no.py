"""Yes and no as models say them; what says neither, or both, is neither."""

from __future__ import annotations

import pytest

from sepiola.text.answers import read_choice

YES_OR_NO: dict[str, bool | None] = {
    "**Yes**": True,
    "Yes!": True,
    "Yes, there is no doubt.": True,
    "Without a doubt, yes.": True,
    "Yes, there is a cat, but no dog.": True,
    "Is there a cat? Yes.": True,
    "Is there a cat? No.": False,
    "Absolutely.": True,
    "Of course": True,
    "Correct.": True,
    "That's right.": True,
    "True": True,
    "I think so.": True,
    "<think>No, hm.</think>Yes": True,
    "No. Yes is wrong": False,
    "No, there is a dog.": False,
    "NO": False,
    "Nope.": False,
    "Not really.": False,
    "Certainly not.": False,
    "I don't think so.": False,
    "I don't see any cat.": False,
    "False": False,
    "Yes. No, wait: no.": False,
    "No. Sorry, yes.": True,
    "Yes, there is no cat.": None,
    "Yes and no": None,
    "yes/no": None,
    "Yes or no?": None,
    "I don't know": None,
    "I'm not sure.": None,
    "I cannot tell.": None,
    "It's hard to say.": None,
    "It is not clear whether there is a cat.": None,
    "Maybe.": None,
    "Yes\nNo": None,
    "No. Yes.": None,
    "There is none.": False,
    "": None,
    "是的": True,
    "是": True,
    "有的。": True,
    "对的": True,
    "当然有": True,
    "可能有": True,
    "毫无疑问，有。": True,
    "有没有猫？有。": True,
    "不是": False,
    "没有": False,
    "并没有": False,
    "当然没有": False,
    "没看到猫": False,
    "有没有猫？没有。": False,
    "嗯，没有。": False,
    "否": False,
    "是的，没有猫。": None,
    "是或否": None,
    "不知道": None,
    "不确定": None,
    "不一定": None,
    "看不清": None,
    "可能": None,
    "无法判断": None,
    "有吗？": None,
    "错误": False,
    "没错": True,
}


@pytest.mark.parametrize(("said", "yes"), YES_OR_NO.items())
def test_yes_and_no(said: str, yes: bool | None) -> None:
    for choices in (("yes", "no"), ("是", "否"), ("有", "没有")):
        assert read_choice(said, choices, lettered=False) == (None if yes is None else int(not yes))
        assert read_choice(said, choices[::-1], lettered=False) == (None if yes is None else int(yes))
