"""The spool of artifacts: a process may die after any step, and what its calls have returned for is there, whole."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import replace

import pytest

from ingest_client._artifacts_spool import ArtifactSpool, SpoolRefused, read_entries
from ingest_client._directory import claim_lock


@pytest.fixture
def spool(tmp_path):
    made = ArtifactSpool.create(
        tmp_path / "spool", uuid.uuid4(), max_bytes=100_000, meta={"tracking_uri": "http://h"}
    )
    yield made
    made.abandon()


def contents(spool):
    return [(e.path, spool.content(e).read_bytes()) for e in spool.waiting()]


@pytest.mark.parametrize("keep", ["copy", "link", "move"])
def test_a_file_is_taken_in(spool, tmp_path, keep):
    source = tmp_path / "file"
    source.write_bytes(b"x" * 10_000)
    spool.put_file("a/b", source, keep)
    assert source.exists() == (keep != "move")
    assert contents(spool) == [("a/b", b"x" * 10_000)]


def test_links_to_files_are_followed(spool, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for keep in ("copy", "link", "move"):
        if not (tmp_path / "link").exists():
            (tmp_path / "link").symlink_to(tmp_path / "file")
        spool.put_file(keep, tmp_path / "link", keep)
    assert (tmp_path / "file").read_bytes() == b"x"
    assert not (tmp_path / "link").is_symlink()
    assert [content for _, content in contents(spool)] == [b"x"] * 3


def test_the_bound_holds_and_room_comes_back(spool):
    first = spool.put_bytes("a", b"x" * 50_000)
    with pytest.raises(SpoolRefused, match="bound") as caught:
        spool.put_bytes("b", b"x" * 50_000)
    assert caught.value.reason == "spool_full"
    spool.remove_first(first)
    spool.put_bytes("b", b"x" * 50_000)
    assert [path for path, _ in contents(spool)] == ["b"]
    assert 50_000 < spool.size_bytes < 60_000


def test_a_dead_process_leaves_what_its_calls_returned_for(spool, tmp_path):
    spool.put_bytes("a", b"first")
    spool.put_bytes("t", b"rows", kind="table")
    (spool.directory / "00000003.tmp").write_bytes(b"half a copy")
    (spool.directory / "00000004.data").write_bytes(b"no description")
    (spool.directory / "00000005.tmp2").write_bytes(b"half a description")
    copy = tmp_path / "copy"
    shutil.copytree(spool.directory, copy)
    entries = read_entries(copy)
    assert [(e.path, e.kind) for e in entries] == [("a", "file"), ("t", "table")]
    assert sorted(p.name for p in copy.glob("0*")) == sorted(
        name for e in entries for name in (e.file, f"{e.number:08d}.json")
    )


def test_a_table_is_put_in_the_place_of_its_rows(spool, tmp_path):
    rows = spool.put_bytes("t", b"rows", kind="table")
    spool.put_bytes("z", b"later")
    whole = spool.rewrite(rows, b"whole table")
    assert whole.kind == "file"
    assert contents(spool) == [("t", b"whole table"), ("z", b"later")]
    shutil.copytree(spool.directory, tmp_path / "copy")
    assert read_entries(tmp_path / "copy") == [whole, spool.waiting()[1]]
    spool.remove_first(whole)
    assert [path for path, _ in contents(spool)] == ["z"]


def test_a_content_that_was_cut_is_not_delivered(spool):
    entry = spool.put_bytes("a", b"first")
    os.truncate(spool.content(entry), 2)
    assert read_entries(spool.directory) == []


def test_the_lock_is_free_when_the_spool_is_left(spool):
    assert claim_lock(spool.directory) is None
    spool.put_bytes("a", b"x")
    spool.dispose()
    lock = claim_lock(spool.directory)
    assert lock is not None
    os.close(lock)


def test_an_entry_costs_whole_blocks(spool):
    entry = spool.put_bytes("a", b"")
    assert entry.cost_bytes == 4096
    assert replace(entry, size_bytes=4097).cost_bytes == 3 * 4096
