"""A training step over tensors that have shapes and no memory: what it would hold at most, and of what kind.

The step is the real one, so whatever an objective, a bridge or an optimizer keeps is counted. Floating-point tensors
are shapes alone; integers (token ids, masks, labels) are real, because which rows are computed depends on them.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_aten = torch.ops.aten
Item = TypeVar("Item")


class ShapeTensor(Tensor):
    """A tensor without memory that claims to lie on a device; `meta` has its shape, and what it shares with others."""

    meta: Tensor

    @staticmethod
    def __new__(cls, meta: Tensor, device: torch.device) -> ShapeTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            meta.shape,
            strides=meta.stride(),
            storage_offset=meta.storage_offset(),
            dtype=meta.dtype,
            device=device,
        )
        made.meta = meta
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: object, types: object, args: object = (), kwargs: object = None) -> object:  # type: ignore[override]
        raise RuntimeError(f"{func}: a tensor without memory is of use inside Memory alone")


def _evenly(counted: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Tokens that a router would send to each of its experts."""
    counts = torch.full((minlength,), counted.numel() // minlength)
    counts[: counted.numel() % minlength] += 1
    return counts


_ASSUMED: Mapping[Any, Callable[..., object]] = {
    _aten._local_scalar_dense.default: lambda x: 1.0 if x.is_floating_point() else 1,
    _aten.nonzero.default: lambda x: torch.ones(x.shape, dtype=torch.bool).nonzero(),
    _aten.bincount.default: _evenly,
}
"""What stands for results that depend on values which are not there."""


class Memory(TorchDispatchMode):
    """Runs what it surrounds over shapes, and counts the bytes of all tensors: now (`held`), and at most (`peak`)."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.held = 0
        self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def take(self, network: nn.Module) -> None:
        """Makes shapes of a network's tensors, in place."""
        made: dict[int, Tensor] = {}
        for module in network.modules():
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        if id(tensor) not in made:
                            made[id(tensor)] = self._taken(tensor)
                        table[name] = made[id(tensor)]  # type: ignore[assignment]

    def taken(self, batch: Item) -> Item:
        """A batch with shapes for its floating-point tensors; its integers are counted."""
        assert is_dataclass(batch) and not isinstance(batch, type)
        tensors = {field.name: getattr(batch, field.name) for field in fields(batch)}
        tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
        for tensor in tensors.values():
            if not tensor.is_floating_point():
                self._count(tensor)
        return replace(batch, **{n: self._taken(t) for n, t in tensors.items() if t.is_floating_point()})

    def _taken(self, tensor: Tensor) -> Tensor:
        meta = torch.empty_like(tensor, device="meta", requires_grad=False)
        shape = self._shape(meta)
        if isinstance(tensor, nn.Parameter):
            with self:
                return nn.Parameter(shape, requires_grad=tensor.requires_grad)
        return shape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        shaped = any(isinstance(x, Tensor) and _is_shape(x) for x in tree_leaves((args, kwargs)))
        if shaped and func in _ASSUMED:
            return self._noted(_ASSUMED[func](*args, **kwargs))
        try:
            result = func(*tree_map(_meta, args), **tree_map(_meta, kwargs))
        except (NotImplementedError, RuntimeError):  # the values matter
            if shaped:
                raise
            return self._noted(func(*args, **kwargs))
        if not shaped and not any(isinstance(x, Tensor) and x.is_floating_point() for x in tree_leaves(result)):
            return self._noted(func(*args, **kwargs))
        if func._schema.is_mutable:
            return _written(func, args, kwargs)
        return tree_map(lambda x: self._shape(x) if isinstance(x, Tensor) else x, result)

    def _shape(self, meta: Tensor) -> ShapeTensor:
        self._count(meta)
        return ShapeTensor(meta, self.device)

    def _noted(self, result: Item) -> Item:
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return
        self._known[key] = weakref.ref(storage, lambda _: self._forget(key, size))
        self.held += size
        self.peak = max(self.peak, self.held)

    def _forget(self, key: int, size: int) -> None:
        del self._known[key]
        self.held -= size


def outlined(network: nn.Module) -> nn.Module:
    """A copy of a network without memory for its tensors."""
    tensors = [*network.parameters(), *network.buffers()]
    memo: dict[int, Any] = {id(t): torch.empty_like(t, device="meta", requires_grad=False) for t in tensors}
    for tensor in tensors:
        if isinstance(tensor, nn.Parameter):
            memo[id(tensor)] = nn.Parameter(memo[id(tensor)], requires_grad=tensor.requires_grad)
    return copy.deepcopy(network, memo)


def _is_shape(tensor: Tensor) -> bool:
    return isinstance(tensor, ShapeTensor) or tensor.is_meta


def _meta(value: Any) -> Any:
    """What an operation takes on the meta device; a number in a tensor stays, so that it promotes no type."""
    if isinstance(value, ShapeTensor):
        return value.meta
    if isinstance(value, Tensor):
        return value if value.dim() == 0 or value.is_meta else torch.empty_like(value, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value


def _written(func: Any, args: Any, kwargs: Mapping[str, object]) -> Any:
    """What an operation returns that writes into its arguments: them."""
    given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | dict(kwargs)
    written = [
        given[argument.name]
        for argument in func._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given
    ]
    returns = len(func._schema.returns)
    return written[0] if returns == 1 else tuple(written) if returns else None
