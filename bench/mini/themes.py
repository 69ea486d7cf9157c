"""Everyday phrases with an agreed look, so that free prompts land on something sensible.

Business titles and words the model cannot draw get something calm that text reads well on.
"""

from dataclasses import dataclass

import numpy as np

from .looks import COLOURS, Look, draw_look, pick


@dataclass(frozen=True)
class Theme:
    """Phrases, and the motifs, colours, backgrounds and speeds they stand for; none is any."""

    phrases: tuple[str, ...]
    motifs: tuple[str, ...]
    colours: tuple[str, ...]
    backgrounds: tuple[str, ...]
    speeds: tuple[str, ...]


SHORT = {"COOL": "blue|teal|purple", "NIGHT": "black|navy|charcoal"}


def read_theme(row: str) -> Theme:
    """A row of the table: phrases; motifs; colours; backgrounds; speeds."""
    columns = (column.strip() for column in row.split(";"))
    return Theme(*(words(SHORT.get(column, column)) for column in columns))


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if text else ()


TABLE = """\
ocean waves|sea waves|the sea at night|calm sea; waves; blue|teal; NIGHT; slow|medium
tropical lagoon|shallow water|swimming pool; waves; teal; light blue|white; slow
misty mountains|mountain range|rolling hills; waves; blue|purple; light grey|light blue; slow
sand dunes|desert|desert wind; waves; orange|yellow; cream|brown; slow
sunset|sunset over the sea|golden hour|evening glow; waves|gradient; orange; plum|maroon; slow
sunrise|early morning|dawn|new beginnings; gradient; orange|pink; light pink|cream; slow
northern lights|aurora borealis|polar night; aurora; green|teal; black|navy; slow|medium
fireflies in the night|fireflies|summer night; particles|orbs; yellow; black|forest; slow
stars|starry night|starry sky|night sky; particles; white; black|navy; slow
space|deep space|galaxy|nebula|universe; particles|gradient; purple|blue; black; slow
snow|falling snow|snowfall|winter|christmas night; particles; white; navy|deep teal; slow
fire|flames|burning embers|sparks of fire; particles|aurora; orange|red; black|maroon; fast
lava|magma|molten metal; gradient|waves; red|orange; black|maroon; slow|medium
luxury gold dust|luxury|gold glitter|award ceremony|gala night; particles; yellow; black; slow
champagne bubbles|celebration|new year|cheers; particles|orbs; yellow; black|cream; medium
confetti|party|birthday|carnival; particles|orbs; pink|yellow|green; plum|navy; fast
city lights at night|city at night|downtown|nightlife; orbs; orange|yellow|blue; NIGHT; slow
rain|rainy window|drizzle; particles; blue|white; charcoal|navy; fast
water drop|ripples on a pond|drop of water; rings; blue|teal; navy|deep teal|light blue; medium
radar|sonar|signal|broadcast|podcast; rings; green|teal|blue; black|navy; medium
sound waves|music|dj set|bass; rings|waves; purple|pink; black|plum; fast
heartbeat|pulse|energy; rings; red|pink; black|maroon; fast
portal|tunnel|hypnosis|wormhole; rings; purple|blue; black; fast
love|romance|valentine|wedding; orbs|gradient; pink|red; light pink|maroon; slow
spring|cherry blossom|flowers; orbs|particles; pink; light pink|white; slow
forest|nature|leaves|jungle; orbs|gradient; green; forest|cream; slow
eco|sustainability|green energy|climate; waves|gradient; green|teal; white|forest; slow
autumn|fall colours|harvest; orbs|gradient; orange|red; brown|cream; slow
candle light|fireplace|cosy evening|warm light; orbs|gradient; orange|yellow; brown|black; slow
coffee|chocolate|bakery; gradient|waves; orange; brown|cream; slow
underwater|deep sea|aquarium|jellyfish; particles|orbs; teal|blue; navy|deep teal; slow
ice|glacier|frozen|arctic; gradient|waves; white|blue; light blue|navy; slow
clouds|heaven|sky|soft clouds; gradient; white|blue; light blue; slow
fog|mist|smoke|haze; gradient; white; charcoal|black; slow
silk|satin|velvet|elegant fabric; waves; red|purple|white; maroon|plum|black; slow
candy|bubblegum|ice cream|kids; orbs|gradient; pink|teal|yellow; light pink|light blue; medium
technology|digital background|cyber|data flow; particles|waves; teal|blue; black|navy; medium
artificial intelligence|ai|neural network|machine learning; \
    particles|gradient; COOL; navy|black; slow
neon|neon lights|synthwave|cyberpunk; sweep|waves; pink|purple; black|plum; medium
laser|laser show|scanner|light saber; sweep; red|green|blue; black; fast
searchlight|lighthouse|spotlight|stage light; sweep; white|yellow; black|navy; slow
speed|racing|highway at night|motion; sweep|waves; red|orange|blue; black|charcoal; fast
meditation|yoga|breathing|mindfulness|relaxation; \
    gradient|rings; teal|purple; deep teal|light blue; slow
dream|dreamy|fantasy|magic; gradient|particles; purple|pink; plum|navy; slow
calm|peaceful|serene|quiet; gradient|waves; blue|teal; navy|light blue; slow
happy|joyful|cheerful|playful; orbs; yellow|pink|orange; light blue|light pink; medium
sad|melancholy|lonely; gradient; blue; charcoal|navy; slow
mysterious|dark mood|thriller|horror; gradient|waves; red|purple; black; slow
energetic|dynamic|power|workout; sweep|rings; red|orange; black|charcoal; fast
elegant|premium|luxurious|exclusive; waves|particles; yellow|white; black|charcoal; slow
minimal|clean|simple|scandinavian; gradient; blue|white|teal; white|light grey; slow
corporate|business|professional|presentation; waves|gradient; blue|teal; navy|white|charcoal; slow
finance|banking|investment|stock market; waves; blue|green; navy|charcoal; slow
medical|health|hospital|science|laboratory; waves|orbs; teal|blue; white|light blue; slow
breaking news|news intro|sports intro; sweep; red|blue; navy|black; medium
thank you|welcome|the end|questions|coming soon; gradient|orbs; COOL; navy|plum|white; slow
"""
THEMES = tuple(read_theme(row) for row in TABLE.splitlines())

# Titles people type over a background: something calm, cool and dark, or clean and light.
TITLE_SUBJECTS = words(
    "AI|Workforce|Digital|Cloud|Data|Global|Customer|Product|Marketing|Sales|Leadership|"
    "Finance|Security|Strategy|Human|Future|Team|Company|Annual|Quarterly|Business|"
    "Technology|Innovation|Growth|Healthcare|Education|Energy|Supply Chain|Brand"
)
TITLE_NOUNS = words(
    "Transformation|Strategy|Summit|Report|Review|Update|Roadmap|Conference|Results|Training|"
    "Workshop|Vision|Launch|Platform|Solutions|Insights|Meeting|Plan|Outlook|Trends|Forum|"
    "Onboarding|Overview|Kickoff|Keynote"
)
CALM = read_theme("; gradient|waves|particles|orbs; COOL; navy|black|charcoal|white; slow")

# Things it cannot draw: a soft pattern instead, in the named colour if there is one.
UNKNOWN = words(
    "dog|cat|car|house|man|woman|child|tree|bird|horse|robot|train|street|people|office|"
    "computer|phone|table|bridge|castle|boat|plane|face|hand|dragon|fish|butterfly|astronaut|"
    "soldier|chef|kitchen|garden|beach|book"
)
DOING = words("running|walking|standing|sitting|dancing|flying|talking|in the park|on the road")
SOFT = read_theme("; gradient|orbs; ; ; slow")


def draw_theme(rng: np.random.Generator) -> tuple[str, Look]:
    """A phrase and a look it stands for: mostly themes, some titles, some unknown things."""
    kind = rng.random()
    if kind < 0.68:
        theme = THEMES[int(rng.integers(len(THEMES)))]
        return pick(rng, theme.phrases), theme_look(theme, rng)
    if kind < 0.9:
        return draw_title(rng), theme_look(CALM, rng)
    phrase = f"a {pick(rng, UNKNOWN)} {pick(rng, DOING)}"
    if rng.random() < 0.4:
        colour = pick(rng, tuple(COLOURS))
        look = theme_look(SOFT, rng, colour)
        return phrase.replace("a ", f"a {look.shade} ", 1), look
    return phrase, theme_look(SOFT, rng)


def draw_title(rng: np.random.Generator) -> str:
    words = [pick(rng, TITLE_SUBJECTS), pick(rng, TITLE_NOUNS)]
    if rng.random() < 0.4:
        words.insert(0, pick(rng, TITLE_SUBJECTS))
    ending = rng.random()
    if ending < 0.5:
        words.append(str(rng.integers(2019, 2036)))
    elif ending < 0.65:
        words.append(f"Q{rng.integers(1, 5)}")
    return " ".join(words)


def theme_look(theme: Theme, rng: np.random.Generator, colour: str | None = None) -> Look:
    def one_of(choices: tuple[str, ...]) -> str | None:
        return pick(rng, choices) if choices else None

    return draw_look(
        rng,
        motif=one_of(theme.motifs),
        colour=colour or one_of(theme.colours),
        background=one_of(theme.backgrounds),
        speed=one_of(theme.speeds),
    )
