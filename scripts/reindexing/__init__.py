"""Parts of ``python -m scripts.reindex``."""
