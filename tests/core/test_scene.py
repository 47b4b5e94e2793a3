"""The Director: who is shown when, whatever the order of reading."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.core.choose import TileKind
from tapedeck.core.focus import HOLD_NS
from tapedeck.core.frames import Codec, Kind, Origin, TrackInfo
from tapedeck.core.geometry import Size
from tapedeck.core.layouts import Layout
from tapedeck.core.page import page_participant
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


def test_a_web_page_is_its_picture_alone_without_a_name_and_nobody_while_it_has_none() -> None:
    page = page_participant("r")
    director = directed(joined(0, page, peer="p", origin=Origin.SCREEN), screen(2 * S, page, "p"))
    assert director.scene_at(1 * S).tiles == ()
    (tile,) = director.scene_at(3 * S).tiles
    assert (tile.kind, tile.label, tile.track_id) == (TileKind.SCREEN, "", f"{page}-screen")


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


def talk(who: str, from_ns: int, until_ns: int, dbov: int = 20) -> list[TimelineEvent]:
    return [AudioLevel(at, f"{who}-mic", dbov) for at in range(from_ns, until_ns, 100 * MS)]


def crowd(count: int) -> list[TimelineEvent]:
    return [make(0, f"p{n:02}") for n in range(count) for make in (joined, camera, voice)]


def film_of(director: Director, until_ns: int) -> list[Scene]:
    return [director.scene_at(at) for at in range(0, until_ns, 100 * MS)]


def directing(layout: Layout, *events: TimelineEvent, focus: str | None = None) -> Director:
    director = Director(layout, focus=focus)
    director.feed(sorted(events, key=lambda event: event.at_ns))
    return director


def test_by_itself_a_film_is_a_grid_and_a_sidebar_while_somebody_shares() -> None:
    share = (joined(2 * S, "bob", "Bob", "two", Origin.SCREEN), screen(2 * S, "bob", "two"))
    director = directing(Layout.AUTO, *crowd(2), *share, TrackClosed(4 * S, "bob-screen"))
    assert director.scene_at(S).layout is Layout.GRID
    scene = director.scene_at(3 * S)
    assert scene.layout is Layout.SIDEBAR and keys(scene)[0] == "screen:bob-screen"
    assert director.scene_at(4 * S).layout is Layout.GRID


def test_of_two_shared_screens_the_later_one_is_large() -> None:
    events = [joined(0, who, origin=Origin.SCREEN) for who in ("ada", "bob")]
    shares = [screen(S, "ada", "ada-peer"), screen(3 * S, "bob", "bob-peer")]
    director = directing(Layout.AUTO, *events, *shares)
    assert keys(director.scene_at(2 * S))[0] == "screen:ada-screen"
    assert keys(director.scene_at(3 * S)) == ["screen:bob-screen", "screen:ada-screen"]


def test_whoever_speaks_is_large_and_the_others_stay_in_order() -> None:
    events = [*crowd(4), *talk("p02", 3 * S, 6 * S), *talk("p01", 8 * S, 12 * S)]
    shown = film_of(directing(Layout.SPEAKER, *events), 14 * S)
    assert keys(shown[0]) == ["person:p00", "person:p01", "person:p02", "person:p03"]
    assert keys(shown[50]) == ["person:p02", "person:p00", "person:p01", "person:p03"]
    assert keys(shown[75]) == keys(shown[50])
    assert keys(shown[120]) == ["person:p01", "person:p00", "person:p02", "person:p03"]
    assert not shown[0].hides and shown[0].layout is Layout.SPEAKER


def test_two_who_talk_in_turns_do_not_make_the_film_flicker() -> None:
    events = crowd(2)
    for number in range(20):  # a word each, a second apart, with silence in between
        events += talk(f"p{number % 2:02}", (2 + 2 * number) * S // 2, (2 + 2 * number) * S // 2 + 300 * MS)
    leads = [keys(scene)[0] for scene in film_of(directing(Layout.SPEAKER, *events), 25 * S)]
    changes = [index for index in range(1, len(leads)) if leads[index] != leads[index - 1]]
    assert len(changes) > 3
    assert all(later - earlier >= HOLD_NS // (100 * MS) for earlier, later in pairwise(changes))


def test_the_large_place_is_filled_at_once_when_its_person_leaves() -> None:
    events = [*crowd(3), *talk("p01", S, 3 * S), ParticipantLeft(4 * S, "p01", "p01-peer"), joined(6 * S, "p01")]
    director = directing(Layout.SPEAKER, *events)
    assert keys(director.scene_at(3 * S)) == ["person:p01", "person:p00", "person:p02"]
    assert keys(director.scene_at(4 * S)) == ["person:p00", "person:p02"]
    assert keys(director.scene_at(6 * S)) == ["person:p00", "person:p01", "person:p02"]


def test_a_screen_takes_the_large_place_of_the_speaker() -> None:
    share = (joined(2 * S, "p01", "", "two", Origin.SCREEN), screen(2 * S, "p01", "two"))
    for layout in (Layout.SPEAKER, Layout.SIDEBAR, Layout.SINGLE):
        director = directing(layout, *crowd(2), *share)
        assert keys(director.scene_at(S))[0] == "person:p00"
        assert keys(director.scene_at(2 * S))[0] == "screen:p01-screen"


def test_when_a_share_ends_nobody_is_large_for_less_than_the_hold() -> None:
    """p01 spoke last while it was shared; p00 begins half a second after its end."""
    share = (joined(2 * S, "p01", "", "two", Origin.SCREEN), screen(2 * S, "p01", "two"))
    over = (ParticipantLeft(8 * S, "p01", "two"),)
    events = [*crowd(2), *share, *talk("p01", 5 * S, 6 * S), *over, *talk("p00", 8 * S + 400 * MS, 12 * S)]
    for layout in (Layout.SPEAKER, Layout.SIDEBAR, Layout.SINGLE):
        leads = [keys(scene)[0] for scene in film_of(directing(layout, *events), 12 * S)]
        changes = [(index, leads[index]) for index in range(1, len(leads)) if leads[index] != leads[index - 1]]
        assert [lead for _, lead in changes] == ["screen:p01-screen", "person:p01", "person:p00"], layout
        assert changes[2][0] - changes[1][0] >= HOLD_NS // (100 * MS)


def test_a_single_layout_shows_one_and_hides_the_others() -> None:
    director = directing(Layout.SINGLE, *crowd(25), *talk("p07", S, 3 * S))
    assert keys(director.scene_at(S)) == ["person:p00"] and director.scene_at(S).hides
    assert keys(director.scene_at(3 * S)) == ["person:p07"]


def test_the_focus_is_the_callers_if_they_name_somebody() -> None:
    share = (joined(4 * S, "p00", "", "two", Origin.SCREEN), screen(4 * S, "p00", "two"))
    leave = ParticipantLeft(6 * S, "p02", "p02-peer")
    events = [*crowd(3), *talk("p01", S, 3 * S), *share, leave]
    leads = {
        layout: [keys(scene)[:1] for scene in film_of(directing(layout, *events, focus="p02"), 8 * S)]
        for layout in (Layout.SPEAKER, Layout.SIDEBAR, Layout.SINGLE)
    }
    assert leads[Layout.SPEAKER][20] == leads[Layout.SPEAKER][50] == ["person:p02"]
    assert leads[Layout.SPEAKER][70] == ["screen:p00-screen"]
    assert leads[Layout.SIDEBAR][20] == ["person:p02"] and leads[Layout.SIDEBAR][50] == ["screen:p00-screen"]
    assert leads[Layout.SINGLE][20] == leads[Layout.SINGLE][50] == ["person:p02"] and leads[Layout.SINGLE][70] == []


def test_the_strip_has_its_seats_and_whoever_speaks_is_brought_in() -> None:
    wide, upright = (Director(Layout.SPEAKER, size) for size in (Size(1280, 720), Size(720, 1280)))
    for director, count in ((wide, 9), (upright, 10)):
        director.feed([*crowd(25), *talk("p20", S, 3 * S), *talk("p21", 2 * S, 5 * S)])
        scene = director.scene_at(0)
        assert len(scene.tiles) == count and scene.tiles[-1].label == f"+{25 - count + 1}" and scene.hides
        scene = director.scene_at(2500 * MS)
        assert keys(scene)[0] == "person:p20" and "person:p21" in keys(scene) and len(scene.tiles) == count


def test_who_cannot_be_heard_has_a_mark() -> None:
    events = (joined(0, "ada"), camera(0, "ada"), voice(S, "ada"), TrackMuted(3 * S, "ada-mic"))
    director = directed(*events, TrackUnmuted(5 * S, "ada-mic"), TrackClosed(7 * S, "ada-mic"))
    assert [director.scene_at(at * S).tiles[0].is_muted for at in (0, 2, 4, 6, 8)] == [True, False, True, False, True]


def test_the_sound_of_a_shared_screen_is_nobody_speaking() -> None:
    """Ada is muted and shares a film with music: it is heard, but not as her voice."""
    music = TrackInfo("ada-music", "ada-share", "ada", Kind.AUDIO, Codec.OPUS, origin=Origin.SCREEN)
    loud = [AudioLevel(n * 20 * MS, "ada-music", 15) for n in range(100)]
    share = joined(0, "ada", peer="ada-share", origin=Origin.SCREEN)
    events = (joined(0, "ada"), camera(0, "ada"), voice(0, "ada"), TrackMuted(0, "ada-mic"), share)
    director = directed(*events, screen(0, "ada", "ada-share"), TrackOpened(0, music), *loud)
    (_, ada) = director.scene_at(1 * S).tiles
    assert ada.key == "person:ada" and ada.is_muted and not ada.speaking
    director = directed(*events, TrackOpened(0, music), *(AudioLevel(e.at_ns, "ada-mic", 15) for e in loud))
    assert director.scene_at(1 * S).tiles[-1].speaking, "her own voice is"


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
@given(steps, st.sampled_from(Layout), st.sampled_from([None, "p1"]), st.data())
def test_a_live_film_and_a_later_one_have_the_same_scenes(
    script: list[Step], layout: Layout, focus: str | None, data: st.DataObject
) -> None:
    events = timeline_of(script)
    frame_ns = 33_333_333
    later = Director(layout, focus=focus)
    later.feed(events)
    count = max(0, later.ready_until_ns // frame_ns)
    expected = [later.scene_at(k * frame_ns) for k in range(count)]

    live, fed = Director(layout, focus=focus), 0
    shown: list[Scene] = []
    while fed < len(events):
        size = data.draw(st.integers(1, 12))
        live.feed(events[fed : fed + size])
        fed += size
        while len(shown) * frame_ns < live.ready_until_ns and len(shown) < count:
            shown.append(live.scene_at(len(shown) * frame_ns))
    assert shown == expected
