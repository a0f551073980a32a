"""The launcher, for configs that name the application with towers that sleep."""

from __future__ import annotations

import sys

from serve_app.__main__ import main

IMPORT_PATH = "scripts.benchmark.sleeping:build_app"

if __name__ == "__main__":
    sys.exit(main(IMPORT_PATH))
