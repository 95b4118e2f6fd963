"""Rules on vote fractions, such as ``features >= 0.43 and bar_yes >= 0.715``, applied to fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from .fractions import conditional_from_cumulative
from .rule_parser import MAX_DEPTH, Judge, RuleError, RuleParser, Truth
from .tree import DecisionTree

__all__ = ["MAX_DEPTH", "Rule", "RuleError", "parse_rule"]

MAX_LENGTH = 2000


@dataclass(frozen=True)
class Rule:
    """A condition on a galaxy's vote fractions; see `parse_rule`.

    Parameters
    ----------
    text : str
    tree : DecisionTree
    answers : frozenset of int
        Places on the answer axis of the fractions that it depends on.
    meanings : mapping of text
        Name in the rule → what it stands for, in words.
    is_conditional : bool
        Whether it names a conditional fraction.
    """

    text: str
    tree: DecisionTree
    answers: frozenset[int]
    meanings: Mapping[str, str]
    is_conditional: bool
    _judge: Judge

    def fits(self, cumulative: ArrayLike) -> Truth:
        """Return whether each galaxy fulfils the rule.

        Parameters
        ----------
        cumulative : (*, A) in [0, 1]
            NaN where unknown.

        Returns
        -------
        (*) int8
            1 it does, 0 it does not, -1 it depends on what is unknown.
        """
        values = np.asarray(cumulative, np.float64)
        return self._judge(values, conditional_from_cumulative(values, self.tree) if self.is_conditional else values)

    @cached_property
    def questions(self) -> frozenset[str]:
        """Keys of the questions whose answers it names; not of those that lead to them."""
        return frozenset(self.tree.questions[self.tree.question_numbers[answer]].key for answer in self.answers)


def parse_rule(text: str, tree: DecisionTree) -> Rule:
    """Parse a rule.

    A rule compares fractions with numbers (``>=``, ``>``, ``<=``, ``<``, also ``0.2 <= smooth < 0.5``; sums and
    differences with ``+`` and ``-``; 50% is 0.5), and combines comparisons with ``and``, ``or``, ``not`` and
    parentheses.

    - ``bar_yes`` (question and answer) is the share of *all* volunteers who give the answer, its cumulative fraction,
      as in the thresholds of clean samples. The answer alone, or the words it begins with, will do where only one
      answer of the tree is called so: ``smooth``, ``features``, ``cigar``.
    - ``bar_yes_fraction`` is the share of those who are asked, the conditional fraction, as in a table of predictions.
    - A column of the campaign's label table (``Class3.1``, or in quotation marks) is what it is there.
    - ``class:4`` or ``class:barred_spiral`` is true of the galaxies of that clean sample.

    Parameters
    ----------
    text : str
    tree : DecisionTree

    Raises
    ------
    RuleError
        If it cannot be read; the message names the place.

    Examples
    --------
    >>> from tuningfork.votes.tree_files import load_tree
    >>> rule = parse_rule("features >= 0.43 and bar_yes_fraction >= 50%", load_tree("gz2"))
    >>> for name, text in rule.meanings.items():
    ...     print(f"{name}: {text}")
    features: share of all volunteers who answer "features or disk" (smooth or features)
    bar_yes_fraction: share of those asked who answer "yes" (bar)
    """
    if len(text) > MAX_LENGTH:
        raise RuleError(text[:40] + "…", 0, f"it has {len(text)} characters; {MAX_LENGTH} are the most")
    parser = RuleParser(text, tree)
    judge = parser.parse()
    return Rule(text, tree, frozenset(parser.answers), parser.meanings, parser.is_conditional, judge)
