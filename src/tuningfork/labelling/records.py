"""What a labelling campaign stores, as plain records: galaxies, labellers and answers."""

from __future__ import annotations

from dataclasses import dataclass

from ..votes.tree import Question

__all__ = ["AnswerRecord", "CampaignGalaxy", "LabellerState"]


@dataclass(frozen=True)
class CampaignGalaxy:
    """A galaxy of a campaign.

    Parameters
    ----------
    path : str
        Image file, relative to the folder of images.
    rank : int or None
        Place in the order of labelling, from 1; None: not ordered yet.
    reason : str
        Why it is excluded; "" if it is not.
    """

    number: int
    id: str
    path: str
    rank: int | None
    reason: str


@dataclass(frozen=True)
class AnswerRecord:
    """One answer of the history, as the table of answers holds it.

    Parameters
    ----------
    given, undone : str
        Time of the answer and of its undo, UTC; `undone` is "" if the answer is valid.
    finished : bool
        Whether the answer is valid and the person completed the galaxy.
    tree : str
        Digest of the decision tree that was used.
    """

    galaxy: str
    person: str
    question: str
    answer: str
    given: str
    undone: str
    finished: bool
    tree: str


@dataclass(frozen=True)
class LabellerState:
    """What a labeller is assigned at the moment.

    Parameters
    ----------
    version : int
        Number of answers and undos of this person so far; an answer names the version that it belongs to.
    galaxy, id : int, str
        The galaxy to label; 0 and "" if nothing is left for this person.
    answers : tuple of (question's key, answer's key)
        Answers to this galaxy so far, in the order given.
    question : Question or None
        The next question.
    """

    person: int
    name: str
    version: int
    galaxy: int = 0
    id: str = ""
    answers: tuple[tuple[str, str], ...] = ()
    question: Question | None = None
