"""Any image file, bytes or array to one (H, W, 3) uint8 image, and from there to the size a network takes."""

from .image import ImageError, RGBImage
from .read import read_image

__all__ = ["ImageError", "RGBImage", "read_image"]
