"""The database of a labelling: its tables, how it is opened, and which files are refused."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
from pathlib import Path

from .._utils.errors import TuningforkError
from ..votes.tree import DecisionTree, SchemaError

__all__ = ["TeachError", "connect", "tree_digest"]

#: Raised whenever the tables change.
VERSION = 1
#: "fork" in ASCII; tells our databases from other programs'.
APPLICATION = 0x666F726B
#: Seconds to wait for another process that is writing.
PATIENCE = 30

_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE galaxies (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,             -- from the folder of pictures
    rank INTEGER,                   -- place in the order of labelling, from 1
    reason TEXT NOT NULL DEFAULT '' -- why it is left out
);
CREATE INDEX galaxies_by_rank ON galaxies (rank);
CREATE TABLE people (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    joined TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0 -- answers and undoings so far
);
CREATE TABLE turns ( -- one person's look at one galaxy
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
    tree TEXT NOT NULL,             -- digest of the tree that was asked
    given TEXT NOT NULL,            -- UTC
    key TEXT NOT NULL,              -- the page's own name of this answer: one that is sent twice is stored once
    undone TEXT,                    -- UTC
    undone_key TEXT,
    UNIQUE (person, key)
);
CREATE UNIQUE INDEX one_answer ON answers (galaxy, person, question) WHERE undone IS NULL;
CREATE INDEX answers_by_person ON answers (person, number);
"""


class TeachError(TuningforkError, ValueError):
    """A labelling that cannot go on as asked; the message names the file and the remedy."""


def connect(
    path: str | os.PathLike[str], tree: DecisionTree | None, named: str = ""
) -> tuple[sqlite3.Connection, DecisionTree]:
    """Open the database `path`, or make it for `tree`; of one that is there, None takes the tree that it holds.

    `named` is kept in a new one: how `tuningfork train --tree` calls the tree.

    A commit is on the disk when it returns (write-ahead log, synchronous FULL), so that neither a kill nor a power
    failure takes an answer back.

    Raises
    ------
    TeachError
        If there is none and no tree, or it is no database of ours, of a newer version, or holds another tree's answers.
    """
    new = not Path(path).exists()
    if new and tree is None:
        raise TeachError(f"{path}: no such database; label some galaxies first")
    try:
        # One connection serves all threads, one at a time; `Store` sees to that.
        connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise TeachError(f"{path}: {error}; name a file in a folder that you can write to with --database") from None
    try:
        return connection, _prepared(connection, path, tree, named)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise TeachError(f"{path}: cannot be used as a database of labels: {error}") from None
    except BaseException:
        connection.close()
        raise


def tree_digest(tree: DecisionTree) -> str:
    """SHA-256 of all that the tree says, questions' texts too: another wording is another question."""
    return hashlib.sha256(json.dumps(tree.to_dict(), sort_keys=True).encode()).hexdigest()


def _prepared(
    connection: sqlite3.Connection, path: str | os.PathLike[str], tree: DecisionTree | None, named: str
) -> DecisionTree:
    connection.execute("BEGIN IMMEDIATE")  # of two that make it at once, one finds it made
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        empty = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if empty and tree is not None:
            _make(connection, tree, named)
        elif application != APPLICATION:
            raise TeachError(f"{path}: is a database of another program; name another file with --database")
        elif version != VERSION:
            raise TeachError(f"{path}: holds labels in the form {version}, this tuningfork knows {VERSION}; update it")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (held,) = connection.execute("SELECT value FROM about WHERE key = 'tree'").fetchone()
    try:
        found = DecisionTree.from_dict(json.loads(held))
    except (SchemaError, ValueError) as error:
        raise TeachError(f"{path}: its tree cannot be read: {error}") from None
    if tree is not None and tree_digest(tree) != tree_digest(found):
        raise TeachError(
            f"{path}: holds answers to the tree {found.name!r} ({tree_digest(found)[:12]}), not to {tree.name!r} "
            f"({tree_digest(tree)[:12]}); leave --tree out, or name another file with --database"
        )
    return found


def _make(connection: sqlite3.Connection, tree: DecisionTree, named: str) -> None:
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute("INSERT INTO about VALUES ('tree', ?)", [json.dumps(tree.to_dict())])
    connection.execute("INSERT INTO about VALUES ('named', ?)", [named])
    connection.execute("INSERT INTO about VALUES ('identity', ?)", [secrets.token_hex(8)])
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
