"""Vectors in a Parquet file, a row for each photo; read and written a group of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from db.vector_transfer import KeptVector
from models.errors import InvalidInput

Array = NDArray[np.float32]
ROWS_PER_GROUP = 5_000
ROWS_PER_BATCH = 1_000
LARGEST_LENGTH_ERROR = 1e-3
METADATA = ("model_key", "dimension", "source", "revision")


@dataclass(frozen=True)
class VectorRow:
    """``number``: from 1. ``vector`` (d,) float32 of unit length; where it is None, ``problem`` says why."""

    number: int
    shop: str | None
    sku: str | None
    image_id: int | None
    photo_sha256: str | None
    model_key: str | None
    vector: Array | None
    problem: str | None


def schema(model_key: str, dimension: int, source: str | None, revision: str | None) -> pa.Schema:
    """The columns, with the model in the file's metadata."""
    vector = pa.list_(pa.float32(), dimension)
    columns = {
        **{"shop": pa.string(), "sku": pa.string(), "image_id": pa.int64(), "photo_sha256": pa.string()},
        **{"model_key": pa.string(), "vector": vector, "item_vector": vector},
    }
    values = (model_key, str(dimension), source or "", revision or "")
    return pa.schema(list(columns.items()), metadata=dict(zip(METADATA, values, strict=True)))


def table(rows: Sequence[KeptVector], model_key: str, layout: pa.Schema) -> pa.Table:
    """One group of rows."""
    columns: dict[str, Any] = {
        "shop": [one.shop for one in rows],
        "sku": [one.sku for one in rows],
        "image_id": [one.image_id for one in rows],
        "photo_sha256": [one.photo_sha256 for one in rows],
        "model_key": [model_key] * len(rows),
        "vector": [one.vector for one in rows],
        "item_vector": [one.item for one in rows],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in layout]
    return pa.Table.from_arrays(arrays, schema=layout)


class VectorsFile:
    """A file that is to be imported. Raises InvalidInput where it cannot be read or lacks a column.

    ``metadata``: what ``schema`` put there, as far as it is there.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise InvalidInput(
                f"{path} cannot be read as a Parquet file ({type(error).__name__}). "
                "Give one as scripts.export_vectors writes them."
            ) from None
        self._path = path
        self.columns = set(self._file.schema_arrow.names)
        if missing := {"photo_sha256", "vector"} - self.columns:
            raise InvalidInput(f"{path} has no column {' and '.join(sorted(missing))}.")
        if not self.columns & {"image_id", "sku"}:
            raise InvalidInput(f"{path} names no photos: it has neither a column image_id nor sku.")
        kept = self._file.schema_arrow.metadata or {}
        self.metadata = {name: kept[name.encode()].decode() for name in METADATA if name.encode() in kept}

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def batches(self, dimension: int) -> Iterator[list[VectorRow]]:
        """All rows, some at a time. Raises InvalidInput where the file is damaged."""
        wanted = [name for name in COLUMNS if name in self.columns]
        number = 1
        try:
            for batch in self._file.iter_batches(ROWS_PER_BATCH, columns=wanted):
                yield list(_rows(batch, number, dimension))
                number += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise InvalidInput(
                f"{self._path} is damaged ({type(error).__name__}). Export it again."
            ) from None


COLUMNS = ("shop", "sku", "image_id", "photo_sha256", "model_key", "vector")


def _rows(batch: pa.RecordBatch, first: int, dimension: int) -> Iterator[VectorRow]:
    names = batch.schema.names
    texts = {
        name: batch.column(name).to_pylist() if name in names else [None] * batch.num_rows
        for name in COLUMNS[:-1]
    }
    vectors, problems = _vectors(batch.column("vector"), dimension)
    for place in range(batch.num_rows):
        yield VectorRow(
            number=first + place,
            shop=_text(texts["shop"][place]),
            sku=_text(texts["sku"][place]),
            image_id=_number(texts["image_id"][place]),
            photo_sha256=_text(texts["photo_sha256"][place]),
            model_key=_text(texts["model_key"][place]),
            vector=vectors.get(place),
            problem=problems.get(place),
        )


def _vectors(column: Any, dimension: int) -> tuple[dict[int, Array], dict[int, str]]:
    """By place in the column: usable vectors, and what is wrong with the others."""
    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        return {}, dict.fromkeys(range(len(column)), f"its vector is no list but {column.type}")
    lengths = pc.list_value_length(column).to_pylist()
    problems = {
        place: "it has no vector" if length is None else f"its vector has {length} numbers, not {dimension}"
        for place, length in enumerate(lengths)
        if length != dimension
    }
    fitting = [place for place, length in enumerate(lengths) if length == dimension]
    values = column.take(pa.array(fitting, pa.int64())).flatten().cast(pa.float32())
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, dimension)
    found = dict(zip(fitting, numbers, strict=True))
    for place, vector in found.items():
        if problem := _problem(vector):
            problems[place] = problem
    return {place: vector for place, vector in found.items() if place not in problems}, problems


def _problem(vector: Array) -> str | None:
    if not np.isfinite(vector).all():
        return "its vector has numbers that are missing or not finite"
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if abs(length - 1) > LARGEST_LENGTH_ERROR:
        return f"its vector has the length {length:.4g}, not 1"
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 2**31 else None
