"""What people answered: the way down a tree, turns, two windows, undo, many at once, kills, refused databases."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.labelling import campaign as campaign_module
from tuningfork.labelling.campaign import Campaign, StaleAnswerError
from tuningfork.labelling.database import LabellingError, tree_digest
from tuningfork.labelling.tally import tally
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.traversal import next_question, path, topological_order
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import builtin_trees, load_tree

OWN = class_tree(["spiral", "elliptical", "other"])
#: Questions that only their parents connect, as a tree file without `next` has them.
UNLINKED = DecisionTree.from_dict(
    {
        "name": "unlinked",
        "title": "no question leads to another",
        "questions": [
            {"key": "disk", "text": "A disk?", "answers": [
                {"key": "yes", "text": "yes", "column": "d1"}, {"key": "no", "text": "no", "column": "d2"}]},
            {"key": "bar", "text": "A bar?", "parent": "d1", "answers": [
                {"key": "yes", "text": "yes", "column": "b1"}, {"key": "no", "text": "no", "column": "b2"}]},
            {"key": "odd", "text": "Odd?", "answers": [
                {"key": "yes", "text": "yes", "column": "o1"}, {"key": "no", "text": "no", "column": "o2"}]},
        ],
    }
)  # fmt: skip
TREES = [*map(load_tree, builtin_trees()), OWN, UNLINKED]


def opened(folder, galaxies=5, tree=OWN, **options):
    campaign = Campaign(folder / "labels.sqlite", tree, **options)
    campaign.update_galaxies([(f"g{n}", f"g{n}.jpg") for n in range(galaxies)], "gone")
    campaign.set_order([f"g{n}" for n in range(galaxies)])
    return campaign


def reply(campaign, place, answer=0, key=None):
    """Give the answer of that number, from the window that shows `place`."""
    asked = place.question
    key = key or f"{place.person}-{place.version}-{place.galaxy}"
    number = min(answer, len(asked.answers) - 1)
    return campaign.answer(
        place.person, place.galaxy, asked.key, asked.answers[number].key, version=place.version, key=key
    )


def standing(campaign):
    return [(each.galaxy, each.person, each.question, each.answer) for each in campaign.answers() if not each.undone]


# ------------------------------------------------------------------ the way


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
@settings(max_examples=40)
@given(data=st.data())
def test_every_way_ends_asks_nothing_twice_and_only_what_its_parents_allow(tree, data):
    given, asked = {}, []
    while (question := next_question(tree, given)) is not None:
        asked.append(question.key)
        given[question.key] = data.draw(st.sampled_from([answer.key for answer in question.answers]))
        assert [each.key for each in path(tree, given)][: len(asked)] == asked
    assert len(set(asked)) == len(asked)
    chosen = {tree.columns[tree.fraction_names.index(f"{q}_{a}_fraction")] for q, a in given.items()}
    for key in asked:
        assert tree.question(key).parent in (None, *chosen)
    # Whatever has no parent and is led to by nobody is asked of everybody.
    led_to = {answer.next for answer in tree.answers}
    assert {q.key for q in tree.questions if q.parent is None and q.key not in led_to} <= set(asked)


@pytest.mark.parametrize("tree", TREES[:3], ids=lambda tree: tree.name)
def test_the_way_is_that_of_a_simulated_crowd(tree):
    """An independent walk: questions in topological order, reached through `next`."""
    reached, given = {tree.questions[0].key}, {}
    for position in topological_order(tree):
        question = tree.questions[position]
        if question.key in reached:
            given[question.key] = question.answers[0].key
            reached.add(question.answers[0].next)
    assert {question.key for question in path(tree, given)} == reached - {None}
    assert next_question(tree, given) is None


# ------------------------------------------------------------------ one person


def test_a_person_goes_through_the_galaxies_in_order_and_comes_to_an_end(tmp_path, gz2):
    with opened(tmp_path, 3, gz2) as campaign:
        place, seen = campaign.join("Ada"), []
        while place.question:
            seen.append((place.id, place.question.key))
            place = reply(campaign, place)
        assert list(dict.fromkeys(id_ for id_, _ in seen)) == ["g0", "g1", "g2"]
        assert [question for id_, question in seen if id_ == "g0"] == [
            "smooth_or_features",
            "rounded",
            "odd",
            "odd_feature",
        ]
        assert place.galaxy == 0
        assert campaign.progress()["done"] == 3
        assert campaign.progress()["people"] == {"Ada": 3}


def test_everything_is_there_after_closing(tmp_path, gz2):
    with opened(tmp_path, 2, gz2) as campaign:
        place = reply(campaign, reply(campaign, campaign.join("Ada")))
        before = list(campaign.answers())
    with Campaign(tmp_path / "labels.sqlite") as campaign:
        assert campaign.tree == gz2
        assert list(campaign.answers()) == before
        assert campaign.join("ada ") == place  # case and blanks are no other person
        assert all(each.tree == tree_digest(gz2) and each.given.endswith("Z") for each in before)


def test_a_name_that_is_none_is_refused(tmp_path):
    with opened(tmp_path) as campaign:
        for name in ["", "  ", "x" * 41, "a\nb\x00", "‮evil", "=1+1", "@SUM(A1)", "\x1b[2J"]:
            with pytest.raises(LabellingError, match="name"):
                campaign.join(name)


def test_undo_goes_back_over_galaxies_and_keeps_the_history(tmp_path, gz2):
    with opened(tmp_path, 3, gz2) as campaign:
        places = [campaign.join("Ada")]
        for _ in range(6):  # four answers finish the first galaxy
            places.append(reply(campaign, places[-1]))
        back = places[-1]
        for number, before in enumerate(reversed(places[:-1])):
            back = campaign.undo(back.person, version=back.version, key=f"u{number}")
            assert (back.id, back.answers, back.question) == (before.id, before.answers, before.question)
        assert campaign.undo(back.person, version=back.version, key="more") == back
        history = list(campaign.answers())
        assert len(history) == 6
        assert all(each.undone and not each.finished for each in history)
        assert len(tally(history, gz2).ids) == 0
        assert reply(campaign, back).answers == (("smooth_or_features", "smooth"),)


def test_a_galaxy_that_undo_left_is_free_for_others(tmp_path):
    with opened(tmp_path, 2) as campaign:
        ada = reply(campaign, campaign.join("Ada"))
        assert ada.id == "g1"
        ada = campaign.undo(ada.person, version=ada.version, key="u")
        assert ada.id == "g0"
        assert campaign.join("Ben").id == "g1"


# ------------------------------------------------------------------ two windows


def test_two_windows_show_the_same_and_only_the_first_answer_counts(tmp_path, gz2):
    with opened(tmp_path, 3, gz2) as campaign:
        one, other = campaign.join("Ada"), campaign.join("Ada")
        assert one == other
        after = reply(campaign, one, 0, key="one")
        with pytest.raises(StaleAnswerError, match="another window"):
            reply(campaign, other, 1, key="other")
        assert campaign.state(one.person) == after
        assert standing(campaign) == [("g0", "Ada", "smooth_or_features", "smooth")]


def test_an_answer_that_is_sent_twice_is_stored_once(tmp_path):
    with opened(tmp_path) as campaign:
        place = campaign.join("Ada")
        after = reply(campaign, place, 1, key="k")
        assert reply(campaign, place, 1, key="k") == after
        back = campaign.undo(place.person, version=after.version, key="u")
        assert campaign.undo(place.person, version=after.version, key="u") == back
        assert reply(campaign, place, 1, key="k") == back  # a late copy does not bring it back
        assert standing(campaign) == []
        with pytest.raises(StaleAnswerError):
            campaign.undo(place.person, version=after.version, key="u2")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"answer": "triangle"}, "no answer"),
        ({"person": 99}, "nobody"),
        ({"key": ""}, "key"),
        ({"key": "x" * 65}, "key"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path, change, error):
    with opened(tmp_path) as campaign:
        place = campaign.join("Ada")
        asked = {"person": place.person, "galaxy": place.galaxy, "question": "label", "answer": "spiral"}
        with pytest.raises(LabellingError, match=error):
            campaign.answer(**{**asked, "version": place.version, "key": "k", **change})
        assert standing(campaign) == []


# ------------------------------------------------------------------ several people


@pytest.mark.parametrize("votes_each", [1, 2, 3])
def test_people_are_spread_and_no_galaxy_gets_more_votes_than_wanted(tmp_path, votes_each):
    with opened(tmp_path, 6, votes_each=votes_each) as campaign:
        places = {name: campaign.join(name) for name in ("Ada", "Ben", "Cy")}
        first = Counter(place.id for place in places.values())
        assert max(first.values()) <= votes_each
        while any(place.question for place in places.values()):
            for name, place in places.items():
                if place.question:
                    places[name] = reply(campaign, place)
        votes = Counter(galaxy for galaxy, *_ in standing(campaign))
        assert set(votes.values()) == {votes_each}
        assert len(votes) == 6
        assert campaign.progress()["done"] == 6


def test_a_galaxy_before_somebody_who_left_is_given_to_another(tmp_path, monkeypatch):
    with opened(tmp_path, 1) as campaign:
        ada = campaign.join("Ada")
        assert campaign.join("Ben").galaxy == 0
        monkeypatch.setattr(campaign_module, "ASSIGNMENT_TIMEOUT", -campaign_module.ASSIGNMENT_TIMEOUT)
        assert campaign.join("Ben").galaxy == ada.galaxy
        assert reply(campaign, ada).galaxy == 0  # who comes back may finish
        assert len(standing(campaign)) == 1


def test_a_clock_that_was_wrong_locks_no_galaxy(tmp_path, monkeypatch):
    with opened(tmp_path, 1) as campaign:
        with monkeypatch.context() as wrong:
            wrong.setattr(campaign_module, "_now", lambda: "2038-01-01T00:00:00.000Z")
            ada = campaign.join("Ada")
        assert campaign.join("Ben").galaxy == ada.galaxy


def test_a_galaxy_that_is_left_out_is_taken_from_whoever_looks_at_it(tmp_path):
    with opened(tmp_path, 2) as campaign:
        place = campaign.join("Ada")
        campaign.exclude(place.galaxy, "damaged")
        with pytest.raises(StaleAnswerError):
            reply(campaign, place)
        assert campaign.state(place.person).id == "g1"
        assert campaign.progress()["left_out"] == 1


def test_a_folder_that_changes(tmp_path):
    with opened(tmp_path, 3) as campaign:
        reply(campaign, campaign.join("Ada"))
        campaign.update_galaxies([("g0", "g0.jpg"), ("new", "deep/new.jpg")], "gone")
        assert {each.id: each.reason for each in campaign.galaxies()} == {
            "g0": "",
            "g1": "gone",
            "g2": "gone",
            "new": "",
        }
        campaign.update_galaxies([("g1", "other/g1.jpg")], "gone")
        assert next(each.path for each in campaign.galaxies() if not each.reason) == "other/g1.jpg"
        assert len(standing(campaign)) == 1


@pytest.mark.slow
@settings(max_examples=40)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["answer", "undo", "twice", "stale"]), st.integers(0, 2), st.integers(0, 2)),
        max_size=25,
    )
)
def test_whatever_people_do_no_answer_is_lost_or_double(tmp_path_factory, steps):
    with opened(tmp_path_factory.mktemp("s"), 3, UNLINKED, votes_each=2) as campaign:
        names = ("Ada", "Ben", "Cy")
        windows = {name: campaign.join(name) for name in names}
        stacks = {name: [] for name in names}
        for number, (action, person, choice) in enumerate(steps):
            name, place = names[person], windows[names[person]]
            if action == "undo":
                windows[name] = campaign.undo(place.person, version=place.version, key=f"k{number}")
                del stacks[name][-1:]
                continue
            if place.question is None:
                windows[name] = campaign.state(place.person)
                continue
            windows[name] = reply(campaign, place, choice, key=f"k{number}")
            answer = place.question.answers[min(choice, 1)].key
            stacks[name].append((place.id, name, place.question.key, answer))
            if action == "twice":
                assert reply(campaign, place, choice, key=f"k{number}") == windows[name]
            elif action == "stale":
                with pytest.raises(StaleAnswerError):
                    reply(campaign, place, 1 - min(choice, 1), key=f"late{number}")
        assert Counter(standing(campaign)) == Counter(each for stack in stacks.values() for each in stack)
        assert max(tally(campaign.answers(), UNLINKED).people, default=0) <= 2


def test_threads_that_answer_at_once_lose_nothing_and_double_nothing(tmp_path):
    with opened(tmp_path, 40, votes_each=4) as campaign:

        def work(name):
            place, mine = campaign.join(name), []
            while place.question:
                mine.append((place.id, name, "label", place.question.answers[place.galaxy % 3].key))
                place = reply(campaign, place, place.galaxy % 3)
            return mine

        names = [f"person {n}" for n in range(8)]
        with ThreadPoolExecutor(len(names)) as pool:
            told = [each for mine in pool.map(work, names) for each in mine]
        assert sorted(told) == sorted(standing(campaign))
        assert set(tally(campaign.answers(), OWN).people) == {4}


def test_two_windows_that_answer_at_the_same_moment(tmp_path):
    with opened(tmp_path, 30) as campaign:
        place, refused = campaign.join("Ada"), []
        while place.question:
            barrier = threading.Barrier(4)

            def click(window, shown=place, barrier=barrier):
                barrier.wait()
                try:
                    return reply(campaign, shown, window % 3, key=f"{shown.galaxy}-{window}")
                except StaleAnswerError:
                    refused.append(window)
                    return None

            with ThreadPoolExecutor(4) as pool:
                told = list(pool.map(click, range(4)))
            assert sum(each is not None for each in told) == 1
            place = campaign.state(place.person)
        assert len(standing(campaign)) == 30
        assert len(refused) == 90


def test_two_processes_use_one_database(tmp_path):
    with opened(tmp_path, 20, votes_each=1) as one, Campaign(tmp_path / "labels.sqlite") as two:
        places = {one: one.join("Ada"), two: two.join("Ben")}
        while any(place.question for place in places.values()):
            for campaign, place in places.items():
                places[campaign] = reply(campaign, place) if place.question else campaign.state(place.person)
        assert len({galaxy for galaxy, *_ in standing(one)}) == 20
        assert standing(one) == standing(two)


# ------------------------------------------------------------------ the file

WRITER = """
import sys
from tuningfork.labelling.campaign import Campaign
campaign = Campaign(sys.argv[1])
place = campaign.join("Ada")
while place.question:
    key = f"k{place.galaxy}"
    place = campaign.answer(place.person, place.galaxy, "label", "spiral", version=place.version, key=key)
    print(key, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_what_was_confirmed_is_there_after_a_kill(tmp_path):
    opened(tmp_path, 5000).close()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "labels.sqlite")]
    confirmed = 0
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(25):
                assert process.stdout.readline()
                confirmed += 1
            process.send_signal(signal.SIGKILL)
            confirmed += len(process.stdout.read().splitlines())
        with Campaign(tmp_path / "labels.sqlite") as campaign:
            kept = len(standing(campaign))
        # One may have been stored and not yet confirmed.
        assert confirmed <= kept <= confirmed + 1
        confirmed = kept


def test_another_tree_is_refused(tmp_path, gz2):
    opened(tmp_path).close()
    with pytest.raises(LabellingError, match=r"labels.sqlite: holds answers to the tree 'labels' .* not to 'gz2'"):
        Campaign(tmp_path / "labels.sqlite", gz2)
    with pytest.raises(LabellingError, match="holds answers to the tree"):
        Campaign(tmp_path / "labels.sqlite", class_tree(["spiral", "elliptical"]))


def test_other_files_are_refused_and_left_as_they_are(tmp_path):
    path = tmp_path / "labels.sqlite"
    path.write_bytes(b"GalaxyID,label\n" * 100)
    with pytest.raises(LabellingError, match="cannot be used"):
        Campaign(path, OWN)
    assert path.read_bytes() == b"GalaxyID,label\n" * 100
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(LabellingError, match="another program"):
        Campaign(path, OWN)
    with pytest.raises(LabellingError, match="no such database"):
        Campaign(tmp_path / "nothing.sqlite")
    with pytest.raises(LabellingError, match="--database"):
        Campaign(tmp_path / "no" / "folder.sqlite", OWN)


def test_a_newer_form_is_refused(tmp_path):
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "labels.sqlite") as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(LabellingError, match="in the form 7"):
        Campaign(tmp_path / "labels.sqlite")


def test_an_answer_is_on_the_disk_before_it_is_confirmed(tmp_path):
    with opened(tmp_path) as campaign:
        run = campaign._database.connection.execute
        assert run("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert run("PRAGMA journal_mode").fetchone() == ("wal",)
