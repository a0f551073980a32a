"""FashionCLIP, or any CLIP in Hugging Face format: texts and pixels in, unit vectors out. No Ray, no HTTP."""

from serve_app.encoder.devices import choose_device, choose_dtype
from serve_app.encoder.fashion_clip import FashionClipEncoder
from serve_app.encoder.loading import Tower

__all__ = ["FashionClipEncoder", "Tower", "choose_device", "choose_dtype"]
