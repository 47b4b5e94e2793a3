"""One scene laid out on one canvas: who sits where, their picture or their avatar, name, corners, the ring of who
speaks.

Owns what is on the canvas and repaints only what changed: a picture that stays is not scaled or copied again. Refuses
to choose pictures (`render/feed.py`) or people (`core/scene.py`), and to go smoothly from one scene to the next
(`render/video.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tapedeck.core.choose import Tile, TileKind
from tapedeck.core.errors import MediaError
from tapedeck.core.geometry import Placement, Rect, Size, cover, even, fit
from tapedeck.core.layouts import arrange, gap_of, radius_of
from tapedeck.core.look import BACKGROUND, PLAIN_TILE, SPEAKING, label_px
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture
from tapedeck.media.picture import Canvas, Loan, Overlay, Planes, Scaler, from_image, rounded
from tapedeck.media.text import TextPainter

__all__ = ["Board", "Props"]

_CACHE = 96
_MOST_CUT = 0.45
"""Share of a camera's picture that may be cut away so that it fills its tile."""


class Props:
    """What the boards of a film share: names, rings and corners that were drawn, and counts."""

    def __init__(self, size: Size, text: TextPainter) -> None:
        self.text = text
        self.radius = radius_of(size)
        self.gap = gap_of(size)
        self.overlays: dict[tuple[Rect, str, bool, bool], Overlay] = {}
        self.rings: dict[Rect, Overlay] = {}
        self.faults = 0
        "Pictures that could not be scaled."
        self.scaled = 0
        "Pictures that were scaled."

    def ring(self, canvas: Canvas, rect: Rect) -> Overlay:
        """The ring around the tile of whoever speaks."""
        if rect not in self.rings:
            if len(self.rings) >= _CACHE:
                self.rings.clear()
            margin = even(self.gap // 2)
            width = max(1.5, self.gap * 0.36)
            outer = Rect(rect.x - margin, rect.y - margin, rect.width + 2 * margin, rect.height + 2 * margin)
            maker = canvas.overlay_maker(outer)
            maker.colour(rounded(outer.size, self.radius + width, width - margin), SPEAKING)
            self.rings[rect] = maker.done()
        return self.rings[rect]

    def overlay(self, canvas: Canvas, rect: Rect, tile: Tile, *, corners: bool) -> Overlay:
        """Name and corners of a tile. The canvas shows what is outside the corners: background or ring."""
        name = tile.label if tile.kind is not TileKind.MORE else ""
        key = (rect, name, tile.speaking, tile.is_muted)
        if key not in self.overlays:
            if len(self.overlays) >= _CACHE:
                self.overlays.clear()
            label = self.text.label(name, rect.size, is_muted=tile.is_muted)
            is_rounded = bool(self.radius) and corners
            place, x, y = rect, 0, 0
            if label is not None:
                x = even(round(label_px(rect.size) * 0.5)) or 2
                y = even(rect.height - label.height - x)
                if not is_rounded:  # nothing beyond the name is touched
                    width, height = even(label.width + 1), even(label.height + 1)
                    place = Rect(rect.x + x, rect.y + y, min(width, rect.width - x), min(height, rect.height - y))
                    x = y = 0
            maker = canvas.overlay_maker(place)
            if label is not None:
                maker.image(label, x, y)
            if is_rounded:
                maker.mask(rounded(rect.size, self.radius), canvas.part(rect))
            self.overlays[key] = maker.done()
        return self.overlays[key]

    def still(self, tile: Tile, size: Size) -> Planes:
        """What a tile shows when there is no picture."""
        if tile.kind is TileKind.PERSON:
            return from_image(self.text.avatar(tile.label, tile.participant_id, size))
        return from_image(self.text.note(tile.label if tile.kind is TileKind.MORE else "", size))


@dataclass(frozen=True, slots=True)
class _Scaled:
    picture: Picture
    planes: Planes | None
    "None: it cannot be scaled."
    placement: Placement


@dataclass(slots=True)
class _Place:
    """A tile on the canvas and what is painted there."""

    tile: Tile
    rect: Rect
    scaler: Scaler = field(default_factory=Scaler)
    overlay: Overlay | None = None
    picture: Picture | None = None
    planes: Planes | None = None
    "The picture or avatar as it was put there last."
    placement: Placement | None = None
    stale: bool = True
    ready: deque[_Scaled] = field(default_factory=deque)
    "Pictures that were scaled before they are shown, in order."


class Board:
    """A canvas with a scene on it. Not thread-safe."""

    def __init__(self, canvas: Canvas, props: Props) -> None:
        self.canvas = canvas
        self._props = props
        self._places: list[_Place] = []

    @property
    def rects(self) -> dict[str, Rect]:
        """Where the tiles lie, by their keys."""
        return {place.tile.key: place.rect for place in self._places}

    def rects_of(self, scene: Scene) -> dict[str, Rect]:
        """Where the tiles of a scene would lie."""
        rects = arrange(scene.layout, len(scene.tiles), self.canvas.size)
        return {tile.key: rect for tile, rect in zip(scene.tiles, rects, strict=False)}

    def lay_out(self, scene: Scene, before: Board) -> None:
        """Put a scene on an empty canvas; what was scaled for a place of the same size `before` is kept."""
        size = self.canvas.size
        kept = {(place.tile.key, place.rect.size): place for place in before._places}
        self._places = []
        for tile, rect in zip(scene.tiles, arrange(scene.layout, len(scene.tiles), size), strict=False):
            old = kept.get((tile.key, rect.size))
            place = _Place(tile, rect) if old is None else replace(old, tile=tile, rect=rect, stale=True, ready=deque())
            if old is not None and old.picture is None and (old.tile.label, old.tile.kind) != (tile.label, tile.kind):
                place.planes = None
            self._places.append(place)
        self.canvas.fill(Rect(0, 0, size.width, size.height), BACKGROUND)
        several = len(self._places) > 1
        for place in self._places:
            if place.tile.speaking and self._props.gap >= 4 and several:
                self.canvas.blend(self._props.ring(self.canvas, place.rect))
        for place in self._places:
            place.overlay = self._props.overlay(self.canvas, place.rect, place.tile, corners=several)

    def paint(self, pictures: Sequence[Picture | None]) -> bool:
        """Bring the tiles, in order, to these pictures; whether anything changed."""
        changed = False
        for place, picture in zip(self._places, pictures, strict=False):
            if place.stale or picture is not place.picture:
                self._paint(place, picture)
                changed = True
        return changed

    def prepare(self, number: int, picture: Picture) -> None:
        """Scale a picture that tile `number` will show after those prepared before, while the cache still has it."""
        if number >= len(self._places):
            return  # a canvas too small for all tiles
        place = self._places[number]
        if self._lends(place, picture):
            return
        last = place.ready[-1].picture if place.ready else place.picture
        if picture is not last:
            place.ready.append(self._scaled(place, picture))

    def lend(self, pictures: Sequence[Picture | None]) -> Loan | None:
        """The new picture of the only tile, if it is the whole picture of the film as it is; else None, and `paint`.

        The canvas is left as it was: `paint` brings it up to date when it is wanted.
        """
        if len(self._places) != 1 or not pictures:
            return None
        place, picture = self._places[0], pictures[0]
        if picture is None or picture is place.picture or not self._lends(place, picture):
            return None
        place.picture, place.planes, place.placement, place.stale = picture, None, None, True
        place.ready.clear()
        assert place.overlay is not None
        return Loan(picture, place.overlay)

    def _lends(self, place: _Place, picture: Picture) -> bool:
        size = self.canvas.size
        return (
            len(self._places) == 1
            and not self.canvas.is_marked
            and place.rect.size == size
            and place.overlay is not None
            and Loan.fits(picture, place.overlay, size)
        )

    def paint_again(self, pictures: dict[str, Picture | None]) -> None:
        """Bring the tiles to the pictures of their keys; those that have none stay as they are."""
        self.paint([pictures.get(place.tile.key, place.picture) for place in self._places])

    def _paint(self, place: _Place, picture: Picture | None) -> None:
        if picture is not None and (picture is not place.picture or place.planes is None):
            self._scale(place, picture)
        elif picture is None and place.picture is not None:
            place.planes = None
        if place.planes is None:
            place.planes, place.placement = self._props.still(place.tile, place.rect.size), None
        place.picture, place.stale = picture, False
        whole = Rect(0, 0, place.rect.width, place.rect.height)
        placement = place.placement or Placement(whole.size, whole, whole)
        if placement.at != whole:
            self.canvas.fill(place.rect, PLAIN_TILE)
        assert place.overlay is not None
        self.canvas.put(place.planes, place.rect, placement)
        self.canvas.blend(place.overlay)

    def _scale(self, place: _Place, picture: Picture) -> None:
        """Have the picture in its place's size; if that fails, what was there before stays."""
        while place.ready and place.ready[0].picture is not picture:
            place.ready.popleft()
        scaled = place.ready.popleft() if place.ready else self._scaled(place, picture)
        if scaled.planes is not None:
            place.planes, place.placement = scaled.planes, scaled.placement

    def _scaled(self, place: _Place, picture: Picture) -> _Scaled:
        size = place.rect.size
        whole = Rect(0, 0, size.width, size.height)
        try:
            is_screen = place.tile.kind is TileKind.SCREEN
            placement = fit(picture.size, size) if is_screen else cover(picture.size, size, _MOST_CUT)
            planes = place.scaler.scale(picture, placement.scaled)
        except (MediaError, ValueError):
            self._props.faults += 1
            return _Scaled(picture, None, Placement(size, whole, whole))
        self._props.scaled += 1
        return _Scaled(picture, planes, placement)
