"""The chapters of the API's description, by face. Each route is in one."""

from __future__ import annotations

from tapedeck.api.describe import Tag

__all__ = [
    "ANALYTICS",
    "APPS",
    "AUDIT",
    "BROWSER",
    "DELIVERIES",
    "EVENTS",
    "FILES",
    "HEALTH",
    "LIBRARY",
    "LIVESTREAMS",
    "MEETINGS",
    "OURS",
    "PARTICIPANTS",
    "PEOPLE",
    "PLAYING",
    "PRESETS",
    "PUBLISHING",
    "RECORDINGS",
    "RENDERS",
    "RETENTION",
    "ROOMS",
    "ROOMS_FACE",
    "SESSIONS",
    "TENANTS",
    "WEBHOOKS",
]

_RTK = "RealtimeKit"
_V1 = "Tapedeck"
ROOMS_FACE = "Rooms"
"""The name of the rooms API, whose envelopes and errors are its own."""

APPS = Tag("Apps", _RTK, "Applications of an account.")
MEETINGS = Tag("Meetings", _RTK, "Rooms. A meeting never starts or ends; each live run of it is a session.")
PARTICIPANTS = Tag("Participants", _RTK, "People invited to a meeting, and their tokens.")
PRESETS = Tag("Presets", _RTK, "What participants may do, by name.")
SESSIONS = Tag("Sessions", _RTK, "Live runs of meetings: who was there, and how long.")
RECORDINGS = Tag("Recordings", _RTK, "Start, pause, resume, stop; ask and list. Wrong fields are 422 here.")
LIVESTREAMS = Tag("Livestreams", _RTK, "Meetings shown to viewers while they run, over HLS.")
ANALYTICS = Tag("Analytics", _RTK, "Recordings and sessions by day.")
WEBHOOKS = Tag("Webhooks", _RTK, "Addresses that are told what happens, signed.")
BROWSER = Tag("Browser", _RTK, "What the browser client calls with the token of its participant. CORS is open here.")
DELIVERIES = Tag("Deliveries", _V1, "What was sent to a webhook, and how; send it again.")
EVENTS = Tag("Events", _V1, "What happens, live, as server-sent events.")
OURS = Tag("Administration", _V1, "What goes beyond RealtimeKit.")
RENDERS = Tag("Renders", _V1, "Other films of a recording, made of its media log while that is kept.")
PUBLISHING = Tag("Publishing", _V1, "Media into a meeting over WHIP (RFC 9725). CORS is open here.")
FILES = Tag("Files", _V1, "Downloads by signed link.")
PLAYING = Tag("Playing", _V1, "Films as players load them (HLS), by signed link. CORS is open here.")
HEALTH = Tag("Health", _V1, "For load balancers and people on call, and this description.")

ROOMS = Tag("Rooms", ROOMS_FACE, "Places to meet.")
PEOPLE = Tag("People", ROOMS_FACE, "Who is invited to a room, and the tokens they publish with.")
LIBRARY = Tag("Library", ROOMS_FACE, "A tenant's recordings.")
TENANTS = Tag("Keys", ROOMS_FACE, "A tenant's own keys and tokens.")
RETENTION = Tag("Archive and retention", ROOMS_FACE, "What becomes of recordings when they are old.")
AUDIT = Tag("Audit", ROOMS_FACE, "Who did what.")
