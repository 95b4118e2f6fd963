"""Cards of FITS headers, also of those that the standard does not allow."""

from __future__ import annotations

from typing import Any

__all__ = ["card_number", "card_text"]


def card_text(header: Any, card: str) -> str:
    """A card's value as text; "" if there is none. Text without quotes, which astropy refuses, is read as well."""
    try:
        return str(header.get(card, "")).strip()
    except Exception:  # astropy's VerifyError, which is imported with astropy only
        pass
    try:
        damaged = next(each for each in header.cards if each.keyword == card)
        damaged.verify("silentfix")
        return str(damaged.value).strip()
    except Exception:  # beyond repair
        return ""


def card_number(header: Any, card: str) -> float | None:
    """A card's value as a number, which may stand in quotes; None if it is none."""
    try:
        return float(card_text(header, card))
    except ValueError:
        return None
