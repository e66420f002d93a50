"""Devices by name: what is there, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_model_that_has_computed_answers_in_a_forked_process() -> None:
    code = """
import os, signal, sys
import torch
from tests.tiny import byte_model, llama
model = byte_model(llama())
large = torch.ones(1000, 1000)
before = (large @ large).sum(), model.generate("Hello", max_tokens=4)
assert torch.get_num_threads() == 2
if (child := os.fork()) == 0:
    signal.alarm(60)  # ends the child that waits for threads
    again = (large @ large).sum(), model.generate("Hello", max_tokens=4)
    os._exit(0 if again == before else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
