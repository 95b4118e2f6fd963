"""Archives: every member once, its very bytes, in any order and from any thread; damage is named and costs no more."""

import io
import os
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tuningfork.images import image
from tuningfork.images.image import ImageError
from tuningfork.inputs import InputError, ItemReader, archives, find_items, read_listing, tar, write_listing, zip
from tuningfork.inputs.byte_source import ReadAhead

# Names as archives have them: long, deep, in any script, and bytes that are no UTF-8.
NAME = st.builds(
    lambda folders, stem, ending: "/".join([*folders, stem + ending]),
    st.lists(st.text("abcé日", min_size=1, max_size=60), max_size=4),
    st.text("abxyzéß日\udcff", min_size=1, max_size=120),
    st.sampled_from([".jpg", ".JPEG", ".png", ".tar.jpg", ".json", ".cls", ".fits", ""]),
)
MEMBERS = st.lists(st.tuples(NAME, st.binary(max_size=1300)), max_size=8, unique_by=lambda member: member[0])
PICTURES = (".jpg", ".jpeg", ".png", ".fits")
KEPT = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def opened(items):
    """What each item gives: bytes, or the reason why not."""
    out = []
    with ItemReader() as opening:
        for item in items:
            try:
                out.append(opening.prepare(item)())
            except ImageError as error:
                out.append(str(error))
    return out


def write_tar(file, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(file, "w", format=form, encoding="utf-8", errors="surrogateescape") as out:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            out.addfile(about, io.BytesIO(data))
    return file


def write_zip(file, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(file, "w", method) as out:
        for name, data in members:
            out.writestr(name, data)
    return file


def is_picture(name):
    return name.lower().endswith(PICTURES)


# ---------------------------------------------------------------- every member once, the same bytes


@KEPT
@given(MEMBERS, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.randoms())
@example([("a" * 99 + "/" + "b" * 99 + ".jpg", b"x" * 512)], tarfile.USTAR_FORMAT, random.Random(0))
def test_a_tar_gives_back_its_images(tmp_path, members, form, chance):
    file = tmp_path / "t.tar"
    with suppress(ValueError):  # ustar cannot hold every name
        write_tar(file, members, form)
        found = list(find_items([file]))
        pictures = [(name, data) for name, data in members if is_picture(name)]
        assert [item.member for item in found] == [name for name, _ in pictures]
        assert [item.id for item in found] == [tar_id(name) for name, _ in pictures]
        order = list(range(len(found)))
        chance.shuffle(order)
        assert opened(found[at] for at in order) == [pictures[at][1] for at in order]
        write_listing(found, tmp_path / "listing.parquet")
        assert list(map(str, read_listing(tmp_path / "listing.parquet"))) == list(map(str, found))


def tar_id(name):
    key = name.rpartition("/")[2].rpartition(".")[0]
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@KEPT
@given(MEMBERS, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), st.integers(0, 40), st.randoms())
def test_a_zip_gives_back_its_images(tmp_path, members, method, before, chance):
    members = [(name.replace("\udcff", "ÿ"), data) for name, data in members]
    file = write_zip(tmp_path / "t.zip", members, method)
    # Self-unpacking archives begin with a program.
    file.write_bytes(bytes(before) + file.read_bytes())
    pictures = [(name, data) for name, data in members if is_picture(name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip, "BLOCK", 2000)
        found = list(find_items([file]))
    assert [item.member for item in found] == [name for name, _ in pictures]
    order = list(range(len(found)))
    chance.shuffle(order)
    assert opened(found[at] for at in order) == [pictures[at][1] for at in order]


def test_members_are_read_from_many_threads_and_archives_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "OPEN", 2)
    pool = {f"{number:03d}": random.Random(number).randbytes(5000 + number) for number in range(120)}
    files = []
    for part in range(6):
        members = [(f"{name}.jpg", pool[name]) for name in list(pool)[part * 20 : part * 20 + 20]]
        write = write_tar if part % 2 else write_zip
        files.append(write(tmp_path / f"{part}.{'tar' if part % 2 else 'zip'}", members))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with ItemReader() as opening, ThreadPoolExecutor(8) as threads:
        # The first archives are let go long before these calls are made.
        calls = [(item.id, opening.prepare(item)) for item in find_items(files)]
        random.Random(0).shuffle(calls)
        for name, data in zip_strict([name for name, _ in calls], threads.map(lambda call: call[1](), calls)):
            assert data == pool[name]
    del calls
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def zip_strict(*lists):
    return __builtins__["zip"](*lists, strict=True)


@pytest.mark.skipif(sys.platform == "win32", reason="tar of GNU or BSD")
def test_what_the_command_tar_writes_is_read(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    (folder / "plain.jpg").write_bytes(b"p" * 700)
    os.link(folder / "plain.jpg", folder / "hard.jpg")
    os.symlink("plain.jpg", folder / "soft.jpg")
    (folder / ("n" * 200 + ".jpg")).write_bytes(b"long")
    (folder / "not.jpg").mkdir()
    (folder / ".hidden.jpg").write_bytes(b"h")
    with open(folder / "holes.fits", "wb") as out:
        for at in range(60):
            out.seek(at * 2**16)
            out.write(b"x")
    (folder / "z.jpg").write_bytes(b"last")
    for options in (["--format=gnu"], ["--format=pax"], ["-S", "--format=gnu"], ["-S", "--format=pax"]):
        file = tmp_path / "t.tar"
        try:
            command = ["tar", *options, "--sort=name", "-cf", file, "-C", tmp_path, "shots"]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no GNU tar here")
        found = list(find_items([file]))
        read = dict(zip_strict([item.id for item in found], opened(found)))
        assert set(read) == {"plain", "hard", "soft", "n" * 200, "holes", "z"}
        assert read["z"] == b"last"
        assert read["n" * 200] == b"long"
        assert {type(read["hard"]), type(read["plain"])} == {str, bytes}
        assert "symbolic link to 'plain.jpg'; pack the file itself" in read["soft"]
        if "-S" in options:
            assert "sparse" in read["holes"]
        else:
            assert len(read["holes"]) == 59 * 2**16 + 1


def test_ids_are_names_without_the_extension_in_any_archive(tmp_path):
    members = [("d/0001.image.jpg", b"1"), ("d/0001.json", b"{}")]
    assert [e.id for e in find_items([write_tar(tmp_path / "t.tar", members)])] == ["0001.image"]
    (item,) = find_items([write_zip(tmp_path / "t.zip", members)])
    assert (item.id, item.path) == ("0001.image", f"{tmp_path / 't.zip'}/d/0001.image.jpg")


def test_backslashes_part_folders_in_a_zip(tmp_path):
    found = list(find_items([write_zip(tmp_path / "t.zip", [("cutouts\\g1.jpg", b"1")])]))
    assert [item.id for item in found] == ["g1"]
    assert opened(found) == [b"1"]


def test_a_name_is_but_a_name(tmp_path):
    names = ["../../etc/a.jpg", "/etc/b.jpg", "c:\\d.jpg", "./e.jpg", "../.f.jpg", "__MACOSX/._g.jpg"]
    for write, file in ((write_tar, "t.tar"), (write_zip, "t.zip")):
        found = list(find_items([write(tmp_path / file, [(name, name.encode()) for name in names])]))
        assert opened(found) == [item.member.encode() for item in found]
        assert len(found) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tar", "t.zip"]


# ---------------------------------------------------------------- limits and refusals


@pytest.mark.parametrize("name", ["t.tar.gz", "t.tgz", "t.TAR.ZST", "t.tar.xz", "t.tar.bz2"])
def test_compressed_archives_are_refused_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="unpack it"):
        list(find_items([tmp_path / name]))


def test_a_compressed_archive_by_another_name_is_refused(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w:gz"):
        pass
    with pytest.raises(InputError, match="unpack it"):
        list(find_items([tmp_path / "t.tar"]))


def test_archives_in_archives_stay_closed_and_empty_ones_are_empty(tmp_path):
    inner = write_tar(tmp_path / "inner.tar", [("a.jpg", b"a")])
    assert not list(find_items([write_zip(tmp_path / "o.zip", [("inner.tar", inner.read_bytes())])]))
    assert not list(find_items([write_tar(tmp_path / "e.tar", []), write_zip(tmp_path / "e.zip", [])]))


def test_sizes_are_limited_as_told_and_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "MAX_FILE_BYTES", 1000)
    members = [("large.jpg", bytes(1001)), ("small.jpg", bytes(1000))]
    for file in (write_tar(tmp_path / "t.tar", members), write_zip(tmp_path / "t.zip", members)):
        large, small = opened(find_items([file]))
        assert large == "file of 1001 bytes; at most 1000 are read"
        assert small == bytes(1000)


def test_a_bomb_is_unpacked_no_further_than_it_says(tmp_path, monkeypatch):
    file = write_zip(tmp_path / "t.zip", [("bomb.jpg", bytes(50_000_000)), ("good.jpg", b"good")])
    data = bytearray(file.read_bytes())
    for header, field in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        at = data.index(header) + field
        data[at : at + 4] = struct.pack("<L", 1000)
    file.write_bytes(data)
    made = []
    unpack = zip.zlib.decompressobj

    class Watched:
        def __init__(self, *options):
            self._real = unpack(*options)

        def decompress(self, data, most):
            made.append(len(out := self._real.decompress(data, most)))
            return out

    monkeypatch.setattr(zip.zlib, "decompressobj", Watched)
    assert opened(find_items([file])) == ["damaged: more bytes than the archive's directory says", b"good"]
    assert max(made) == 1001


def test_bad_members_of_a_zip_are_named_and_the_others_read(tmp_path):
    file = tmp_path / "t.zip"
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("crc.jpg", b"0123456789", zipfile.ZIP_STORED)
        out.writestr("lzma.jpg", b"x" * 100, zipfile.ZIP_LZMA)
        out.writestr("flate.jpg", random.Random(0).randbytes(300), zipfile.ZIP_DEFLATED)
        out.writestr("locked.jpg", b"x")
        out.writestr("good.jpg", b"good")
    data = bytearray(file.read_bytes())
    data[data.index(b"0123456789")] = 0
    at = data.index(b"flate.jpg") + len("flate.jpg")
    data[at] |= 0b110  # a kind of block that there is not
    data[data.rindex(b"locked.jpg") - 46 + 8] |= 1
    file.write_bytes(data)
    crc, lzma, flate, locked, good = opened(find_items([file]))
    assert "CRC-32" in crc
    assert "method 14" in lzma
    assert flate.startswith("damaged")
    assert "encrypted" in locked
    assert good == b"good"


def test_zip64_and_members_written_as_a_stream(tmp_path):
    file = tmp_path / "t.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        with out.open("a.jpg", "w", force_zip64=True) as member:
            member.write(b"first")
        out.writestr("b.jpg", b"second")

    class Pipe(io.RawIOBase):
        def __init__(self, sink):
            self.sink = sink

        def writable(self):
            return True

        def write(self, data):
            return self.sink.write(data)

    with open(tmp_path / "s.zip", "wb") as sink, zipfile.ZipFile(Pipe(sink), "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("c.jpg", b"third" * 100)
    assert opened(find_items([file, tmp_path / "s.zip"])) == [b"first", b"second", b"third" * 100]


@pytest.mark.slow
def test_more_members_than_sixteen_bits_count(tmp_path):
    file = write_zip(tmp_path / "t.zip", [(f"{n}.jpg", b"%d" % n) for n in range(70_000)], zipfile.ZIP_STORED)
    found = list(find_items([file]))
    assert [item.id for item in found] == [str(n) for n in range(70_000)]
    assert opened(found[::10_000]) == [b"%d" % n for n in range(0, 70_000, 10_000)]


def test_an_archive_that_changed_is_not_read(tmp_path):
    for write, name in ((write_tar, "t.tar"), (write_zip, "t.zip")):
        file = write(tmp_path / name, [("a.jpg", b"old")])
        found = list(find_items([file]))
        with ItemReader() as opening:
            call = opening.prepare(found[0])
            write(file, [("a.jpg", b"newer")])
            with pytest.raises(ImageError, match="changed since"):
                call()
        assert opened(found) == ["changed since it was listed; predict it again"]


# ---------------------------------------------------------------- damage


@KEPT
@given(st.data())
def test_a_cut_tar_keeps_what_is_before_the_cut_and_says_that_it_is_cut(tmp_path, data):
    members = [(f"{number}.jpg", bytes([number]) * size) for number, size in enumerate([0, 1, 511, 512, 513, 3000])]
    whole = write_tar(
        tmp_path / "whole.tar", members, data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    )
    good = list(find_items([whole]))
    cut = tmp_path / "cut.tar"
    at = data.draw(st.integers(0, good[-1].offset + good[-1].size - 1))
    cut.write_bytes(whole.read_bytes()[:at])
    *found, last = find_items([cut])
    assert [item.id for item in found] == [item.id for item in good if item.offset + item.size <= at]
    assert opened(found) == [members[number][1] for number in range(len(found))]
    assert f"the archive is cut at byte {at}" in opened([last])[0]
    assert last.id == "cut"


def test_archives_that_were_joined_hide_nothing(tmp_path):
    one, two = write_tar(tmp_path / "1.tar", [("a.jpg", b"a")]), write_tar(tmp_path / "2.tar", [("b.jpg", b"b")])
    joined = tmp_path / "joined.tar"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    first, problem = opened(find_items([joined]))
    assert first == b"a"
    assert "more follows behind the end mark" in problem


@pytest.mark.parametrize("name", ["t.tar", "t.zip"])
@pytest.mark.parametrize(
    "content", [b"", b"x", b"not an archive" * 1000, b"PK\5\6" + bytes(18), b"PK\5\6" + b"\xff" * 18]
)
def test_what_is_no_archive_is_one_bad_row(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = list(find_items([tmp_path / name]))
    if content[4:] != bytes(18) or name == "t.tar":
        assert [item.id for item in found] == ["t"]
        assert found[0].error


def test_long_names_are_limited(tmp_path, monkeypatch):
    file = write_tar(tmp_path / "t.tar", [("a.jpg", b"a"), ("b" * 3000 + ".jpg", b"b")])
    assert [item.id for item in find_items([file])] == ["a", "b" * 3000]
    monkeypatch.setattr(tar, "MAX_EXTENSION", 2000)
    assert [item.error for item in find_items([file])][1].endswith("at most 2000 are read")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["gnu", "pax", "zip"])
def test_damaged_archives_raise_only_what_is_reported(tmp_path, form):
    members = [(f"{'long' * 40 * (number % 2)}{number}.jpg", bytes([number]) * 300) for number in range(12)]
    file = tmp_path / ("t.zip" if form == "zip" else "t.tar")
    if form == "zip":
        write_zip(file, members)
    else:
        write_tar(file, members, {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}[form])
    good = file.read_bytes()
    chance = random.Random(0)
    for _ in range(120):
        data = bytearray(good)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.choice([1, 3, 30]) if data else 0):
            at = chance.choice([chance.randrange(len(data)), max(0, len(data) - 1 - chance.randrange(900))])
            data[at] = chance.choice([0, 0x80, 0xFF, chance.randrange(256)])
        file.write_bytes(data)
        with suppress(InputError):
            found = list(find_items([file]))
            assert len(found) <= len(members) + 1
            write_listing(found, tmp_path / "listing.parquet")
            opened(found)


def test_a_tar_whose_checksums_are_mended_raises_only_what_is_reported(tmp_path):
    """Damage behind a good checksum, as an attacker would write it."""
    file = write_tar(tmp_path / "t.tar", [("a" * 150 + ".jpg", b"a" * 600)] * 3)
    good = file.read_bytes()
    chance = random.Random(0)
    for _ in range(200):
        data = bytearray(good)
        for at in range(0, len(data), 512):
            if data[at + 257 : at + 262] == b"ustar":
                for _ in range(chance.choice([0, 1, 5])):
                    data[at + chance.choice([chance.randrange(512), 124 + chance.randrange(12), 156])] = (
                        chance.randrange(256)
                    )
                data[at + 148 : at + 156] = b"        "
                data[at + 148 : at + 155] = b"%06o\0" % sum(data[at : at + 512])
        file.write_bytes(data)
        with suppress(InputError):
            opened(find_items([file]))


# ---------------------------------------------------------------- folders, and what is far away


def test_a_folder_of_archives_says_what_to_type(tmp_path):
    for name in ("b.tar", "a.tar"):
        write_tar(tmp_path / name, [("a.jpg", b"a")])
    with pytest.raises(InputError, match=r"holds no image, but a\.tar and 1 more: name .*\*\.tar"):
        list(find_items([tmp_path]))
    (tmp_path / "c.jpg").write_bytes(b"c")
    assert [item.id for item in find_items([tmp_path])] == ["c"]


@given(
    st.binary(min_size=1, max_size=200),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 220), st.integers(0, 60))),
)
def test_reading_ahead_gives_the_same_bytes(data, block, reads):
    class Held:
        size, stamp = len(data), ""

        def read(self, offset, size):
            return data[offset : offset + size]

    source = Held()
    source.block = block
    ahead = ReadAhead(source)
    ahead.SHORT = block // 3
    for offset, size in reads:
        assert ahead.read(offset, size) == data[offset : offset + size]


MEMORY = """
import resource, sys
import tuningfork.inputs as inputs
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
items = inputs.find_items([sys.argv[1]])
next(items)
before = peak()
print(sum(1 for _ in items), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_memory_does_not_follow_the_archive(tmp_path, kind):
    folder = "a folder with a long name " * 3
    members = ((f"{folder}/{number:06d}.jpg", b"x") for number in range(80_000))
    file = write_tar(tmp_path / "t.tar", members) if kind == "tar" else write_zip(tmp_path / "t.zip", members)
    done = subprocess.run([sys.executable, "-c", MEMORY, str(file)], capture_output=True, text=True, check=True)
    rows, grown = done.stdout.split()
    assert int(rows) == 79_999
    assert float(grown) < 12, "MiB above the first row"
