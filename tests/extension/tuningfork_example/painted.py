"""A survey: each position is an image of its own colour."""

import numpy as np

from tuningfork.surveys import register_survey
from tuningfork.surveys.cutout import Cutout, Provenance


class Painted:
    """Images by position, made up."""

    def cutout(self, ra, dec, size, pixels):
        """A square that grows brighter from left to right, its level by the position."""
        level = np.linspace(20 + ra % 100, 200, pixels)
        rgb = np.broadcast_to(level[None, :, None], (pixels, pixels, 3)).astype(np.uint8)
        return Cutout(rgb, Provenance("painted", "one", size / pixels, "2026-01-01T00:00:00Z"))


@register_survey("painted")
def painted(client, options):
    """Open the survey."""
    return Painted()
