"""What goes wrong at the door: routes, methods, bodies, and errors nobody expected."""

from __future__ import annotations

import json

import pytest
from tests.api.kit import Site

from tapedeck.api.http import JSON_LIMIT
from tapedeck.core.errors import TapedeckError, UnavailableError

BAD_BODIES = {
    "cut off": b"{bad json",
    "empty": b"",
    "not UTF-8": b'{"meeting_id": "\xff"}',
    "not a number": b'{"max_seconds": NaN}',
    "infinite": b'{"max_seconds": -Infinity}',
    "too large for a float": b'{"max_seconds": 1e999}',
    "an endless integer": b'{"max_seconds": ' + b"9" * 5000 + b"}",
    "half a surrogate pair": b'{"meeting_id": "\\ud83d"}',
    "half a surrogate pair as a key": b'{"\\udc00": 1}',
    "a NUL": b'{"meeting_id": "a\\u0000b"}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 40 + b"1" + b"}" * 40,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_malformed_json_is_400_in_both_shapes(site: Site, body: bytes) -> None:
    """[56]"""
    for method, path in (("POST", "recordings"), ("POST", "meetings")):
        answer = await site.ask(method, path, content=body)
        assert answer.status_code == 400
        said = answer.json()
        assert said["success"] is False and said["result"] is None and said["messages"] == []
        assert said["error"]["code"] == said["errors"][0]["code"] == 400
        assert said["error"]["message"] == said["errors"][0]["message"]
        assert "source" not in said["errors"][0]


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7", b"true"])
async def test_json_that_is_no_object_is_a_wrong_field(site: Site, body: bytes) -> None:
    assert (await site.ask("POST", "recordings", content=body)).status_code == 422
    assert (await site.ask("POST", "meetings", content=body)).status_code == 400


async def test_escapes_that_mean_something_are_kept(site: Site) -> None:
    title = "😀 \\u0000 \u2028"
    answer = await site.ask("POST", "meetings", content=json.dumps({"title": title}).encode())
    assert answer.status_code == 201 and answer.json()["data"]["title"] == title


@pytest.mark.parametrize("path", ["/", "/client/v4/nothing", "/client/v4/accounts/a/realtime/kit/b/nothing", "/v2/x"])
async def test_an_unknown_route_is_7003_with_or_without_a_token(site: Site, path: str) -> None:
    """[57]"""
    for answer in (await site.ask("GET", path), await site.http.get(path)):
        assert answer.status_code == 404
        assert answer.json()["errors"] == [{"code": 7003, "message": "No route for the URI"}]


async def test_a_trailing_slash_is_another_route(site: Site) -> None:
    assert (await site.ask("GET", "recordings/")).status_code == 404


async def test_a_wrong_method_says_which_are_right(site: Site) -> None:
    answer = await site.ask("DELETE", "meetings")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST" or "GET" in answer.headers["allow"]
    assert answer.json()["error"] == {"code": 405, "message": "Method not allowed"}
    assert answer.headers["x-should-retry"] == "false"
    assert (await site.ask("POST", "livestreams", json={})).status_code == 405


async def test_a_body_over_the_limit_is_413_declared_or_not(site: Site) -> None:
    big = b'{"title": "' + b"x" * JSON_LIMIT + b'"}'
    assert (await site.ask("POST", "meetings", content=big)).status_code == 413

    async def chunks() -> object:
        yield big[:100]
        yield big[100:]

    answer = await site.ask("POST", "meetings", content=chunks())
    assert answer.status_code == 413 and answer.json()["error"]["code"] == 413
    lying = {"content-length": "9" * 400}
    assert (await site.ask("POST", "meetings", content=b"{}", headers=lying)).status_code == 413
    page = await site.ask("GET", "meetings")
    assert page.json()["paging"]["total_count"] == 0


async def test_the_token_is_asked_for_before_the_body(site: Site) -> None:
    answer = await site.http.post(f"{site.base}/recordings", content=b"{bad json")
    assert answer.status_code == 401


async def test_fields_of_meetings_are_400_in_the_documented_style(site: Site) -> None:
    answer = await site.ask("POST", "apps".join(["/client/v4/accounts/acme/realtime/kit/", ""]), json={})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == 'BAD_REQUEST: "name" is required'
    meeting = await site.world.meeting()
    answer = await site.ask("POST", f"meetings/{meeting.id}/participants", json={"custom_participant_id": "a"})
    assert answer.json()["error"]["message"] == 'BAD_REQUEST: "preset_name" is required'
    bad = {"custom_participant_id": "a", "preset_name": "nobody"}
    answer = await site.ask("POST", f"meetings/{meeting.id}/participants", json=bad)
    assert answer.status_code == 400 and answer.json()["errors"][0]["source"]["pointer"] == "/preset_name"
    answer = await site.ask("GET", "meetings/nothing")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == 'BAD_REQUEST: "meeting_id" must be a valid GUID'


@pytest.mark.parametrize("field", ["persist_chat", "summarize_on_end", "transcribe_on_end"])
async def test_what_a_meeting_cannot_do_is_refused_by_name(site: Site, field: str) -> None:
    answer = await site.ask("POST", "meetings", json={field: True})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"]["pointer"] == f"/{field}"
    meeting = await site.world.meeting()
    assert (await site.ask("PATCH", f"meetings/{meeting.id}", json={field: True})).status_code == 400
    assert (await site.ask("POST", "meetings", json={field: False})).json()["data"][field] is False


async def test_a_meetings_recording_config_is_validated_like_a_request(site: Site) -> None:
    config = {"audio_config": {"codec": "OPUS"}, "live_streaming_config": {"rtmp_url": "rtmp://x"}, "max_seconds": 1}
    answer = await site.ask("POST", "meetings", json={"recording_config": config})
    assert {e["source"]["pointer"] for e in answer.json()["errors"]} == {
        "/recording_config/audio_config/codec",
        "/recording_config/live_streaming_config/rtmp_url",
        "/recording_config/max_seconds",
    }


async def test_errors_that_may_pass_say_when_and_final_ones_forbid_a_retry(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = await site.world.meeting()

    async def start_with(error: Exception) -> tuple[int, str | None, str | None]:
        async def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(site.world.recordings, "start", fail)
        answer = await site.ask("POST", "recordings", json={"meeting_id": meeting.id})
        return answer.status_code, answer.headers.get("retry-after"), answer.headers.get("x-should-retry")

    assert await start_with(UnavailableError("draining", retry_after_s=7)) == (503, "7", None)
    assert await start_with(UnavailableError("half done")) == (503, "5", "false")
    assert await start_with(TapedeckError("our fault")) == (500, None, None)


async def test_an_unexpected_error_is_a_plain_500_without_its_text(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(site.world.recordings, "start", fail)
    answer = await site.ask("POST", "recordings", json={"meeting_id": "x"})
    assert answer.status_code == 500 and "42" not in answer.text
    assert answer.json()["error"]["code"] == 500
    assert answer.headers["x-should-retry"] == "false"
    assert "unexpected error" in caplog.text


async def test_answers_are_not_cached_or_guessed(site: Site) -> None:
    answer = await site.ask("GET", "meetings")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/json"


async def test_health_tells_whether_the_database_answers(site: Site) -> None:
    assert (await site.http.get("/health/live")).json() == {"status": "ok"}
    assert (await site.http.get("/health/ready")).json() == {"status": "ok", "checks": {"database": "ok"}}
    (site.world.root / "tapedeck.db").rename(site.world.root / "away")
    (site.world.root / "tapedeck.db").mkdir()
    await site.world.db.aclose()
    answer = await site.http.get("/health/ready")
    assert answer.status_code == 503 and answer.json()["checks"] == {"database": "failed"}
