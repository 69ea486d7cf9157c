"""Topics to storyboards: themes, pictures for each kind of model, times, file names."""

import math

import pytest

from mlx_wan.errors import UsageError
from mlx_wan.presets import PRESETS
from mlx_wan.studio.names import linkedin_name, slug, youtube_name
from mlx_wan.studio.storyboard import Storyboard
from mlx_wan.studio.templates import (
    Pictures,
    linkedin_storyboard,
    pictures_for,
    themes_of,
    topic_storyboard,
    youtube_storyboard,
)
from mlx_wan.studio.text import reading_seconds
from mlx_wan.studio.themes import GENERAL, THEMES
from mlx_wan.studio.timing import Words, in_parts, spans

TOPIC = "AI Workforce Transformation 2026"
SHORT = {
    "hook": "The AI skills premium is real",
    "content": "AI-skilled workers earn 56% more in 2026",
    "cta": "Connect with Arthur Dell",
}
ABSTRACT = Pictures(abstract=True, seconds=8)


@pytest.mark.parametrize(
    ("topic", "theme"),
    [
        ("AI Workforce Transformation 2026", "technology"),
        ("Artificial intelligence at the bank", "technology"),
        ("Why remote teams win", "people"),
        ("Real leaders listen", "business"),
        ("Stock market outlook", "finance"),
        ("Renewable energy and the climate", "nature"),
        ("Sleep is health", "health"),
        ("Coffee from Vienna", "food"),
        ("Merry Christmas to everyone", "celebration"),
        ("Die Zukunft der Arbeit", "people"),
        ("Klimaschutz und Umwelt", "nature"),
        ("La santé des patients", "health"),
        ("Seguridad y riesgos", "security"),
        ("Кибербезопасность и данные", "technology"),
        ("人工知能の未来", "technology"),
        ("健康生活", "health"),
        ("مستقبل الذكاء الاصطناعي", "technology"),
        ("A day at the museum", "general"),
        ("Hello", "general"),
        ("New year, new me", "general"),
        ("", "general"),
    ],
)
def test_topics_are_recognised_by_words(topic, theme):
    assert themes_of(topic)[0].name == theme


def test_themes_are_complete_and_in_words_that_are_known():
    from mlx_wan.bench.mini.looks import BACKGROUNDS, COLOURS, MOTIFS, possible

    families = {shade: family for family, shades in COLOURS.items() for shade in shades}
    for theme in THEMES:
        assert len(set(theme.scenes)) == 5 and theme.light
        written = (theme.light, *theme.scenes)
        assert all(text == " ".join(text.split()) for text in written)  # models read spaces too
        assert theme.words or theme is GENERAL
        assert set(theme.motifs) <= set(MOTIFS) and set(theme.colours) <= set(families)
        assert set(theme.backgrounds) <= set(BACKGROUNDS)
        for motif in theme.motifs:
            for colour in theme.colours:
                for ground in theme.backgrounds:
                    assert possible(motif, families[colour], ground), (theme.name, motif)


def test_the_same_topic_gives_the_same_and_a_seed_another():
    boards = [linkedin_storyboard(TOPIC, 60, pictures=p) for p in (Pictures(), ABSTRACT) * 2]
    assert boards[:2] == boards[2:]
    for pictures in (Pictures(), ABSTRACT):
        prompts = {
            linkedin_storyboard(TOPIC, 60, pictures=pictures, seed=seed).shots for seed in range(4)
        }
        assert len(prompts) > 1


def test_each_kind_of_model_is_asked_in_its_own_words():
    for shot in linkedin_storyboard(TOPIC, 30, pictures=ABSTRACT).shots:
        assert shot.prompt.startswith("slow ") and shot.prompt.endswith(" background")
    prompts = [shot.prompt for shot in linkedin_storyboard(TOPIC, 30).shots]
    assert all("camera" in p or "shot" in p or "push" in p or "slow" in p.lower() for p in prompts)
    assert len(set(prompts)) == len(prompts)  # no picture twice
    lights = {prompt.split(". ")[-1] for prompt in prompts}
    assert len(lights) == 1  # one mood for the whole video


def test_pictures_follow_the_presets():
    assert pictures_for(PRESETS["wan-mini"]).abstract
    real = pictures_for(PRESETS["wan2.2-t2v-a14b"])
    assert not real.abstract and real.seconds == 4.5  # 5 s a clip, less the crossfade


@pytest.mark.parametrize("duration", [1, 2.5, 5, 10, 30, 61.5, 600])
@pytest.mark.parametrize("pictures", [Pictures(), ABSTRACT])
def test_any_duration(duration, pictures):
    board = linkedin_storyboard("Hello", duration, "wide", pictures=pictures)
    assert board.duration == duration and board.texts[-1].end == duration
    assert math.isclose(sum(s.duration for s in board.shots), duration, abs_tol=1e-6)
    assert Storyboard.from_dict(board.to_dict()) == board
    if not pictures.abstract:
        assert max(shot.duration for shot in board.shots) <= 4.6


def test_a_linkedin_topic_is_the_title_all_the_time():
    board = linkedin_storyboard(TOPIC, 10)
    assert [(t.role, t.text, t.start, t.end) for t in board.texts] == [("title", TOPIC, 0, 10)]
    assert (board.title, board.format_name) == (TOPIC, "square")
    assert board.name == "linkedin_2026_ai_workforce_transformation_10s"


def test_a_long_topic_is_shown_sentence_by_sentence():
    topic = "The work of tomorrow needs other skills. " * 6
    board = linkedin_storyboard(topic, 30)
    assert board.texts[0].role == "title" and len(board.texts) > 2
    assert " ".join(text.text for text in board.texts) == topic.strip()
    for text in board.texts:
        assert text.end - text.start >= reading_seconds(text.text) - 1e-9


CLAUSES = "what we learn, how we work and whom we hire will all be decided by machines, they say"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("short", 1),
        ("A sentence of some length. " * 3 + "B" * 20, 2),
        (f"{CLAUSES}, {CLAUSES}", 2),
        ("word " * 60, 4),
        ("人工知能が仕事をどう変えるか、そして私たちは何を学ぶべきか。" * 2, 2),
        ("x" * 300, 1),
        ("x" * 300 + " a" * 300, 8),
    ],
)
def test_long_texts_are_cut_where_one_breathes(text, count):
    parts = in_parts(text.strip())
    assert len(parts) == count
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")  # nothing is lost
    assert all(len(part) <= 90 or " " not in part for part in parts)


def test_a_short_has_hook_content_and_call_in_their_time():
    board = youtube_storyboard(**SHORT, duration=30)
    hook, content, cta = board.texts
    assert [t.text for t in board.texts] == list(SHORT.values())
    assert hook.start == 0 and 2 <= hook.end <= 3
    assert hook.end == content.start and content.end == cta.start and cta.end == 30
    assert 0.2 <= (cta.end - cta.start) / 30 <= 0.25
    assert (board.format_name, board.name) == ("shorts", "youtube_short_30s")
    starts = [math.fsum(s.duration for s in board.shots[:i]) for i in range(len(board.shots))]
    for text in (content, cta):  # a new picture with each of them
        assert min(abs(start - text.start) for start in starts) < 1e-6


def test_what_cannot_be_read_is_refused_with_the_duration_that_works():
    with pytest.raises(UsageError) as error:
        youtube_storyboard(**SHORT, duration=5)
    assert "6.3" in error.value.hint
    assert youtube_storyboard(**SHORT, duration=6.3).texts[-1].end == 6.3
    with pytest.raises(UsageError) as error:
        linkedin_storyboard(TOPIC, 1)
    assert "2.2" in error.value.hint
    assert linkedin_storyboard(TOPIC, 2.2)


@pytest.mark.parametrize("duration", [6.3, 6.31, 7, 9.99, 12.345, 61.5, 600])
def test_every_text_has_its_reading_time(duration):
    words = [Words(role, text) for role, text in SHORT.items()]
    times = spans(words, duration)
    assert times[0][0] == 0 and times[-1][1] == duration
    for one, (start, end), following in zip(words, times, [*times[1:], None], strict=True):
        assert end - start >= reading_seconds(one.text) - 1e-9
        assert following is None or following[0] == end


def test_what_is_left_out_leaves_its_time():
    board = youtube_storyboard(hook="Only a hook", duration=8)
    assert [(t.role, t.start, t.end) for t in board.texts] == [("hook", 0, 8)]
    board = youtube_storyboard(content="Something to say", cta="Follow", duration=20)
    assert [t.role for t in board.texts] == ["content", "cta"]


WRONG = {
    "nothing to say": lambda: youtube_storyboard(),
    "topic is empty": lambda: linkedin_storyboard("  "),
    "hook is empty": lambda: youtube_storyboard(hook="", content="a"),
    "square or wide": lambda: linkedin_storyboard(TOPIC, 10, "shorts"),
    "duration is nan": lambda: linkedin_storyboard(TOPIC, math.nan),
    "duration is '10'": lambda: linkedin_storyboard(TOPIC, "10"),
    "duration is 601": lambda: youtube_storyboard("a", "b", "c", 601),
    "duration is 0": lambda: youtube_storyboard("a", "b", "c", 0),
    "accepted: text": lambda: linkedin_storyboard(7),
    "characters; accepted": lambda: linkedin_storyboard("word " * 1000, 600),
    "control character": lambda: linkedin_storyboard("a\x07b"),
}


@pytest.mark.parametrize("told", WRONG)
def test_misuse_is_told(told):
    with pytest.raises(UsageError) as error:
        WRONG[told]()
    assert told in str(error.value)


def test_an_image_begins_the_only_shot():
    board = linkedin_storyboard(TOPIC, 20, image="fox.png")
    assert [(s.duration, s.image) for s in board.shots] == [(20, "fox.png")]
    assert all(s.image is None for s in linkedin_storyboard(TOPIC, 20).shots)


def test_file_names():
    assert linkedin_name(TOPIC, 10) == "linkedin_2026_ai_workforce_transformation_10s"
    assert (
        linkedin_name("Trends 2027: what's next?", 61.5) == "linkedin_2027_trends_what_s_next_61_5s"
    )
    assert linkedin_name("100 years in 12026", 5) == "linkedin_100_years_in_12026_5s"
    assert linkedin_name("😀", 5) == "linkedin_5s"
    assert youtube_name(30) == "youtube_short_30s"
    assert slug("Größe & Déjà-vu!") == "große_deja_vu" or slug("Größe") == "grosse"
    assert slug("人工知能の未来") == "人工知能の未来"
    assert slug("हिन्दी में") == "हिन्दी_में"
    assert slug("../../etc/passwd") == "etc_passwd"
    assert len(slug("wörter " * 100).encode()) <= 120 and slug("wörter " * 100).endswith("worter")
    assert topic_storyboard(TOPIC, 10, "shorts").name == "ai_workforce_transformation_2026"
