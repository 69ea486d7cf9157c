"""Tells pictures without a message (ambient loops, scenery) from motion and from quotes."""

import re
import unicodedata

_AMBIENT = re.compile(
    r"\bambient\b|\bambience\b|\bb-?roll\b|\bestablishing shots?\b|\bstock footage\b|"
    r"(?<!my )(?<!our )(?<!your )(?<!their )(?<!his )(?<!her )(?<!any )(?<!every )(?<!all )"
    r"\bbackgrounds?\b(?! (?:check|stor|noise|in\b|as\b|screen))|\bbackdrops?\b|"
    r"(?<!the )(?<!feedback )(?<!closed )\bloop(?:s|ing|able)?\b(?! in\b)|"
    r"\bscreen ?savers?\b|\bwallpaper\b|\btextures?\b|\b(?:no|without) (?:any )?(?:text|words)\b|"
    r"\btextless\b|\batmospheric\b|\bbokeh\b|\btime-?lapse\b|"
    r"\b(?:drone|aerial|panning|static|wide) (?:shot|view|footage|video)s?\b|"
    r"\bhintergr(?:und|ünde)(?:video|schleife|loop|animation|bild)?s?\b|"
    r"\bendlosschleife\b|"
    r"\bohne text\b|\barrière-plan\b|\bfond (?:animé|abstrait|vidéo)\b|\bboucle\b|"
    r"\bsans texte\b|"
    r"\bambiance\b|\bfondo (?:abstracto|animado|de video|suave)\b|\bbucle\b|\bsin texto\b|"
    r"\bfundo (?:abstrato|animado)\b|\bsem texto\b|\bsfondo\b|\bsenza testo\b|\bachtergrond\b|"
    r"\bфон(?:а|ов\w*)?\b|зациклен\w*|без текста|атмосферн\w*|"
    r"背景|循环|循環|氛围|空镜|无文字|ループ|環境映像|배경|반복 영상|خلفية|पृष्ठभूमि",
    re.IGNORECASE,
)
_MOTION = re.compile(
    r"\b(?:run(?:s|ning|ners?)?|sprint\w*|jump(?:s|ing|ed)?|leap(?:s|ing)?|danc(?:e|es|ing|ers?)|"
    r"rac(?:e|es|ing)|chas(?:e|es|ing)|explo(?:de|des|ding|sions?)|fl(?:y|ies|ying)|fast|"
    r"action|dynamic|energetic|kinetic|driv(?:e|es|ing)|skat\w*|surf(?:s|ing|ers?)|spin(?:s|ning)?|"
    r"splash\w*|crash\w*|fireworks|zoom(?:s|ing)?|tracking shot|gallop\w*|speed(?:s|ing)?|sports?|"
    r"football|boxing|fight\w*|burst\w*|juggl\w*|climb(?:s|ing|ers?)|swimm\w*|cyclists?|whip pan|"
    r"motion graphics|in motion|"
    r"renn(?:t|en)|läuf(?:t|er)|tanz(?:t|en)|spring(?:t|en)|flieg(?:t|en)|schnelle?|"
    r"court|courir|danse\w*|saute\w*|vole(?:nt)?|rapide|"
    r"corre(?:r|n)?|corriendo|baila\w*|salta\w*|vuela\w*|rápid[oa]|correndo|dança\w*)\b|"
    r"беж(?:ит|ат)|танцу\w+|прыга\w+|лет(?:ит|ят)|быстр\w+|奔跑|跑步|跳舞|飞翔|飞驰|赛车|走る|走って|"
    r"踊る|踊って|飛ぶ|달리|춤|점프|يركض|يرقص",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"[\"“”„«»「」『』‹›].{3,500}?[\"“”„«»「」『』‹›]|(?:^|\s)[‘'].{6,500}?[’'](?=$|[\s,.])|\s[—–-]{1,2}\s?[A-ZÀ-Ý]\w+(?:\s[A-Z]\S+)*$"
)
_SPOKEN = re.compile(
    r"\b(?:quotes?|message|announce\w*|greetings?|motivational|tips?|reminder|thank you|we|our|you|"
    r"your|i|my|us|wir|unser\w*|ihr|du|dein\w*|nous|notre|vous|votre|nuestr[oa]|tú|zitat|citation|"
    r"cita|цитата|мы|наш\w*|вы)\b|[?!？！]|名言|引用|명언|اقتباس",
    re.IGNORECASE,
)
_TEXT_WANTED = re.compile(
    r"(?<!no )(?<!without )\b(?:text overlays?|on-?screen text|bullet points?|captions?|subtitles|"
    r"labels|checklist|comparison table|step-by-step list)\b|\btexteinblendung\w*|\bstichpunkte\b",
    re.IGNORECASE,
)

_LITTLE_WORDS = """\
a an the of in on at to over under with and or by for from into through above below across its
it is as that this out up down near along between behind no some very der die das den dem des
ein eine einer einem im am auf über unter mit und von zu bei durch le la les un une du de au
aux sur sous avec et dans en par el los las una del al sobre bajo con y por o os um uma do da
dos na sob com e il lo gli di nel nella sul su в на над под с и у из по
"""
_SCENERY_WORDS = """\
ocean sea lake river stream waterfall water waves wave tide shore coast coastline beach island
islands reef lagoon pond rain raindrops drizzle snow snowfall snowflakes snowy ice icy glacier
fog mist misty foggy haze hazy cloud clouds cloudy sky skies skyline horizon sun sunlight
sunrise sunset sunsets dawn dusk twilight daylight evening morning night nightfall moon
moonlight moonlit star stars starry galaxy nebula space cosmos aurora borealis northern lights
light rays beam beams glow glowing shimmer shimmering sparkle sparkling shine forest woods
trees tree leaves leaf pines meadow field fields grass grasses wheat flowers flower blossom
blossoms petals garden jungle desert dunes dune sand mountain mountains hills hill valley
canyon cliffs cliff peaks landscape countryside village city cityscape streets street rooftops
rooftop window windows harbour harbor bridge candle candles fire fireplace flames flame embers
ember smoke steam dust lava bubbles bubble ripples ripple reflections reflection shadows
particles particle orbs orb gradient gradients rings ring curtains silk fabric paint ink
liquid glass crystals bokeh abstract pattern patterns shapes lines coffee cup office interior
library room lobby nature wind breeze spring summer autumn winter golden gold hour silver blue
green red orange purple violet pink teal turquoise white black grey gray dark bright pastel
navy warm cool cold soft softly gentle gently calm calmly quiet quietly peaceful serene slow
slowly still silent lonely empty distant deep vast wide tiny dense dreamy moody cosy cozy
tranquil floating drifting drift drifts rolling flowing flow falling rising swaying moving
passing shifting morphing rippling flickering crackling breathing hovering twinkling upward
downward upwards left right shot view scene cinematic close-up closeup macro video clip
footage camera 4k pan haven sunbeam underwater jellyfish corals coral fish birds meer wellen
see fluss wald nebel regen schnee wolken himmel sonnenuntergang sonnenaufgang sterne
sternenhimmel nacht berge strand blätter licht kerze feuer ruhige ruhiger sanfte sanfter
langsame langsam stiller stille leuchtende polarlichter dämmerung morgennebel océan mer vagues
lac rivière forêt brume pluie neige nuages ciel coucher lever soleil étoiles nuit montagnes
plage feuilles lumière bougie calme calmes doux douce lentes aurores boréales océano mar olas
lago río bosque niebla lluvia nieve nubes cielo atardecer amanecer estrellas noche montañas
playa hojas luz vela tranquilo suave suaves lento oceano ondas onde chuva neve nuvens céu pôr
sol floresta nuvole tramonto stelle notte foresta pioggia bosco океан море волны волна озеро
река лес туман дождь снег облака небо закат рассвет звёзды звезды ночь горы пляж листья свет
свеча спокойное тихий тихое медленные медленно северное сияние морские
"""
_SCENERY_SIGNS = """\
海浪 大海 海洋 海 湖 河流 森林 树林 雨 雪 云 云海 雾 天空 星空 日落 日出 夕阳 月光 山脉 群山
沙滩 落叶 极光 烛光 城市夜景 夜景 平静 宁静 缓慢 柔和 波浪 波 夕日 夕焼け 森 雲 霧 空 星 夜
雪景色 静か 穏やか 光 砂浜 바다 파도 호수 강 숲 비 눈 구름 하늘 별 밤 노을 일몰 일출 안개 산
해변 잔잔한 고요한 오로라 빛 البحر أمواج غروب الشمس المطر الغابة النجوم الليل سماء هادئة هادئ
"""
_LITTLE = frozenset(_LITTLE_WORDS.split())
_SCENERY = frozenset(_SCENERY_WORDS.split())
# the longer ones first, so that 森林 is not read as 森; then what joins them
_SIGNS = "|".join(sorted(_SCENERY_SIGNS.split(), key=len, reverse=True))
_JOINING = "[のにはをがでと中上下的在]"


def ambient_sign(message: str) -> str | None:
    """What says plainly that this is a background, a loop or B-roll."""
    return _first(_AMBIENT, message)


def motion_sign(message: str) -> str | None:
    """The first word of movement."""
    return _first(_MOTION, message)


def text_sign(message: str) -> str | None:
    """What asks for text in the picture: bullet points, captions, labels."""
    return _first(_TEXT_WANTED, message)


def is_quote(message: str) -> bool:
    """Words in quotation marks, or with their author behind a dash."""
    return bool(_QUOTED.search(" ".join(message.split())))


def speaks(message: str) -> bool:
    """Whether somebody is spoken to: a question, a call, we and you."""
    return bool(_SPOKEN.search(message))


def is_scenery(message: str) -> bool:
    """Whether more than half of what it says is weather, landscape, light and calm."""
    text = unicodedata.normalize("NFKC", message).lower()
    if re.search(r"[?!:;\"]", text):
        return False
    letters = re.sub(r"[^぀-ヿ㐀-鿿가-힯؀-ۿ]", "", text)
    if letters:
        others = re.sub(_SIGNS, "", letters)
        shown = len(letters) - len(others)
        return shown > len(re.sub(_JOINING, "", others))
    words = [word for word in re.findall(r"[\w’'-]+", text) if word not in _LITTLE]
    hits = sum(word in _SCENERY for word in words)
    return bool(words) and hits > 0.5 * len(words)


def _first(pattern: re.Pattern[str], message: str) -> str | None:
    match = pattern.search(unicodedata.normalize("NFKC", message))
    return match.group().strip().lower() if match else None
