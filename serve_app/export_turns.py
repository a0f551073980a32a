"""How many exports one process carries out at once."""

from __future__ import annotations

from models.errors import TooBusy, TooManyRequests

MAX_EXPORTS = 4


class ExportTurns:
    """One export of a shop at a time, and few in all: each reads all that a shop has."""

    def __init__(self) -> None:
        self._shops: set[int] = set()

    def begin(self, shop_id: int) -> None:
        """Raises TooManyRequests, TooBusy. Whoever began calls ``end``."""
        if shop_id in self._shops:
            raise TooManyRequests("An export of this shop is under way. Read it to its end, or close it.")
        if len(self._shops) >= MAX_EXPORTS:
            raise TooBusy(f"{MAX_EXPORTS} exports are under way. Try again in a minute.")
        self._shops.add(shop_id)

    def end(self, shop_id: int) -> None:
        self._shops.discard(shop_id)
