"""A labelling campaign: galaxies, labellers, assignments, and answers that are stored exactly once and never lost."""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from types import TracebackType

from ..votes.traversal import next_question
from ..votes.tree import DecisionTree
from .database import Database, Execute, LabellingError, tree_digest
from .records import AnswerRecord, CampaignGalaxy, LabellerState

__all__ = ["Campaign", "StaleAnswerError"]

MAX_NAME = 40
MAX_KEY = 64
#: A galaxy that has been assigned for longer than this may be assigned to another labeller as well.
ASSIGNMENT_TIMEOUT = timedelta(minutes=30)


class StaleAnswerError(LabellingError):
    """An answer to an outdated question, such as from a second window; nothing is stored."""


class Campaign:
    """An open campaign; every method may be called from any thread, and by several processes at once.

    Parameters
    ----------
    path : path
        The SQLite database; created if it does not exist.
    tree : DecisionTree or None
        None: the tree of the existing database.
    tree_name : str
        The value of ``tuningfork train --tree`` for a new database; "" for a user's own classes.
    votes_each : int
        Number of people who label each galaxy.

    Raises
    ------
    LabellingError
        As `database.connect`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tree: DecisionTree | None = None,
        *,
        tree_name: str = "",
        votes_each: int = 1,
    ) -> None:
        self._database = Database(path, tree, tree_name)
        self.tree = self._database.tree
        with self._database.reading() as execute:
            about = dict(execute("SELECT key, value FROM about").fetchall())
        self.tree_name = about["tree_name"]
        #: Tells this campaign from every other one, whose galaxies and people have the same numbers.
        self.identity = about["identity"]
        self.path = os.fspath(path)
        self.votes_each = votes_each
        self._secret = bytes.fromhex(about["secret"])
        self._digest = tree_digest(self.tree)

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; all answers are on the disk already."""
        self._database.close()

    # ---------------------------------------------------------------- galaxies

    def galaxies(self) -> list[CampaignGalaxy]:
        """All galaxies in the order of labelling, those without a place last."""
        with self._database.reading() as execute:
            rows = execute("SELECT number, id, path, rank, reason FROM galaxies ORDER BY rank IS NULL, rank, number")
            return [CampaignGalaxy(*row) for row in rows]

    def galaxy(self, number: int) -> CampaignGalaxy | None:
        """One galaxy by its number; None if there is no such galaxy."""
        with self._database.reading() as execute:
            query = "SELECT number, id, path, rank, reason FROM galaxies WHERE number = ?"
            row = execute(query, number).fetchone()
            return CampaignGalaxy(*row) if row else None

    def update_galaxies(self, present: Iterable[tuple[str, str]], missing: str) -> None:
        """Add new galaxies (ID, path), and exclude those that are no longer there, for the reason `missing`."""
        with self._database.writing() as execute:
            execute("UPDATE galaxies SET reason = ? WHERE reason = ''", missing)
            for id_, path in present:
                execute(
                    "INSERT INTO galaxies (id, path) VALUES (?, ?) ON CONFLICT (id) DO UPDATE "
                    "SET path = excluded.path, reason = CASE reason WHEN ? THEN '' ELSE reason END",
                    id_, path, missing,
                )  # fmt: skip

    @property
    def ordered_by(self) -> str:
        """What the order was computed from, as stored by `set_order`; "" before."""
        with self._database.reading() as execute:
            row = execute("SELECT value FROM about WHERE key = 'ordered'").fetchone()
            return row[0] if row else ""

    def set_order(self, ids: Iterable[str], by: str = "") -> None:
        """Set the order of labelling: these IDs first, in this order; all others lose their place."""
        with self._database.writing() as execute:
            execute("INSERT OR REPLACE INTO about VALUES ('ordered', ?)", by)
            execute("UPDATE galaxies SET rank = NULL")
            for rank, id_ in enumerate(ids, 1):
                execute("UPDATE galaxies SET rank = ? WHERE id = ?", rank, id_)

    def exclude(self, galaxy: int, reason: str) -> None:
        """Assign this galaxy to nobody any more; its answers stay. With the reason "" it is included again."""
        with self._database.writing() as execute:
            execute("UPDATE galaxies SET reason = ? WHERE number = ?", reason, galaxy)
            if reason:
                execute("DELETE FROM turns WHERE galaxy = ? AND finished IS NULL", galaxy)

    # ---------------------------------------------------------------- labellers and answers

    def join(self, name: str) -> LabellerState:
        """The labeller of that name, created if new. Raises LabellingError if it is no valid name."""
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise LabellingError(f"a name has 1 to {MAX_NAME} printable characters")
        if name[0] in "=+-@":
            raise LabellingError(f"a name may not begin with {name[0]}: a spreadsheet would take it for a formula")
        with self._database.writing() as execute:
            execute("INSERT INTO people (name, joined) VALUES (?, ?) ON CONFLICT DO NOTHING", name, _now())
            (person,) = execute("SELECT number FROM people WHERE name = ?", name).fetchone()
            return self._state(execute, person)

    def signature(self, person: int) -> str:
        """HMAC-SHA-256 of a labeller's number with the secret of this campaign: proof of having joined as that one."""
        return hmac.new(self._secret, f"person {person}".encode(), hashlib.sha256).hexdigest()

    def state(self, person: int) -> LabellerState:
        """The labeller's state; assigns the next galaxy if needed. Raises LabellingError for an unknown number."""
        with self._database.writing() as execute:
            return self._state(execute, person)

    def answer(self, person: int, galaxy: int, question: str, answer: str, *, version: int, key: str) -> LabellerState:
        """Store one answer; idempotent: the same `key` again changes nothing.

        Returns
        -------
        LabellerState
            After the answer.

        Raises
        ------
        StaleAnswerError
            If another window has gone on meanwhile: nothing is stored.
        LabellingError
            If there is no such person or answer.
        """
        _check_key(key)
        with self._database.writing() as execute:
            if execute("SELECT 1 FROM answers WHERE person = ? AND key = ?", person, key).fetchone():
                return self._state(execute, person)
            state = self._state(execute, person)
            current = state.question
            if current is None or (state.version, state.galaxy, current.key) != (version, galaxy, question):
                raise StaleAnswerError("this was answered in another window; this is the next question")
            if answer not in {each.key for each in current.answers}:
                raise LabellingError(f"{answer!r} is no answer to {question!r}")
            now = _now()
            execute(
                "INSERT INTO answers (galaxy, person, question, answer, tree, given, key) VALUES (?, ?, ?, ?, ?, ?, ?)",
                galaxy, person, question, answer, self._digest, now, key,
            )  # fmt: skip
            finished = next_question(self.tree, dict([*state.answers, (question, answer)])) is None
            execute(
                "UPDATE turns SET touched = ?, finished = ? WHERE galaxy = ? AND person = ?",
                now, now if finished else None, galaxy, person,
            )  # fmt: skip
            return self._advance(execute, person)

    def undo(self, person: int, *, version: int, key: str) -> LabellerState:
        """Take back the person's last answer, that of the previous galaxy if this one has none; the history keeps it.

        Without an answer, nothing happens. Raises StaleAnswerError and LabellingError as `answer` does.
        """
        _check_key(key)
        with self._database.writing() as execute:
            if execute("SELECT 1 FROM answers WHERE person = ? AND undone_key = ?", person, key).fetchone():
                return self._state(execute, person)
            state = self._state(execute, person)
            if state.version != version:
                raise StaleAnswerError("another window has gone on meanwhile; this is the next question")
            last = execute(
                "SELECT number, galaxy FROM answers WHERE person = ? AND undone IS NULL ORDER BY number DESC LIMIT 1",
                person,
            ).fetchone()
            if last is None:
                return state
            now = _now()
            execute("UPDATE answers SET undone = ?, undone_key = ? WHERE number = ?", now, key, last[0])
            execute("DELETE FROM turns WHERE person = ? AND finished IS NULL AND galaxy <> ?", person, last[1])
            execute(
                "INSERT INTO turns (galaxy, person, touched) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET touched = excluded.touched, finished = NULL",
                last[1], person, now,
            )  # fmt: skip
            return self._advance(execute, person)

    # ---------------------------------------------------------------- results

    def answers(self) -> Iterator[AnswerRecord]:
        """The complete history of answers, undone ones included, in the order given."""
        with self._database.reading() as execute:
            rows = execute(
                "SELECT galaxies.id, people.name, question, answer, given, coalesce(undone, ''), "
                "coalesce(turns.finished, '') <> '' AND undone IS NULL, tree FROM answers "
                "JOIN galaxies ON galaxies.number = answers.galaxy JOIN people ON people.number = answers.person "
                "LEFT JOIN turns ON turns.galaxy = answers.galaxy AND turns.person = answers.person "
                "ORDER BY answers.number"
            ).fetchall()
        for galaxy, person, question, answer, given, undone, finished, tree in rows:
            yield AnswerRecord(galaxy, person, question, answer, given, undone, bool(finished), tree)

    def progress(self) -> dict[str, object]:
        """Counts: all galaxies, excluded ones, done ones (by `votes_each` people), answers, and finished by person."""
        with self._database.reading() as execute:
            total, excluded = execute("SELECT count(*), coalesce(sum(reason <> ''), 0) FROM galaxies").fetchone()
            (done,) = execute(
                "SELECT count(*) FROM (SELECT 1 FROM turns JOIN galaxies ON number = galaxy WHERE reason = '' "
                "AND finished IS NOT NULL GROUP BY galaxy HAVING count(*) >= ?)",
                self.votes_each,
            ).fetchone()
            people = execute(
                "SELECT name, count(finished) FROM people LEFT JOIN turns ON person = number "
                "GROUP BY number ORDER BY number"
            ).fetchall()
            (answers,) = execute("SELECT count(*) FROM answers WHERE undone IS NULL").fetchone()
        return {
            "galaxies": total,
            "left_out": excluded,
            "done": done,
            "votes_each": self.votes_each,
            "answers": answers,
            "people": dict(people),
        }

    # ---------------------------------------------------------------- inside a transaction

    def _state(self, execute: Execute, person: int) -> LabellerState:
        known = execute("SELECT name, version FROM people WHERE number = ?", person).fetchone()
        if known is None:
            raise LabellingError("nobody of that number has joined; enter your name again")
        assigned = execute(
            "SELECT number, id FROM turns JOIN galaxies ON number = galaxy WHERE person = ? AND finished IS NULL",
            person,
        ).fetchone()
        if assigned is None:
            assigned = self._next_galaxy(execute, person)
            if assigned is None:
                return LabellerState(person, *known)
            execute("INSERT INTO turns (galaxy, person, touched) VALUES (?, ?, ?)", assigned[0], person, _now())
        answers = execute(
            "SELECT question, answer FROM answers WHERE galaxy = ? AND person = ? AND undone IS NULL ORDER BY number",
            assigned[0], person,
        ).fetchall()  # fmt: skip
        question = next_question(self.tree, dict(answers))
        name, version = known
        return LabellerState(person, name, version, assigned[0], assigned[1], tuple(answers), question)

    def _next_galaxy(self, execute: Execute, person: int) -> tuple[int, str] | None:
        """The first in the order that needs more votes, current assignments of others counted as votes."""
        now = datetime.now(UTC)
        return execute(
            "SELECT number, id FROM galaxies WHERE reason = '' "
            "AND NOT EXISTS (SELECT 1 FROM turns WHERE galaxy = number AND person = ?) "
            # A time after now is of a clock that was wrong: it must not hold the galaxy until then.
            "AND (SELECT count(*) FROM turns WHERE galaxy = number "
            "AND (finished IS NOT NULL OR touched > ? AND touched <= ?)) < ? "
            "ORDER BY rank IS NULL, rank, number LIMIT 1",
            person, _iso(now - ASSIGNMENT_TIMEOUT), _iso(now), self.votes_each,
        ).fetchone()  # fmt: skip

    def _advance(self, execute: Execute, person: int) -> LabellerState:
        execute("UPDATE people SET version = version + 1 WHERE number = ?", person)
        return self._state(execute, person)


def _check_key(key: str) -> None:
    if not 0 < len(key) <= MAX_KEY:
        raise LabellingError(f"an answer's key has 1 to {MAX_KEY} characters")


def _now() -> str:
    return _iso(datetime.now(UTC))


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
