// The page's own part: which pair is shown, and where its videos come from.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const stage = document.getElementById("stage");
  if (!stage || !data.pairs.length) return;
  const byId = (id) => document.getElementById(id);
  const [pick, previous, next] = ["pick", "previous", "next"].map(byId);
  const players = makePlayers({
    play: byId("play"), scrub: byId("scrub"), clock: byId("clock"), speed: byId("speed"), fps: data.fps,
  });
  let urls = [];

  function url(name) { // a blob plays everywhere; Safari refuses data: URIs in a video
    const source = data.sources[name];
    if (!source.startsWith("data:")) return source;
    const letters = atob(source.slice(source.indexOf(",") + 1));
    const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
    urls.push(URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
    return urls[urls.length - 1];
  }

  function show(index) {
    const pair = data.pairs[index];
    const text = data.prompts[pair.prompt];
    const old = urls;
    urls = [];
    pick.value = String(index);
    previous.disabled = index === 0;
    next.disabled = index === data.pairs.length - 1;
    byId("prompt").textContent = text;
    const figures = [...stage.querySelectorAll("figure")];
    const there = figures.filter((figure) => pair.runs[figure.dataset.variant]);
    const sources = there.map((figure) => {
      const id = figure.dataset.variant;
      return { url: url(pair.runs[id].name), label: `${data.labels[id]}: ${text}` };
    });
    const { videos } = players.set(sources, players.isPlaying());
    for (const figure of figures) {
      const run = pair.runs[figure.dataset.variant];
      let shown = videos[there.indexOf(figure)];
      if (!shown) {
        shown = document.createElement("div");
        shown.className = "none";
        shown.textContent = "no video: the run failed or was not made";
      }
      figure.querySelector("video, .none").replaceWith(shown);
      figure.querySelector(".note").textContent = run ? run.note : "";
    }
    old.forEach((one) => URL.revokeObjectURL(one));
  }

  function move(by) {
    const index = Number(pick.value) + by;
    if (index >= 0 && index < data.pairs.length) show(index);
  }

  data.pairs.forEach((pair, index) => pick.add(new Option(pair.label, String(index))));
  pick.addEventListener("change", () => show(Number(pick.value)));
  previous.addEventListener("click", () => move(-1));
  next.addEventListener("click", () => move(1));
  onKeys({
    " ": players.toggle, ",": () => players.step(-1), ".": () => players.step(1),
    ArrowLeft: () => players.step(-1), ArrowRight: () => players.step(1),
    p: () => move(-1), n: () => move(1),
  });
  show(0);
})();
