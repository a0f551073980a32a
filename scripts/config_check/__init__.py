"""What ``python -m scripts.check_config`` looks for."""
