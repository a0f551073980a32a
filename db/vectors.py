"""The search index: Chroma collections, one per index version and shop.

With ``vector_queries`` the only user of ``chromadb``.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import chromadb
import httpx
import numpy as np
import urllib3
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError
from numpy.typing import NDArray

from configs.serving import CollectionArgs
from db.vector_queries import VectorQueries
from models.errors import DependencyTimeout, DependencyUnavailable
from models.search import NO_TERMS, Hit, PhotoTerms

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

MAX_ROWS_PER_CALL = 5_000
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
BESIDE, FORMER = "-beside", "-former"  # a collection that is being built, and one that was just replaced
OWN_NAME = re.compile(rf"v(\d+)-shop(\d+)(?:{BESIDE}|{FORMER})?")


@dataclass(frozen=True)
class VectorRecord:
    """One photo's vector, unit-length float32 of shape (d,)."""

    image_id: int
    vector: NDArray[np.float32]
    photo_sha256: str
    terms: PhotoTerms = NO_TERMS


class VectorStore:
    """Blocking calls to a Chroma server; safe to use from several threads.

    Every method raises ``DependencyUnavailable`` or ``DependencyTimeout`` where Chroma does not answer.
    """

    def __init__(self, url: str, collection: CollectionArgs) -> None:
        self._url = url
        self._queries = VectorQueries(
            url, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S
        )
        self._hnsw = {"space": "cosine", **collection.model_dump()}
        self._lock = threading.Lock()
        self._client: ClientAPI | None = None
        self._collections: dict[str, Collection] = {}
        self._suffix = ""

    def beside(self) -> VectorStore:
        """The same calls to collections that are built beside the shops' own, for ``swap_in``."""
        other = copy.copy(self)
        other._lock, other._client, other._collections = threading.Lock(), None, {}
        other._suffix = BESIDE
        return other

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        """Add the records, replacing those with the same image id: vector, sha256 and terms."""
        for start in range(0, len(records), MAX_ROWS_PER_CALL):
            rows = _rows(records[start : start + MAX_ROWS_PER_CALL])
            self._call(version_id, shop_id, _with("upsert", **rows), create=True)

    def update(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        """As ``upsert``, of photos that the collection has; unknown ids are ignored."""
        for start in range(0, len(records), MAX_ROWS_PER_CALL):
            rows = _rows(records[start : start + MAX_ROWS_PER_CALL])
            self._call(version_id, shop_id, _with("update", **rows))

    def update_metadata(self, version_id: int, shop_id: int, terms: Mapping[int, PhotoTerms]) -> None:
        """Replace the terms of photos, by image id; vector and sha256 stay. Unknown ids are ignored."""
        ids = list(terms)
        for start in range(0, len(ids), MAX_ROWS_PER_CALL):
            part = ids[start : start + MAX_ROWS_PER_CALL]
            rows: dict[str, Any] = {
                "ids": [str(image_id) for image_id in part],
                "metadatas": [_metadata(terms[image_id]) for image_id in part],
            }
            self._call(version_id, shop_id, _with("update", **rows))

    def delete(self, version_id: int, shop_id: int, image_ids: Sequence[int]) -> None:
        """Remove the photos; unknown ids are ignored."""
        for start in range(0, len(image_ids), MAX_ROWS_PER_CALL):
            part = [str(image_id) for image_id in image_ids[start : start + MAX_ROWS_PER_CALL]]
            self._call(version_id, shop_id, _with("delete", ids=part))

    def query(self, version_id: int, shop_id: int, vectors: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """The ``k`` photos nearest to each of the query vectors (n, d), best first.

        A list is shorter where the shop has fewer photos, and empty where it has none.
        """
        found = self._call(version_id, shop_id, lambda known: self._queries.nearest(known, vectors, k))
        return [[] for _ in vectors] if found is None else [_hits(*row) for row in found]

    def ids(self, version_id: int, shop_id: int) -> set[int]:
        """Ids of all photos in the collection."""
        pages = self._pages(version_id, shop_id, [])
        return {int(image_id) for page in pages for image_id in page["ids"]}

    def metadata(self, version_id: int, shop_id: int) -> dict[int, dict[str, Any]]:
        """What stands beside the vectors, by image id: ``sha256``, ``category``, ``style``, ``age_group``.

        A term that the photo does not have has no key.
        """
        return {
            int(image_id): dict(kept or {})
            for page in self._pages(version_id, shop_id, ["metadatas"])
            for image_id, kept in zip(page["ids"], page["metadatas"], strict=True)
        }

    def read(self, version_id: int, shop_id: int, image_ids: Sequence[int]) -> dict[int, VectorRecord]:
        """What the collection has of these photos, by image id. Vectors come as they lie there."""
        found: dict[int, VectorRecord] = {}
        for start in range(0, len(image_ids), MAX_ROWS_PER_CALL):
            part = [str(image_id) for image_id in image_ids[start : start + MAX_ROWS_PER_CALL]]
            get = _with("get", ids=part, include=["embeddings", "metadatas"])
            page = self._call(version_id, shop_id, get)
            if page is not None:
                rows = zip(page["ids"], page["embeddings"], page["metadatas"], strict=True)
                found |= {int(image_id): _record(int(image_id), *kept) for image_id, *kept in rows}
        return found

    def count(self, version_id: int, shop_id: int) -> int:
        """Photos in the collection; 0 where there is none."""
        return self._call(version_id, shop_id, _with("count")) or 0

    def id_pages(self, version_id: int, shop_id: int, limit: int) -> Iterator[list[int]]:
        """Ids of all photos, at most ``limit`` at a time, the newest entries first.

        Chroma counts from the oldest: so whatever is removed meanwhile, no id is passed over.
        """
        end = self.count(version_id, shop_id)
        while end > 0:
            start = max(0, end - limit)
            page = self._call(version_id, shop_id, _with("get", limit=end - start, offset=start, include=[]))
            yield [int(image_id) for image_id in page["ids"]] if page is not None else []
            end = start

    def collections(self) -> set[tuple[int, int]]:
        """(version id, shop id) of all that has a collection, finished or not."""
        found: set[tuple[int, int]] = set()
        read = 0
        with _translated():
            while page := self._connected().list_collections(limit=MAX_ROWS_PER_CALL, offset=read):
                names = (OWN_NAME.fullmatch(collection.name) for collection in page)
                found |= {(int(name[1]), int(name[2])) for name in names if name}
                read += len(page)
        return found

    def settle_swap(self, version_id: int, shop_id: int) -> None:
        """Finish or take back a swap that a crash interrupted; for whoever alone may swap."""
        name = _name(version_id, shop_id)
        with _translated():
            client = self._connected()
            with suppress(NotFoundError):
                former = client.get_collection(name + FORMER, embedding_function=None)
                if self.exists(version_id, shop_id):
                    client.delete_collection(name + FORMER)
                else:
                    former.modify(name=name)
            with suppress(NotFoundError):
                client.delete_collection(name + BESIDE)

    def swap_in(self, version_id: int, shop_id: int) -> None:
        """Put the collection that was built beside in the place of the shop's own.

        Who reads meanwhile reads the one or the other: between the two renames ``_open`` finds the former by
        its new name. What is written into the former during the swap is lost with it.
        """
        name = _name(version_id, shop_id)
        with _translated():
            client = self._connected()
            new = client.get_collection(name + BESIDE, embedding_function=None)
            with suppress(NotFoundError):
                client.get_collection(name, embedding_function=None).modify(name=name + FORMER)
            new.modify(name=name)
            with suppress(NotFoundError):
                client.delete_collection(name + FORMER)
            self._forget(name)

    def exists(self, version_id: int, shop_id: int) -> bool:
        """Whether the shop has a collection in that index version."""
        with _translated():
            try:
                name = _name(version_id, shop_id) + self._suffix
                self._connected().get_collection(name, embedding_function=None)
            except NotFoundError:
                return False
            return True

    def dimension(self, version_id: int, shop_id: int) -> int | None:
        """The only one that the collection takes, even once it is empty; None where it never had a vector."""
        with _translated(), suppress(NotFoundError):
            name = _name(version_id, shop_id) + self._suffix
            known: int | None = (
                self._connected().get_collection(name, embedding_function=None)._model.dimension
            )
            return known
        return None

    def drop(self, version_id: int, shop_id: int) -> None:
        """Remove the shop's collection, if there is one, and what was built beside it."""
        name = _name(version_id, shop_id)
        with _translated():
            for one in (name, name + FORMER, name + BESIDE):
                with suppress(NotFoundError):
                    self._connected().delete_collection(one)
            self._forget(name)

    def ping(self) -> None:
        """Raises where Chroma does not answer."""
        with _translated():
            self._connected().heartbeat()

    def _pages(self, version_id: int, shop_id: int, include: list[str]) -> Iterator[Any]:
        """All records of the collection, ``MAX_ROWS_PER_CALL`` at a time."""
        read = 0
        while True:
            next_page = _with("get", limit=MAX_ROWS_PER_CALL, offset=read, include=include)
            page = self._call(version_id, shop_id, next_page)
            if page is None or not page["ids"]:
                return
            yield page
            read += len(page["ids"])

    def _call(
        self, version_id: int, shop_id: int, act: Callable[[Collection], Any], *, create: bool = False
    ) -> Any:
        """``act`` on the collection; None where there is none and it is not to be created."""
        name = _name(version_id, shop_id) + self._suffix
        with _translated():
            try:
                return act(self._collection(name, create=create))
            except ChromaError as error:
                # The handle may be stale: its collection dropped, swapped, or made anew by another process.
                if not self._forget(name):
                    if isinstance(error, NotFoundError):
                        return None
                    raise
            try:
                return act(self._collection(name, create=create))
            except NotFoundError:
                return None

    def _collection(self, name: str, *, create: bool) -> Collection:
        with self._lock:
            known = self._collections.get(name)
        if known is None:
            known = self._open(name, create=create)
            with self._lock:
                self._collections[name] = known
        return known

    def _open(self, name: str, *, create: bool) -> Collection:
        client = self._connected()
        for known in (name, name + FORMER, name):
            with suppress(NotFoundError):
                return client.get_collection(known, embedding_function=None)
        if not create:
            raise NotFoundError(f"There is no collection {name}.")
        configuration: Any = {"hnsw": self._hnsw}
        return client.get_or_create_collection(name, configuration=configuration, embedding_function=None)

    def _forget(self, name: str) -> bool:
        """Whether there was a handle."""
        with self._lock:
            return self._collections.pop(name, None) is not None

    def _connected(self) -> ClientAPI:
        """The client, made at the first use because Chroma's constructor already asks the server."""
        with self._lock:
            if self._client is None:
                self._client = _connect(self._url)
            return self._client


def _connect(url: str) -> ClientAPI:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    client = chromadb.HttpClient(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or (443 if secure else 80),
        ssl=secure,
        settings=Settings(anonymized_telemetry=False),
    )
    # Chroma offers no setting for it and would wait for ever.
    client._server._session.timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)  # type: ignore[attr-defined]
    return client


def _rows(records: Sequence[VectorRecord]) -> dict[str, Any]:
    return {
        "ids": [str(record.image_id) for record in records],
        "embeddings": np.stack([record.vector for record in records]).astype(np.float32),
        "metadatas": [{"sha256": one.photo_sha256} | _metadata(one.terms) for one in records],
    }


def _metadata(terms: PhotoTerms) -> dict[str, int | None]:
    """Chroma merges metadata into what is there, and removes a key whose new value is None."""
    return {"category": terms.category_id, "style": terms.style_id, "age_group": terms.age_group_id}


def _record(image_id: int, vector: Any, kept: Mapping[str, Any] | None) -> VectorRecord:
    kept = kept or {}
    terms = PhotoTerms(kept.get("category"), kept.get("style"), kept.get("age_group"))
    return VectorRecord(image_id, np.asarray(vector, np.float32), str(kept.get("sha256", "")), terms)


def _with(method: str, **arguments: Any) -> Callable[[Collection], Any]:
    return lambda collection: getattr(collection, method)(**arguments)


def _hits(ids: Sequence[str], distances: Sequence[float]) -> list[Hit]:
    hits = [Hit(int(image_id), 1.0 - float(d)) for image_id, d in zip(ids, distances, strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.image_id))


def _name(version_id: int, shop_id: int) -> str:
    return f"v{version_id}-shop{shop_id}"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.NewConnectionError as error:  # for urllib3 a kind of time-out
        raise DependencyUnavailable("The search index does not answer.") from error
    except (httpx.TimeoutException, urllib3.exceptions.TimeoutError) as error:
        raise DependencyTimeout("The search index took too long to answer.") from error
    except (httpx.HTTPError, urllib3.exceptions.HTTPError, ChromaError, ConnectionError, ValueError) as error:
        raise DependencyUnavailable("The search index does not answer.") from error
