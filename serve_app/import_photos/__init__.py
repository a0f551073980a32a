"""The work of an import: check the feed, store its rows, remove what it leaves out, clean up. No Ray here."""
