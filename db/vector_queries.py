"""The one request to Chroma that shoppers wait for, at half of the processor time of chromadb's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import orjson
import urllib3
from chromadb.errors import ChromaError, InternalError, error_types
from numpy.typing import NDArray

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

KEPT_CONNECTIONS = 8
_JSON = {"Content-Type": "application/json"}


class VectorQueries:
    """Blocking calls; safe to use from several threads."""

    def __init__(self, url: str, *, connect_timeout_s: float, answer_timeout_s: float) -> None:
        timeout = urllib3.Timeout(connect=connect_timeout_s, read=answer_timeout_s)
        # As chromadb's client does: a query that failed is the caller's to repeat.
        self._pool = urllib3.connection_from_url(
            url, maxsize=KEPT_CONNECTIONS, timeout=timeout, retries=False, headers=_JSON
        )

    def nearest(
        self, collection: Collection, vectors: NDArray[np.float32], k: int
    ) -> list[tuple[list[str], list[float]]]:
        """Ids and distances of the ``k`` records nearest to each of the vectors (n, d), best first.

        Raises ChromaError where Chroma refuses, urllib3's HTTPError where it does not answer.
        """
        asked = {"query_embeddings": np.ascontiguousarray(vectors), "n_results": k, "include": ["distances"]}
        body = orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._pool.urlopen("POST", _path(collection), body=body)
        if answer.status != 200:
            raise _refusal(answer.data)
        found = orjson.loads(answer.data)
        return list(zip(found["ids"], found["distances"], strict=True))


def _path(collection: Collection) -> str:
    tenant, database = quote(collection.tenant, safe=""), quote(collection.database, safe="")
    return f"/api/v2/tenants/{tenant}/databases/{database}/collections/{collection.id}/query"


def _refusal(body: bytes) -> ChromaError:
    try:
        problem: Any = orjson.loads(body)
        return error_types.get(problem["error"], InternalError)(problem["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return InternalError(body[:200].decode(errors="replace"))
