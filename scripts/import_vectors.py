"""Take vectors that were computed elsewhere from a Parquet file.

    python -m scripts.import_vectors vectors.parquet --data-dir data

A row names a photo (image_id or sku, and its shop), the SHA-256 of its file and a vector of unit length. The
whole file is checked first: where a row is wrong nothing is stored, unless --skip-bad. Vectors of the live
model make their photos embedded without the model; those of a version that is being built are not computed
again. Exit status: 0 done, 1 some rows were left out, 2 nothing was stored.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from db import index_truth, index_versions, vector_transfer
from db.session import Database, allow_long_statements
from db.vector_transfer import KnownPhoto, PhotoName
from models.errors import InvalidInput, NotFound
from models.image import IndexState, IndexVersion
from scripts.command import run
from scripts.console import log, out
from scripts.export_vectors import shop_of
from scripts.named_database import add_data_dir, existing_database
from scripts.vectors_file import Array, VectorRow, VectorsFile
from serve_app.checkpoints import model_key
from serve_app.photos import SHRINKS_ON_LOAD

MAX_SHOWN = 100


@dataclass
class Result:
    """``bad``: the first bad rows, with what is wrong; ``rejected`` all of them. ``stored``: new vectors."""

    model_key: str
    rows: int = 0
    stored: int = 0
    unchanged: int = 0
    rejected: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, row: VectorRow, problem: str) -> None:
        self.rejected += 1
        if len(self.bad) < MAX_SHOWN:
            self.bad.append((row.number, problem))


def main() -> int:
    return run(_parser(), _carry_out)


def _carry_out(arguments: argparse.Namespace) -> int:
    with existing_database(arguments.data_dir) as database:
        result, stored = import_file(database, arguments)
    _print(result, as_document=arguments.json, done=stored)
    if not stored:
        return 2
    return 1 if result.rejected else 0


def import_file(database: Database, arguments: argparse.Namespace) -> tuple[Result, bool]:
    """The result, and whether anything was to be stored."""
    file = VectorsFile(arguments.file)
    version = _version(database, file, arguments)
    shop_id = None if arguments.shop is None else shop_of(database, arguments.shop)
    incoming = _Import(database, file, version, shop_id)
    checked = incoming.run("Checking", store=False)
    if checked.rejected and not arguments.skip_bad:
        return checked, False
    return incoming.run("Storing", store=True), True


class _Import:
    """Two runs over the file: one that only checks, one that stores. Each batch is a transaction."""

    def __init__(
        self, database: Database, file: VectorsFile, version: IndexVersion, shop_id: int | None
    ) -> None:
        """``shop_id``: of all rows, whatever the column ``shop`` says."""
        self._database, self._file, self._version, self._shop_id = database, file, version, shop_id
        with database.transaction() as session:
            allow_long_statements(session)
            self._shops = {email: shop for shop, email, _ in index_truth.shops(session)}

    def run(self, what: str, *, store: bool) -> Result:
        result = Result(self._version.model_key)
        seen: set[int] = set()
        with Progress(console=log) as bar:
            task = bar.add_task(what, total=len(self._file))
            for rows in self._file.batches(self._version.dimension):
                good = list(self._good(rows, seen, result))
                result.rows += len(rows)
                if store:
                    self._store(good, result)
                bar.advance(task, len(rows))
        return result

    def _store(self, good: list[tuple[KnownPhoto, Array]], result: Result) -> None:
        live = self._version.state is IndexState.LIVE
        with self._database.transaction() as session:
            stored = vector_transfer.store(session, self._version.model_key, good, live=live)
        result.stored += stored
        result.unchanged += len(good) - stored

    def _good(
        self, rows: list[VectorRow], seen: set[int], result: Result
    ) -> Iterator[tuple[KnownPhoto, Array]]:
        names = {row.number: self._name(row) for row in rows}
        wanted = {name for name in names.values() if isinstance(name, PhotoName)}
        with self._database.transaction() as session:
            known = vector_transfer.find(session, wanted)
        for row in rows:
            name = names[row.number]
            photo = known.get(name) if isinstance(name, PhotoName) else None
            problem = name if isinstance(name, str) else self._problem(row, photo, seen)
            if problem is not None or photo is None or row.vector is None:
                result.reject(row, problem or "it has no vector")
                continue
            seen.add(photo.image_id)
            yield photo, row.vector

    def _name(self, row: VectorRow) -> PhotoName | str:
        """How the row names its photo, or why it does not."""
        shop_id = self._shop_id or self._shops.get((row.shop or "").strip().lower())
        if shop_id is None:
            return f"there is no shop {row.shop!r}; name one for all rows with --shop"
        if row.image_id is None and row.sku is None:
            return "it names no photo by image_id or sku"
        return PhotoName(shop_id, row.sku, row.image_id)

    def _problem(self, row: VectorRow, photo: KnownPhoto | None, seen: set[int]) -> str | None:
        if photo is None:
            which = f"image_id {row.image_id}" if row.image_id is not None else f"sku {row.sku!r}"
            return f"the shop has no photo with {which}"
        if row.photo_sha256 != photo.photo_sha256:
            return f"its photo_sha256 is not that of photo {photo.image_id}, which is {photo.photo_sha256}"
        if row.model_key is not None and row.model_key != self._version.model_key:
            return f"its model_key is {row.model_key!r}, not {self._version.model_key!r}"
        if photo.image_id in seen:
            return f"an earlier row has a vector of photo {photo.image_id} already"
        return row.problem


def _version(database: Database, file: VectorsFile, arguments: argparse.Namespace) -> IndexVersion:
    """The newest version of the file's model; with --model, begun where there is none. Raises NotFound,
    InvalidInput, Conflict."""
    key = arguments.model_key or file.metadata.get("model_key")
    if key is None:
        raise InvalidInput("The file does not say which model its vectors are of. Give --model-key KEY.")
    with database.transaction() as session:
        version = index_versions.of_model(session, key)
        if version is None and arguments.model is not None:
            dimension = file.metadata.get("dimension", "")
            wanted = [model_key(arguments.model, arguments.revision or "", one) for one in SHRINKS_ON_LOAD]
            if key not in wanted or not dimension.isdecimal():
                raise InvalidInput(
                    f"The vectors are of '{key}', not of '{wanted[-1]}', or the file does not say their "
                    "dimension."
                )
            version = index_versions.begin(
                session, key, int(dimension), arguments.model, arguments.revision or ""
            )
    if version is None:
        raise NotFound(
            f"There is no index version of the model '{key}'. Begin one: give --model NAME --revision R, and "
            "finish it with python -m scripts.reindex."
        )
    return version


def _print(result: Result, *, as_document: bool, done: bool) -> None:
    if as_document:
        bad = [{"row": number, "reason": reason} for number, reason in result.bad]
        document = {name: value for name, value in vars(result).items() if name != "bad"}
        out.print(json.dumps({**document, "bad": bad}), markup=False)
        return
    for number, reason in result.bad:
        out.print(f"row {number}: {reason}", markup=False)
    what = "stored: {stored}, known already: {unchanged}" if done else "nothing was stored"
    out.print(f"{result.rows} rows, {what.format(**vars(result))}, wrong: {result.rejected}.", markup=False)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.import_vectors", description=summary)
    parser.add_argument("file", type=Path, help="a Parquet file as scripts.export_vectors writes them")
    parser.add_argument("--shop", metavar="EMAIL", help="of all rows (default: their column shop)")
    parser.add_argument("--model-key", help="of which model the vectors are (default: what the file says)")
    parser.add_argument(
        "--model", metavar="NAME", help="with --revision: begin an index version of this model"
    )
    parser.add_argument("--revision", metavar="R", help="the model's revision")
    parser.add_argument("--skip-bad", action="store_true", help="store the other rows where some are wrong")
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
