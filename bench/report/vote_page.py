"""The page people vote on. It holds nothing of the comparison but the pair that is asked about."""

from .markup import join, tag
from .shell import controls, document

_LEFT, _RIGHT, _DOWN = "\N{LEFTWARDS ARROW}", "\N{RIGHTWARDS ARROW}", "\N{DOWNWARDS ARROW}"


def vote_page() -> str:
    """A name is asked for first, then one pair after the other, then thanks."""
    name = {"type": "text", "maxlength": "40", "autocomplete": "off", "spellcheck": "false"}
    ask = tag(
        "form",
        tag("p", "Two videos of the same prompt: which one is better? What made them is hidden."),
        tag("label", "Your name ", tag("input", id="rater", required=True, **name)),
        " ",
        tag("button", "Begin", type="submit", class_="main"),
        id="ask",
        class_="card",
    )
    figures = [
        tag("figure", tag("div", class_="none"), tag("figcaption", side, class_="soft"))
        for side in ("Left", "Right")
    ]
    choices = tag(
        "div",
        tag("button", f"{_LEFT} Left is better", id="left", type="button"),
        tag("button", f"{_DOWN} No difference", id="tie", type="button"),
        tag("button", f"Right is better {_RIGHT}", id="right", type="button"),
        class_="choices",
    )
    count = tag("span", id="count", class_="soft")
    keys = [
        *(tag("kbd", _LEFT), " ", tag("kbd", _RIGHT), " better, ", tag("kbd", _DOWN)),
        *(" no difference, ", tag("kbd", "space"), " play or pause"),
    ]
    vote = tag(
        "section",
        tag("p", tag("progress", id="progress", value="0", max="1"), count, class_="progress"),
        tag("p", id="prompt", class_="prompt", dir="auto"),
        tag("div", *figures, class_="stage two", id="stage"),
        choices,
        controls(),
        tag("p", *keys, class_="soft"),
        id="vote",
        class_="card",
        hidden=True,
    )
    command = tag("code", "mlx-wan bench report DIR")
    done = tag(
        "section",
        tag("h2", "Thank you", id="thanks", tabindex="-1"),
        tag("p", "All pairs have your vote. ", command, " counts them."),
        id="done",
        class_="card",
        hidden=True,
    )
    message = tag("p", id="message", class_="worse", role="alert")
    body = join(tag("h1", "Which one is better?"), tag("main", ask, message, vote, done))
    return document("Blind vote", body, ("players.js", "vote.js"), {}, connect="'self'")
