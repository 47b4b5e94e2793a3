"""Paints a scene: who sits where, their picture or their avatar, name, corners, the ring of who speaks.

Owns what is on the canvas and repaints only what changed: a picture that stays is not scaled or copied again. Refuses
to choose pictures (`render/feed.py`) or people (`core/scene.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tapedeck.core.choose import Tile, TileKind
from tapedeck.core.errors import MediaError
from tapedeck.core.geometry import Placement, Rect, Size, cover, even, fit
from tapedeck.core.layouts import arrange, gap_of, radius_of
from tapedeck.core.look import BACKGROUND, PLAIN_TILE, SPEAKING, label_px
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture
from tapedeck.media.picture import Canvas, Overlay, Planes, Scaler, from_image, rounded
from tapedeck.media.text import TextPainter

__all__ = ["Painter"]

_CACHE = 96
_MOST_CUT = 0.45
"""Share of a camera's picture that may be cut away so that it fills its tile."""


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


class Painter:
    """Paints scenes on one canvas. Not thread-safe."""

    def __init__(self, size: Size, text: TextPainter | None = None) -> None:
        self.canvas = Canvas(size)
        self.faults = 0
        "Pictures that could not be scaled."
        self.scaled = 0
        "Pictures that were scaled."
        self._text = TextPainter() if text is None else text
        self._radius = radius_of(size)
        self._gap = gap_of(size)
        self._scene: Scene | None = None
        self._places: list[_Place] = []
        self._overlays: dict[tuple[Rect, str, bool], Overlay] = {}
        self._rings: dict[Rect, Overlay] = {}

    def paint(self, scene: Scene, pictures: Sequence[Picture | None]) -> bool:
        """Bring the canvas to this scene; `pictures` has one entry per tile. Whether anything changed."""
        changed = scene is not self._scene and scene != self._scene
        if changed:
            self._arrange(scene)
        self._scene = scene
        for place, picture in zip(self._places, pictures, strict=False):
            if place.stale or picture is not place.picture:
                self._paint(place, picture)
                changed = True
        return changed

    def _arrange(self, scene: Scene) -> None:
        """Lay the tiles out anew on an empty canvas; what was scaled for a place of the same size is kept."""
        size = self.canvas.size
        before = {(place.tile.key, place.rect.size): place for place in self._places}
        self._places = []
        for tile, rect in zip(scene.tiles, arrange(scene.layout, len(scene.tiles), size), strict=False):
            place = before.get((tile.key, rect.size), _Place(tile, rect))
            if place.picture is None and (place.tile.label, place.tile.kind) != (tile.label, tile.kind):
                place.planes = None
            place.tile, place.rect, place.stale = tile, rect, True
            self._places.append(place)
        self.canvas.fill(Rect(0, 0, size.width, size.height), BACKGROUND)
        for place in self._places:
            if place.tile.speaking and self._gap >= 4 and len(self._places) > 1:
                self.canvas.blend(self._ring(place.rect))
        for place in self._places:
            place.overlay = self._overlay(place)

    def _ring(self, rect: Rect) -> Overlay:
        if rect not in self._rings:
            if len(self._rings) >= _CACHE:
                self._rings.clear()
            margin = even(self._gap // 2)
            width = max(1.5, self._gap * 0.36)
            outer = Rect(rect.x - margin, rect.y - margin, rect.width + 2 * margin, rect.height + 2 * margin)
            maker = self.canvas.overlay_maker(outer)
            maker.colour(rounded(outer.size, self._radius + width, width - margin), SPEAKING)
            self._rings[rect] = maker.done()
        return self._rings[rect]

    def _overlay(self, place: _Place) -> Overlay:
        """Name and corners of a tile. The canvas shows what is outside the corners: background or ring."""
        rect, tile = place.rect, place.tile
        name = tile.label if tile.kind is not TileKind.MORE else ""
        key = (rect, name, tile.speaking)
        if key not in self._overlays:
            if len(self._overlays) >= _CACHE:
                self._overlays.clear()
            maker = self.canvas.overlay_maker(rect)
            label = self._text.label(name, rect.size)
            if label is not None:
                margin = even(round(label_px(rect.size) * 0.5)) or 2
                maker.image(label, margin, even(rect.height - label.height - margin))
            if self._radius and len(self._places) > 1:
                outside = self.canvas.part(rect)
                maker.mask(rounded(rect.size, self._radius), outside)
            self._overlays[key] = maker.done()
        return self._overlays[key]

    def _paint(self, place: _Place, picture: Picture | None) -> None:
        if picture is not None and picture is not place.picture:
            self._scale(place, picture)
        elif picture is None and place.picture is not None:
            place.planes = None
        if place.planes is None:
            place.planes, place.placement = self._still(place.tile, place.rect.size), None
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
        size = place.rect.size
        try:
            is_screen = place.tile.kind is TileKind.SCREEN
            placement = fit(picture.size, size) if is_screen else cover(picture.size, size, _MOST_CUT)
            place.planes, place.placement = place.scaler.scale(picture, placement.scaled), placement
            self.scaled += 1
        except (MediaError, ValueError):
            self.faults += 1

    def _still(self, tile: Tile, size: Size) -> Planes:
        """What a tile shows when there is no picture."""
        if tile.kind is TileKind.PERSON:
            return from_image(self._text.avatar(tile.label, tile.participant_id, size))
        return from_image(self._text.note(tile.label if tile.kind is TileKind.MORE else "", size))
