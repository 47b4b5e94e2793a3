"""Signed downloads: whole, in parts, headers alone; dead and altered links; nothing outside of the bucket."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest
from tests.api.kit import Site
from tests.service.world import START

KEY = "recordings/2026-03-02/r1/film.mp4"
CONTENT = bytes(range(256)) * 4096  # 1 MiB, so that it comes in several chunks
NAME = 'Straße "1".mp4'


@pytest.fixture
async def link(site: Site) -> str:
    source = site.world.root / "film"
    source.write_bytes(CONTENT)
    await site.world.store.put_file(KEY, source, "video/mp4", "film.mp4")
    return await site.world.store.presign(KEY, NAME, START + timedelta(hours=1))


def changed(link: str, **values: str | None) -> str:
    parts = urlsplit(link)
    query = {k: v for k, v in (dict(parse_qsl(parts.query)) | values).items() if v is not None}
    return urlunsplit(parts._replace(query=urlencode(query)))


async def get(site: Site, link: str, **headers: str) -> httpx.Response:
    return await site.http.get(link, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_whole_file_with_its_name(site: Site, link: str) -> None:
    answer = await get(site, link)
    assert answer.status_code == 200 and answer.content == CONTENT
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert (
        answer.headers["content-disposition"]
        == "attachment; filename=\"Stra_e _1_.mp4\"; filename*=UTF-8''Stra%C3%9Fe%20%221%22.mp4"
    )
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head_has_the_headers_and_no_body(site: Site, link: str) -> None:
    whole, head = await get(site, link), await site.http.head(link, headers={"range": "bytes=0-1"})
    assert head.status_code == 200 and head.content == b""
    for name in ("content-length", "content-type", "etag", "last-modified", "content-disposition", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1048570-", 1048570, 1048576),
        ("bytes=-5", 1048571, 1048576),
        ("bytes=-99999999", 0, 1048576),
        ("bytes=1048575-99999999", 1048575, 1048576),
        (" bytes=262000-263000 ", 262000, 263001),
    ],
)
async def test_one_range_is_206(site: Site, link: str, asked: str, start: int, end: int) -> None:
    answer = await get(site, link, range=asked)
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1048576"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=1048576-", "bytes=9999999-99999999", "bytes=-0"])
async def test_a_range_outside_is_416_and_says_how_long_the_file_is(site: Site, link: str, asked: str) -> None:
    answer = await get(site, link, range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */1048576"
    assert answer.json()["error"]["code"] == 416


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=5-1", "lines=1-2", "bytes=-", "bytes=a-b", "", "bytes=1_0-2"]
)
async def test_what_is_not_one_range_is_the_whole_file(site: Site, link: str, asked: str) -> None:
    answer = await get(site, link, range=asked)
    assert answer.status_code == 200 and len(answer.content) == len(CONTENT)


async def test_a_part_is_sent_only_of_the_same_file(site: Site, link: str) -> None:
    first = await get(site, link, range="bytes=0-9")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    for condition, status in (
        (etag, 206),
        (modified, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Mon, 02 Mar 2020 09:15:04 GMT", 200),
        ("nonsense", 200),
    ):
        assert (await get(site, link, range="bytes=10-19", if_range=condition)).status_code == status
    assert (await get(site, link, if_none_match=f'"x", {etag}')).status_code == 304
    assert (await get(site, link, if_none_match='"x"')).status_code == 200


async def test_altered_links_are_403(site: Site, link: str) -> None:
    signature = dict(parse_qsl(urlsplit(link).query))["signature"]
    for other in (
        changed(link, signature=signature[:-1] + ("A" if signature[-1] != "A" else "B")),
        changed(link, signature=None),
        changed(link, signature="é"),
        changed(link, filename="other.exe"),
        changed(link, filename=None),
        changed(link, expires="99999999999"),
        changed(link, expires="-1"),
        changed(link, expires="9" * 30),
        changed(link, expires="١٢"),
        link.replace("film.mp4", "else.mp4", 1),
    ):
        answer = await get(site, other)
        assert answer.status_code == 403, other
        assert answer.json()["errors"][0]["code"] == 10000


async def test_a_link_lives_until_its_second_and_not_longer(site: Site, link: str) -> None:
    # Signed until 10:15:04.120, which is rounded up to 10:15:05.
    site.world.clock.move(3600.879)
    assert (await get(site, link)).status_code == 200
    site.world.clock.move(0.001)
    assert (await get(site, link)).status_code == 403


async def test_a_deleted_file_is_404_while_its_link_lives(site: Site, link: str) -> None:
    await site.world.store.delete(KEY)
    assert (await get(site, link)).status_code == 404


@pytest.mark.parametrize(
    "key",
    ["../tapedeck.db", "%2e%2e/tapedeck.db", "recordings/..%2f..%2ftapedeck.db", "/etc/passwd", "a//b", "film%00", "."],
)
async def test_no_key_leaves_the_bucket(site: Site, link: str, key: str) -> None:
    answer = await site.http.get(f"http://test/files/{key}?{urlsplit(link).query}")
    assert answer.status_code in (403, 404)
