"""The states of index versions, in a database of their own."""

from __future__ import annotations

import pytest

from db import index_versions
from db.session import Database
from models.errors import Conflict
from models.image import IndexState


def test_a_version_is_begun_once_flipped_and_flipped_back(own_database: Database) -> None:
    with own_database.transaction() as session:
        first = index_versions.ensure_live(session, "a@1", 16, "/a", "1").id or 0
        assert index_versions.ensure_live(session, "a@1", 16, "/a", "1").id == first
    with own_database.transaction() as session:
        second = index_versions.begin(session, "b@1", 16, "/b", "1").id or 0
        assert index_versions.begin(session, "b@1", 16, "/b", "1").id == second
        assert [one.id for one in index_versions.maintained(session)] == [first, second]
    for key in ("a@1", "c@1"):
        with pytest.raises(Conflict), own_database.transaction() as session:
            index_versions.begin(session, key, 16, "/x", "1")
    with own_database.transaction() as session:
        index_versions.flip(session, second)
        assert index_versions.is_live(session, second)
        assert not index_versions.is_live(session, first)
    with pytest.raises(Conflict), own_database.transaction() as session:
        index_versions.flip(session, second)
    with own_database.transaction() as session:
        assert index_versions.begin(session, "a@1", 16, "/a", "1").id == first
        index_versions.flip(session, first)
        states = {one.id: one.state for one in index_versions.all_versions(session)}
    assert states == {first: IndexState.LIVE, second: IndexState.RETIRED}
