"""Two people label a hundred simulated galaxies at once, and the server is killed in between: what was kept.

    python benchmarks/label_two.py FOLDER [--galaxies 100] [--kills 4] [--json]

Each person is a program that speaks to `tuningfork label` as the page does and notes every answer that the server
confirmed. At random moments the server gets SIGKILL and is started again; a person who hears nothing sends the same
answer again. At the end the database is compared with the notes: confirmed answers that are not there, that are there
twice, or that say something else.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from tuningfork.labelling.agreement import agreement
from tuningfork.labelling.campaign import Campaign
from tuningfork.labelling.tally import tally

PEOPLE = ("Ada", "Ben")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--galaxies", type=int, default=100)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    told = labelled_by_two(args.folder, args.galaxies, args.kills, args.seed)
    if args.json:
        print(json.dumps(told))
        return
    print(f"{told['galaxies']} galaxies, finished by {told['finished']}; server killed {told['kills']} times")
    print(f"answers confirmed to a person: {told['confirmed']}; kept in the database: {told['kept']}")
    print(f"confirmed and lost: {told['lost']}; stored twice: {told['double']}; changed: {told['changed']}")
    print(f"requests that met no server and were sent again: {told['again']}")
    print(f"agreement on the first question: {told['same']:.2f} of pairs, alpha {told['alpha']:.2f}")


def labelled_by_two(folder: Path, galaxies: int, kills: int, seed: int) -> dict[str, object]:
    """Run it all in `folder`; the figures."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    noise = np.random.default_rng(seed)
    for number in range(galaxies):
        Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(pictures / f"{number:03d}.png")
    server = Server(pictures)
    people = [Person(name, server, seed + at) for at, name in enumerate(PEOPLE)]
    for person in people:
        person.start()
    chance, done = random.Random(seed), 0
    try:
        while any(person.is_alive() for person in people):
            time.sleep(0.01)
            # Spread over the complete campaign, each at a moment of its own.
            confirmed = sum(len(person.notes) for person in people)
            if done < kills and confirmed > (done + chance.random()) * galaxies * 7 / kills:
                server.kill()
                done += 1
                server.begin()
    finally:
        server.kill()
    for person in people:
        person.join()
    return {"galaxies": galaxies, "kills": done, **compared(pictures / "labels.sqlite", people)}


def compared(database: Path, people: list["Person"]) -> dict[str, object]:
    """The database beside the notes."""
    with Campaign(database) as campaign:
        given, finished = list(campaign.answers()), campaign.progress()["people"]
        first = agreement(tally(given, campaign.tree).counts, campaign.tree)[0]
    kept = Counter((each.person, each.galaxy, each.question) for each in given if not each.undone)
    said = {(each.person, each.galaxy, each.question): each.answer for each in given if not each.undone}
    notes = {(person.name, *key): answer for person in people for key, answer in person.notes.items()}
    return {
        "finished": finished,
        "confirmed": len(notes),
        "kept": sum(kept.values()),
        "lost": sum(key not in said for key in notes),
        "double": sum(count > 1 for count in kept.values()),
        "changed": sum(said.get(key, answer) != answer for key, answer in notes.items()),
        "again": sum(person.again for person in people),
        "same": first.raw,
        "alpha": first.alpha,
    }


class Server:
    """`tuningfork label` as a process; after a kill it is begun again, at another port."""

    def __init__(self, pictures: Path) -> None:
        self.command = [
            sys.executable, "-m", "tuningfork", "label", str(pictures), "--model", "none", "--votes-each",
            str(len(PEOPLE)), "--port", "0", "--json",
        ]  # fmt: skip
        self.address = ""
        self.begin()

    def begin(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = json.loads(self.process.stdout.readline())["address"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def post(self, opener: urllib.request.OpenerDirector, path: str, sent: dict[str, object]) -> dict[str, object]:
        request = urllib.request.Request(
            self.address + path, json.dumps(sent).encode(), {"content-type": "application/json"}, method="POST"
        )
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)


class Person(threading.Thread):
    """Answers until nothing is left, and notes what was confirmed: (galaxy, question) → answer."""

    def __init__(self, name: str, server: Server, seed: int) -> None:
        super().__init__(name=name)
        self.server = server
        # Keeps the cookie of who has joined.
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        self.chance = random.Random(seed)
        self.notes: dict[tuple[str, str], str] = {}
        self.again = 0

    def run(self) -> None:
        """Label."""
        place = self.sent("api/people", {"name": self.name})
        while place["question"]:
            question = place["question"]
            answer = self.chance.choice(question["answers"])["key"]
            after = self.sent(
                "api/answer",
                {
                    "campaign": place["campaign"], "person": place["person"], "version": place["version"],
                    "galaxy": place["galaxy"], "question": question["key"], "answer": answer,
                    "key": str(place["version"]),
                },
            )  # fmt: skip
            self.notes[place["id"], question["key"]] = answer
            place = after

    def sent(self, path: str, body: dict[str, object]) -> dict[str, object]:
        """Send until it is confirmed."""
        while True:
            try:
                return self.server.post(self.opener, path, body)
            except urllib.error.HTTPError:
                raise
            except OSError:
                self.again += 1
                time.sleep(0.2)


if __name__ == "__main__":
    main()
