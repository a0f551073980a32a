"""How well prompts find drawings: galleries, prompts, metrics."""
