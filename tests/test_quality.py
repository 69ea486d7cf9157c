"""The quality rule on labelled examples: data in many notations and languages, quotes, scenery."""

import pytest

from mlx_wan.studio.figures import find_figure
from mlx_wan.studio.profiles import PROFILES, QualityProfile, choose_quality

DATA = """\
AI-skilled workers earn 56% more in 2026
56 percent of leaders agree
56 per cent
fifty percent of jobs will change
Fast 40 Prozent der Firmen
73 pour cent des salariés
el 30 por ciento de las empresas
30 por cento dos empregos
il 45 per cento
45 процентов компаний
yüzde 40 artış
%40 artış
40 % mehr Umsatz
٥٦٪ من الموظفين
５６％の企業
企業の56パーセント
56퍼센트 증가
百分之五十六的员工
في المئة 56
56 ٪
12‰
Revenue hit $3bn
$1.2M raised
€500 saved
3 billion dollars
5 Milliarden Euro
1.2M users
3bn views
40k followers
500K downloads
2.5 million jobs
3 Mrd. Umsatz
3 Mio Nutzer
deux millions: 2 millions d'emplois
5 millones de empleos
5 миллионов пользователей
500万人
3亿用户
100만 명
12,000 people joined
1 500 000 clients
12.000 Mitarbeiter
45000 users
2000 employees
300 companies
9 of 10 people
1 in 4 jobs
one in four workers
2 out of 3 teams fail
two out of three
3 von 5 Kunden
Jeder Dritte nutzt KI
1 sur 4
1 de cada 4 trabajadores
5人に1人
3명 중 1명
3x faster
10× growth
3-fold increase
threefold
2.5 times more likely
three times as many
Twice as many jobs
Sales doubled in a year
Umsatz verdoppelt
doppelt so viele
3 fois plus rapide
3 veces más rápido
в 3 раза быстрее
3倍速い
3배 성장
+12 pts
+12 points in a year
-3 pp
25 bps
up 12 points since May
Score: 87/100
rated 4.8/5
rated 4.8 out of 5
two thirds of managers
three quarters of teams
a quarter of all jobs
half of all jobs
die Hälfte der Jobs
la moitié des emplois
Infographic: how hiring works
bar chart of hiring
Statistiken zum Arbeitsmarkt
KPI dashboard
统计数据
grew by 12 in a year
rose from 12 to 48
NPS of 72
average salary 85
Inflation 3.4
>50 countries
~300 startups
10-20% of time
10–20 percent
5 to 10 percent
between 5% and 10%
½ of all teams
3/4 of companies
↑ 12
99.9% uptime
50,000+ creators
100M+ downloads
₹5 crore
R$ 200 mil
ROI: 4.2
GDP grows 2.1
40 टक्के नव्हे, 40 प्रतिशत
40 درصد
40 אחוז
Wages up 7
+12
Revenue up 12 this year
1,2 Mio. Menschen
8 out of every 10
10 von 100
3 of 4
Costs fell to 40
0.5%
100%
Remote work cuts costs by 30%
Companies using AI see a 40 percent productivity boost
Women hold only 28% of tech jobs
Revenue: $4.2B in Q3
Our NPS climbed from 41 to 67
8 in 10 executives plan to hire
One in three startups fails
The market will reach $1.8 trillion by 2030
A 5x return on investment
Salaries rose 12%
1,000,000 subscribers
2,5 Millionen Menschen
Jedes vierte Unternehmen
Drei von vier Deutschen
Un tiers des salariés
Un Français sur trois
Deux Français sur trois
Uno de cada tres trabajadores
Dos de cada tres
Las ventas crecieron un 15%
El desempleo bajó al 8,5 %
Рост на 20%
Каждый третий россиянин
20 млн человек
增长35%
三分之一的员工
超过一半的公司
70%的企业
売上が2倍に
売上高30％増
3人に1人が転職
매출 30% 증가
10명 중 7명
نمو بنسبة 30%
ثلث الموظفين
بنسبة ٣٠٪
30٪ growth
٣٠ في المئة
12 million
4.5 out of 5 stars
4.7★ average rating
Only 11 percent
Eleven percent
ninety-nine percent
a hundred percent
per 100,000 people
10 times more
10 times faster
ten times the output
20 percentage points
GDP +2.3
EBITDA margin 23.5
¥1.2兆
€1.2 Mio
£2m
USD 40 billion
40 billion USD
CO2 down 45
-40% CO2
12k+ stars on GitHub
300% ROI
1/3 of workers
2/3 der Firmen
50 % der Zeit
50%
Survey: most leaders distrust AI statistics
half the workforce
Half of employees
nearly half of workers
over two-thirds
Infographics about coffee
Zahlen und Fakten: Statistik
a line chart of temperatures
56 Prozent
trois salariés sur quatre
9 out of ten dentists
saves 10 hours per week
reduced churn by a third
twice as fast
tripled revenue
1 million
100 000 emplois
100.000 Jobs
1'000'000 Franken
10k
"""

# dates, versions, counts of tips, names with digits, idioms
NO_DATA = """\
مستقبل العمل ٢٠٢٦
भविष्य २०२६
AI Workforce Transformation 2026
The AI skills premium is real
Connect with Arthur Dell
7 habits of great leaders
Top 10 tips for 2026
5 ways to lead
3 steps to better sleep
5G is here
4K nature footage
8K video
4k drone shot
24/7 support
From 9 to 5
Web 3.0 explained
Industry 4.0
Industrie 4.0
GPT-4 for teams
Q3 review
Q3 2026 Results
January 12, 2026
12.05.2026
2026-01-12
2025–2026
12 January
1 May 2026
on 3/4
9/11 memorial
1995
The 1990s
the 90s
in the 2020s
2-in-1 laptop
Part 1 of 3
Step 2 of 5
Day 3 of 30
Episode 12
think twice
double down on culture
double exposure portrait
One on one
All in one
one of us
One in a million
All 4 one
first half of the year
first quarter of 2026
the other half of the story
Data Strategy 2026
Big data
Chart a new course
Making waves
Be the change
No. 1 choice
#1 rule
1080p
1920x1080
1920×1080 wallpaper
4x4 offroad
x-ray
Formula 1
Boeing 747
Area 51
Room 101
iPhone 17
Windows 11
Python 3.12
Version 2.5 is out
v1.2.3
mlx 0.32
COVID-19
B2B marketing
3D printing
90-day plan
30-day challenge
100 days of code
5 minutes a day
at 10:30
10:30 Uhr
5 pm
Call +49 170 1234567
Meet us 3 March at 5
Hall 4, Booth 12
Agenda 2030
Vision 2030
KI im Mittelstand 2026
L'avenir du travail
2026年のAI
2026年展望
第3章
10 Tipps für Führung
5 consejos para líderes
один день
Mach mal Pause
einmal mehr
ocean waves at sunset
three red orbs
a few particles
five orbs moving left
Two friends talking
Stay hungry, stay foolish.
"Less is more"
point of view
10 points to remember
5 points on leadership
ISO 9001
ISO 27001 certified
Apollo 11
Route 66
Catch-22
Studio 54
7 Eleven
Generation Z
Gen Z
C-3PO
MI6
The 4 day week
4-Tage-Woche
a 100 year old tree
The 80s look
20/20 vision
50/50
365 days
12 months
16:9 video
9:16
24 fps
60fps slow motion
a man in his 40s
M5 Ultra
2 cats
Mars 2020
Chapter 7: growth
COP30
COP 30 Belém
G20 summit
W3C
Level 5 leadership
Zwei Menschen
Deux amis
Half of me
Second half of 2026
Double your impact
Triple threat
Save the date: 12 May
10 Jahre Firma
25 years of us
25 Jahre
20 ans
Seit 1995
est. 1984
The rise of AI
growth mindset
Cut the noise
Data never sleeps
Rate my setup
Average Joe
Share your story
Margin of error
Score big
The quote of the day
in 5 minutes
from 5 to 12
mal sehen
T-shirt
1 on 1
Happy New Year 2027
See you in 2030
Be yourself; everyone else is already taken
Innovation distinguishes between a leader and a follower
Die Zukunft der Arbeit
Lernen lohnt sich
Le travail change
La inteligencia artificial llegó
Счастье есть
人工知能の未来
未来已来
오늘의 명언
اليوم العالمي
Summer sale is coming
Join us on March 14 at 3 pm
14.03.2026, 15:00
14/03/2026
Friday the 13th
21st century skills
The 4th industrial revolution
First Quarter 2026
FY2026
H1 2026
Class of 2026
2026 and beyond
The next 10 years
A decade of change
Hello world
Thank you
Welcome to the team
Meet our CEO
A runner sprinting through rain
aurora over mountains, loop
camera flies through a city
5 lessons I learned
Three lessons from failure
The two types of people
Four seasons in one day
One step at a time
Eight hours of sleep
zero trust
zero waste
Seven wonders
From zero to one
From zero to hero
100 years of solitude
1984
2001: A Space Odyssey
Ocean's 11
007
Terminal 5
Gate 12
Tesla Model 3
RTX 4090
Apple M3 Max
H.264
HTML5
Kubernetes 1.31
MP3
U2
E=mc2
CES 2026
SXSW 26
#100DaysOfCode
5-minute meditation
10-minute workout
30 seconds
60 s
2 minutes to midnight
Top 5
Top 100
Rule 34
Article 5
§ 5
Section 8
Chapter 11
Vol. 2
No 10 Downing Street
12 angry men
Fast & Furious 9
Plan B
Option 1
Q&A
1st place
2nd thoughts
our 3 values
Die 3 Säulen
3 idées
3つの習慣
5个习惯
十个建议
10가지 팁
3 совета
"""
MEDIUM = """\
"Stay hungry, stay foolish." — Steve Jobs
„Wer aufhört, besser zu werden, hat aufgehört, gut zu sein.“
« Le seul voyage est intérieur »
「継続は力なり」
Be the change you wish to see
AI Workforce Transformation 2026
The AI skills premium is real. Connect with Arthur Dell
Die Zukunft der Arbeit
Der frühe Vogel fängt den Wurm
Feliz año nuevo 2026
Bonne année à tous
人工知能の未来
未来已来
Welcome to the team, Sara!
We are hiring
Thank you for 2025
Cloud Strategy 2026
Making waves in fintech
Calm leadership in stormy times
A runner sprinting through a forest
Motion graphics, kinetic shapes
a car chase through the city
dancers jumping in slow light
Ein Läufer rennt durch den Wald
奔跑的孩子
Футболист бежит по полю
fireworks explode over the harbour
Keep me in the loop
My background in finance
Three lessons from failure
Data Strategy 2026
Green energy for everyone
Leadership is listening
"""
LOW = """\
ocean waves at sunset
calm lake at dawn, mist over the water
slow blue aurora over a dark background
soft gold particles drifting upward on black
ambient office loop
B-roll of a coffee shop
establishing shot of Berlin
aerial view of mountains
rain on a window at night
seamless loop of clouds
clouds drifting over hills
Nebel über dem Wald im Morgenlicht, Endlosschleife
Ruhige Wellen am Strand
vagues calmes au coucher du soleil
olas suaves en la playa al atardecer
спокойное море на закате
абстрактный фон
平静的海浪背景
森の中の霧
잔잔한 바다 노을
خلفية هادئة
time-lapse of stars over the desert
candle light, warm bokeh
northern lights
snow falling softly in a quiet forest
abstract gradient background, no text
"""
HIGH = """\
AI-skilled workers earn 56% more in 2026
Infographic: how hiring works
bullet points about onboarding
Three steps with on-screen text
Ocean temperature rose 1.5 degrees: up 40%
"""

# said to be without text on the picture
SILENT = {
    "a red fox in the snow": "low",
    "a chef in a busy kitchen": "low",
    "a horse gallops across a field": "medium",
    "ocean": "low",
    "A quote about courage": "medium",
    "our values in one sentence": "medium",
    "bar chart growing to 56%": "high",
    "office interior": "low",
}


@pytest.mark.parametrize("message", DATA.splitlines())
def test_data_is_found_and_takes_the_most(message):
    figure = find_figure(message)
    choice = choose_quality(message)
    assert figure
    assert choice.profile is PROFILES["high"]
    assert figure in choice.reason


@pytest.mark.parametrize("message", NO_DATA.splitlines())
def test_other_digits_are_no_data(message):
    assert find_figure(message) is None
    assert choose_quality(message).profile.name != "high"


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (level, message)
        for level, messages in (("high", HIGH), ("medium", MEDIUM), ("low", LOW))
        for message in messages.splitlines()
    ],
)
def test_the_profile_a_message_deserves(level, message):
    choice = choose_quality(message)
    assert choice.profile.name == level, choice.reason
    assert choice.reason


@pytest.mark.parametrize("message", SILENT)
def test_pictures_without_text(message):
    choice = choose_quality(message, has_text_overlay=False)
    assert choice.profile.name == SILENT[message], choice.reason


def test_text_over_the_picture_takes_the_most():
    for message in LOW.splitlines() + MEDIUM.splitlines():
        assert choose_quality(message, has_text_overlay=True).profile.name == "high"
    assert "text" in choose_quality("a calm lake", has_text_overlay=True).reason


def test_a_long_message_takes_the_most_and_none_at_all_the_least():
    long = "Leadership is a habit that grows with every honest talk. " * 6
    assert choose_quality(long).profile.name == "high"
    assert choose_quality(long[:100]).profile.name == "medium"
    assert choose_quality(" ").profile.name == "low"


def test_hostile_messages_are_judged_in_no_time():
    for message in ("1" * 100_000, "1," * 50_000, "half of " * 9_000, "三" * 50_000, "%" * 90_000):
        assert choose_quality(message).profile.name in PROFILES


def test_profiles_are_the_documents():
    assert [(p.name, p.steps, p.text_encoder_bits) for p in PROFILES.values()] == [
        ("high", 30, None),
        ("medium", 20, 8),
        ("low", 15, 8),
    ]
    assert PROFILES["high"].area == 1280 * 720
    assert PROFILES["medium"].area == PROFILES["low"].area == 832 * 480
    assert QualityProfile.HIGH_DENSITY.profile is PROFILES["high"]
    assert QualityProfile.MEDIUM_DENSITY.profile is PROFILES["medium"]
    assert QualityProfile("low") is QualityProfile.LOW_DENSITY
