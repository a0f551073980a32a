"""A stand-in for torch.cuda's streams and graphs on a machine without a GPU: a capture records operations, a
replay computes them anew into the tensors of the capture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from serve_app.encoder import cuda_graphs

CPU = torch.device("cpu")


class RecordedGraph(TorchDispatchMode):
    """What ``torch.cuda.CUDAGraph`` is to its caller."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self._steps.append((func, args, kwargs or {}, found))
        return found

    def replay(self) -> None:
        for func, args, kwargs, found in self._steps:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(found), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():  # a view's memory holds its source's values already
                    old.copy_(new)


class _Stream:
    def __init__(self, _: object = None) -> None: ...

    def wait_stream(self, _: object) -> None: ...

    def wait_event(self, _: object) -> None: ...

    def record_event(self) -> _Stream:
        return self

    def synchronize(self) -> None: ...


def record_graphs(monkeypatch: pytest.MonkeyPatch) -> list[RecordedGraph]:
    """Have ``CudaGraphs`` work on the CPU, and tell the graphs that it captures."""
    captured: list[RecordedGraph] = []

    @contextmanager
    def capture(graph: RecordedGraph, **_: object) -> Iterator[None]:
        with graph:
            yield
        captured.append(graph)

    for name, stand_in in {
        "Stream": _Stream,
        "current_stream": _Stream,
        "stream": lambda _: nullcontext(),
        "graph_pool_handle": object,
        "CUDAGraph": RecordedGraph,
        "graph": capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    monkeypatch.setattr(cuda_graphs, "pinned", lambda shape, dtype: torch.empty(shape, dtype=dtype))
    return captured


def _tensors(found: Any) -> list[Tensor]:
    return [one for one in (found if isinstance(found, tuple | list) else [found]) if isinstance(one, Tensor)]
