"""The formats we deliver: exact size and frame rate, and where a platform covers the picture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left and top inside, right and bottom outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def contains(self, other: "Box") -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True)
class Format:
    """A delivered video: `width` x `height` pixels at `fps`; `safe` is free of the interface."""

    name: str
    title: str
    width: int
    height: int
    fps: int
    safe: Box

    def num_frames(self, duration: float) -> int:
        """Frames of `duration` seconds."""
        return round(duration * self.fps)


# The platforms publish no pixel map; these margins are what guides agree on most (unverified).
# LinkedIn: 5 % all around and 10 % at the bottom for the player bar. Shorts: the interface takes
# the top 220, the bottom 480 and the icon column of 190 pixels at the right.
FORMATS = {
    one.name: one
    for one in (
        Format("square", "LinkedIn Square", 1080, 1080, 24, Box(54, 54, 1026, 972)),
        Format("wide", "LinkedIn Wide", 1920, 1080, 24, Box(96, 54, 1824, 972)),
        Format("shorts", "YouTube Shorts", 1080, 1920, 30, Box(60, 220, 890, 1440)),
    )
}
