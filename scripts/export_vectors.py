"""Write the photos' vectors into a Parquet file.

    python -m scripts.export_vectors vectors.parquet --data-dir data

Streams: a million vectors need no more memory than a few thousand. Works beside a running service and without
one. Exit status: 0 done, 2 it could not be done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from rich.progress import track

from db import index_versions, keys, vector_transfer
from db.session import Database, allow_long_statements
from db.vector_transfer import KeptVector
from models.errors import InvalidInput, NotFound
from models.image import IndexVersion
from scripts.command import run
from scripts.console import log, out
from scripts.named_database import add_data_dir, existing_database
from scripts.vectors_file import ROWS_PER_GROUP, schema, table


def main() -> int:
    return run(_parser(), _carry_out)


def _carry_out(arguments: argparse.Namespace) -> int:
    with existing_database(arguments.data_dir) as database:
        model_key, count = export(database, arguments.file, arguments.shop, arguments.model_key)
    result = {"file": str(arguments.file), "model_key": model_key, "vectors": count}
    sentence = f"{count} vectors of {model_key} are in {arguments.file}."
    out.print(json.dumps(result) if arguments.json else sentence, markup=False)
    return 0


def export(database: Database, path: Path, email: str | None, model_key: str | None) -> tuple[str, int]:
    """The model's key and how many vectors were written. Raises NotFound, InvalidInput.

    The file appears under its name once it is complete.
    """
    version = _version(database, model_key)
    shop_id = None if email is None else shop_of(database, email)
    part = path.with_name(f".{path.name}.part")
    layout = schema(version.model_key, version.dimension, version.source, version.revision)
    written = 0
    try:
        with pq.ParquetWriter(part, layout, compression="zstd") as writer:
            for rows in _groups(database, version, shop_id):
                writer.write_table(table(rows, version.model_key, layout))
                written += len(rows)
        part.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}). Name another file.") from None
    finally:
        part.unlink(missing_ok=True)
    return version.model_key, written


def shop_of(database: Database, email: str) -> int:
    """Raises NotFound."""
    with database.transaction() as session:
        shop = keys.find_shop(session, email.strip().lower())
    if shop is None or shop.id is None:
        raise NotFound(f"There is no shop with the e-mail address {email}.")
    return shop.id


def _version(database: Database, model_key: str | None) -> IndexVersion:
    with database.transaction() as session:
        known = index_versions.all_versions(session)
        version = (
            index_versions.live(session) if model_key is None else index_versions.of_model(session, model_key)
        )
    if version is None:
        keys_known = ", ".join(sorted({one.model_key for one in known})) or "none, as no service ran yet"
        raise NotFound(f"There is no index version of that model. Known model keys: {keys_known}.")
    return version


def _groups(database: Database, version: IndexVersion, shop_id: int | None) -> Iterator[list[KeptVector]]:
    with database.transaction() as session:
        allow_long_statements(session)
        total = vector_transfer.count(session, version.model_key, shop_id)
    last, size = 0, version.dimension
    for _ in track(range(0, total, ROWS_PER_GROUP), "Exporting", console=log):
        with database.transaction() as session:
            rows = vector_transfer.page(session, version.model_key, shop_id, last, ROWS_PER_GROUP)
        if not rows:
            return
        last = rows[-1].image_id
        yield [one for one in rows if one.vector.size == size and (one.item is None or one.item.size == size)]


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.export_vectors", description=summary)
    parser.add_argument("file", type=Path, help="the file to write, such as vectors.parquet")
    parser.add_argument("--shop", metavar="EMAIL", help="only this shop's (default: all shops')")
    parser.add_argument("--model-key", help="of which model (default: the live index version's)")
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
