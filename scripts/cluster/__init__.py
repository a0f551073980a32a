"""A Ray cluster of several nodes on this machine, whose nodes are killed while it serves."""
