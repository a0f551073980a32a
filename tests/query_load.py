"""Shoppers who ask all the time, and know the answers: what fails, and what is of two models, is noted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from tests.shop_client import RECOMMENDATIONS, ShopClient

PAUSE_S = 0.2
BEST = 3
# Models that are a rotation of each other give the same cosines within 0.001, and across them about 0.
SAME_SCORE = 0.02


@dataclass(frozen=True)
class Question:
    """``scores``: of its best photos, whichever of the models answers."""

    shop: ShopClient
    body: dict[str, Any]
    scores: list[float]

    @classmethod
    def asked(cls, shop: ShopClient, body: dict[str, Any]) -> Self:
        body = {"min_score": -1.0, **body}  # a floor that is computed anew would shorten answers
        answer = shop.request("POST", RECOMMENDATIONS, json=body)
        assert answer.status_code == 200, answer.text
        scores = best(answer.json())
        assert len(scores) == BEST, body
        assert scores[0] > 10 * SAME_SCORE, "it could be taken for an answer that mixes models"
        return cls(shop, body, scores)

    def fault(self, answer: Any) -> str | None:
        if answer.status_code != 200:
            return f"{answer.status_code}: {answer.text[:300]}"
        scores = best(answer.json())
        same = len(scores) == len(self.scores) and all(
            abs(one - other) <= SAME_SCORE for one, other in zip(scores, self.scores, strict=True)
        )
        return None if same else f"{answer.json()['model']} answers {scores}, not {self.scores}"


@dataclass
class QueryLoad:
    """As many threads as ``clients``; ``models``: how many answers each gave. For the length of a block."""

    questions: list[Question]
    clients: int = 3
    faults: list[str] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)
    last: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            question = self.questions[number % len(self.questions)]
            number += 1
            started = time.monotonic()
            try:
                answer = question.shop.request("POST", RECOMMENDATIONS, json=question.body)
            except httpx.HTTPError as error:
                self.faults.append(f"{type(error).__name__} after {time.monotonic() - started:.1f} s")
                continue
            if fault := question.fault(answer):
                self.faults.append(f"{ {**question.body, 'Photo': '...'} }: {fault}")
            else:
                self.last = answer.json()["model"]
                self.models[self.last] += 1
            self._stop.wait(PAUSE_S)


def best(answer: dict[str, Any]) -> list[float]:
    """The highest scores, whatever the order."""
    return sorted((one["score"] for one in answer["recommendations"]), reverse=True)[:BEST]
