"""Films over HLS by signed link: live from fragments, then from the film in the bucket. Also who gets nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.api.kit import Site
from tests.media.test_hls import FILM, check_segments, index_of, shoot

from tapedeck.core.access import AppPrincipal, TokenScope
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.core.times import to_ms
from tapedeck.service import watching
from tapedeck.service.recordings import Action
from tapedeck.workers.playback import PlaybackKeeper


async def running(site: Site) -> Recording:
    meeting = await site.world.meeting()
    return await site.world.capturing(meeting, await site.world.live(meeting))


async def stopped(site: Site, recording: Recording) -> None:
    await site.world.recordings.control(site.world.app, site.world.backend, recording.id, Action.STOP)


async def film(site: Site, recording: Recording, folder: Path, seconds: int = 5) -> bytes:
    """Five seconds of film, and their fragments where the server looks for them."""
    folder.mkdir()
    await asyncio.to_thread(shoot, folder, FILM, seconds)
    await asyncio.to_thread(shutil.copytree, folder / "hls", site.world.root / "hls" / recording.id)
    return (folder / "film.mp4").read_bytes()


async def link(site: Site, recording: Recording, **more: str) -> httpx.Response:
    place = f"/v1/recordings/{recording.id}/hls"
    return await site.http.get(place, headers=site.bearer(more.pop("token", None)), params=more)


async def path_of(site: Site, recording: Recording) -> str:
    """The path that everything is below."""
    answer = await link(site, recording)
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["data"]["url"]
    return urlsplit(url).path.removesuffix("index.m3u8")


async def listed(site: Site, base: str) -> tuple[str, str]:
    """Both playlists."""
    main = await site.http.get(f"{base}index.m3u8")
    media = await site.http.get(f"{base}media.m3u8")
    assert (main.status_code, media.status_code) == (200, 200), (main.text, media.text)
    for answer in (main, media):
        assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert answer.headers["access-control-allow-origin"] == "*"
    return main.text, media.text


async def fetch(site: Site, base: str, uri: str) -> bytes:
    answer = await site.http.get(base + uri)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    return answer.content


def uris(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


async def test_one_link_plays_the_film_while_it_is_made_and_when_it_is_finished(site: Site, tmp_path: Path) -> None:
    world = site.world
    keeper = PlaybackKeeper(world.playback, world.films, world.ledger)
    recording = await running(site)
    base = await path_of(site, recording)
    early = await site.http.get(f"{base}media.m3u8")
    assert (early.status_code, early.headers["retry-after"]) == (503, "2")
    content = await film(site, recording, tmp_path / "film")
    main, live = await listed(site, base)
    assert 'CODECS="avc1.64000d,mp4a.40.2",RESOLUTION=320x180' in main
    assert uris(main) == ["media.m3u8"]
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in live and "ENDLIST" not in live and "DISCONTINUITY" not in live
    assert "#EXT-X-TARGETDURATION:2\n" in live and "PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z" in live
    assert uris(live) == ["0.m4s", "1.m4s", "2.m4s"]
    head = await fetch(site, base, "init-0.mp4")
    played = [await fetch(site, base, uri) for uri in uris(live)]
    fragments = index_of(world.root / "hls" / recording.id)
    check_segments(head, list(zip(fragments, played, strict=True)))

    await stopped(site, recording)
    await world.finish(recording, content)
    await keeper.aclose()
    assert not (world.root / "hls" / recording.id).exists(), "what is played from the film is not kept twice"
    main_after, vod = await listed(site, base)
    assert uris(main_after) == ["media.m3u8"] and "avc1.64000d,mp4a.40.2" in main_after
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in vod and vod.endswith("#EXT-X-ENDLIST\n")
    assert [line for line in vod.splitlines() if line in live.splitlines() and line.startswith("#EXTINF")]
    assert uris(vod) == uris(live)
    assert "PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z" in vod, "when it was captured is known after the fragments"
    assert [await fetch(site, base, uri) for uri in uris(vod)] == played
    check_segments(await fetch(site, base, "init-3.mp4"), list(zip(fragments, played, strict=True)))
    told = (await link(site, recording)).json()["data"]
    assert told["status"] == "VOD"


@pytest.mark.parametrize("name", ["media", "main"])
async def test_a_playlist_is_built_once_and_anew_when_there_is_more(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world, recording, built = site.world, await running(site), 0

    def count(*args: Any, **more: Any) -> str:
        nonlocal built
        built += 1
        return build(*args, **more)

    build: Callable[..., str] = getattr(watching, f"{name}_playlist")
    monkeypatch.setattr(watching, f"{name}_playlist", count)
    file_name, is_media = ("media.m3u8", True) if name == "media" else ("index.m3u8", False)
    content = await film(site, recording, tmp_path / "film")
    index = world.root / "hls" / recording.id / "index"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:2]))
    base = await path_of(site, recording)

    async def ask(tag: str = "") -> httpx.Response:
        return await site.http.get(f"{base}{file_name}", headers={"if-none-match": tag})

    first, *more = await asyncio.gather(*(ask() for _ in range(5)))
    assert built == 1, "once for all who ask"
    assert uris(first.text) == (["0.m4s", "1.m4s"] if is_media else ["media.m3u8"])
    tag = first.headers["etag"]
    assert {(one.text, one.headers["etag"]) for one in more} == {(first.text, tag)}
    assert ((await ask(tag)).status_code, built) == (304, 1)
    with index.open("ab") as file:
        file.write(lines[2])
    grown = await ask()
    assert (grown.status_code, built) == (200, 2)
    assert not is_media or uris(grown.text) == ["0.m4s", "1.m4s", "2.m4s"]
    await stopped(site, recording)
    await world.finish(recording, content)
    whole = await ask()
    assert built == 3 and (not is_media or whole.text.endswith("#EXT-X-ENDLIST\n"))
    assert ((await ask(whole.headers["etag"])).status_code, built) == (304, 3)


async def test_film_that_no_store_has_yet_is_played_from_this_machine(site: Site, tmp_path: Path) -> None:
    world, recording = site.world, await running(site)
    content = await film(site, recording, tmp_path / "film")
    await stopped(site, recording)
    await world.recordings.settle()
    file = FilmFile("video", "film.mp4", len(content), 5000, "00000000", str(tmp_path / "film" / "film.mp4"))
    await world.lifecycle.on_rendered(recording.id, [file])
    base = await path_of(site, recording)
    _, vod = await listed(site, base)
    assert len(uris(vod)) == 3 and len(await fetch(site, base, "2.m4s")) > 1000
    (tmp_path / "film" / "film.mp4").unlink()
    assert (await site.http.get(f"{base}1.m4s")).status_code == 404


async def test_segments_have_ranges_tags_and_cors_and_the_page_plays_them(site: Site, tmp_path: Path) -> None:
    recording = await running(site)
    await film(site, recording, tmp_path / "film", seconds=3)
    base = await path_of(site, recording)
    whole = await fetch(site, base, "0.m4s")
    part = await site.http.get(f"{base}0.m4s", headers={"range": "bytes=8-15"})
    assert (part.status_code, part.content) == (206, whole[8:16])
    assert part.headers["content-range"] == f"bytes 8-15/{len(whole)}"
    assert (await site.http.get(f"{base}0.m4s", headers={"range": f"bytes={len(whole)}-"})).status_code == 416
    size = (await site.http.head(f"{base}0.m4s")).headers["content-length"]
    assert int(size) == len(whole)
    for uri in ("0.m4s", "media.m3u8", "index.m3u8", "../player.js"):
        tag = (await site.http.get(base + uri)).headers["etag"]
        again = await site.http.get(base + uri, headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b"")
    asked = {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}
    preflight = await site.http.options(f"{base}0.m4s", headers=asked | {"access-control-request-headers": "range"})
    assert preflight.status_code == 204 and preflight.headers["access-control-allow-headers"] == "range"
    page = await site.http.get(f"{base}watch")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text, "nothing is loaded from elsewhere"
    assert (await site.http.get("/hls/player.css")).headers["content-type"].startswith("text/css")


async def test_link_that_is_forged_expired_or_leads_elsewhere_opens_nothing(site: Site, tmp_path: Path) -> None:
    recording, other = await running(site), await running(site)
    await film(site, recording, tmp_path / "film", seconds=3)
    base = await path_of(site, recording)
    name = base.split("/")[2]
    subject, expires, signature = name.split(".")
    forged = (
        f"r{other.id}.{expires}.{signature}",
        f"l{recording.id}.{expires}.{signature}",
        f"{subject}.{int(expires) + 1}.{signature}",
        f"{subject}.{expires}.{signature[:-1]}x",
        f"{subject}.{expires}",
        subject,
        "nonsense",
        f"{subject}.{expires}.{signature}" + "x" * 300,
        f"{subject}.\u0661\u0662.{signature}",
    )
    for link_name in forged:
        for uri in ("index.m3u8", "media.m3u8", "init-0.mp4", "0.m4s", "watch"):
            assert (await site.http.get(f"/hls/{link_name}/{uri}")).status_code == 403, (link_name, uri)
    for uri in (
        "99.m4s",
        "-1.m4s",
        "x.m4s",
        "..%2f..%2fmedia",
        "media",
        "index",
        "init-9.mp4",
        "init-x.mp4",
        "%2e%2e/a",
    ):
        assert (await site.http.get(base + uri)).status_code == 404, uri
    site.world.clock.move(86_401)
    assert (await site.http.get(f"{base}index.m3u8")).status_code == 403
    told = await site.http.get(f"{base}watch", headers={"accept": "text/html,*/*;q=0.8"})
    assert (told.status_code, told.headers["content-type"]) == (403, "text/html; charset=utf-8"), (
        "a person is told in words"
    )


async def test_who_is_not_of_the_account_gets_no_link(site: Site) -> None:
    recording = await running(site)
    other = await site.world.access.create_app("acme", "Other")
    token, _ = await site.world.access.issue_token("acme", other.id)
    assert (await link(site, recording, token=token)).status_code == 404
    assert (await link(site, recording, token="nonsense")).status_code == 401
    for wrong in ("59", "604801", "x", "-5", "1e3"):
        assert (await link(site, recording, expires_in=wrong)).status_code == 400


async def test_link_lives_as_long_as_asked_but_no_longer_than_the_files(site: Site, tmp_path: Path) -> None:
    recording = await running(site)
    content = await film(site, recording, tmp_path / "film", seconds=3)
    told = (await link(site, recording, expires_in="600")).json()["data"]
    assert told["expires_at"] == "2026-03-02T09:25:05.000Z" and told["status"] == "LIVE"
    await stopped(site, recording)
    done = await site.world.finish(recording, content)
    assert done.expires_at is not None
    site.world.clock.move(timedelta(days=6).total_seconds())
    told = (await link(site, recording, expires_in="604800")).json()["data"]
    assert told["url"].split(".")[1] == str(to_ms(done.expires_at) // 1000)
    site.world.clock.move(timedelta(days=1, seconds=1).total_seconds())
    gone = await link(site, recording)
    assert gone.status_code == 409 and "deleted" in gone.text


async def test_what_was_deleted_or_purged_is_not_played(site: Site, tmp_path: Path) -> None:
    world, recording = site.world, await running(site)
    content = await film(site, recording, tmp_path / "film", seconds=3)
    await stopped(site, recording)
    await world.finish(recording, content)
    base = await path_of(site, recording)
    await listed(site, base)
    principal = world.backend
    assert isinstance(principal, AppPrincipal)
    await world.library.delete(world.app, principal, recording.id)
    for uri in ("index.m3u8", "media.m3u8", "0.m4s", "init-0.mp4"):
        assert (await site.http.get(base + uri)).status_code == 404
    assert (await link(site, recording)).status_code == 404


async def test_recording_without_a_film_that_players_take_says_so(site: Site) -> None:
    meeting = await site.world.meeting()
    wanted = {"meeting_id": meeting.id, "video_config": {"codec": "VP8"}}
    started = await site.ask("POST", "recordings", json=wanted)
    recording = await site.world.now_of_id(started.json()["data"]["id"])
    answer = await link(site, recording)
    assert answer.status_code == 409 and "H264" in answer.text


async def test_tenants_get_links_to_their_own_recordings(site: Site, tmp_path: Path) -> None:
    world, recording = site.world, await running(site)
    content = await film(site, recording, tmp_path / "film", seconds=3)
    key, _ = await world.access.issue_token("acme", "campus", scope=TokenScope.ROOMS)
    other = await world.access.create_app("acme", "Other")
    foreign, _ = await world.access.issue_token("acme", other.id, scope=TokenScope.ROOMS)
    place = f"/api/v1/recordings/rec_{recording.id}/play"

    async def ask(token: str, query: str = "") -> httpx.Response:
        return await site.http.get(place + query, headers={"x-api-key": token})

    assert (await ask(foreign)).status_code == 404
    told = (await ask(key)).json()["data"]
    assert told["status"] == "live" and told["page_url"].endswith("/watch")
    base = urlsplit(told["play_url"]).path.removesuffix("index.m3u8")
    assert uris((await listed(site, base))[1]) == ["0.m4s", "1.m4s"]
    await stopped(site, recording)
    await world.finish(recording, content)
    assert (await ask(key)).json()["data"]["status"] == "recorded"
    assert (await ask(key, "?expires_in=1")).status_code == 400
