// One question after the other. Which side is which stays on the server.
(() => {
  const byId = (id) => document.getElementById(id);
  const [ask, vote, done, message] = ["ask", "vote", "done", "message"].map(byId);
  const buttons = ["left", "tie", "right"].map(byId);
  const players = makePlayers({
    play: byId("play"), scrub: byId("scrub"), clock: byId("clock"), speed: byId("speed"), fps: 16,
  });
  let question = null;

  async function post(path, body) {
    let answer;
    let told;
    try {
      answer = await fetch(path, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      told = await answer.json();
    } catch {
      throw new Error("The server does not answer. Start mlx-wan bench vote again: no vote is lost.");
    }
    if (!answer.ok) throw new Error(told.error);
    return told;
  }

  function allow(yes) { for (const button of buttons) button.disabled = !yes; }

  async function go(path, body) {
    allow(false);
    message.textContent = "";
    try {
      show(await post(path, body));
    } catch (error) {
      message.textContent = error.message;
      allow(question !== null);
    }
  }

  function show(told) {
    question = told.question;
    byId("count").textContent = `${told.done} of ${told.total}`;
    byId("progress").max = Math.max(told.total, 1);
    byId("progress").value = told.done;
    ask.hidden = true;
    vote.hidden = !question;
    done.hidden = Boolean(question);
    if (!question) {
      players.set([], false);
      byId("thanks").focus();
      return;
    }
    byId("prompt").textContent = question.prompt;
    const sources = ["left", "right"].map((side) => ({ url: question[side], label: `${side} video` }));
    const { videos, ready } = players.set(sources, true);
    document.querySelectorAll("#stage figure").forEach((figure, index) => {
      figure.querySelector("video, .none").replaceWith(videos[index]);
    });
    const own = question;
    ready.then((sound) => {
      if (own !== question) return;
      if (!sound) message.textContent = "A video of this pair cannot be played here.";
      allow(sound);
    });
  }

  function choose(choice) {
    if (question && !buttons[0].disabled) go("/vote", { id: question.id, choice });
  }

  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    go("/next", { rater: byId("rater").value });
  });
  for (const button of buttons) button.addEventListener("click", () => choose(button.id));
  onKeys({
    " ": players.toggle, ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"),
    ArrowDown: () => choose("tie"), "1": () => choose("left"), "2": () => choose("right"),
    "0": () => choose("tie"), ",": () => players.step(-1), ".": () => players.step(1),
  });
  byId("rater").focus();
})();
