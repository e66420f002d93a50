"""Two processes that train together, and what their tests share."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from sepiola.training.ranks import ranks_of
from sepiola.training.trainer import Trainer

Weights = dict[str, Tensor]
STEADY: dict[str, Any] = {
    "precision": "float32",
    # AdamW makes steps of one size of gradients that are 0 but for rounding.
    "optimizer": {"kind": "adagrad", "learning_rate": 3e-3, "schedule": "constant", "weight_decay": 0.0},
}


def weights(run: Trainer) -> Weights:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


class Pair:
    """Two processes that run functions of this file together."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["tests.policies", "tests.preferences", __name__]
        )  # what takes long to import is imported once
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.pipes, self.processes = [], []
        for rank in range(2):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(rank, port, there), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def run(self, case: Callable[..., Weights], *arguments: Any, **options: Any) -> list[Any]:
        """What each rank gives, or the exception that it raised."""
        for pipe in self.pipes:
            pipe.send((case, arguments, options))
        results = []
        for pipe in self.pipes:
            try:
                results.append(pipe.recv())
            except EOFError:
                results.append("killed")
        return results

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def work(rank: int, port: int, pipe: Any) -> None:
    """A rank: does what it is sent until it is killed."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with ranks_of("cpu") as ranks:
        while True:
            case, arguments, options = pipe.recv()
            try:
                pipe.send(case(ranks, *arguments, **options))
            except Exception as error:
                traceback.print_exc()
                pipe.send(error)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.end()


def assert_close(first: Weights, second: Weights, within: float = 1e-6) -> None:
    assert first.keys() == second.keys()
    far = {name: float((first[name] - second[name]).abs().max()) for name in first}
    assert max(far.values()) <= within, {name: value for name, value in far.items() if value > within}


def assert_same(first: Weights, second: Weights) -> None:
    assert_close(first, second, 0.0)
