"""Training of the bundled demo checkpoint: tokenizer, batches, objective."""
