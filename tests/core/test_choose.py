"""Who gets a tile, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.choose import Person, Screen, TileKind, choose
from tapedeck.core.layouts import MAX_TILES


def people(count: int, speaking: frozenset[int] = frozenset()) -> list[Person]:
    return [
        Person(f"p{n}", f"Person {n}", f"cam{n}", n in speaking, 100 + n if n in speaking else -1) for n in range(count)
    ]


def test_screens_come_first_then_people_in_order() -> None:
    tiles = choose(people(3), [Screen("p1", "Person 1", "s1")])
    assert [tile.key for tile in tiles] == ["screen:s1", "person:p0", "person:p1", "person:p2"]
    assert tiles[0].label == "Person 1's screen" and tiles[0].kind is TileKind.SCREEN
    assert tiles[1].track_id == "cam0"


def test_a_screen_of_somebody_without_name_is_just_a_screen() -> None:
    assert choose([], [Screen("p", "", "s")])[0].label == "Screen"


def test_nobody_has_no_tiles() -> None:
    assert choose([], []) == ()


@given(st.integers(0, 60), st.integers(0, 30), st.integers(1, MAX_TILES))
def test_never_more_tiles_than_the_limit_and_nobody_twice(count: int, screens: int, limit: int) -> None:
    tiles = choose(people(count), [Screen(f"p{n}", "x", f"s{n}") for n in range(screens)], limit=limit)
    assert len(tiles) <= limit
    assert len({tile.key for tile in tiles}) == len(tiles)
    shown = sum(tile.kind is TileKind.PERSON for tile in tiles)
    more = [tile for tile in tiles if tile.kind is TileKind.MORE]
    if more:
        assert more == [tiles[-1]] and more[0].label == f"+{count - shown}"
    elif limit > 1 + screens:
        assert shown == count


def test_the_limit_is_used_fully_before_anybody_is_hidden() -> None:
    assert [tile.kind for tile in choose(people(25), [])] == [TileKind.PERSON] * 25
    tiles = choose(people(26), [])
    assert len(tiles) == 25 and tiles[-1].label == "+2"


@given(st.sets(st.integers(0, 29), max_size=10))
def test_whoever_speaks_is_seen(speaking: set[int]) -> None:
    tiles = choose(people(30, frozenset(speaking)), [])
    assert {f"person:p{n}" for n in speaking} <= {tile.key for tile in tiles}


def test_tiles_stay_in_order_when_a_speaker_comes_in_and_the_longest_silent_goes() -> None:
    crowd = people(6)
    crowd[1] = Person("p1", "Person 1", None, False, 50)
    crowd[5] = Person("p5", "Person 5", None, True, 60)
    seated = frozenset({"p0", "p1", "p2"})
    tiles = choose(crowd, [], seated, limit=4)
    # p0 and p2 have never spoken; of the two p2 joined later and leaves
    assert [tile.key for tile in tiles] == ["person:p0", "person:p1", "person:p5", "more"]


def test_those_who_were_seen_stay_when_the_speaker_falls_silent() -> None:
    seated = frozenset({"p0", "p1", "p5"})
    tiles = choose(people(6), [], seated, limit=4)
    assert [tile.key for tile in tiles][:3] == ["person:p0", "person:p1", "person:p5"]


def test_when_somebody_leaves_the_order_of_the_others_stays() -> None:
    crowd = people(5)
    before = [tile.key for tile in choose(crowd, [])]
    after = [tile.key for tile in choose([p for p in crowd if p.participant_id != "p2"], [])]
    assert after == [key for key in before if key != "person:p2"]


def test_the_lead_comes_first_and_the_others_keep_their_order() -> None:
    tiles = choose(people(4), [Screen("p1", "Person 1", "s1")], lead="person:p2")
    assert [tile.key for tile in tiles] == ["person:p2", "screen:s1", "person:p0", "person:p1", "person:p3"]
    tiles = choose(people(2), [Screen("p0", "x", "s0"), Screen("p1", "x", "s1")], lead="screen:s1")
    assert [tile.key for tile in tiles] == ["screen:s1", "screen:s0", "person:p0", "person:p1"]


@given(
    st.integers(0, 40), st.integers(0, 4), st.integers(1, MAX_TILES), st.integers(0, 45), st.sets(st.integers(0, 40))
)
def test_the_lead_is_always_there(count: int, screens: int, limit: int, lead: int, speaking: set[int]) -> None:
    crowd = people(count, frozenset(speaking))
    tiles = choose(crowd, [Screen(f"p{n}", "x", f"s{n}") for n in range(screens)], limit=limit, lead=f"person:p{lead}")
    assert len(tiles) <= limit and len({tile.key for tile in tiles}) == len(tiles)
    assert lead >= count or tiles[0].key == f"person:p{lead}"
    order = [int(tile.participant_id[1:]) for tile in tiles[lead < count :] if tile.kind is TileKind.PERSON]
    assert order == sorted(order)


def test_a_single_tile_has_nobody_behind_it() -> None:
    assert [tile.key for tile in choose(people(9), [], limit=1, lead="person:p4")] == ["person:p4"]
