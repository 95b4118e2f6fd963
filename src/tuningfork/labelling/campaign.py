"""Who has answered what: people, their turns at galaxies, and answers that are never lost and never there twice."""

from __future__ import annotations

import os
import sqlite3
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType

from ..votes.traversal import next_question
from ..votes.tree import DecisionTree, Question
from .database import TeachError, connect, tree_digest

__all__ = ["Given", "Look", "Place", "Stale", "Store"]

MAX_NAME = 40
MAX_KEY = 64
#: A galaxy that lies before somebody for longer than this may be given to another as well.
PATIENCE = timedelta(minutes=30)


class Stale(TeachError):
    """An answer to what is no longer asked, as from a second window; nothing is stored."""


@dataclass(frozen=True)
class Place:
    """Where a person stands.

    Parameters
    ----------
    version : int
        Answers and undoings of this person so far; an answer names the one that it was given at.
    galaxy, id : int, str
        What to look at; 0 and "" if nothing is left for this person.
    given : tuple of (question's key, answer's key)
        Answers to this galaxy so far, in the order given.
    question : Question or None
        What is asked now.
    """

    person: int
    name: str
    version: int
    galaxy: int = 0
    id: str = ""
    given: tuple[tuple[str, str], ...] = ()
    question: Question | None = None


@dataclass(frozen=True)
class Given:
    """One answer of the history, as the table of answers tells it; `undone` is "" or when it was taken back."""

    galaxy: str
    person: str
    question: str
    answer: str
    given: str
    undone: str
    finished: bool
    tree: str


@dataclass(frozen=True)
class Look:
    """A galaxy of the labelling: `rank` its place in the order (None: not ordered yet), `reason` why it is left out."""

    number: int
    id: str
    path: str
    rank: int | None
    reason: str


class Store:
    """An open database of a labelling; every method may be called from any thread, and by several processes at once.

    Parameters
    ----------
    path : path
        Made if it is not there.
    tree : DecisionTree or None
        None: the tree that the database holds.
    named : str
        How `tuningfork train --tree` calls the tree, for a new database; "" for a user's own classes.
    votes_each : int
        So many people are asked about each galaxy.

    Raises
    ------
    TeachError
        As `database.connect`.
    """

    def __init__(
        self, path: str | os.PathLike[str], tree: DecisionTree | None = None, *, named: str = "", votes_each: int = 1
    ) -> None:
        self._connection, self.tree = connect(path, tree, named)
        about = dict(self._connection.execute("SELECT key, value FROM about").fetchall())
        self.named = about["named"]
        #: Tells this labelling from every other, whose galaxies and people have the same numbers.
        self.identity = about["identity"]
        self.path = os.fspath(path)
        self.votes_each = votes_each
        self._digest = tree_digest(self.tree)
        self._lock = threading.Lock()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; what was answered is on the disk already."""
        with self._lock:
            self._connection.close()

    # ---------------------------------------------------------------- galaxies

    def galaxies(self) -> list[Look]:
        """All galaxies in the order of labelling, those without a place last."""
        with self._reading() as run:
            rows = run("SELECT number, id, path, rank, reason FROM galaxies ORDER BY rank IS NULL, rank, number")
            return [Look(*row) for row in rows]

    def galaxy(self, number: int) -> Look | None:
        """One galaxy by its number, None if there is no such."""
        with self._reading() as run:
            row = run("SELECT number, id, path, rank, reason FROM galaxies WHERE number = ?", number).fetchone()
            return Look(*row) if row else None

    def see(self, found: Iterable[tuple[str, str]], missing: str) -> None:
        """The galaxies (ID, path) that are there now: new ones are added, others left out for the reason `missing`."""
        with self._writing() as run:
            run("UPDATE galaxies SET reason = ? WHERE reason = ''", missing)
            for id_, path in found:
                run(
                    "INSERT INTO galaxies (id, path) VALUES (?, ?) ON CONFLICT (id) DO UPDATE "
                    "SET path = excluded.path, reason = CASE reason WHEN ? THEN '' ELSE reason END",
                    id_, path, missing,
                )  # fmt: skip

    @property
    def ordered_by(self) -> str:
        """What decided the order, as `order` was told; "" before."""
        with self._reading() as run:
            row = run("SELECT value FROM about WHERE key = 'ordered'").fetchone()
            return row[0] if row else ""

    def order(self, ids: Iterable[str], by: str = "") -> None:
        """Set the order of labelling: these IDs first, in this order; all others lose their place."""
        with self._writing() as run:
            run("INSERT OR REPLACE INTO about VALUES ('ordered', ?)", by)
            run("UPDATE galaxies SET rank = NULL")
            for rank, id_ in enumerate(ids, 1):
                run("UPDATE galaxies SET rank = ? WHERE id = ?", rank, id_)

    def leave_out(self, galaxy: int, reason: str) -> None:
        """Ask nobody about this galaxy any more; answers that it has stay. "" takes it in again."""
        with self._writing() as run:
            run("UPDATE galaxies SET reason = ? WHERE number = ?", reason, galaxy)
            if reason:
                run("DELETE FROM turns WHERE galaxy = ? AND finished IS NULL", galaxy)

    # ---------------------------------------------------------------- people and answers

    def join(self, name: str) -> Place:
        """The person of that name, made if new, and where that person stands. Raises TeachError for no good name."""
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise TeachError(f"a name has 1 to {MAX_NAME} letters")
        with self._writing() as run:
            run("INSERT INTO people (name, joined) VALUES (?, ?) ON CONFLICT DO NOTHING", name, _now())
            (person,) = run("SELECT number FROM people WHERE name = ?", name).fetchone()
            return self._place(run, person)

    def place(self, person: int) -> Place:
        """Where a person stands; if that is nowhere, the next galaxy is this person's. Raises TeachError."""
        with self._writing() as run:
            return self._place(run, person)

    def answer(self, person: int, galaxy: int, question: str, answer: str, *, version: int, key: str) -> Place:
        """Store one answer, and tell where the person stands after it.

        The same `key` again changes nothing: what was sent twice is stored once.

        Raises
        ------
        Stale
            If the person's last window stands elsewhere: nothing is stored.
        TeachError
            If there is no such person or answer.
        """
        _check_key(key)
        with self._writing() as run:
            if run("SELECT 1 FROM answers WHERE person = ? AND key = ?", person, key).fetchone():
                return self._place(run, person)
            place = self._place(run, person)
            asked = place.question
            if asked is None or (place.version, place.galaxy, asked.key) != (version, galaxy, question):
                raise Stale("this was answered in another window; here is what is asked now")
            if answer not in {each.key for each in asked.answers}:
                raise TeachError(f"{answer!r} is no answer to {question!r}")
            now = _now()
            run(
                "INSERT INTO answers (galaxy, person, question, answer, tree, given, key) VALUES (?, ?, ?, ?, ?, ?, ?)",
                galaxy, person, question, answer, self._digest, now, key,
            )  # fmt: skip
            ended = next_question(self.tree, dict([*place.given, (question, answer)])) is None
            run(
                "UPDATE turns SET touched = ?, finished = ? WHERE galaxy = ? AND person = ?",
                now, now if ended else None, galaxy, person,
            )  # fmt: skip
            return self._moved(run, person)

    def undo(self, person: int, *, version: int, key: str) -> Place:
        """Take back the person's last answer, of the galaxy before if this one has none; the history keeps it.

        With nothing to take back, nothing happens. Raises Stale and TeachError as `answer` does.
        """
        _check_key(key)
        with self._writing() as run:
            if run("SELECT 1 FROM answers WHERE person = ? AND undone_key = ?", person, key).fetchone():
                return self._place(run, person)
            place = self._place(run, person)
            if place.version != version:
                raise Stale("another window has gone on meanwhile; here is what is asked now")
            last = run(
                "SELECT number, galaxy FROM answers WHERE person = ? AND undone IS NULL ORDER BY number DESC LIMIT 1",
                person,
            ).fetchone()
            if last is None:
                return place
            now = _now()
            run("UPDATE answers SET undone = ?, undone_key = ? WHERE number = ?", now, key, last[0])
            run("DELETE FROM turns WHERE person = ? AND finished IS NULL AND galaxy <> ?", person, last[1])
            run(
                "INSERT INTO turns (galaxy, person, touched) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET touched = excluded.touched, finished = NULL",
                last[1], person, now,
            )  # fmt: skip
            return self._moved(run, person)

    # ---------------------------------------------------------------- what there is

    def given(self) -> Iterator[Given]:
        """Every answer ever given, undone ones too, in the order given."""
        with self._reading() as run:
            rows = run(
                "SELECT galaxies.id, people.name, question, answer, given, coalesce(undone, ''), "
                "coalesce(turns.finished, '') <> '' AND undone IS NULL, tree FROM answers "
                "JOIN galaxies ON galaxies.number = answers.galaxy JOIN people ON people.number = answers.person "
                "LEFT JOIN turns ON turns.galaxy = answers.galaxy AND turns.person = answers.person "
                "ORDER BY answers.number"
            ).fetchall()
        return (Given(*row[:6], bool(row[6]), row[7]) for row in rows)

    def progress(self) -> dict[str, object]:
        """Counts: galaxies in all, left out, done (looked at by `votes_each`), and by whom how many were finished."""
        with self._reading() as run:
            in_all, out = run("SELECT count(*), coalesce(sum(reason <> ''), 0) FROM galaxies").fetchone()
            (done,) = run(
                "SELECT count(*) FROM (SELECT 1 FROM turns JOIN galaxies ON number = galaxy WHERE reason = '' "
                "AND finished IS NOT NULL GROUP BY galaxy HAVING count(*) >= ?)",
                self.votes_each,
            ).fetchone()
            people = run(
                "SELECT name, count(finished) FROM people LEFT JOIN turns ON person = number "
                "GROUP BY number ORDER BY number"
            ).fetchall()
            (answers,) = run("SELECT count(*) FROM answers WHERE undone IS NULL").fetchone()
        return {
            "galaxies": in_all,
            "left_out": out,
            "done": done,
            "votes_each": self.votes_each,
            "answers": answers,
            "people": dict(people),
        }

    # ---------------------------------------------------------------- inside a transaction

    def _place(self, run: _Run, person: int) -> Place:
        known = run("SELECT name, version FROM people WHERE number = ?", person).fetchone()
        if known is None:
            raise TeachError("nobody of that number has joined; say your name again")
        turn = run(
            "SELECT number, id FROM turns JOIN galaxies ON number = galaxy WHERE person = ? AND finished IS NULL",
            person,
        ).fetchone()
        if turn is None:
            turn = self._next_galaxy(run, person)
            if turn is None:
                return Place(person, *known)
            run("INSERT INTO turns (galaxy, person, touched) VALUES (?, ?, ?)", turn[0], person, _now())
        given = run(
            "SELECT question, answer FROM answers WHERE galaxy = ? AND person = ? AND undone IS NULL ORDER BY number",
            turn[0], person,
        ).fetchall()  # fmt: skip
        return Place(person, *known, *turn, tuple(given), next_question(self.tree, dict(given)))

    def _next_galaxy(self, run: _Run, person: int) -> tuple[int, str] | None:
        """The first in the order that still wants votes, those counted that others are about to give."""
        return run(
            "SELECT number, id FROM galaxies WHERE reason = '' "
            "AND NOT EXISTS (SELECT 1 FROM turns WHERE galaxy = number AND person = ?) "
            "AND (SELECT count(*) FROM turns WHERE galaxy = number AND (finished IS NOT NULL OR touched > ?)) < ? "
            "ORDER BY rank IS NULL, rank, number LIMIT 1",
            person, _stamp(datetime.now(UTC) - PATIENCE), self.votes_each,
        ).fetchone()  # fmt: skip

    def _moved(self, run: _Run, person: int) -> Place:
        run("UPDATE people SET version = version + 1 WHERE number = ?", person)
        return self._place(run, person)

    @contextmanager
    def _reading(self) -> Iterator[_Run]:
        with self._lock:
            yield _Run(self._connection)

    @contextmanager
    def _writing(self) -> Iterator[_Run]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield _Run(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


class _Run:
    """Runs a statement with its values."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)


def _check_key(key: str) -> None:
    if not 0 < len(key) <= MAX_KEY:
        raise TeachError(f"an answer's key has 1 to {MAX_KEY} characters")


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
