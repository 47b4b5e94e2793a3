"""Settings: where they come from, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapedeck.config import RECORDING_STATUSES, load_settings, unknown_names
from tapedeck.core.errors import InvalidError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [n for n in os.environ if n.startswith("TAPEDECK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_environment_wins_over_file_and_command_line_over_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tapedeck.toml").write_text('port = 1111\nhost = "127.0.0.2"\nempty_meeting_timeout_s = 7\n')
    monkeypatch.setenv("TAPEDECK_PORT", "2222")
    monkeypatch.setenv("TAPEDECK_HOST", "127.0.0.3")
    settings = load_settings(host="127.0.0.4", port=None)
    assert (settings.host, settings.port, settings.empty_meeting_timeout_s) == ("127.0.0.4", 2222, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("RTC_PORTS", "5000"),
        ("RTC_PORTS", "6000-5000"),
        ("RTC_HOSTS", "example.org"),
        ("ICE_SERVERS", "http://example.org"),
        ("KEEP_LOGS", "forever"),
        ("API_TOKEN", "short"),
        ("ACCOUNT_ID", "a b"),
        ("PUBLIC_URL", "ftp://example.org"),
        ("BUCKET_URL", "s3://bucket"),
        ("RENDER_MODE", "never"),
        ("ARCHIVE_BUCKET_URL", "s3://cold"),
        ("ARCHIVE_BUCKET_URL", "file:///cold"),
        ("ARCHIVE_STORAGE_CLASS", "STANDARD"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TAPEDECK_{name}", value)
    with pytest.raises(InvalidError) as caught:
        load_settings()
    assert name in str(caught.value) or name.lower() in str(caught.value).lower()
    if name == "API_TOKEN":
        assert value not in str(caught.value)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tapedeck.toml").write_text("prot = 1\n")
    with pytest.raises(InvalidError, match="PROT"):
        load_settings()


def test_a_file_that_is_not_toml_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tapedeck.toml").write_text("port: 1\n")
    with pytest.raises(InvalidError, match="settings file"):
        load_settings()


def test_unknown_names_in_the_environment_are_found() -> None:
    found = unknown_names({"TAPEDECK_PROT": "1", "TAPEDECK_PORT": "1", "TAPEDECK_CHROMIUM": "x", "PATH": ""})
    assert found == ["TAPEDECK_PROT"]


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEDECK_API_TOKEN", "correct-horse-battery")
    assert "correct-horse" not in repr(load_settings())


def test_defaults_live_in_the_data_directory() -> None:
    settings = load_settings(data_dir=Path("there"))
    assert settings.bucket_dir == Path("there/bucket")
    assert settings.effective_database_url.endswith("there/tapedeck.db")
    assert settings.keep_logs_days is None
    assert settings.rtc_port_range is None


def test_the_statuses_webhooks_are_told_of_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().webhook_recording_statuses == RECORDING_STATUSES
    monkeypatch.setenv("TAPEDECK_WEBHOOK_RECORDING_STATUSES", "RECORDING, UPLOADED")
    assert load_settings().webhook_recording_statuses == ("RECORDING", "UPLOADED")
    monkeypatch.setenv("TAPEDECK_WEBHOOK_RECORDING_STATUSES", "RECORDING,DONE")
    with pytest.raises(InvalidError, match="'DONE' is none of"):
        load_settings()


def test_defaults_of_recordings_are_a_table_of_the_file_and_checked_like_a_meetings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tapedeck.toml"
    path.write_text("[recording_config]\nmax_seconds = 600\n[recording_config.video_config]\nwidth = 640\n")
    assert load_settings().recording_config == {"max_seconds": 600, "video_config": {"width": 640}}
    for wrong, words in (
        ("max_seconds = 5", '"max_seconds" must be at least 60'),
        ("max_second = 600", "no recording has max_second"),
        ('[recording_config.storage_config]\ntype = "aws"\nsecret = "SK-ours"', '"storage_config.access_key"'),
    ):
        path.write_text(f"[recording_config]\n{wrong}\n")
        with pytest.raises(InvalidError, match="RECORDING_CONFIG") as caught:
            load_settings()
        assert words in str(caught.value) and "SK-ours" not in str(caught.value)
    path.unlink()
    monkeypatch.setenv("TAPEDECK_RECORDING_CONFIG", '{"file_name_prefix": "ours"}')
    settings = load_settings()
    assert settings.recording_config == {"file_name_prefix": "ours"} and "ours" not in repr(settings)


def test_a_bucket_that_can_sign_no_links_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEDECK_BUCKET_URL", "az://films")
    signed = "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=correct-horse"
    monkeypatch.setenv("TAPEDECK_BUCKET_ACCESS_KEY", signed)
    with pytest.raises(InvalidError, match="BUCKET_ACCESS_KEY") as refused:
        load_settings()
    assert "correct-horse" not in str(refused.value)
    monkeypatch.setenv("TAPEDECK_BUCKET_ACCESS_KEY", "AccountName=films;AccountKey=Y29ycmVjdA==")
    assert load_settings().bucket_storage is not None
