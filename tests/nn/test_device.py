"""Devices by name: what is there, and what is not."""

from __future__ import annotations

import pytest
import torch

import sepiola
from sepiola.errors import SpecError
from sepiola.nn.device import find_device


def test_the_processor_is_there() -> None:
    assert find_device("cpu") == torch.device("cpu") == find_device(torch.device("cpu"))


@pytest.mark.parametrize("name", ["cuda:99", "x", "meta", "", "cpu:7", "cuda:-1", "cuda:", "图", "x" * 5000])
def test_what_is_not_there_is_refused_with_what_is(name: str) -> None:
    with pytest.raises(SpecError, match="on this machine; there is: cpu") as error:
        find_device(name)
    assert len(str(error.value)) < 300


def test_a_model_is_not_looked_for_when_its_device_is_not_there() -> None:
    with pytest.raises(SpecError, match="no device 'cuda:99'"):
        sepiola.load("/no/such/model", device="cuda:99")
