"""Salted hashes of the galaxies that a model has seen, so that an evaluation can leave them out (data leakage).

A bundle says of any identifier whether the galaxy was in its training, validation or calibration subset, without
listing the identifiers themselves.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["SUBSETS", "TrainingIDs"]

#: What a galaxy can have been used for; the first one that holds is reported.
SUBSETS = ("train", "validation", "calibration")
#: Bytes of each hash: of a hundred thousand galaxies, one in three billion others is taken for one of them.
_BYTES = 6


@dataclass(frozen=True)
class TrainingIDs:
    """Hashes of the identifiers that a model was trained, validated and calibrated on.

    Parameters
    ----------
    salt : str
        Mixed into every hash.
    hashes : mapping of subset → set of bytes

    Examples
    --------
    >>> ids = TrainingIDs.of({"train": ["100008", "100023"], "validation": ["100053"]}, salt="a")
    >>> ids.subsets(["100023", "7", "100053"])
    ['train', '', 'validation']
    >>> TrainingIDs.from_dict(ids.to_dict()) == ids
    True
    """

    salt: str
    hashes: Mapping[str, frozenset[bytes]]

    @classmethod
    def of(cls, ids: Mapping[str, Iterable[str]], salt: str) -> TrainingIDs:
        """Return the hashes of identifiers, by subset. The same salt and identifiers give the same hashes."""
        return cls(salt, {subset: frozenset(_hash(id_, salt) for id_ in each) for subset, each in ids.items()})

    def with_subset(self, subset: str, ids: Iterable[str]) -> TrainingIDs:
        """Return the same with another subset, in place of one of this name."""
        return TrainingIDs(self.salt, {**self.hashes, subset: frozenset(_hash(id_, self.salt) for id_ in ids)})

    def subsets(self, ids: Sequence[str], among: Sequence[str] = SUBSETS) -> list[str]:
        """Return for each identifier the first of the subsets `among` that has it, "" if none has."""
        present = [(subset, self.hashes[subset]) for subset in among if subset in self.hashes]
        hashes = (_hash(id_, self.salt) for id_ in ids)
        return [next((subset for subset, members in present if each in members), "") for each in hashes]

    def to_dict(self) -> dict[str, Any]:
        """Return plain types; `from_dict` reads them back."""
        encoded = {
            subset: base64.b64encode(b"".join(sorted(members))).decode() for subset, members in self.hashes.items()
        }
        return {"salt": self.salt, **encoded}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingIDs:
        """Return the hashes of their plain form. Raises ValueError if it is none."""
        try:
            packed = {subset: base64.b64decode(data[subset], validate=True) for subset in data if subset != "salt"}
            if (
                type(data["salt"]) is not str
                or set(packed) - set(SUBSETS)
                or any(len(b) % _BYTES for b in packed.values())
            ):
                raise ValueError("unknown subset, or hashes of another length")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"training IDs: {error}") from None
        return cls(
            data["salt"],
            {
                subset: frozenset(content[at : at + _BYTES] for at in range(0, len(content), _BYTES))
                for subset, content in packed.items()
            },
        )


def _hash(id_: str, salt: str) -> bytes:
    return hashlib.sha256(f"{salt}\n{id_}".encode("utf-8", "surrogatepass")).digest()[:_BYTES]
