"""CMRC 2018: segments of Chinese and other text, exact match and F1 worked out by hand."""

from __future__ import annotations

import pytest

from sepiola.evaluation.benchmarks import cmrc2018


def test_cmrc2018_segments_chinese_by_character_and_the_rest_by_word() -> None:
    pytest.importorskip("nltk")
    assert cmrc2018.segments("《跑跑卡丁车》由Nexon Korea开发。") == [*"跑跑卡丁车由", "nexon", "korea", *"开发"]
    # 4 of 6 given segments and of 5 wanted ones are one common run: F1 = 2 * 4 / (6 + 5).
    assert cmrc2018.compare("是1995年越南人", ("年越南人民",)) == {"exact_match": 0.0, "f1": 2 * 4 / 11}
    assert cmrc2018.compare("越南，人", ("中国", "越南人。")) == {"exact_match": 1.0, "f1": 1.0}
    assert cmrc2018.compare("日本", ("越南", "中国"))["f1"] == 0.0
    assert cmrc2018.compare("", ("越南",)) == {"exact_match": 0.0, "f1": 0.0}
