"""The language of rules on vote fractions: from text to a function of the fractions."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError
from .clean_samples import class_fits
from .tree import DecisionTree

__all__ = ["MAX_DEPTH", "Judge", "RuleError", "RuleParser", "Truth"]

Floats = NDArray[np.float64]
#: 1 it is so, 0 it is not, -1 unknown.
Truth = NDArray[np.int8]
_Values = Callable[[Floats, Floats], Floats]
#: Whether galaxies of these cumulative and conditional fractions (*, A) fulfil a rule.
Judge = Callable[[Floats, Floats], Truth]

MAX_DEPTH = 50
_COMPARISONS: dict[str, Callable[[Floats, Floats], NDArray[np.bool_]]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt,
}  # fmt: skip
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?%?|\.\d+%?)|(?P<class>class:\w+)|(?P<name>[^\W\d][\w.]*)"
    r"|(?P<quoted>\"[^\"]+\"|`[^`]+`)|(?P<sign>>=|<=|==|!=|[<>=()+-])|(?P<other>\S))"
)
_WORDS = ("and", "or", "not")


class RuleError(TuningforkError, ValueError):
    """A rule that cannot be read.

    Parameters
    ----------
    rule : str
    place : int
        Of the character that is wrong, from 0.
    reason : str
    """

    def __init__(self, rule: str, place: int, reason: str) -> None:
        super().__init__(f"rule {rule!r}, character {place + 1}: {reason}")
        self.rule, self.place, self.reason = rule, place, reason

    def pointer(self) -> str:
        """The rule with a mark below the place."""
        return f"  {self.rule}\n  {' ' * self.place}^"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


class RuleParser:
    """Recursive descent: or, and, not, comparison, sum, value.

    Parameters
    ----------
    text : str
    tree : DecisionTree

    Attributes
    ----------
    answers : set of int
        After `parse`, the places on the answer axis that the rule depends on.
    meanings : dict
        Name in the rule → what it stands for, in words.
    is_conditional : bool
        Whether it names a conditional fraction.

    Raises
    ------
    RuleError
        If a sign has no meaning in a rule.
    """

    def __init__(self, text: str, tree: DecisionTree) -> None:
        self.text, self.tree = text, tree
        self.tokens = list(_tokens(text))
        self.at = self.depth = 0
        self.answers: set[int] = set()
        self.meanings: dict[str, str] = {}
        self.is_conditional = False

    def parse(self) -> Judge:
        """Return the rule as a function. Raises RuleError if it cannot be read."""
        if self.now.kind == "end":
            raise self._error("the rule is empty; such as: smooth >= 0.8")
        judge = self._either()
        if self.now.kind != "end":
            raise self._error(f"{self.now.text!r} is not expected here; combine comparisons with and, or")
        return judge

    @property
    def now(self) -> _Token:
        """The token that is read next."""
        return self.tokens[self.at]

    def _error(self, reason: str, token: _Token | None = None) -> RuleError:
        return RuleError(self.text, (token or self.now).place, reason)

    def _take(self, *texts: str) -> bool:
        if self.now.kind in ("word", "sign") and self.now.text in texts:
            self.at += 1
            return True
        return False

    def _either(self) -> Judge:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda c, f: _any([part(c, f) for part in parts])

    def _both(self) -> Judge:
        parts = [self._negated()]
        while self._take("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else lambda c, f: _not(_any([_not(part(c, f)) for part in parts]))

    def _negated(self) -> Judge:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} levels of parentheses and not")
        if self._take("not"):
            inner = self._negated()
            judge: Judge = lambda c, f: _not(inner(c, f))  # noqa: E731
        elif self._opens_rule():
            opened = self.now
            self.at += 1
            judge = self._either()
            if not self._take(")"):
                raise self._error("this parenthesis is not closed", opened)
        else:
            judge = self._comparison()
        self.depth -= 1
        return judge

    def _opens_rule(self) -> bool:
        """Whether a parenthesis holds comparisons, rather than a sum that is compared."""
        if self.now.text != "(" or self.now.kind != "sign":
            return False
        depth = 0
        for token in self.tokens[self.at :]:
            depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "sign" else 0
            if token.kind in ("word", "class") or token.text in _COMPARISONS:
                return True
            if not depth:
                return False
        return True

    def _comparison(self) -> Judge:
        if self.now.kind == "class":
            return self._class()
        values, signs = [self._sum()], []
        while self.now.kind == "sign" and self.now.text in (*_COMPARISONS, "=", "==", "!="):
            if self.now.text not in _COMPARISONS:
                raise self._error(f"fractions are compared with {', '.join(_COMPARISONS)}, not {self.now.text}")
            signs.append(_COMPARISONS[self.now.text])
            self.at += 1
            values.append(self._sum())
        if not signs:
            raise self._error("a comparison is expected here, such as >= 0.5")

        def judge(cumulative: Floats, conditional: Floats) -> Truth:
            sides = [value(cumulative, conditional) for value in values]
            pairs = zip(signs, sides, sides[1:], strict=False)
            return _not(_any([_not(_compared(sign, left, right)) for sign, left, right in pairs]))

        return judge

    def _sum(self) -> _Values:
        total = self._value()
        while self.now.text in ("+", "-") and self.now.kind == "sign":
            sign = 1.0 if self.now.text == "+" else -1.0
            self.at += 1
            total = _added(total, self._value(), sign)
        return total

    def _value(self) -> _Values:
        token = self.now
        self.at += 1
        if token.kind == "number":
            number = float(token.text.rstrip("%")) / (100 if token.text.endswith("%") else 1)
            if number > 1:
                raise self._error(f"a fraction is at most 1; for a percentage write {token.text.rstrip('%')}%", token)
            return lambda c, f: np.full(c.shape[:-1], number)
        if token.kind in ("name", "quoted"):
            name = token.text.strip('"`')
            answer, is_conditional = self._answer(name, token)
            self.answers.add(answer)
            self.is_conditional |= is_conditional
            of_whom = "of those asked" if is_conditional else "of all volunteers"
            question = self.tree.questions[self.tree.question_numbers[answer]].key.replace("_", " ")
            self.meanings[name] = f'share {of_whom} who answer "{self.tree.answers[answer].text}" ({question})'
            return lambda c, f: (f if is_conditional else c)[..., answer]
        if token.text == "(" and token.kind == "sign":
            inner = self._sum()
            if not self._take(")"):
                raise self._error("this parenthesis is not closed", token)
            return inner
        if token.text == "-" and token.kind == "sign":
            inner = self._value()
            return lambda c, f: -inner(c, f)
        self.at -= 1
        if token.kind == "end":
            raise self._error("the rule ends where a fraction or number is expected", token)
        raise self._error(f"{token.text!r} is not expected here; a fraction or number is", token)

    def _answer(self, name: str, token: _Token) -> tuple[int, bool]:
        """The place of a name's answer, and whether its conditional fraction is meant."""
        tree = self.tree
        if name in tree.columns and not _is_word(name, tree):
            if tree.values == "counts":
                raise self._error(f"{name} is a number of votes; name its fraction", token)
            return tree.positions[name], tree.values == "conditional"
        if name in tree.fraction_names:
            return tree.fraction_names.index(name), True
        places = _places(name, tree)
        if len(places) == 1:
            return places[0], False
        if places:
            raise self._error(f"{name!r} may be {' or '.join(tree.answer_names[place] for place in places)}", token)
        known = [*tree.answer_names, *(answer.key for answer in tree.answers), *tree.fraction_names]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(tree.answer_names[:3])}, …"
        raise self._error(f"no fraction is called {name!r}; {hint}", token)

    def _class(self) -> Judge:
        token, rules = self.now, self.tree.classes
        self.at += 1
        key = token.text.partition(":")[2]
        keys = [rule.key for rule in rules]
        if not rules:
            raise self._error(f"the tree {self.tree.name} has no clean-sample classes", token)
        if key not in keys and not (key.isdecimal() and int(key) < len(rules)):
            raise self._error(f"no class is called {key!r}; there are 0…{len(rules) - 1} and {', '.join(keys)}", token)
        number = keys.index(key) if key in keys else int(key)
        for rule in rules[: number + 1]:
            self.answers |= {self.tree.positions[column] for column, _ in (*rule.all_of, *rule.any_of)}
        self.meanings[token.text] = f"clean sample: {rules[number].name}"

        def judge(cumulative: Floats, conditional: Floats) -> Truth:
            fits = class_fits(cumulative, self.tree)[..., : number + 1]
            # The first rule that fits names the class.
            return _not(_any([_not(fits[..., number]), *np.moveaxis(fits[..., :number], -1, 0)]))

        return judge


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while match := _TOKEN.match(text, place):
        kind = match.lastgroup or ""
        token = _Token(kind, match[kind], match.start(kind))
        if kind == "other":
            raise RuleError(text, token.place, f"{token.text!r} has no meaning in a rule")
        yield _Token("word", token.text, token.place) if token.text in _WORDS else token
        place = match.end()
    yield _Token("end", "", len(text))


def _is_word(name: str, tree: DecisionTree) -> bool:
    """Whether a name of the label table is also one of ours."""
    return name in tree.fraction_names or bool(_places(name, tree))


def _places(name: str, tree: DecisionTree) -> list[int]:
    """Answers that are called so: by question and answer; else by the answer; else by how the answer begins."""
    if name in tree.answer_names:
        return [tree.answer_names.index(name)]
    keys = [answer.key for answer in tree.answers]
    exact = [place for place, key in enumerate(keys) if key == name]
    return exact or [place for place, key in enumerate(keys) if key.startswith(f"{name}_")]


def _added(left: _Values, right: _Values, sign: float) -> _Values:
    return lambda c, f: left(c, f) + sign * right(c, f)


def _compared(sign: Callable[[Floats, Floats], NDArray[np.bool_]], left: Floats, right: Floats) -> Truth:
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(left) | np.isnan(right), np.int8(-1), sign(left, right).astype(np.int8))


def _not(truth: Truth) -> Truth:
    return np.where(truth == -1, np.int8(-1), (1 - truth).astype(np.int8))


def _any(parts: list[Truth]) -> Truth:
    """Kleene's or: true if one part is, unknown if none is and one may be."""
    highest = np.maximum.reduce(parts)
    unknown = np.minimum.reduce(parts) == -1
    return np.where((highest < 1) & unknown, np.int8(-1), highest)
