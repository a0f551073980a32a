"""A shop's view of the service over HTTP, real or in process."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tests.drawings import garment

PHOTOS = "/api/image-collection/"
RECOMMENDATIONS = "/api/recommendations/"
PATIENCE_S = 120.0
REVOKED_WITHIN_S = 5.0
REFUSALS = 8  # in a row: each replica of the Ingress remembers keys for itself


class Http(Protocol):
    """What httpx.Client and Starlette's TestClient have in common."""

    @property
    def request(self) -> Callable[..., Any]: ...


def base64_text(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


@dataclass(frozen=True)
class ShopClient:
    """One shop with its secret key."""

    http: Http
    shop_id: int
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def request(self, method: str, path: str, **options: Any) -> Any:
        return self.http.request(method, path, headers=self.headers | options.pop("headers", {}), **options)

    def upload(self, photo: bytes | None, *, wait_s: float | None = None, **fields: Any) -> Any:
        """POST a multipart form; ``attributes`` may be a dict."""
        form = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()
        }
        files = {} if photo is None else {"Photo": ("photo.jpg", photo, "image/jpeg")}
        params = {} if wait_s is None else {"wait": wait_s}
        return self.request("POST", PHOTOS, data=form, files=files, params=params)

    def add(self, photo: bytes, *, wait_s: float | None = None, **fields: Any) -> dict[str, Any]:
        """A stored photo, as the service answered."""
        answer = self.upload(photo, wait_s=wait_s, **({"name": "A photo"} | fields))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def get(self, image_id: int) -> Any:
        return self.request("GET", f"{PHOTOS}{image_id}/")

    def read(self, image_id: int) -> dict[str, Any]:
        answer = self.get(image_id)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def patch(self, image_id: int, **fields: Any) -> Any:
        return self.request("PATCH", f"{PHOTOS}{image_id}/", json=fields)

    def delete(self, image_id: int) -> Any:
        return self.request("DELETE", f"{PHOTOS}{image_id}/")

    def retry(self, image_id: int) -> Any:
        return self.request("POST", f"{PHOTOS}{image_id}/retry/")

    def pages(self, limit: int = 50) -> Iterator[list[dict[str, Any]]]:
        """Page after page, newest first."""
        address: str | None = f"{PHOTOS}?limit={limit}"
        while address is not None:
            answer = self.request("GET", address)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            yield page["results"]
            address = page["next"]

    def all_photos(self, limit: int = 200) -> list[dict[str, Any]]:
        return [photo for page in self.pages(limit) for photo in page]

    def ask(self, prompt: str, count: int = 5) -> Any:
        return self.request("POST", RECOMMENDATIONS, json={"prompt": prompt, "number_of_images": count})

    def recommendations(self, prompt: str, count: int = 5) -> list[dict[str, Any]]:
        answer = self.ask(prompt, count)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["recommendations"])

    def wait_until_embedded(self, patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """All photos of the shop, once none of them waits."""
        deadline = time.monotonic() + patience_s
        while True:
            photos = self.all_photos()
            states = {photo["status"] for photo in photos}
            if states <= {"embedded", "failed"}:
                assert "failed" not in states, [photo["error"] for photo in photos if photo["error"]]
                return photos
            assert time.monotonic() < deadline, states
            time.sleep(0.3)


def assert_hidden_from(stranger: ShopClient, image_id: int) -> None:
    """Another shop's photo: every route answers as if there were none."""
    attempts = (
        stranger.get(image_id),
        stranger.patch(image_id, name="Mine"),
        stranger.delete(image_id),
        stranger.retry(image_id),
        stranger.request("GET", f"{PHOTOS}{image_id}/similar/"),
        stranger.request("POST", RECOMMENDATIONS, json={"image_id": image_id}),
        stranger.request("POST", RECOMMENDATIONS, json={"queries": [{"image_id": image_id}]}),
    )
    for answer in attempts:
        assert_problem(answer, 404, "not_found")
    assert stranger.all_photos() == []


def assert_problem(answer: Any, status: int, code: str, pointer: str | None = None) -> dict[str, Any]:
    """The answer is RFC 9457 with this service's extensions, and leaks nothing; returns the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"].endswith(code)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]
    # Serve adds the header; in-process answers have none.
    assert problem["request_id"] == answer.headers.get("x-request-id", problem["request_id"])
    assert_nothing_leaks(answer.text)
    pointers = [error["pointer"] for error in problem.get("errors", [])]
    assert pointer is None or pointer in pointers, problem
    assert all(error["detail"] for error in problem.get("errors", []))
    return problem


def assert_nothing_leaks(text: str) -> None:
    """No trace of the libraries that the service is made of."""
    for word in ("Traceback", "psycopg", "sqlalchemy", "ray.", "RayTaskError", "chromadb", "site-packages"):
        assert word not in text, text


def wait_until_refused(client: ShopClient) -> None:
    """No request that begins later than 5 s from now is answered."""
    ended = time.monotonic()
    refused = 0
    while refused < REFUSALS:
        asked = time.monotonic()
        if client.ask("a dress").status_code == 200:
            assert asked - ended < REVOKED_WITHIN_S
            refused = 0
        else:
            refused += 1
        time.sleep(0.05)
    assert_problem(client.ask("a dress"), 401, "not_authenticated")
    assert_problem(client.upload(garment(), name="x"), 401, "not_authenticated")
