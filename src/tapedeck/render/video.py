"""Paints the pictures of a film, scene after scene; where the layout changes, tiles slide to their new places.

Owns the slide. Both layouts are painted on boards of their own (`render/board.py`) meanwhile, so that people go on
moving, and each tile is taken from the one that has it larger. Who comes fades in, who takes somebody's place
dissolves into it, who leaves is gone at once. Counts pictures, not time: a live film and a later one slide alike. Costs
nothing while the layout stays. Refuses to choose pictures (`render/feed.py`) or people (`core/scene.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapedeck.core.geometry import Rect, Size, between, even
from tapedeck.core.layouts import gap_of
from tapedeck.core.look import BACKGROUND
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture
from tapedeck.media.moving import fade, move
from tapedeck.media.picture import Canvas, Loan
from tapedeck.media.text import TextPainter
from tapedeck.render.board import Board, Props

__all__ = ["SLIDE_NS", "Painter"]

SLIDE_NS = 200_000_000
"""How long tiles take to their new places."""


class Painter:
    """Paints scenes. Not thread-safe."""

    def __init__(
        self,
        size: Size,
        text: TextPainter | None = None,
        fps: int = 30,
        new_canvas: Callable[[Size], Canvas] = Canvas,
    ) -> None:
        """`fps`: pictures painted per second of the film. `new_canvas` makes what is painted on."""
        self._props = Props(size, TextPainter() if text is None else text)
        self._steps = SLIDE_NS * fps // 1_000_000_000
        self._ring = even(gap_of(size) // 2)
        "Pixels around a tile that go with it."
        self._scene: Scene | None = None
        self._front, self._back = Board(new_canvas(size), self._props), Board(new_canvas(size), self._props)
        self._between = new_canvas(size)
        self._left = 0
        "Pictures of a slide that are still to come."
        self._from: dict[str, Rect] = {}
        "Where tiles were when it began."
        self._at: dict[str, Rect] = {}
        "Where they are now."
        self._seen: Canvas | Loan = self._front.canvas
        self.slides = False
        "Whether the picture painted last is of a slide."

    @property
    def canvas(self) -> Canvas:
        """The scene as it is when nothing slides any more."""
        return self._front.canvas

    @property
    def seen(self) -> Canvas | Loan:
        """The picture of the film as painted last, until `give_back`."""
        return self._seen

    def give_back(self) -> None:
        """The picture of the film was written. To be called before anything more is decoded: it may be a decoder's."""
        if isinstance(self._seen, Loan):
            self._seen.give_back()
            self._seen = self._front.canvas

    @property
    def faults(self) -> int:
        """Pictures that could not be scaled."""
        return self._props.faults

    @property
    def scaled(self) -> int:
        """Pictures that were scaled."""
        return self._props.scaled

    def prepare(self, number: int, picture: Picture) -> None:
        """Scale a picture that tile `number` of the scene painted last will show soon, in the order they are shown."""
        self._front.prepare(number, picture)

    def paint(self, scene: Scene, pictures: Sequence[Picture | None], *, is_cut: bool = False) -> bool:
        """Paint the next picture of the film; whether it differs from the last one. `pictures`: one per tile.

        `is_cut`: the film is cut before it, and nothing of what was seen before may be seen in it.
        """
        self.give_back()
        changed = scene is not self._scene and scene != self._scene
        if is_cut:
            self._left = 0
        if changed:
            self._arrange(scene, at_once=is_cut or self._scene is None)
        self._scene = scene
        self.slides = self._left > 0
        loan = None if self._left else self._front.lend(pictures)
        if loan is not None:
            self._seen = loan
            return True
        changed |= self._front.paint(pictures)
        self._seen = canvas = self._front.canvas
        if self._left:
            self._back.paint_again({tile.key: picture for tile, picture in zip(scene.tiles, pictures, strict=False)})
            past = 1 - self._left / (self._steps + 1)
            self._seen = canvas = self._slide(past * past * (3 - 2 * past))
            self._left -= 1
            changed = True
        canvas.seal()
        return changed

    def _arrange(self, scene: Scene, *, at_once: bool) -> None:
        """Lay a scene out, and begin a slide to it if any tile moves, comes or goes."""
        rects = self._front.rects
        if at_once or not rects or self._front.rects_of(scene) == rects:
            self._front.lay_out(scene, self._front)
            return
        self._from = dict(self._at if self._left else rects)
        self._front.canvas.unseal()
        self._front, self._back = self._back, self._front
        self._front.lay_out(scene, self._back)
        self._left = self._steps

    def _slide(self, share: float) -> Canvas:
        """The picture of a slide of which `share` is done."""
        target = self._between
        whole = Rect(0, 0, target.size.width, target.size.height)
        target.fill(whole, BACKGROUND)
        before, after = self._back.rects, self._front.rects
        gone = {rect for key, rect in before.items() if key not in after}
        self._at = {key: between(self._from.get(key, rect), rect, share) for key, rect in after.items()}
        for key, rect in after.items():
            if key not in self._from:
                fade(target, rect, self._back.canvas if rect in gone else None, share, self._front.canvas)
        for key, rect in sorted(after.items(), key=lambda item: item[1].size.area):
            if key not in self._from:
                continue
            old = before.get(key, rect)
            source, at = (self._front, rect) if rect.size.area >= old.size.area else (self._back, old)
            room = min(self._ring, *(_room(each, whole) for each in (at, self._at[key])))
            move(target, _grown(self._at[key], room), source.canvas, _grown(at, room))
        return target


def _room(rect: Rect, whole: Rect) -> int:
    """Pixels between a rectangle and the nearest edge."""
    return min(rect.x, rect.y, whole.right - rect.right, whole.bottom - rect.bottom)


def _grown(rect: Rect, by: int) -> Rect:
    return Rect(rect.x - by, rect.y - by, rect.width + 2 * by, rect.height + 2 * by)
