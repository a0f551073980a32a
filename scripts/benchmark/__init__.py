"""What ``python -m scripts.benchmark`` measures, a role in each file."""
