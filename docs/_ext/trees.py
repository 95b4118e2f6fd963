"""The reference of decision trees, written from their files whenever the documents are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import builtin_trees, load_tree

__all__ = ["reference", "setup"]

HEAD = """# Decision trees

Trees that come with tuningfork, each with the columns of its campaign's catalogue. `--tree NAME` chooses one; a file
of yours is a tree too. The notes at the head of a tree's file (`votes/trees/NAME.toml`) say where its questions and
columns are from, and what could not be verified. *Values*: cumulative fractions (of all volunteers), conditional ones
(of those who were asked), or counts of votes. *Kind*: [raw, weighted or debiased](../target.md).

| name | campaign | questions | answers | values | kind | ID column |
|---|---|---|---|---|---|---|
"""


def reference() -> str:
    """The page, in MyST."""
    trees = [load_tree(name) for name in builtin_trees()]
    rows = [
        f"| [`{tree.name}`](#{tree.name.replace('_', '-')}) | {tree.title} | {len(tree.questions)} | "
        f"{len(tree.columns)} | {tree.values} | {tree.values_kind} ({tree.values_kind_source}) | "
        f"{', '.join(f'`{column}`' for column in tree.id_columns[:2])} |\n"
        for tree in trees
    ]
    return HEAD + "".join(rows) + "".join(map(_section, trees))


def _section(tree: DecisionTree) -> str:
    head = f"\n({tree.name.replace('_', '-')})=\n## {tree.title}\n\n`{tree.name}`: {tree.reference}\n"
    total = f"\nNumber of volunteers: `{tree.total_column}`.\n" if tree.total_column and tree.values != "counts" else ""
    table = "\n| question | answer | column | next |\n|---|---|---|---|\n"
    for question in tree.questions:
        for number, answer in enumerate(question.answers):
            text = "" if number else f"**{question.key}** {question.text}"
            table += f"| {text} | {answer.text} | `{answer.column}` | {answer.next or ''} |\n"
    return head + total + table


def _write(app: Any) -> None:
    page = Path(app.srcdir) / "reference" / "trees.md"
    page.parent.mkdir(exist_ok=True)
    text = reference()
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
