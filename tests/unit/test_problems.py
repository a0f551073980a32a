"""Problem documents."""

from __future__ import annotations

import pytest

from models import errors
from models.errors import AppError
from serve_app.problems import problem_body


def subclasses(base: type[AppError]) -> list[type[AppError]]:
    return [base, *(one for child in base.__subclasses__() for one in subclasses(child))]


@pytest.mark.parametrize("kind", subclasses(AppError))
def test_every_error_has_its_document(kind: type[AppError]) -> None:
    assert problem_body(kind("What to do."), "r1") == {
        "type": f"urn:fashion-recommender:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status_code,
        "detail": "What to do.",
        "code": kind.code,
        "request_id": "r1",
    }


def test_a_pointer_names_the_field() -> None:
    body = problem_body(errors.UnknownReference("Category 9 does not exist.").at("/Category"), "r1")
    assert body["errors"] == [{"pointer": "/Category", "detail": "Category 9 does not exist."}]


def test_codes_are_their_own() -> None:
    kinds = subclasses(AppError)
    assert len({kind.code for kind in kinds}) == len(kinds)
