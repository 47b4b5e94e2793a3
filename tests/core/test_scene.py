"""The Director: who is shown when, whatever the order of reading."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.core.choose import Tile, TileKind
from tapedeck.core.frames import Codec, Kind, Origin, TrackInfo
from tapedeck.core.scene import OPENING_NS, Director, Scene
from tapedeck.core.timeline import (
    AudioLevel,
    NameChanged,
    Outage,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    TimelineEvent,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
)

S = 1_000_000_000
MS = 1_000_000


def joined(at_ns: int, who: str, name: str = "", peer: str = "", origin: Origin = Origin.CAMERA) -> ParticipantJoined:
    return ParticipantJoined(at_ns, who, peer or f"{who}-peer", name or who.title(), "", origin)


def camera(at_ns: int, who: str, peer: str = "", track: str = "") -> TrackOpened:
    return TrackOpened(at_ns, TrackInfo(track or f"{who}-cam", peer or f"{who}-peer", who, Kind.VIDEO, Codec.VP8))


def screen(at_ns: int, who: str, peer: str) -> TrackOpened:
    return TrackOpened(
        at_ns, TrackInfo(f"{who}-screen", peer, who, Kind.VIDEO, Codec.VP8, origin=Origin.SCREEN, channels=0)
    )


def voice(at_ns: int, who: str) -> TrackOpened:
    return TrackOpened(at_ns, TrackInfo(f"{who}-mic", f"{who}-peer", who, Kind.AUDIO, Codec.OPUS))


def keys(scene: Scene) -> list[str]:
    return [tile.key for tile in scene.tiles]


def directed(*events: TimelineEvent) -> Director:
    director = Director()
    director.feed(events)
    return director


def test_people_are_there_from_join_to_leave_in_order_of_their_first_join() -> None:
    director = directed(
        joined(1 * S, "ada"), joined(2 * S, "bob"), ParticipantLeft(3 * S, "ada", "ada-peer"), joined(4 * S, "ada")
    )
    assert keys(director.scene_at(0)) == []
    assert keys(director.scene_at(1 * S)) == ["person:ada"]
    assert keys(director.scene_at(2 * S)) == ["person:ada", "person:bob"]
    assert keys(director.scene_at(3 * S)) == ["person:bob"]
    assert keys(director.scene_at(4 * S)) == ["person:ada", "person:bob"]


def test_a_scene_is_the_same_object_until_something_changes() -> None:
    director = directed(joined(S, "ada"), joined(2 * S, "bob"))
    first = director.scene_at(S)
    assert director.scene_at(2 * S - 1) is first
    assert director.scene_at(2 * S) is not first


def test_a_camera_is_on_while_its_track_is_open_and_not_muted() -> None:
    director = directed(
        joined(0, "ada"),
        camera(S, "ada"),
        TrackMuted(2 * S, "ada-cam"),
        TrackUnmuted(3 * S, "ada-cam"),
        TrackClosed(4 * S, "ada-cam"),
    )
    tracks = [director.scene_at(t * S // 2).tiles[0].track_id for t in (0, 2, 3, 4, 5, 6, 8)]
    assert tracks == [None, "ada-cam", "ada-cam", None, None, "ada-cam", None]


def test_a_track_that_opens_soon_after_the_join_is_there_from_the_join() -> None:
    director = directed(joined(S, "ada"), camera(S + 200 * MS, "ada"))
    assert director.scene_at(S).tiles[0].track_id == "ada-cam"


def test_a_track_that_opens_later_is_not_shown_before_its_time_by_much() -> None:
    director = directed(joined(S, "ada"), camera(5 * S, "ada"))
    assert director.scene_at(5 * S - OPENING_NS - 1).tiles[0].track_id is None
    assert director.scene_at(5 * S - OPENING_NS).tiles[0].track_id == "ada-cam"


def test_two_peers_of_one_person_are_one_tile_and_a_screen_is_another() -> None:
    director = directed(
        joined(0, "ada", "Ada"),
        camera(0, "ada"),
        joined(S, "ada", "Ada", "ada-2", Origin.SCREEN),
        screen(S, "ada", "ada-2"),
        ParticipantLeft(3 * S, "ada", "ada-2"),
    )
    assert keys(director.scene_at(0)) == ["person:ada"]
    scene = director.scene_at(S)
    assert keys(scene) == ["screen:ada-screen", "person:ada"]
    assert scene.tiles[0].label == "Ada's screen" and scene.tiles[0].kind is TileKind.SCREEN
    assert keys(director.scene_at(3 * S)) == ["person:ada"]


def test_somebody_who_only_shares_a_screen_has_no_second_tile() -> None:
    director = directed(joined(0, "ada", origin=Origin.SCREEN), screen(0, "ada", "ada-peer"))
    assert keys(director.scene_at(0)) == ["screen:ada-screen"]


def test_a_screen_that_is_muted_is_gone() -> None:
    director = directed(
        joined(0, "ada"),
        joined(0, "ada", "Ada", "two", Origin.SCREEN),
        screen(0, "ada", "two"),
        TrackMuted(S, "ada-screen"),
    )
    assert keys(director.scene_at(0)) == ["screen:ada-screen", "person:ada"]
    assert keys(director.scene_at(S)) == ["person:ada"]


def test_a_reconnect_shows_the_newer_camera() -> None:
    director = directed(
        joined(0, "ada"),
        camera(0, "ada"),
        joined(S, "ada", "Ada", "ada-2"),
        camera(S, "ada", "ada-2", "ada-cam-2"),
        ParticipantLeft(2 * S, "ada", "ada-peer"),
    )
    assert director.scene_at(0).tiles[0].track_id == "ada-cam"
    assert director.scene_at(S).tiles[0].track_id == "ada-cam-2"
    assert director.scene_at(3 * S).tiles[0].track_id == "ada-cam-2"


def test_names_change_and_are_cleaned() -> None:
    director = directed(joined(0, "ada", "A\u202eda"), NameChanged(S, "ada", "Countess\nLovelace"))
    assert director.scene_at(0).tiles[0].label == "Ada"
    assert director.scene_at(S).tiles[0].label == "Countess Lovelace"


def test_whoever_is_loud_speaks_until_they_were_quiet_for_a_while() -> None:
    events: list[TimelineEvent] = [joined(0, "ada"), voice(0, "ada")]
    events += [AudioLevel(S + n * 100 * MS, "ada-mic", 20) for n in range(10)]
    director = directed(*events)
    speaking = [director.scene_at(n * 100 * MS).tiles[0].speaking for n in range(60)]
    first, last = speaking.index(True), 59 - speaking[::-1].index(True)
    assert 10 < first <= 15 and 19 <= last <= 35
    assert all(speaking[first : last + 1])


def test_after_an_outage_only_those_who_come_back_are_there() -> None:
    director = directed(
        joined(0, "ada"), camera(0, "ada"), joined(0, "bob"), Outage(9 * S, 5 * S), joined(10 * S, "bob")
    )
    assert keys(director.scene_at(9 * S)) == []
    assert keys(director.scene_at(10 * S)) == ["person:bob"]


def test_an_event_that_comes_late_counts_from_where_a_live_film_may_be() -> None:
    director = directed(joined(0, "ada"), camera(0, "ada"), Progress(3 * S, 3 * S), TrackMuted(2 * S, "ada-cam"))
    assert director.scene_at(3 * S - 1).tiles[0].track_id == "ada-cam"
    assert director.scene_at(3 * S).tiles[0].track_id is None


def test_events_about_strangers_are_ignored() -> None:
    strangers: list[TimelineEvent] = [TrackMuted(0, "?"), TrackClosed(0, "?"), ParticipantLeft(0, "?", "?")]
    director = directed(*strangers, NameChanged(0, "?", "x"), camera(0, "ghost"), AudioLevel(0, "?", 3))
    assert director.scene_at(S).tiles == ()


@dataclass(frozen=True)
class Step:
    kind: int
    who: int
    after_ns: int


steps = st.lists(
    st.builds(Step, st.integers(0, 7), st.integers(0, 4), st.integers(0, 400 * MS)), min_size=1, max_size=60
)


def timeline_of(script: list[Step]) -> list[TimelineEvent]:
    """A log as capture would write it: Progress in between, each event at its time or (mute) a little back."""
    events: list[TimelineEvent] = [make(0, f"p{n}") for n in range(5) for make in (joined, camera, voice)]
    at = 0
    for step in script:
        at += step.after_ns
        who = f"p{step.who}"
        table: list[TimelineEvent] = [
            joined(at, who),
            ParticipantLeft(at, who, f"{who}-peer"),
            camera(at, who),
            TrackMuted(max(0, at - 1500 * MS), f"{who}-cam"),
            TrackUnmuted(at, f"{who}-cam"),
            voice(at, who),
            AudioLevel(at, f"{who}-mic", 20 + 40 * (step.after_ns % 2)),
            NameChanged(at, who, f"name {at}"),
        ]
        events += [table[step.kind], Progress(at, max(0, at - 100 * MS))]
    end = at + 3 * S
    return [*events, Progress(end, end)]


@settings(max_examples=150)
@given(steps, st.data())
def test_a_live_film_and_a_later_one_have_the_same_scenes(script: list[Step], data: st.DataObject) -> None:
    events = timeline_of(script)
    frame_ns = 33_333_333
    later = Director()
    later.feed(events)
    count = max(0, later.ready_until_ns // frame_ns)
    expected = [later.scene_at(k * frame_ns).tiles for k in range(count)]

    live, fed = Director(), 0
    shown: list[tuple[Tile, ...]] = []
    while fed < len(events):
        size = data.draw(st.integers(1, 12))
        live.feed(events[fed : fed + size])
        fed += size
        while len(shown) * frame_ns < live.ready_until_ns and len(shown) < count:
            shown.append(live.scene_at(len(shown) * frame_ns).tiles)
    assert shown == expected
