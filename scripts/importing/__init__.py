"""The parts of scripts/bulk_import.py."""
