"""Objects are files: durable, whole, and with their metadata whatever happens; a model of S3 agrees at every step."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.keys import PRIVATE, check_bucket, hidden_path, plain_path
from clearsight_sagemaker.s3.listing import list_page
from clearsight_sagemaker.s3.store import Content, ObjectStore


def put(store: ObjectStore, key: str, body: bytes, **condition: str) -> None:
    with store.new_file("photos") as file:
        file.write(body)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        store.put("photos", key, file, Content(metadata={"length": str(len(body))}), etag, condition)


def get(store: ObjectStore, key: str) -> bytes:
    with store.opened("photos", key) as (stored, file):
        body = file.read()
    assert hashlib.md5(body, usedforsecurity=False).hexdigest() == stored.etag
    assert stored.content.metadata == {"length": str(len(body))}
    return body


def keys(store: ObjectStore, prefix: str = "", delimiter: str = "", limit: int = 1000) -> list[str]:
    """Return keys and common prefixes over all pages, in their order."""
    names, after = [], ""
    while True:
        page = list_page(store, "photos", prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        assert page.count <= limit
        names += sorted([*(stored.key for stored in page.objects), *page.prefixes])
        if not page.last:
            return names
        after = page.last


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    store = ObjectStore(tmp_path / "s3")
    store.create_bucket("photos")
    return store


def test_an_object_is_a_file_with_its_name(store: ObjectStore) -> None:
    put(store, "dogs/beagle.jpg", b"one")
    assert (store.folder / "photos" / "dogs" / "beagle.jpg").read_bytes() == b"one"
    put(store, "dogs/beagle.jpg", b"two")
    assert get(store, "dogs/beagle.jpg") == b"two"
    store.delete("photos", "dogs/beagle.jpg")
    assert not (store.folder / "photos" / "dogs").exists()  # as in S3, no folder is left


@pytest.mark.parametrize("key", ["a/../b", "a//b", "./a", "a/", "/a", "x" * 600, "tail.", ".clearsight-s3/new", "a\0b"])
def test_keys_that_are_no_file_names(key: str, store: ObjectStore) -> None:
    put(store, key, key.encode())
    assert get(store, key) == key.encode()
    assert keys(store) == [key]
    assert plain_path(key) == ""
    assert hidden_path(key).startswith(".clearsight-s3/keys/")


def test_a_key_that_is_the_prefix_of_another(store: ObjectStore) -> None:
    for name in ("p/q", "p/q/r", "p/q/", "p"):
        put(store, name, name.encode())
    assert {name: get(store, name) for name in keys(store)} == {n: n.encode() for n in ("p", "p/q", "p/q/", "p/q/r")}


def test_a_file_that_somebody_puts_into_the_bucket_is_an_object(store: ObjectStore) -> None:
    (store.folder / "photos" / "mine.png").write_bytes(b"mine")
    stored = store.head("photos", "mine.png")
    assert (stored.size, stored.content.headers) == (4, {"content-type": "image/png"})


def test_conditions(store: ObjectStore) -> None:
    put(store, "a", b"1")
    with pytest.raises(S3Error) as refused:
        put(store, "a", b"2", **{"if-none-match": "*"})
    assert refused.value.code == "PreconditionFailed"
    with pytest.raises(S3Error):
        put(store, "a", b"2", **{"if-match": '"0123"'})
    with pytest.raises(S3Error) as missing:
        put(store, "b", b"2", **{"if-match": "*"})
    assert missing.value.code == "NoSuchKey"
    put(store, "a", b"2", **{"if-match": f'"{store.head("photos", "a").etag}"'})
    assert get(store, "a") == b"2"


def test_a_reader_keeps_the_object_that_it_has_opened(store: ObjectStore) -> None:
    put(store, "a", b"old")
    with store.opened("photos", "a") as (stored, file):
        put(store, "a", b"new")
        store.delete("photos", "a")
        assert file.read() == b"old"
    assert stored.size == 3


@pytest.mark.parametrize("name", ["ab", "Photos", "a..b", "-photos", "photos-", "a" * 64, "a_b", "../etc"])
def test_names_that_no_bucket_has(name: str) -> None:
    with pytest.raises(S3Error):
        check_bucket(name)


def test_what_was_stored_is_there_after_a_restart(store: ObjectStore) -> None:
    put(store, "a/b", b"1")
    store.close()
    again = ObjectStore(store.folder)
    assert get(again, "a/b") == b"1"
    assert [name for name, _ in again.buckets()] == ["photos"]


WRITER = """
import hashlib, sys
from pathlib import Path
from tests.sagemaker.s3.test_store import put
from clearsight_sagemaker.s3.store import ObjectStore
store = ObjectStore(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    number += 1
    put(store, f"key-{number % 7}", (b"%d." % number) * (number % 5 * 20_000 + 1))
    print(number, flush=True)
"""


def test_no_object_is_torn_by_a_kill(store: ObjectStore) -> None:
    store.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    last = 0
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.folder), str(last)], stdout=subprocess.PIPE, env=environment
        )
        assert writer.stdout is not None
        for _ in range(9 + last % 3):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        last = max([last, *(int(line) for line in rest if line.isdigit())])
        writer.wait()
        writer.stdout.close()
        again = ObjectStore(store.folder)
        bodies = [get(again, key) for key in keys(again)]  # each is what its etag says
        newest = max(int(body.split(b".")[0]) for body in bodies)
        assert newest in (last, last + 1)  # the answered ones are there; one more may be
        last = newest
        again.close()


NAMES = st.text(st.sampled_from("ab/.é"), min_size=1, max_size=6)


class StoreMachine(RuleBasedStateMachine):
    """The store beside a dict, through every order of writing, deleting and listing."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        self.store = ObjectStore(Path(self._folder.name))
        self.store.create_bucket("photos")
        self.model: dict[str, bytes] = {}

    @rule(key=NAMES, body=st.binary(max_size=5))
    def write(self, key: str, body: bytes) -> None:
        put(self.store, key, body)
        self.model[key] = body

    @rule(key=NAMES)
    def delete(self, key: str) -> None:
        self.store.delete("photos", key)
        self.model.pop(key, None)

    @rule(key=NAMES)
    def read(self, key: str) -> None:
        if key in self.model:
            assert get(self.store, key) == self.model[key]
        else:
            with pytest.raises(S3Error):
                self.store.head("photos", key)

    @rule(
        prefix=st.text(st.sampled_from("ab/"), max_size=2),
        delimiter=st.sampled_from(["", "/"]),
        limit=st.integers(1, 3),
    )
    def list(self, prefix: str, delimiter: str, limit: int) -> None:
        expected = set()
        for key in self.model:
            if key.startswith(prefix):
                end = key.find(delimiter, len(prefix)) if delimiter else -1
                expected.add(key if end < 0 else key[: end + 1])
        assert keys(self.store, prefix, delimiter, limit) == sorted(expected)

    @invariant()
    def every_key_is_listed(self) -> None:
        assert keys(self.store) == sorted(self.model)

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()


TestMachine = StoreMachine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


WRITER_OF_ONE_KEY = """
import hashlib, sys
from pathlib import Path
from clearsight_sagemaker.s3.store import Content, ObjectStore
store = ObjectStore(Path(sys.argv[1]))
for number in range(60):
    body = f"{sys.argv[2]} {number}".encode() * 50
    with store.new_file("photos") as file:
        file.write(body)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        store.put("photos", "latest", file, Content(metadata={"length": str(len(body))}), etag, {})
"""


def test_several_processes_write_and_read_one_object(store: ObjectStore) -> None:
    put(store, "latest", b"first")
    cut_short = Path(store.folder / "photos" / PRIVATE / "new" / "1")
    cut_short.write_bytes(b"of a process that was killed")
    with store.new_file("photos") as unfinished:  # of a process that works while others begin
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER_OF_ONE_KEY, str(store.folder), name])
            for name in ("cat", "dog")
        ]
        while any(writer.poll() is None for writer in writers):
            get(store, "latest")  # whole, and with its own metadata
        assert [writer.returncode for writer in writers] == [0, 0]
        assert Path(unfinished.name).exists()
        assert not cut_short.exists()
    assert get(store, "latest").startswith((b"cat 59", b"dog 59"))
    assert len(store.rows("SELECT 1 FROM objects")) == 1


def test_pages_of_a_prefix_that_is_a_key_and_ends_with_the_delimiter(store: ObjectStore) -> None:
    put(store, "/", b"one")
    put(store, "/a", b"two")
    assert keys(store, "/", "/", 1) == ["/", "/a"]
