"""Paints the pictures of a film, scene after scene, and lets one layout dissolve into the next.

Owns the two boards between which it dissolves (`render/board.py`): both go on with live pictures, so that nothing
stands still meanwhile but who is gone. Counts pictures, not time: a live film and a later one dissolve alike. Costs
nothing while the layout stays. Refuses to choose pictures (`render/feed.py`) or people (`core/scene.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapedeck.core.geometry import Size
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture
from tapedeck.media.picture import Canvas
from tapedeck.media.text import TextPainter
from tapedeck.render.board import Board, Props

__all__ = ["DISSOLVE_NS", "Painter"]

DISSOLVE_NS = 200_000_000
"""How long one layout takes to become the next."""


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
        self._steps = DISSOLVE_NS * fps // 1_000_000_000
        self._scene: Scene | None = None
        self._front, self._back = Board(new_canvas(size), self._props), Board(new_canvas(size), self._props)
        self._mixed = new_canvas(size)
        self._left = 0
        "Pictures of a dissolve that are still to come."
        self._seen = self._front.canvas

    @property
    def canvas(self) -> Canvas:
        """The scene as it is when nothing is dissolving any more."""
        return self._front.canvas

    @property
    def seen(self) -> Canvas:
        """The picture of the film as painted last."""
        return self._seen

    @property
    def faults(self) -> int:
        """Pictures that could not be scaled."""
        return self._props.faults

    @property
    def scaled(self) -> int:
        """Pictures that were scaled."""
        return self._props.scaled

    def paint(self, scene: Scene, pictures: Sequence[Picture | None], *, is_cut: bool = False) -> bool:
        """Paint the next picture of the film; whether it differs from the last one. `pictures`: one per tile.

        `is_cut`: the film is cut before it, and nothing of what was seen before may be seen in it.
        """
        changed = scene is not self._scene and scene != self._scene
        if is_cut:
            self._left = 0
        if changed:
            if self._scene is None or is_cut or self._front.shape_of(scene) == self._front.shape:
                self._front.lay_out(scene, self._front)
            else:
                self._begin(scene)
        self._scene = scene
        changed |= self._front.paint(pictures)
        self._seen = self._front.canvas
        if self._left:
            self._back.paint_again({tile.key: picture for tile, picture in zip(scene.tiles, pictures, strict=False)})
            past = 1 - self._left / (self._steps + 1)
            self._mixed.mix(self._back.canvas, self._front.canvas, past * past * (3 - 2 * past))
            self._seen = self._mixed
            self._left -= 1
            changed = True
        return changed

    def _begin(self, scene: Scene) -> None:
        """Dissolve what is seen into a scene."""
        if self._left:  # from the middle of another dissolve, which stands still for it
            self._mixed = self._back.freeze(self._mixed)
            self._front.lay_out(scene, self._front)
        else:
            self._front, self._back = self._back, self._front
            self._front.lay_out(scene, self._back)
        self._left = self._steps
