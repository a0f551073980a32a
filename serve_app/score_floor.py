"""From which similarity on a photo of a shop answers a prompt, computed from the shop's own catalogue."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
from numpy.typing import NDArray

from db import images, score_floors
from db.score_floors import ClaimedFloor
from models.errors import AppError
from serve_app.embed_texts import embed_texts
from serve_app.index_parts import IndexParts
from serve_app.off_topic import PROMPTS
from serve_app.ports import TextEmbedder, Vector

logger = logging.getLogger("serve_app")
MIN_PHOTOS = 10
MAX_NAMES = 64
VECTORS_PER_QUERY = 32  # no more than a batch of shoppers' prompts: those wait behind it
MIN_DEVIATIONS = 2.0
ONE_DEVIATION = 0.16  # the share of a normal distribution below its mean minus one deviation


def floor_between(off_topic: NDArray[np.float64], on_topic: NDArray[np.float64]) -> float | None:
    """The score that parts two samples of best scores: of prompts without an answer, and of those with one.

    It lies as many deviations above the median of the former as below that of the latter, which gives two
    normal distributions equal errors: ``m0 + (m1 - m0) * s0 / (s0 + s1)``. A deviation here is the distance
    of a quantile from the median, on the side that faces the other sample: outliers (an off-topic prompt with
    a colour in it, a photo with a meaningless name) do not count. ``s1`` is at least ``s0``, since names that
    are all the same prove no precision. The floor stays ``MIN_DEVIATIONS`` below ``m1``, for the sake of real
    answers; None where it would then not even be above ``m0``.
    """
    off_median, on_median = float(np.median(off_topic)), float(np.median(on_topic))
    off_deviation = float(np.quantile(off_topic, 1 - ONE_DEVIATION)) - off_median
    on_deviation = max(on_median - float(np.quantile(on_topic, ONE_DEVIATION)), off_deviation)
    if on_deviation <= 0:
        return None
    equal = off_median + (on_median - off_median) * off_deviation / (off_deviation + on_deviation)
    floor = min(equal, on_median - MIN_DEVIATIONS * on_deviation)
    return floor if floor > off_median else None


class FloorCalibration:
    """Computes floors that were claimed. Keeps the off-topic prompts' vectors for the life of the process."""

    def __init__(self, parts: IndexParts, embedder: TextEmbedder) -> None:
        self._parts = parts
        self._embedder = embedder
        self._one_embeds = asyncio.Lock()
        self._off_topic: Vector | None = None

    async def calibrate(self, claimed: ClaimedFloor) -> None:
        """Compute and store one floor. When a part of the service does not answer, it is put off."""
        parts = self._parts
        try:
            floor = await self._floor(claimed.shop_id)
        except AppError as error:
            logger.warning("the score floor of shop %d is computed later: %s", claimed.shop_id, error.message)
            delay_s = parts.args.retry_delay_s
            await parts.database.run(lambda session: score_floors.release(session, claimed, delay_s))
        else:
            await parts.database.run(lambda session: score_floors.finish(session, claimed, floor))

    async def _floor(self, shop_id: int) -> float | None:
        names = await self._parts.database.run(
            lambda session: images.sample_of_names(session, shop_id, MAX_NAMES)
        )
        if len(names) < MIN_PHOTOS:
            return None
        off_topic = await self._best_scores(shop_id, await self._of_off_topic())
        on_topic = await self._best_scores(shop_id, await embed_texts(self._embedder, names))
        return floor_between(off_topic, on_topic) if len(off_topic) and len(on_topic) else None

    async def _of_off_topic(self) -> Vector:
        async with self._one_embeds:
            if self._off_topic is None:
                self._off_topic = await embed_texts(self._embedder, PROMPTS)
            return self._off_topic

    async def _best_scores(self, shop_id: int, vectors: Vector) -> NDArray[np.float64]:
        """(n,) of each vector's nearest photo; (0,) where the index holds none."""
        parts, best = self._parts, []
        for start in range(0, len(vectors), VECTORS_PER_QUERY):
            part = vectors[start : start + VECTORS_PER_QUERY]
            found = await asyncio.to_thread(parts.vectors.query, parts.version_id, shop_id, part, 1)
            best += [hits[0].score for hits in found if hits]
        return np.array(best)
