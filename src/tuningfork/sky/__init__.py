"""The sky: FITS with WCS, cutouts by position, survey services. Needs the extra ``sky``."""

from __future__ import annotations
