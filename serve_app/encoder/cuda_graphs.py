"""A tower's kernels as one CUDA graph for each shape: a GPU need not wait for Python at each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from serve_app.encoder.buckets import Vectors
from serve_app.encoder.transfers import pinned, sent

logger = logging.getLogger("serve_app")
Compute = Callable[..., Tensor]
_RUNS_BEFORE = 2  # libraries load and choose kernels at first use, which no capture may contain
_CAPTURING = Lock()  # torch allows one capture at a time in a process


@dataclass(frozen=True, slots=True)
class _Captured:
    """Replaying ``graph`` computes ``output`` from ``inputs``, where they lie."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor


class CudaGraphs:
    """A ``Run``: ``compute`` of tensors on ``device``, captured at the first use of each shape.

    One stream computes, so that graphs may share memory: each finds its own inputs there and its output is
    copied before the next begins. Arrays of the next call are sent meanwhile, by another stream. Where a
    capture fails, for want of memory say, shapes without a graph are computed kernel by kernel from then on.
    """

    def __init__(self, compute: Compute, device: torch.device) -> None:
        self._compute, self._device = compute, device
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._sending: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))  # which the weights were sent by
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[int, ...], _Captured] = {}
        self._enqueuing, self._may_capture = Lock(), True

    @torch.inference_mode()
    def __call__(self, batch: int, *rows: NDArray[Any]) -> Vectors:
        inputs, arrived = self._send(rows)
        with self._enqueuing, torch.cuda.stream(self._stream):
            self._stream.wait_event(arrived)
            for one in inputs:
                one.record_stream(self._stream)
            vectors = self._computed(batch, inputs)
            found = pinned(vectors.shape, vectors.dtype)
            found.copy_(vectors, non_blocking=True)
            done = self._stream.record_event()
        done.synchronize()
        vectors_here: Vectors = found.numpy().copy()
        return vectors_here

    def _send(self, rows: Sequence[NDArray[Any]]) -> tuple[list[Tensor], torch.cuda.Event]:
        with torch.cuda.stream(self._sending):
            return [sent(values, self._device) for values in rows], self._sending.record_event()

    def _computed(self, batch: int, inputs: Sequence[Tensor]) -> Tensor:
        captured = self._captured(batch, inputs)
        if captured is None:
            return self._compute(*inputs)
        for place, one in zip(captured.inputs, inputs, strict=True):
            place[: len(one)].copy_(one)
        captured.graph.replay()
        return captured.output[: len(inputs[0])]

    def _captured(self, batch: int, inputs: Sequence[Tensor]) -> _Captured | None:
        shape = batch, *(size for one in inputs for size in one.shape[1:])
        if shape not in self._graphs and self._may_capture:
            try:
                self._graphs[shape] = self._capture(batch, inputs)
            except RuntimeError as error:
                self._may_capture = False
                logger.warning(
                    "No CUDA graph could be captured for the shape %s, and none will be for further ones: %s",
                    shape,
                    error,
                )
        return self._graphs.get(shape)

    def _capture(self, batch: int, like: Sequence[Tensor]) -> _Captured:
        inputs = [torch.zeros((batch, *one.shape[1:]), dtype=one.dtype, device=self._device) for one in like]
        for _ in range(_RUNS_BEFORE):
            self._compute(*inputs)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on sending meanwhile.
        capturing = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        with _CAPTURING, capturing:
            output = self._compute(*inputs)
        return _Captured(graph, inputs, output)
