"""The SQLite database of a labelling campaign: its schema, how it is opened, and which files are refused."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .._utils.errors import TuningforkError
from ..votes.tree import DecisionTree, SchemaError
from ..votes.values_kind import UNKNOWN

__all__ = ["Database", "Execute", "LabellingError", "connect", "tree_digest"]

#: Runs a statement with its values as arguments.
Execute = Callable[..., sqlite3.Cursor]

#: Raised whenever the schema changes.
VERSION = 2
#: "fork" in ASCII; distinguishes these databases from those of other programs.
APPLICATION_ID = 0x666F726B
#: How long to wait for another process that is writing, seconds.
BUSY_TIMEOUT = 30

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE galaxies (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,             -- relative to the folder of images
    rank INTEGER,                   -- place in the order of labelling, from 1
    reason TEXT NOT NULL DEFAULT '' -- why it is excluded
);
CREATE INDEX galaxies_by_rank ON galaxies (rank);
CREATE TABLE people (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    joined TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0 -- number of answers and undos so far
);
CREATE TABLE turns ( -- the assignment of one galaxy to one person
    galaxy INTEGER NOT NULL REFERENCES galaxies,
    person INTEGER NOT NULL REFERENCES people,
    touched TEXT NOT NULL,
    finished TEXT,
    PRIMARY KEY (galaxy, person)
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_open_turn ON turns (person) WHERE finished IS NULL;
CREATE TABLE answers (
    number INTEGER PRIMARY KEY,
    galaxy INTEGER NOT NULL REFERENCES galaxies,
    person INTEGER NOT NULL REFERENCES people,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    tree TEXT NOT NULL,             -- digest of the tree that was used
    given TEXT NOT NULL,            -- UTC
    key TEXT NOT NULL,              -- idempotency key: an answer that is sent twice is stored once
    undone TEXT,                    -- UTC
    undone_key TEXT,
    UNIQUE (person, key)
);
CREATE UNIQUE INDEX one_answer ON answers (galaxy, person, question) WHERE undone IS NULL;
CREATE INDEX answers_by_person ON answers (person, number);
"""


class LabellingError(TuningforkError, ValueError):
    """A labelling campaign that cannot go on as requested; the message names the file and the remedy."""


class Database:
    """An open database with its decision tree: transactions for any thread, one at a time; see `connect`."""

    def __init__(self, path: str | os.PathLike[str], tree: DecisionTree | None, tree_name: str = "") -> None:
        self.connection, self.tree = connect(path, tree, tree_name)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """A function that runs statements, while no other thread does."""
        with self._lock:
            yield self._execute

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """A function that runs statements in a transaction, which is rolled back if the block raises."""
        with self._lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._execute
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)


def connect(
    path: str | os.PathLike[str], tree: DecisionTree | None, tree_name: str = ""
) -> tuple[sqlite3.Connection, DecisionTree]:
    """Open the database `path`, or create it for `tree`.

    A commit is on the disk when it returns (write-ahead log, synchronous FULL), so that neither a kill nor a power
    failure takes an answer back.

    Parameters
    ----------
    tree : DecisionTree or None
        None: the tree of the existing database.
    tree_name : str
        Stored in a new database: the value of ``tuningfork train --tree`` for this tree.

    Returns
    -------
    connection : sqlite3.Connection
    tree : DecisionTree
        As it is stored in the database.

    Raises
    ------
    LabellingError
        If there is neither a database nor a tree, or the file is no database of ours, of another version, or holds
        answers to another tree.
    """
    if tree is None and not Path(path).exists():
        raise LabellingError(f"{path}: no such database; label some galaxies first")
    try:
        # One connection serves all threads, one at a time: `Database` holds a lock.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise LabellingError(f"{path}: {error}; name a file in a writable folder with --database") from None
    try:
        return connection, _prepare(connection, path, tree, tree_name)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise LabellingError(f"{path}: cannot be used as a database of labels: {error}") from None
    except BaseException:
        connection.close()
        raise


def tree_digest(tree: DecisionTree) -> str:
    """SHA-256 of the complete tree, texts of the questions included: another wording is another question.

    What a catalogue's fractions are is left out, since the answers are counted here; and the phrases of descriptions
    and the meaning of classes, which no volunteer reads.
    """
    content = replace(tree, total_column="", values_kind=UNKNOWN, values_kind_source="").to_dict()
    for question in content["questions"]:
        for answer in question["answers"]:
            answer.pop("phrase", None)
    for rule in content["classes"]:
        rule.pop("description", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _prepare(
    connection: sqlite3.Connection, path: str | os.PathLike[str], tree: DecisionTree | None, tree_name: str
) -> DecisionTree:
    connection.execute("BEGIN IMMEDIATE")  # of two processes that create it at once, the second one finds it complete
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if empty and tree is not None:
            _create(connection, tree, tree_name)
        elif application != APPLICATION_ID:
            raise LabellingError(f"{path}: is a database of another program; name another file with --database")
        elif version != VERSION:
            raise LabellingError(f"{path}: holds labels in the form {version}, this tuningfork reads {VERSION} only")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (text,) = connection.execute("SELECT value FROM about WHERE key = 'tree'").fetchone()
    try:
        stored = DecisionTree.from_dict(json.loads(text))
    except (SchemaError, ValueError) as error:
        raise LabellingError(f"{path}: its tree cannot be read: {error}") from None
    if tree is not None and tree_digest(tree) != tree_digest(stored):
        raise LabellingError(
            f"{path}: holds answers to the tree {stored.name!r} ({tree_digest(stored)[:12]}), not to {tree.name!r} "
            f"({tree_digest(tree)[:12]}); leave --tree out, or name another file with --database"
        )
    return stored


def _create(connection: sqlite3.Connection, tree: DecisionTree, tree_name: str) -> None:
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    about = {
        "tree": json.dumps(tree.to_dict()),
        "tree_name": tree_name,
        "identity": secrets.token_hex(8),
        "secret": secrets.token_hex(32),
    }
    connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
