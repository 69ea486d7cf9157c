"""What topics look like: words that tell a theme, scenes for big models, looks for wan-mini.

A theme's row reads: name; words (a trailing * stands for any ending), in several languages; light;
motifs; colours; backgrounds. Its scenes follow, one a line: concrete, without camera and light,
which templates.py adds. Motifs, colours and backgrounds are words wan-mini was trained with.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """`words` tell it from a topic. `light` and `scenes` are for models that can draw things;
    `motifs`, `colours` and `backgrounds` for wan-mini, which draws soft abstract motion."""

    name: str
    words: tuple[str, ...]
    light: str
    motifs: tuple[str, ...]
    colours: tuple[str, ...]
    backgrounds: tuple[str, ...]
    scenes: tuple[str, ...]


TABLE = """\
technology; ai ki ia ии artificial algorithm* machine neural agent agents gpt llm chatbot* \
    robot* automat* tech techn* digital* software cloud data daten données datos данн* code \
    coding cyber кибер* computer* chip chips semiconductor* quantum internet app apps saas \
    startup* blockchain künstlich* inteligencia artificielle numérique* нейро* технолог* \
    цифр* искусственн* 人工智能 人工知能 智能 技术 技術 科技 数字 デジタル 인공지능 기술 \
    디지털 الذكاء تقنية رقمي; cool blue light with soft haze; particles waves gradient; blue \
    teal; navy black
  A long aisle between dark server racks, small blue status lights pulsing in waves
  Macro view across a circuit board, pulses of light travelling along fine copper lines
  Thousands of glowing fibre-optic threads swaying gently like grass in the dark
  A translucent glass cube on a dark table, points of light drifting and connecting inside it
  A robotic arm turning slowly in a spotless laboratory, reflections gliding over brushed metal
business; business compan* corporate enterprise strateg* management manager* leader* ceo \
    board executive* office meeting* consult* entrepreneur* transform* innovation* roadmap \
    vision geschäft* unternehm* führung* strategie* chef* entreprise* dirigeant* stratégie* \
    empresa* negocio* líder* liderazgo estrategia impresa azienda бизнес* компани* стратег* \
    лидер* руковод* 企业 企業 商业 战略 経営 戦略 비즈니스 기업 전략 أعمال شركة; clear \
    morning light through large windows; waves gradient; blue teal; navy charcoal
  An empty boardroom high above a waking city, sunlight sliding slowly across a long oak table
  Glass towers seen from below, clouds drifting across their mirrored faces
  A bright open office before the day begins, dust floating in shafts of sunlight between desks
  A spiral staircase of glass and steel, light and shadow wandering slowly over the steps
  A pen resting on a blank notebook beside a cup of coffee, steam curling in the morning sun
people; people team* work workforce worker* job jobs employ* talent* hire hiring hr human* \
    skill* career* recruit* culture diversity inclusion colleague* workplace remote hybrid \
    onboarding mensch* mitarbeit* arbeit* beruf* fachkräfte* travail emploi* équipe* salarié* \
    talento* trabajo empleo* equipo* persona* lavoro trabalho equipe люд* работ* команд* \
    карьер* 人才 团队 工作 働き方 仕事 人材 일자리 직원 팀 موظف* عمل فريق; warm natural \
    light, gentle and optimistic; orbs gradient; orange pink; plum navy
  Hands of several people arranging wooden blocks on a bright table, seen from above
  Silhouettes of colleagues walking through a sunlit glass hall, long shadows on the floor
  A circle of empty chairs in a bright workshop room, sunlight moving slowly across them
  A craftsman's hands shaping wood, fine shavings curling away in warm light
  Commuters crossing a wide plaza at dawn, seen from far above, small and unhurried
finance; financ* bank* money invest* stock* market markets economy economic inflation budget* \
    revenue* profit* tax* fund funds capital trading crypto bitcoin insurance salary salaries \
    wage* price* premium geld börse* wirtschaft* steuer* finanz* argent bourse économie \
    impôt* dinero bolsa economía impuesto* denaro borsa economia dinheiro mercado деньг* \
    финанс* рынок инвест* экономик* 金融 经济 経済 投资 投資 市场 市場 금융 경제 투자 المال \
    اقتصاد استثمار; deep evening blue with warm golden accents; waves particles; blue green \
    gold; navy charcoal
  Stacks of gold coins on dark marble, a slow band of light passing over their edges
  A financial district at blue hour, windows lighting up one after another
  Rain on a tall window, the blurred gold lights of a city beyond it
  An hourglass on a dark desk, fine golden sand falling in a thin steady stream
  Polished brass gears of a clockwork turning slowly, catching warm light
growth; grow* growth success scale scaling sales win wins goal goals future trend* outlook \
    career ambition motivation* progress milestone* launch 成长 成長 wachstum erfolg* zukunft \
    ziel* croissance succès réussite avenir crecimiento éxito futuro crescita successo \
    crescimento рост успех* будущ* 增长 成功 未来 将来 성장 성공 미래 نجاح مستقبل نمو; first \
    golden light of the morning; gradient waves orbs; orange gold green; plum navy
  A green seedling unfolding its leaves from dark soil, drops of dew catching the light
  A winding mountain road climbing towards a bright horizon above the clouds
  Hot-air balloons rising slowly through morning mist over a wide valley
  A stone stairway leading up a hillside towards the rising sun, grass moving in the wind
  A bird's view of a long bridge vanishing into golden fog, small lights moving across it
nature; nature climate environment* sustainab* green eco ecolog* planet earth forest* ocean* \
    water energy renewable* solar wind carbon recycl* wildlife garden* agricultur* farm* \
    natur* klima* umwelt* nachhaltig* energie* wald meer climat* environnement* durable* \
    forêt* clima* ambiente sostenib* naturaleza océano* sustentab* природ* климат* эколог* \
    энерг* 自然 环境 環境 气候 気候 绿色 可持续 자연 환경 기후 طبيعة بيئة مناخ; soft natural \
    light, fresh and clear; waves gradient aurora; green teal; deep teal navy
  Sunbeams falling through tall trees in morning fog, ferns moving in a light breeze
  Wind turbines turning on green hills under fast, soft clouds
  A clear mountain lake, rings spreading slowly over the mirror of the water
  Waves rolling onto a long empty beach, foam drawing white lines in the sand
  A field of wheat swaying in the wind, the sun low behind it
health; health* medic* medicin* hospital* doctor* patient* care wellbeing wellness pharma* \
    biotech nutrition fitness sleep nurse* gesundheit* medizin* pflege* arzt ärzt* santé \
    médecin* soins salud médic* salute saúde здоров* медиц* врач* 健康 医疗 医療 医学 건강 \
    의료 صحة طب; clean soft daylight, white and pale blue; orbs gradient waves; teal blue; \
    deep teal navy
  Drops of clear liquid falling into a glass dish, soft rings spreading in slow motion
  A bright hospital corridor, sunlight moving across white walls and a green plant
  Cells drifting softly under a microscope, translucent and glowing
  Hands holding a cup of tea by a window, steam rising, a garden beyond
  A stethoscope on a pale wooden table, the shadow of leaves moving gently over it
education; educat* learn* school* universit* student* teach* train training course* knowledge \
    skill* book* read* study studies bildung* lern* schul* weiterbildung* wissen* apprend* \
    école* formation* éducation educación aprend* escuela* formación scuola formazione \
    educação обуч* образован* учеб* школ* 教育 学习 学習 学校 研修 교육 학습 تعليم تعلم; warm \
    library light with drifting dust; orbs particles gradient; orange gold blue; navy black
  Sunlight falling through high library windows, dust floating between tall shelves of books
  Pages of an old book turning slowly in a breeze, on a wooden desk
  A blackboard wiped clean, chalk dust hanging in a beam of light
  A paper boat drifting across a calm pond, small ripples behind it
  A globe turning slowly on a desk, warm lamplight on its curved surface
science; scien* research* laborator* physic* chemi* biolog* space astro* rocket* satellite* \
    universe galax* stars experiment* discover* wissenschaft* forschung* raumfahrt weltraum \
    recherche espace ciencia* investigación espacio ricerca scienza spazio ciência наук* \
    исследован* космос* 科学 研究 宇宙 航天 과학 연구 우주 علم* فضاء; deep dark with points \
    of cold light; particles rings gradient; purple blue white; black navy
  A spiral galaxy turning slowly in deep space, stars drifting past
  Ink unfolding in clear water, veils of violet and blue
  The curve of the Earth at dawn seen from orbit, a thin line of blue light growing
  Crystals growing across a glass plate under polarised light, colours shifting
  A radio telescope turning under a sky full of slowly moving stars
creative; design* creativ* art artist* brand* film photo* music* fashion architect* style \
    storytelling kreativ* kunst* gestalt* musik* créati* diseño arte creativ* música дизайн* \
    творч* искусств* музык* 设计 創造 创意 デザイン 芸術 디자인 예술 تصميم فن; saturated \
    studio light with soft shadows; gradient waves rings; purple pink orange; navy black
  Thick ribbons of paint folding slowly into each other, magenta, violet and orange
  Sheets of coloured silk floating through a dark studio
  Light through coloured glass wandering over a white wall
  A turntable spinning in a dim room, warm light gliding over the grooves
  Paper shapes unfolding and turning on a clean surface, soft shadows following them
marketing; marketing advertis* campaign* social media linkedin youtube customer* audience \
    influenc* seo community engagement client* kunde* werbung vertrieb publicité cliente* \
    ventas vendas реклам* маркетинг* клиент* 营销 市场营销 广告 顧客 客户 마케팅 고객 تسويق \
    عملاء; lively city light with soft bokeh; orbs rings waves; pink purple blue; plum navy
  Blurred city lights at night, large soft circles of colour drifting past
  A busy crossing at night from above, streams of light flowing in long exposure
  Sound waves rippling over the surface of dark water under coloured light
  Reflections of coloured signs dancing on wet asphalt after rain
  Confetti drifting down in slow motion through a beam of light
city; city cities urban* estate property housing construct* building* infrastructure mobility \
    traffic stadt städt* immobilien* bau* verkehr* wohn* ville* logement* bâtiment* ciudad* \
    vivienda* inmobiliari* città edilizia cidade город* недвижимост* строит* 城市 都市 建筑 \
    建築 不動産 房地产 도시 건설 부동산 مدينة عقار*; blue hour with warm windows; orbs sweep \
    gradient; orange blue gold; navy charcoal
  A skyline at blue hour, windows glowing, slow clouds above
  Traffic flowing along a curved motorway at night, ribbons of red and white light
  Cranes turning slowly above a building site in golden evening light
  A quiet street of old facades at dawn, light moving down the walls
  A glass lift gliding up the outside of a tower, the city falling away beneath
industry; industr* manufactur* factor* production logistic* supply chain shipping warehouse* \
    engineer* machine* automotive car cars aviation fabrik* produktion* lieferkette* \
    maschinenbau logistik* ingenieur* usine* industrie* logistique fábrica* logística \
    fabbrica завод* производств* логистик* 制造 製造 工业 物流 工場 제조 물류 صناعة مصنع; \
    hard light through steam, steel and amber; sweep waves particles; orange white; charcoal \
    black
  Sparks flying from a welding torch in a dark hall, slow and glowing
  Containers moving under tall harbour cranes at sunrise
  A conveyor gliding through a bright, quiet factory hall, machines moving in rhythm
  Molten metal pouring in a glowing orange stream, steam rising
  A cargo ship crossing a silver sea, seen from high above
security; secur* privacy protect* risk* fraud* trust compliance hack* ransomware defence \
    defense password* sicherheit* schutz* datenschutz risiko* vertrauen sécurité confiance \
    seguridad riesgo* confianza sicurezza segurança безопасност* защит* риск* 安全 \
    セキュリティ 信任 風險 보안 신뢰 أمن حماية ثقة; dark room with a narrow beam of light; \
    rings sweep waves; teal green blue; black navy
  A heavy vault door turning slowly open, light spilling through the gap
  A lighthouse beam sweeping through fog over a dark sea
  Rows of brass keys hanging in the dark, a band of light passing over them
  A glass shield floating in darkness, soft ripples of light spreading where rain touches it
  Ice crystals closing slowly over a dark pane of glass
food; food* restaurant* coffee cook* kitchen hospitality bakery wine drink* chocolate essen \
    küche kaffee gastronom* cuisine café vin comida cocina cucina cibo culinária еда кофе \
    ресторан* кухн* 食品 美食 咖啡 料理 コーヒー 음식 커피 요리 طعام قهوة مطبخ; warm side \
    light, cosy and appetising; orbs gradient; orange gold; maroon black
  Milk unfolding in a glass of dark coffee, clouds of cream turning slowly
  Steam rising from fresh bread on a wooden table, flour dust in the morning light
  Olive oil pouring in a slow golden ribbon over ripe tomatoes
  A chef's hands scattering herbs over a plate, seen close, in slow motion
  Bubbles rising through a tall glass in warm evening light
travel; travel* trip trips tourism hotel* holiday* vacation* adventure* journey* airline* \
    flight* reise* urlaub voyage* vacances viaje* turismo viaggi* viagem путешеств* туризм \
    旅行 旅游 観光 여행 관광 سفر سياحة; golden hour with long shadows; waves gradient orbs; \
    orange teal; plum light blue
  A small sailing boat crossing a turquoise bay, sunlight glittering on the waves
  The wing of a plane above a sea of clouds at sunrise
  A train crossing a high viaduct through green mountains
  A desert road running straight to the horizon, heat shimmering above it
  Lanterns swaying over a quiet canal at dusk, reflections trembling in the water
sport; sport* football soccer running marathon olymp* athlet* energy power performance speed \
    race training winner* champion* team fußball laufen leistung course deporte* fútbol \
    calcio esporte спорт* футбол* 体育 运动 スポーツ 운동 스포츠 رياضة; hard stadium light \
    with drifting dust; sweep rings particles; red orange; black charcoal
  Floodlights coming on over an empty stadium, mist drifting through the beams
  A runner's shoes striking wet asphalt, drops flying in slow motion
  A swimmer gliding under water, silver bubbles trailing behind
  Chalk dust bursting from clapping hands, lit from behind
  A cyclist's wheel spinning against low sun, long shadow on the road
celebration; celebrat* party christmas xmas birthday award* anniversary congrat* gala wedding \
    thank thanks welcome event events weihnacht* jubiläum* danke* willkommen feier* \
    glückwunsch* fête* merci bienvenue anniversaire navidad gracias fiesta* aniversario \
    bienvenid* natale grazie festa obrigado праздник* спасибо поздрав* 新年 庆祝 感谢 \
    ありがとう 祝 생일 축하 감사 شكرا عيد; warm golden light with sparkling bokeh; particles \
    orbs; gold pink; black plum
  Golden dust drifting slowly through a dark hall, catching warm light
  Fireworks opening softly over a calm lake, mirrored in the water
  Strings of small warm lights swaying in the evening, blurred and golden
  Champagne bubbles rising in tall glasses, golden light behind
  Candles flickering on a long table, soft circles of light beyond
calm; calm mindful* meditat* balance stress burnout mental peace quiet slow breath* relax* \
    focus ruhe* achtsam* entspann* gelassen* calme sérénité équilibre paix calma paz \
    equilibrio pace спокой* баланс* 平静 冥想 静か 마음 명상 هدوء سلام; pale light of early \
    morning; gradient waves; teal purple blue; deep teal navy
  Smooth stones on a still lake shore, small waves moving in and out
  Mist drifting between dark pines at first light
  A single drop falling into still water, rings spreading outwards
  White curtains breathing in a light wind, soft daylight behind them
  Clouds passing slowly over a quiet snowy ridge
general; ; soft directional light with gentle haze; gradient waves orbs; blue purple teal; \
    navy black charcoal
  Curved white architecture, shadows moving slowly over its smooth surfaces
  Layers of translucent glass turning slowly, light bending through their edges
  A wide calm sea at first light, low clouds drifting along the horizon
  Soft folds of grey silk moving in slow waves
  Long grass on a hill moving in the wind, mist in the valley below
"""


def _read(table: str) -> tuple[Theme, ...]:
    themes: list[Theme] = []
    rows: list[tuple[str, list[str]]] = []
    for line in table.replace("\\\n", " ").splitlines():
        if line.startswith("  "):
            rows[-1][1].append(line.strip())
        else:
            rows.append((line, []))
    for row, scenes in rows:
        name, words, light, motifs, colours, backgrounds = (
            " ".join(column.split()) for column in row.split(";")
        )
        lists = [tuple(column.split()) for column in (words, motifs, colours)]
        shades = tuple(_joined(backgrounds))
        themes.append(Theme(name, lists[0], light, lists[1], lists[2], shades, tuple(scenes)))
    return tuple(themes)


def _joined(backgrounds: str) -> list[str]:
    """Background names, two of which are of two words."""
    marked = backgrounds.replace("deep teal", "deep-teal").replace("light blue", "light-blue")
    return [word.replace("-", " ") for word in marked.split()]


THEMES = _read(TABLE)
GENERAL = THEMES[-1]
