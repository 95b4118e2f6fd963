"""Clean samples: margins of the rules, and classes that follow from vote fractions."""

from __future__ import annotations

import numpy as np
import pytest

from tuningfork.votes.clean_samples import class_fits, class_margins, classes_from_votes
from tuningfork.votes.fractions import conditional_from_logits, cumulative_from_conditional
from tuningfork.votes.tree import DecisionTree


def test_margins_agree_with_the_rules(gz2: DecisionTree) -> None:
    rng = np.random.default_rng(3)
    cumulative = cumulative_from_conditional(
        conditional_from_logits(rng.normal(0, 3, (5000, len(gz2.columns))), gz2), gz2
    )
    margins = class_margins(cumulative, gz2)
    assert ((margins >= 0) == (class_fits(cumulative, gz2) == 1)).all()
    assert (np.abs(margins) <= 1).all()


def test_classes_from_votes_follow_the_largest_margin(gz2: DecisionTree) -> None:
    rng = np.random.default_rng(4)
    cumulative = cumulative_from_conditional(
        conditional_from_logits(rng.normal(0, 3, (2000, len(gz2.columns))), gz2), gz2
    )
    probability = classes_from_votes(cumulative, gz2)
    assert probability.sum(-1) == pytest.approx(1)
    assert (probability.argmax(-1) == class_margins(cumulative, gz2).argmax(-1)).all()
    fits = class_fits(cumulative, gz2) == 1
    one = fits.sum(-1) == 1
    assert one.sum() > 100
    assert (probability.argmax(-1) == fits.argmax(-1))[one].all()
