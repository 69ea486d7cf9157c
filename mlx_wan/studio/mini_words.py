"""The words wan-mini was trained with: what it shows, and how that moves.

Its captions (bench/mini) are drawn from all of them in this order; the templates take those whose
pictures look best.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


NOUNS: dict[str, tuple[str, ...]] = {
    "orbs": _words(
        "orbs|bokeh lights|glowing balls|spheres|bubbles|circles of light|soft discs|blurred lights"
    ),
    "particles": _words(
        "particles|sparks|dust|glitter|tiny dots|sparkles|specks of light|floating dots"
    ),
    "waves": _words(
        "waves|layered waves|wavy layers|flowing waves|silk waves|rolling hills|ripples of fabric"
    ),
    "sweep": _words(
        "light sweep|light beam|sweeping light|ray of light|light streak|band of light"
    ),
    "aurora": _words("aurora|northern lights|curtains of light|aurora borealis|light curtains"),
    "rings": _words(
        "rings|concentric circles|circular ripples|pulse rings|ring waves|circular waves"
    ),
    "gradient": _words(
        "gradient|soft gradient|mesh gradient|blurred colours|colour blend|"
        "smooth colour clouds|fluid colours"
    ),
}
MOVEMENTS: dict[str, tuple[str, ...]] = {
    "left": _words(
        "moving left|drifting to the left|gliding from right to left|flowing leftward|"
        "moving from right to left|passing to the left"
    ),
    "right": _words(
        "moving right|drifting to the right|gliding from left to right|flowing rightward|"
        "moving from left to right|passing to the right"
    ),
    "up": _words(
        "moving up|rising|drifting upward|floating upwards|moving from bottom to top|rising up"
    ),
    "down": _words(
        "moving down|falling|sinking slowly downward|drifting downwards|"
        "moving from top to bottom|falling down"
    ),
    "out": _words(
        "expanding|expanding outward|growing from the centre|moving outwards|"
        "spreading from the center"
    ),
    "in": _words(
        "contracting|shrinking inward|closing in on the centre|moving inwards|"
        "converging to the center"
    ),
}
STILL = _words("morphing|shifting|slowly changing|blending|flowing")
COUNT_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "orbs": {
        "few": _words("a few|three|3|two"),
        "several": _words("several|five|5"),
        "many": _words("many|dozens of|lots of"),
    },
    "particles": {
        "few": _words("a few|sparse"),
        "several": _words("several|some"),
        "many": _words("many|countless|dense|lots of"),
    },
}
