"""Finds data in a message: percentages, money, magnitudes, multiples, ratios, in many notations.

Dates, years, versions, counts of tips and names with digits in them ("5G", "24/7", "Q3",
"7 habits", "Web 3.0") are no data. Words are matched as people write them in a dozen languages; a
language that is missing still has its digits and signs.
"""

import re
import unicodedata

_MOST_CHARACTERS = 4000

# one number: 56, 1,200, 1.2, 1 200, 500'000
_N = r"\d{1,15}(?:[.,'’]\d{1,15}|[   ]\d{3}(?!\d)){0,6}"
_YEAR = r"(?:19|20)\d\d"
_NOT_YEAR = rf"(?!{_YEAR}(?![\d.,%]))"
_NUMBER = rf"(?<![\w.,/-]){_NOT_YEAR}{_N}"

_COUNTED = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|"
    "fifty|sixty|seventy|eighty|ninety|hundred|"
    "ein(?:e[mnrs]?)?|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwanzig|fünfzig|"
    "un|une|deux|trois|quatre|cinq|dix|vingt|cinquante|"
    "uno|una|dos|tres|cuatro|cinco|diez|veinte|cincuenta|"
    "um|uma|dois|duas|três|quatro|dez|due|tre|quattro|cinque|dieci|"
    "один|одна|два|две|три|четыре|пять|десять|twee|drie|vier|vijf|tien"
)
_ANY = rf"(?:{_NUMBER}|\b(?:{_COUNTED}))"

# words that are a percentage wherever they stand, and those that need a number before them
_PERCENT = (
    r"per\s?cent|percentage|prozent\w*|pour\s?cents?|por\s?cien(?:to)?|por\s?cento|per\s?cento|"
    r"процент\w*|відсот\w*|procents?|prosent\w*|prosenttia|százalék\w*|yüzde|percento|"
    r"phần trăm|persen|peratus|τοις εκατό|τα εκατό|"
    r"パーセント|퍼센트|百分之|百分點|百分点|เปอร์เซ็นต์|ร้อยละ|प्रतिशत|फीसदी|শতাংশ|சதவீத\w*|"
    r"(?:في|ب)\s?ال(?:مئة|مائة)|في المية|بالمية|درصد|فیصد|אחוז\w*"
)
_POINTS = (
    r"pts?\.?|pp|bps|basis points?|percentage points?|basispunkte?n?|prozentpunkte?n?|"
    r"puntos?|pontos?|punti|п\.?\s?п\.?"
)
_MAGNITUDE = (
    r"k|m|mm|mn|mln|mio\.?|bn|b|tn|t|trn|mrd\.?|thousand|million(?:en|s|i|er)?|billion(?:en|s)?|"
    r"trillion(?:en|s)?|milliarde?[nrs]?|miliard\w*|miljoen|miljard|mil|mille|tausend|"
    r"mill(?:ón|ones|hões|hão|ón|oni|one)|miliardi?|milliardi?|bilh(?:ão|ões)|"
    r"тыс\.?|млн\.?|млрд\.?|тысяч\w*|миллион\w*|миллиард\w*|мільйон\w*|мільярд\w*|"
    r"lakhs?|crores?|लाख|करोड़|हज़ार|milyon|milyar|juta|miliar|triệu|tỷ|ล้าน|"
    r"مليون|مليار|ألف|میلیون|میلیارد|מיליון|מיליארד"
)
_CURRENCY = r"(?:US|A|C|HK|NZ|S|R)?[$€£¥₹₩₽₺₴₪₫₿฿]|R\$|kr\.?|CHF|USD|EUR|GBP|JPY|INR|CNY|RMB|zł"
_MONEY = (
    r"dollars?|euros?|pounds?|yen|yuan|rupees?|francs?|franken|pesos?|reais|rubl\w*|рубл\w*|"
    r"долларов|евро|dólares|dollari|usd|eur|gbp|jpy|inr|cny|rmb|chf|zł|ドル|円|元|원|美元|欧元"
)
_MEASURES = (  # a number near these is a measurement
    r"average|median|mean|rates?|ratio|share|score|roi|nps|csat|cagr|index|revenues?|turnover|"
    r"salar(?:y|ies)|wages?|profits?|margins?|gdp|inflation|unemployment|retention|conversion|"
    r"churn|accuracy|umsatz|anteil|quote|durchschnitt|gewinn|chiffre d.affaires|moyenne|salaires?|"
    r"promedio|ingresos|ventas|média|receita|fatturato|выручк\w*|средн\w*"
)
_CHANGES = (
    r"grew|grown|grows?|growing|rose|risen|rises?|rising|increas\w+|gain(?:s|ed)?|climbed|jumped|"
    r"soared|surged|fell|fallen|falls|dropp?(?:s|ed)?|declin\w+|decreas\w+|reduc\w+|shrank|shrunk|"
    r"lost|cuts?|lower(?:s|ed)|outperform\w*|stieg(?:en)?|sank|gesunken|gestiegen|wuchs|gewachsen|"
    r"augment\w*|baiss\w*|diminu\w*|aument\w*|crec\w+|subi\w+|baj\w+|reduj\w+|cresc\w+|"
    r"вырос\w*|упал\w*|снизил\w*|увеличил\w*"
)
_PEOPLE = (  # what is counted in a claim: "9 of 10 people", "2000 employees"
    r"people|users?|customers?|employees?|workers?|jobs?|compan(?:y|ies)|leaders?|ceos?|adults?|"
    r"women|men|students?|developers?|professionals?|managers?|teams?|buyers?|respondents?|"
    r"subscribers?|downloads?|sales|members?|patients?|firms?|households?|orders?|installs?|"
    r"mitarbeiter\w*|kunden|menschen|unternehmen|employés|clients|personnes|entreprises|"
    r"personas|clientes|empleados|empresas|pessoas|persone|clienti|aziende|"
    r"сотрудник\w*|клиент\w*|человек|компани\w*"
)
_PLACE = r"part|step|day|week|month|episode|chapter|lesson|season|phase|module|teil|tag|partie|jour"

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # percentages, per mille and points
        rf"[+\-−–±~≈<>≤≥]?\s?{_N}(?:\s?[-–—]\s?{_N})?\s?[%‰]",
        rf"%\s?{_N}",
        rf"(?:{_N}\s?)?(?:(?<!\w)|(?<=\d))(?:{_PERCENT})(?!\w)",
        rf"(?:{_PERCENT})\s?{_N}",
        r"[一二三四五六七八九十百两\d]{1,8}\s?成(?=[的以多在是])|百分之[一二三四五六七八九十百]",
        rf"[+\-−–±]\s?{_N}\s?(?:{_POINTS}|points?|punkte)(?!\w)",
        rf"{_NUMBER}\s?(?:pts|pp|bps|basis points?|percentage points?|п\.\s?п\.)(?!\w)",
        rf"{_NUMBER}\s?points? (?:up|down|higher|lower|ahead|behind|more|less)(?!\w)",
        # money
        rf"(?<!\w)(?:{_CURRENCY})\s?{_N}",
        rf"{_N}\s?(?:(?:{_MAGNITUDE})\s?)?(?:[€$£¥₹₩₽₺₴₪]|(?:{_MONEY})(?![a-zа-я]))",
        # magnitudes: 1.2M, 3bn, 40 k, 2.5 million, 3 Mrd, 500万; 4K and 8K are resolutions
        rf"{_NUMBER}(?:k|mm?|mn|bn|tn|trn|b)(?<!\b[248]k)(?![\w.]|-\w)",
        rf"{_NUMBER}\s(?:{_MAGNITUDE})(?!\w)(?<!\s[kmbt])(?<!mil)(?<!mille)(?<!\bt)",
        rf"\b(?:{_COUNTED})\s(?:hundred |thousand )?(?:thousand|million|billion|trillion)s?\b",
        rf"\b(?:{_COUNTED})\s(?:million|milliard|millón|millone|milhõe|milione?)\w*",
        rf"{_N}\s?[十百千]?[万萬亿億兆만억조]",
        r"(?<![\w一-鿿])[两二三四五六七八九十百千]{1,8}[万萬亿億]",
        # large counts: 12,000, 12.000, 1 500 000, 45000
        r"(?<![\w.,/+×-])\d{1,3}(?:[.,'’   ]\d{3})+(?![\d.,]\d)(?!\w| \d)",
        rf"(?<![\w.,/+×-])(?<!(?-i:[A-Z]{{3}}) )(?<!\d ){_NOT_YEAR}\d{{4,}}\+?(?![\w×/-]|[.:]\d)",
        rf"(?<![\w.,/-])\d{{3,}}\+?\s(?:\w+\s)?(?:{_PEOPLE})(?!\w)",
        # multiples: 3x, 10×, x3, 3-fold, three times more, doubled, in 3 Jahren verdoppelt
        rf"(?<![\w.,/]){_N}\s?(?:[x×]|-?fold|-?fach\w*)(?![\w×]|\s?\d)",
        rf"(?<![\w×])(?<!\d )[x×]\s?{_NOT_YEAR}\d+(?:[.,]\d+)?(?![\w×])",
        rf"\b(?:{_COUNTED})-?fold\b|\b(?:zwei|drei|vier|fünf|zehn)fach\w*",
        rf"{_ANY} times (?:more|less|as|higher|lower|faster|slower|larger|bigger|the)\b",
        r"\btwice (?:as|the)\b|\bhalf as (?:many|much)\b",
        r"\b(?:doubl|tripl|quadrupl)(?:ed|es|ing)\b(?! down| exposure)|\bhalved\b",
        r"\bdoppelt so\b|\bverdoppel\w*|\bverdreifach\w*|\bhalbier\w*",
        rf"(?!einmal){_ANY}[\s-]?mal (?:so|mehr|höher|schneller|weniger)\b",
        r"\b\w+mal so (?:viel|hoch)\w*",
        rf"{_ANY} fois (?:plus|moins)\b|\bdeux fois plus\b|\b(?:doubl|tripl)é\w*",
        rf"{_ANY} (?:veces|vezes|volte) (?:más|menos|mais|menos|più|meno)\b",
        r"\b(?:duplic|triplic|raddoppi|dobr)(?:ó|ado|aron|ou|aram|ato|ata|ò)\b",
        rf"в {_ANY} раза?(?!\w)|\bвдвое\b|\bвтрое\b|\bудвои\w*|\bутрои\w*",
        rf"{_N}\s?(?:倍|배|kat(?!\w))|[两二三四五六七八九十]倍|翻(?:了)?[一两]?番|倍増|두\s?배",
        # ratios: 1 in 4, two out of three, 3 von 5, jeder Dritte, 1 sur 4, 5人に1人
        rf"{_ANY} out of (?:every )?{_ANY}",
        rf"{_ANY} (?:von|sur|de cada|em cada|su|av|van de|uit|из|з) (?:je |каждых )?{_ANY}\b",
        r"\bjede[rsn]? (?:zweite|dritte|vierte|fünfte|zehnte)\w?\b",
        r"\bкажд\w+ (?:втор|трет|четв|пят|десят)",
        r"\b(?:two|three|four)[\s-](?:thirds|quarters|fifths|tenths)\b",
        r"\bzwei drittel\b|\bdrei viertel\b",
        r"\b(?:deux|trois) (?:tiers|quarts)\b|\b(?:dos|tres) (?:tercios|cuartos)\b",
        r"\b(?:a|one) (?:third|quarter|fifth|tenth) of\b",
        r"\bby (?:a|one) (?:third|quarter|fifth|half)\b",
        r"\bein (?:drittel|viertel|fünftel) der\b|\bun (?:tiers|quart|cinquième) des\b|"
        r"\bun (?:tercio|cuarto|quinto) de l[oa]s\b|\bтреть\b|\bчетверть (?:всех|компан)\w*",
        r"[一二三四五六七八九十]{1,8}分之[一二三四五六七八九]|[超过近約约]一半|过一半|半数以上",
        r"(?:ثلث|ربع|نصف) ال\w+",
        r"\b(?:un|une|deux|trois) \w+ sur (?:deux|trois|quatre|cinq|dix)\b",
        r"(?<!first )(?<!second )(?<!other )(?<!latter )(?<!better )"
        r"\bhalf of (?:all|the|our|us|\w+s)\b",
        rf"\bhalf (?:the|all|our) (?:workforce|population|market|{_PEOPLE})\b",
        r"\bdie hälfte (?:der|aller)\b|\bla moitié des\b|\bla mitad de l[oa]s\b|\bполовин[аы]\b",
        rf"{_N}\s?(?:人に|人中|人中有|명\s?중|명\s?가운데)\s?{_N}",
        r"[一二三四五六七八九十]人に[一二三四五六]人",
        rf"(?<![\w/.]){_N}/{_N} (?:of|der|des|de|von)\b|[½⅓⅔¼¾⅕]\s?(?:of|der|des|de)\b",
        r"(?<![\w/.])\d(?:[.,]\d+)?/(?:5|10)\b(?!/)|(?<![\w/.])\d{1,3}/100\b(?!/)",
        # changes and measurements with a number near them
        rf"\b(?:{_CHANGES})\s(?:\w+\s){{0,4}}?(?:by|to|from|um|auf|de|en|a|di|на|до)\s{_NUMBER}",
        rf"\b(?:{_CHANGES})\s(?:\w+\s){{0,2}}?\d+[.,]\d+",
        rf"\b(?:up|down) (?:by )?{_NUMBER}(?:\s?$|\s(?:since|from|on|over|this|year|points|in))",
        rf"(?:(?<=\s)|^)[+±]\s?{_N}(?![\w-]|\s?\d{{2,}})",
        rf"\b(?:{_MEASURES})(?:\s(?:of|is|was|at|in|von|de))?[\s:=]+{_NUMBER}(?!\s\w+s\b)",
        rf"(?:[~≈≥≤<>]\s?){_N}",
        r"[↑↓▲▼]\s?\d|\d[.,]\d\s?[★⭐]",
        r"\bsav(?:es?|ed|ing) \d+ (?:hours|minutes|days|weeks)\b",
    )
)
# needs a look at the numbers: the part is smaller than the whole
_RATIO = re.compile(
    rf"(?<![\w.,/-])(?P<part>\d+|{_COUNTED})[\s-](?:in|of|aus)[\s-](?P<whole>\d+|{_COUNTED})\b",
    re.IGNORECASE,
)
_PLACED = re.compile(rf"\b(?:{_PLACE})\s$", re.IGNORECASE)
_WORDS = re.compile(
    r"\binfographics?\b|\b(?:bar|pie|line|area|flow|gantt|animated|growing|growth)[\s-]charts?\b|"
    r"\bcharts\b|\bgraphs\b|\b(?:chart|graph|diagram|table)s? (?:of|showing|comparing|with)\b|"
    r"\bstatistics?\b|\bsurvey results?\b|\bkpis?\b|\bdashboards?\b|\bby the numbers\b|"
    r"\bdata (?:visuali[sz]ation|points?|viz|story|chart|table)\w*|\bbenchmark results?\b|"
    r"\bstatistik(?:en)?\b|\binfografik\w*|\bdiagramme?\b|\bkennzahl(?:en)?\b|\bumfrageergebnis\w*|"
    r"\bstatistiques?\b|\binfographies?\b|\bgraphiques?\b|\bchiffres clés\b|\bindicateurs\b|"
    r"\bestadísticas?\b|\binfografías?\b|\binfográficos?\b|\bgráficos?\b|\bestatísticas?\b|"
    r"\bstatistiche\b|\binfografic[ah]e?\b|\bgrafici\b|\bstatystyk\w*|\bistatistik\w*|"
    r"статистик\w*|инфографик\w*|график\w*|диаграмм\w*|показател\w*|"
    r"统计|統計|图表|圖表|信息图|数据图|グラフ|インフォグラフィック|통계|그래프|인포그래픽|차트|"
    r"إحصائي\w*|إحصاءات|رسم بياني|آمار|סטטיסטיק\w*|आँकड़े|आंकड़े",
    re.IGNORECASE,
)
_NUMBER_WORDS = {
    word: value
    for value, words in enumerate(
        (
            "",
            "one ein eine einer einem einen un une uno una um uma один одна",
            "two zwei deux dos dois duas due два две twee",
            "three drei trois tres três tre три drie",
            "four vier quatre cuatro quattro четыре",
            "five fünf cinq cinco cinque пять vijf",
            "six sechs",
            "seven sieben",
            "eight acht",
            "nine neun",
            "ten zehn dix diez dez dieci десять tien",
        )
    )
    for word in words.split()
} | {"twelve": 12, "twenty": 20, "hundred": 100}


def find_figure(message: str) -> str | None:
    """The first statistic, as it stands in the message in plain digits and signs; None if none."""
    text = normalised(message)
    found = [match for pattern in _PATTERNS if (match := pattern.search(text))]
    found += [match for match in _RATIO.finditer(text) if _is_ratio(match, text)]
    if match := _WORDS.search(text):
        found.append(match)
    if not found:
        return None
    first = min(found, key=lambda match: (match.start(), -match.end()))
    return first.group().strip()


def normalised(message: str) -> str:
    """Full-width and Arabic or Indian digits and signs as ASCII, one line, single spaces.

    Cut after 4,000 characters and 15 digits of a number, so that no text takes long.
    """
    text = unicodedata.normalize("NFC", message[:_MOST_CHARACTERS])
    folded = "".join(_folded(character) for character in text)
    return re.sub(r"\d{16,}", lambda run: run.group()[:15], " ".join(folded.split()))


_SIGNS = {
    "٪": "%",
    "﹪": "%",
    "％": "%",
    "٫": ".",
    "٬": ",",
    "＋": "+",
    "－": "-",
    "＄": "$",
    "．": ".",
}


def _folded(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if not character.isascii() and character.isdecimal():
        return str(unicodedata.decimal(character))
    if "！" <= character <= "～":  # full-width forms of ASCII
        return chr(ord(character) - 0xFEE0)
    return character


def _is_ratio(match: re.Match[str], text: str) -> bool:
    """1 in 4 and nine of ten; neither 2-in-1, nor part 1 of 3, nor 12 in 2026."""
    part, whole = (_value(match.group(name)) for name in ("part", "whole"))
    if part is None or whole is None or not part < whole or 1900 <= whole <= 2100:
        return False
    return not _PLACED.search(text[: match.start()])


def _value(word: str) -> int | None:
    return int(word[:9]) if word.isdecimal() else _NUMBER_WORDS.get(word.lower())
