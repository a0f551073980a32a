"""OpenVINO without its telemetry.

OpenVINO 2026.4 sends an event with an id of the machine to Google Analytics when it is imported, unless the
user has opted out or the variable CI is true. Where its package for that is missing it takes a stub of its
own, which sends nothing.
"""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if it were not installed

import openvino  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["openvino", "ops"]
