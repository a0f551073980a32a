"""One collection of the search index held against PostgreSQL, page by page, and repaired where asked.

A photo counts as wrong only if it was settled, and had the same revisions, before and after the index was
read. Others are looked at again at the end; whatever is under work even then is no finding.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from db import index_truth
from db.index_truth import Truth
from db.vectors import VectorRecord
from models.image import ImageStatus, IndexState
from models.index_audit import Finding
from serve_app.repair_index import AuditParts, CollectionOf, queue_damaged, remove_strays, write_anew

MAX_EXAMPLES = 10
MAX_AGAIN = 100_000
ROUNDS = 3
ROUND_PAUSE_S = 0.5
SAME_DIRECTION = 1e-5  # of unit vectors' components; Chroma's single-precision normalising moves them by 1e-7


@dataclass
class Report:
    """What was found, and how much of it was put right. ``busy``: under work all the time.

    ``unfilled``: photos that a version which is not live has no vector of. ``examples``: ids, a few of each.
    """

    photos: int = 0
    busy: int = 0
    unfilled: int = 0
    rebuilt: bool = False
    found: Counter[Finding] = field(default_factory=Counter)
    repaired: Counter[Finding] = field(default_factory=Counter)
    examples: dict[Finding, list[int]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Findings that were not repaired."""
        return (self.found - self.repaired).total()

    def note(self, kind: Finding, image_ids: Collection[int]) -> None:
        if image_ids:
            self.found[kind] += len(image_ids)
            known = self.examples.setdefault(kind, [])
            known += sorted(image_ids)[: MAX_EXAMPLES - len(known)]


def differences(
    truths: Sequence[Truth], entries: Mapping[int, VectorRecord], *, terms: bool
) -> dict[int, Finding]:
    """What is wrong with which photo; ``terms``: whether they count. Each photo counts once."""
    wrong: dict[int, Finding] = {}
    pairs: list[tuple[Truth, VectorRecord]] = []
    for one in truths:
        entry = entries.get(one.image_id)
        if one.vector is None:
            wrong[one.image_id] = Finding.DAMAGED
        elif entry is None:
            wrong[one.image_id] = Finding.MISSING
        elif entry.photo_sha256 != one.photo_sha256 or (terms and entry.terms != one.terms):
            wrong[one.image_id] = Finding.STALE
        elif entry.vector.shape != one.vector.shape:
            wrong[one.image_id] = Finding.DIFFERENT
        else:
            pairs.append((one, entry))
    if pairs:
        theirs = np.stack([entry.vector for _, entry in pairs])
        apart = _unit(np.stack([one.vector for one, _ in pairs if one.vector is not None])) - _unit(theirs)
        same = np.abs(apart).max(axis=1) <= SAME_DIRECTION  # false for what is not finite
        wrong |= {one.image_id: Finding.DIFFERENT for (one, _), ok in zip(pairs, same, strict=True) if not ok}
    return wrong


class Comparison:
    """One run over one collection. ``sample``: settled photos that were right, drawn at random."""

    def __init__(self, parts: AuditParts, target: CollectionOf, *, repair: bool) -> None:
        self._parts, self._target, self._repair = parts, target, repair
        self._live = target.version.state is IndexState.LIVE
        self._terms = target.version.state is not IndexState.RETIRED  # nobody keeps a retired one's terms
        self._again: set[int] = set()
        self._random = random.Random(parts.seed)
        self._right = 0
        self.report = Report()
        self.sample: list[Truth] = []

    def run(self) -> Report:
        """Raises DependencyUnavailable or DependencyTimeout where a part does not answer."""
        for page in truth_pages(self._parts, self._target):
            self.report.photos += sum(one.status is ImageStatus.EMBEDDED for one in page)
            self._look(page)
            self._parts.progress(len(page))
        self._look_again()
        self._look_for_strays()
        return self.report

    def _look(self, truths: Sequence[Truth]) -> None:
        under_work = {
            one.image_id for one in truths if one.status is ImageStatus.EMBEDDED and not one.settled
        }
        settled = [one for one in truths if one.settled and (one.vector is not None or self._live)]
        if not self._live:
            self.report.unfilled += sum(one.settled and one.vector is None for one in truths)
        wrong = self._wrong(settled)
        confirmed = self._confirmed(wrong, settled)
        under_work |= wrong.keys() - confirmed
        for one in settled:
            if one.image_id not in wrong:
                self._draw(one)
        for kind in Finding:
            own = {image_id for image_id in confirmed if wrong[image_id] is kind}
            if own:
                under_work |= self._settle(kind, own)
        self._defer(under_work)

    def _wrong(self, settled: Sequence[Truth]) -> dict[int, Finding]:
        ids = [one.image_id for one in settled]
        entries = self._parts.vectors.read(self._target.version_id, self._target.shop_id, ids)
        return differences(settled, entries, terms=self._terms)

    def _confirmed(self, wrong: Mapping[int, Finding], settled: Sequence[Truth]) -> set[int]:
        """Those on which nobody worked since they were read."""
        stamps = {one.image_id: one.stamp for one in settled}
        return {
            one.image_id for one in self._rows(wrong) if one.settled and one.stamp == stamps[one.image_id]
        }

    def _settle(self, kind: Finding, image_ids: set[int]) -> set[int]:
        """Count, and repair; returns those that somebody works on now."""
        if not self._repair:
            self.report.note(kind, image_ids)
            return set()
        if kind is Finding.DAMAGED:
            self.report.note(kind, image_ids)
            self.report.repaired[kind] += queue_damaged(self._parts, self._target, image_ids)
            return set()
        done = write_anew(self._parts, self._target, image_ids)
        self.report.note(kind, done)
        still = self._wrong([one for one in self._rows(done) if one.settled])
        self.report.repaired[kind] += len(done) - len(still)
        return image_ids - done

    def _defer(self, image_ids: set[int]) -> None:
        room = max(0, MAX_AGAIN - len(self._again))
        self.report.busy += max(0, len(image_ids) - room)
        self._again |= set(sorted(image_ids)[:room])

    def _look_again(self) -> None:
        for number in range(ROUNDS):
            if not self._again:
                return
            time.sleep(ROUND_PAUSE_S * number)
            waiting, self._again = sorted(self._again), set()
            step = self._parts.args.page_photos
            for start in range(0, len(waiting), step):
                self._parts.keep()
                self._look(self._rows(waiting[start : start + step]))
        self.report.busy += len(self._again)

    def _look_for_strays(self) -> None:
        parts, target = self._parts, self._target
        for ids in parts.vectors.id_pages(target.version_id, target.shop_id, 10 * parts.args.page_photos):
            parts.keep()
            with parts.database.transaction() as session:
                strays = index_truth.strays(session, target.shop_id, ids)
            # Read after the rows: an entry that was removed together with its row is none.
            strays = self._present(strays)
            self.report.note(Finding.ORPHANED, strays)
            if self._repair and strays:
                removed = remove_strays(parts, target, strays)
                self.report.repaired[Finding.ORPHANED] += len(removed - self._present(removed))

    def _present(self, image_ids: Collection[int]) -> set[int]:
        return set(self._parts.vectors.read(self._target.version_id, self._target.shop_id, sorted(image_ids)))

    def _rows(self, image_ids: Collection[int]) -> list[Truth]:
        with self._parts.database.transaction() as session:
            return index_truth.rows(session, self._target.version, self._target.shop_id, image_ids)

    def _draw(self, one: Truth) -> None:
        """Keep each photo with the same probability (reservoir sampling)."""
        self._right += 1
        if len(self.sample) < self._parts.args.sample:
            self.sample.append(one)
        elif (place := self._random.randrange(self._right)) < len(self.sample):
            self.sample[place] = one


def truth_pages(parts: AuditParts, target: CollectionOf) -> Iterator[list[Truth]]:
    """All photos of the shop, in the order of their ids."""
    last, step = 0, parts.args.page_photos
    while True:
        parts.keep()
        with parts.database.transaction() as session:
            page = index_truth.page(session, target.version, target.shop_id, last, step)
        if not page:
            return
        yield page
        last = page[-1].image_id


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float64] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
        return unit
