"""Finding the config that serves the highest rate within a latency limit (`python -m scripts.tune`)."""
