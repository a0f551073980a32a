"""Errors cross process borders: each must come back from pickle as it went in."""

from __future__ import annotations

import pickle

import pytest

from models import errors
from models.errors import AppError


def _all_errors(base: type[AppError] = AppError) -> list[type[AppError]]:
    return [base, *(found for child in base.__subclasses__() for found in _all_errors(child))]


@pytest.mark.parametrize("kind", _all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[AppError]) -> None:
    sent = kind("what is wrong, and what to do").at("/Photo")
    got = pickle.loads(pickle.dumps(sent))
    assert type(got) is kind
    assert (got.message, got.pointer, str(got)) == (sent.message, "/Photo", "what is wrong, and what to do")
    assert (got.status_code, got.code, got.title) == (kind.status_code, kind.code, kind.title)


@pytest.mark.parametrize("kind", _all_errors(), ids=lambda kind: kind.__name__)
def test_the_drawn_hierarchy_shows_every_error_with_its_status(kind: type[AppError]) -> None:
    drawing = (errors.__doc__ or "").splitlines()
    line = next(line for line in drawing if kind.__name__ in line.split())
    assert kind is AppError or str(kind.status_code) in line.split()


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in _all_errors()]
    assert len(codes) == len(set(codes))
