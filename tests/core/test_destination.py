"""Whose storage counts, what is secret of it, and keys that cannot leave their path."""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.destination import (
    SECRETS,
    clean_path,
    file_key,
    path_problem,
    public_storage,
    resolve_storage,
    split_storage,
)
from tapedeck.core.errors import InvalidError
from tapedeck.core.naming import NAME_LIMIT, object_key

AWS = {"type": "aws", "bucket": "b", "region": "r", "access_key": "AK", "secret": "SK", "path": "x"}


def test_the_strongest_level_that_speaks_of_a_storage_wins_even_by_saying_none() -> None:
    app, meeting = {"storage_config": {"type": "aws"}}, {"storage_config": {"type": "gcs"}}
    assert resolve_storage({}, None, app) == {"type": "aws"}
    assert resolve_storage({"max_seconds": 60}, meeting, app) == {"type": "gcs"}
    assert resolve_storage({"storage_config": None}, meeting, app) is None
    assert resolve_storage({}, {"storage_config": None}, app) is None
    assert resolve_storage({}, {}, {}) is None


def test_what_is_shown_of_a_storage_has_no_secret() -> None:
    shown, secrets = split_storage(AWS | {"private_key": "", "sealed": "v1.x"})
    assert shown == {"type": "aws", "bucket": "b", "region": "r", "path": "x"}
    assert secrets == {"access_key": "AK", "secret": "SK"}
    assert public_storage(AWS) == shown and public_storage(None) is None


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", "f.mp4"),
        ("/", "f.mp4"),
        ("2026/03", "2026/03/f.mp4"),
        ("//2026/03//", "2026/03/f.mp4"),
        ("Ünïcode/录音/записи", "Ünïcode/录音/записи/f.mp4"),
        ("a b/c&d?e#f%2F", "a b/c&d?e#f%2F/f.mp4"),
        ("e\u0301te", "\u00e9te/f.mp4"),
        ("..a/b..", "..a/b../f.mp4"),
        ("~root", "~root/f.mp4"),
    ],
)
def test_a_key_is_the_path_and_the_name(path: str, key: str) -> None:
    assert path_problem(path) is None
    assert file_key(path, "f.mp4") == key


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "/../x",
        "a/../../x",
        "a/./b",
        "a/..",
        " .. /x",
        "\uff0e\uff0e/x",
        "\u2025/x",
        "a//b",
        "a/ /b",
        "a\\..\\b",
        "a\x00b",
        "a\nb",
        "\ud800",
        "x" * 513,
        "ж" * 200,
        "/".join(["录音" * 30] * 4),
        "/".join(["x" * 200] * 3),
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    assert path_problem(path) is not None
    with pytest.raises(InvalidError):
        file_key(path, "f.mp4")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../f", "\x1b"])
def test_a_file_name_is_one_name(name: str) -> None:
    with pytest.raises(InvalidError):
        file_key("p", name)


@given(st.text(max_size=40), st.text(max_size=20))
def test_whatever_is_accepted_stays_under_its_path(path: str, name: str) -> None:
    try:
        key = file_key(path, name)
    except InvalidError:
        return
    top = clean_path(path)
    assert posixpath.normpath("/" + key) == "/" + key
    assert key.startswith(top + "/") if top else "/" not in key


def test_every_secret_of_the_api_is_known() -> None:
    assert set(SECRETS) == {"access_key", "secret", "password", "private_key"}


@given(st.text(alphabet="x录\U0001f600/", max_size=600), st.integers(1, NAME_LIMIT))
def test_a_path_that_is_taken_has_room_for_any_name_of_ours(path: str, length: int) -> None:
    """What the request says is true of the upload, hours later; also below our own folders in a bucket."""
    if path_problem(path) is None:
        assert file_key(path, "n" * length).endswith("n" * length)
        ours = object_key(str(UUID(int=0)), datetime(2026, 3, 2, tzinfo=UTC), "n" * length)
        assert len(f"{clean_path(path)}/{ours}".encode()) <= 1024
