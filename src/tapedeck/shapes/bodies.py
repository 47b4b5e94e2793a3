"""What the RealtimeKit face takes: request bodies, validated field by field. Pure; decides nothing about state.

Unknown keys are ignored, as the API promises. A documented option that this version does not have is refused by name:
nothing is accepted and then ignored. `null` stands for an optional field that is not given.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from tapedeck.core.egress import url_problem
from tapedeck.core.errors import FieldProblem, InvalidError
from tapedeck.core.meeting import MeetingStatus
from tapedeck.core.naming import PREFIX_LIMIT, is_prefix
from tapedeck.shapes.checks import number, refuse, whole
from tapedeck.shapes.storage import StorageConfig, storage_values
from tapedeck.shapes.streaming import StreamConfig, stream_values
from tapedeck.shapes.webhooks import EventName, SentEventName

__all__ = [
    "LATER",
    "ActionBody",
    "AppBody",
    "Body",
    "EditParticipantBody",
    "EditWebhookBody",
    "LivestreamBody",
    "MeetingBody",
    "ParticipantBody",
    "Prefix",
    "RecordingConfig",
    "RedeliverBody",
    "SampleBody",
    "StartBody",
    "WebhookBody",
    "number",
    "parse",
    "refuse",
    "whole",
]

_MOST = 20
"""Problems named in one answer."""
LATER = "is not supported by this server yet"


class Body(BaseModel):
    """Takes exact types, and passes over keys it does not know."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], body: Any, prefix: str = "") -> M:
    """The body as `model`; InvalidError with one problem per failed field, its text begun with `prefix`."""
    if not isinstance(body, dict):
        raise InvalidError(f"{prefix}The body must be a JSON object", (FieldProblem("", "must be a JSON object"),))
    try:
        return model.model_validate(body)
    except ValidationError as exc:
        problems = tuple(_problem(error, prefix) for error in exc.errors(include_url=False)[:_MOST])
        raise InvalidError("; ".join(p.message for p in problems), problems) from exc


_KINDS = {
    "string_type": "must be a string",
    "bool_type": "must be a boolean",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be an object"),
}
_IMPLIED = {"union_tag_not_found": ["type"], "union_tag_invalid": ["type"]}


def _problem(error: ErrorDetails, prefix: str) -> FieldProblem:
    path = [str(part) for part in error["loc"] if part != "[key]"]
    if "storage_config" in path:  # what follows is the name of the type: where the body was checked, not a field of it
        place = path.index("storage_config") + 1
        path[place:] = path[place + 1 :] + _IMPLIED.get(error["type"], [])
        path += [str(error["ctx"]["field"])] if error["type"] == "no_secret" else []
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
    return FieldProblem(pointer, f'{prefix}"{".".join(path)}" {_reason(error)}')


def _reason(error: ErrorDetails) -> str:
    limits = error.get("ctx", {})
    match error["type"]:
        case "missing" | "no_secret" | "union_tag_not_found":
            return "is required"
        case "union_tag_invalid":
            return f"must be one of {limits['expected_tags']}"
        case "literal_error":
            return f"must be one of {limits['expected']}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}"
        case "less_than_equal":
            return f"must be at most {limits['le']}"
        case "string_too_short":
            return f"must have at least {_count(limits['min_length'], 'character')}"
        case "string_too_long":
            return f"must have at most {_count(limits['max_length'], 'character')}"
        case "too_short":
            return f"must have at least {_count(limits['min_length'], 'item')}"
        case "too_long":
            return f"must have at most {_count(limits['max_length'], 'item')}"
        case "extra_forbidden":
            return "is not known here"
        case kind:
            return _KINDS.get(kind, error["msg"])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _not_true(value: bool | None) -> bool | None:
    if value:
        raise refuse(LATER)
    return value


def _prefix(value: str) -> str:
    if not is_prefix(value):
        raise refuse(f"must be 1 to {PREFIX_LIMIT} letters, digits or underscores")
    return value


def _web_address(value: str) -> str:
    if not value.lower().startswith(("http://", "https://")) or any(c.isspace() for c in value):
        raise refuse("must be an http or https URL")
    return value


def _address_to_open(value: str) -> str:
    if problem := url_problem(value):
        raise refuse(problem)
    return value


_Whole = Annotated[int, BeforeValidator(whole)]
_Side = Annotated[_Whole, Field(ge=1, le=1920)]
_MarkSide = Annotated[_Whole, Field(ge=1, le=1_000_000)]
Prefix = Annotated[str, AfterValidator(_prefix)]
_NotTrue = Annotated[bool | None, AfterValidator(_not_true)]
_Picture = Annotated[str, Field(max_length=2048), AfterValidator(_web_address)]


class _MarkSize(Body):
    width: _MarkSide | None = None
    height: _MarkSide | None = None


class _Watermark(Body):
    url: Annotated[str, AfterValidator(_address_to_open)] | None = None
    position: Literal["left top", "right top", "left bottom", "right bottom"] | None = None
    size: _MarkSize | None = None


def _with_image(value: _Watermark | None) -> _Watermark | None:
    if value is not None and value.url is None and (value.position, value.size) != (None, None):
        raise refuse('must have the "url" of an image')
    return value


class _VideoConfig(Body):
    codec: Literal["H264", "VP8", "VP9"] | None = None
    width: _Side | None = None
    height: _Side | None = None
    export_file: bool | None = None
    watermark: Annotated[_Watermark | None, AfterValidator(_with_image)] = None


class _AudioConfig(Body):
    codec: Literal["AAC", "MP3"] | None = None
    channel: Literal["mono", "stereo"] | None = None
    export_file: bool | None = None


class _BucketConfig(Body):
    enabled: bool


class _FilmConfig(Body):
    """What a start request and a meeting's `recording_config` share."""

    max_seconds: Annotated[_Whole, Field(ge=60, le=86_400)] | None = None
    file_name_prefix: Prefix | None = None
    video_config: _VideoConfig | None = None
    realtimekit_bucket_config: _BucketConfig | None = None
    dyte_bucket_config: _BucketConfig | None = None
    audio_config: _AudioConfig | None = None
    storage_config: StorageConfig | None = None

    def config(self) -> dict[str, Any]:
        """What was given, as JSON values: a level of wishes for `core.options`."""
        given = self.model_dump(include=set(_FilmConfig.model_fields), exclude_none=True)
        old_name = given.pop("dyte_bucket_config", None)
        if old_name is not None:
            given.setdefault("realtimekit_bucket_config", old_name)
        if "storage_config" in self.model_fields_set:  # `null` says that there is none, whatever a weaker level has
            given["storage_config"] = None if self.storage_config is None else storage_values(self.storage_config)
        return given


class _InteractiveConfig(Body):
    type: Literal["ID3"] | None = None


class StartBody(_FilmConfig):
    """POST recordings."""

    meeting_id: str
    allow_multiple_recordings: bool | None = None
    interactive_config: _InteractiveConfig | None = None
    rtmp_out_config: StreamConfig | None = None
    url: Annotated[str, AfterValidator(_address_to_open)] | None = None

    def config(self) -> dict[str, Any]:
        """What was given, as JSON values: a level of wishes for `core.options`."""
        timed = {} if self.interactive_config is None else {"interactive_config": {"type": "ID3"}}
        page = {} if self.url is None else {"url": self.url}
        return super().config() | stream_values(self.rtmp_out_config) | timed | page


class ActionBody(Body):
    """PUT recordings/{id}."""

    action: Literal["stop", "pause", "resume"]


def _with_a_file(value: RecordingConfig) -> RecordingConfig:
    video, audio = value.video_config, value.audio_config
    if video is not None and video.export_file is False and (audio is None or audio.export_file is False):
        raise refuse('asks for neither a video file ("video_config") nor an audio file ("audio_config")')
    return value


class RecordingConfig(_FilmConfig):
    live_streaming_config: StreamConfig | None = None

    def config(self) -> dict[str, Any]:
        """What was given, as JSON values: a level of wishes for `core.options`."""
        return super().config() | stream_values(self.live_streaming_config)


class _Summarization(Body):
    summary_type: (
        Literal[
            "general",
            "team_meeting",
            "sales_call",
            "client_check_in",
            "interview",
            "daily_standup",
            "one_on_one_meeting",
            "lecture",
            "code_review",
        ]
        | None
    ) = None
    text_format: Literal["plain_text", "markdown"] | None = None
    word_limit: Annotated[_Whole, Field(ge=150, le=1000)] | None = None


class _Transcription(Body):
    keywords: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=500)] | None = None
    language: Literal["en-US", "en-IN", "de", "hi", "sv", "ru", "pl", "el", "fr", "nl"] | None = None
    profanity_filter: bool | None = None


class _AiConfig(Body):
    summarization: _Summarization | None = None
    transcription: _Transcription | None = None


class MeetingBody(Body):
    """POST meetings, and PATCH and PUT meetings/{id}: every field may be missing."""

    title: Annotated[str, Field(max_length=500)] | None = None
    status: Literal["ACTIVE", "INACTIVE"] | None = None
    record_on_start: bool | None = None
    session_keep_alive_time_in_secs: Annotated[float, BeforeValidator(number), Field(ge=60, le=600)] | None = None
    recording_config: Annotated[RecordingConfig, AfterValidator(_with_a_file)] | None = None
    ai_config: _AiConfig | None = None
    live_stream_on_start: bool | None = None
    persist_chat: _NotTrue = None
    summarize_on_end: _NotTrue = None
    transcribe_on_end: _NotTrue = None

    def values(self) -> dict[str, Any]:
        """What was given, under the names of `core.meeting.Meeting`; `null` clears what can be empty."""
        given: dict[str, Any] = {}
        if "title" in self.model_fields_set:
            given["title"] = self.title
        if self.status is not None:
            given["status"] = MeetingStatus(self.status.lower())
        if "record_on_start" in self.model_fields_set:
            given["record_on_start"] = bool(self.record_on_start)
        if "live_stream_on_start" in self.model_fields_set:
            given["stream_on_start"] = bool(self.live_stream_on_start)
        if self.session_keep_alive_time_in_secs is not None:
            given["keep_alive_s"] = self.session_keep_alive_time_in_secs
        if "recording_config" in self.model_fields_set:
            given["recording_config"] = None if self.recording_config is None else self.recording_config.config()
        if "ai_config" in self.model_fields_set:
            given["ai_config"] = None if self.ai_config is None else self.ai_config.model_dump(exclude_none=True)
        return given


class ParticipantBody(Body):
    """POST participants."""

    custom_participant_id: Annotated[str, Field(min_length=1, max_length=256)]
    preset_name: Annotated[str, Field(min_length=1, max_length=256)]
    name: Annotated[str, Field(max_length=256)] | None = None
    picture: _Picture | None = None


class EditParticipantBody(Body):
    """PATCH participants/{id}."""

    preset_name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    picture: _Picture | None = None

    def values(self) -> dict[str, Any]:
        """What was given; `null` clears name and picture, and leaves the preset as it is."""
        given = self.model_dump(include=self.model_fields_set)
        if self.preset_name is None:
            given.pop("preset_name", None)
        return given


class AppBody(Body):
    """POST apps."""

    name: Annotated[str, Field(min_length=1, max_length=256)]


def _unique(value: list[str]) -> list[str]:
    return list(dict.fromkeys(value))


_HookName = Annotated[str, Field(min_length=1, max_length=256)]
_Events = Annotated[list[EventName], Field(min_length=1), AfterValidator(_unique)]


class WebhookBody(Body):
    """POST webhooks and PUT webhooks/{id}."""

    name: _HookName
    url: str
    events: _Events
    enabled: bool | None = None


class EditWebhookBody(Body):
    """PATCH webhooks/{id}."""

    name: _HookName | None = None
    url: str | None = None
    events: _Events | None = None
    enabled: bool | None = None


class SampleBody(Body):
    """POST test of a webhook."""

    event: SentEventName = "recording.statusUpdate"


class RedeliverBody(Body):
    """POST redeliver of a webhook: which deliveries, by creation (inclusive), outcome, event and recording or session.

    What is delivered already is sent again only if its status is named.
    """

    start_time: Annotated[str, Field(max_length=64)] | None = None
    end_time: Annotated[str, Field(max_length=64)] | None = None
    status: list[Literal["DELIVERED", "FAILED", "CANCELLED"]] | None = None
    event: EventName | None = None
    key: Annotated[str, Field(max_length=64)] | None = None


class _LivestreamVideo(Body):
    width: _Side | None = None
    height: _Side | None = None


class LivestreamBody(Body):
    """POST livestreams of a meeting."""

    name: Annotated[str, Field(max_length=256)] | None = None
    video_config: _LivestreamVideo | None = None
