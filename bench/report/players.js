"use strict";
// Videos that run on one clock: the longest leads, the others are pulled to it.
function makePlayers({ play, scrub, clock, speed, fps }) {
  let videos = [];
  let playing = false;
  let scrubbing = false;
  let generation = 0;

  const length = () => Math.max(0, ...videos.map((v) => v.duration || 0));
  const lead = () => videos.find((v) => (v.duration || 0) >= length() - 1e-3) || videos[0];

  function showPlaying() {
    play.textContent = playing ? "Pause" : "Play";
  }

  function tell(at) {
    const told = `${at.toFixed(2)} / ${length().toFixed(2)} s`;
    if (clock.textContent !== told) clock.textContent = told;
    scrub.setAttribute("aria-valuetext", `${at.toFixed(2)} seconds`);
  }

  function seek(time) {
    const at = Math.min(Math.max(time, 0), length());
    for (const video of videos) video.currentTime = Math.min(at, video.duration || at);
    scrub.value = String(at);
    tell(at);
  }

  function start() {
    if (!videos.length) return;
    playing = true;
    if (lead().ended || lead().currentTime >= length() - 0.02) seek(0);
    for (const video of videos) {
      const over = video !== lead() && lead().currentTime >= (video.duration || 0) - 0.02;
      if (!over) video.play().catch((error) => { if (error.name !== "AbortError") stop(); });
    }
    showPlaying();
  }

  function stop() {
    playing = false;
    for (const video of videos) video.pause();
    showPlaying();
  }

  function tick() {
    requestAnimationFrame(tick);
    if (!playing || !videos.length) return;
    const first = lead();
    if (first.ended) {
      seek(0);
      start();
      return;
    }
    if (first.seeking) return;
    for (const video of videos) {
      if (video === first || video.seeking) continue;
      const wanted = Math.min(first.currentTime, video.duration || 0);
      if (Math.abs(video.currentTime - wanted) > 0.08) video.currentTime = wanted;
    }
    if (!scrubbing) {
      scrub.value = String(first.currentTime);
      tell(first.currentTime);
    }
  }

  // Replaces all videos; `ready` tells whether all of them can be played.
  function set(sources, andPlay) {
    stop();
    const own = ++generation;
    videos = sources.map(({ url, label }) => {
      const video = document.createElement("video");
      Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: url });
      video.setAttribute("aria-label", label);
      video.defaultPlaybackRate = video.playbackRate = Number(speed.value);
      video.addEventListener("click", toggle);
      return video;
    });
    const made = videos;
    scrub.value = "0";
    const ready = made.map((v) => new Promise((done) => {
      v.addEventListener("canplay", () => done(true), { once: true });
      v.addEventListener("error", () => done(false), { once: true });
    }));
    const all = Promise.all(ready).then((sound) => {
      if (own === generation) {
        scrub.max = String(length());
        tell(0);
        if (andPlay) start();
      }
      return sound.every(Boolean);
    });
    return { videos: made, ready: all };
  }

  function toggle() { if (playing) stop(); else start(); }
  function step(by) { stop(); seek((videos.length ? lead().currentTime : 0) + by / fps); }

  play.addEventListener("click", toggle);
  scrub.addEventListener("input", () => { scrubbing = true; seek(Number(scrub.value)); });
  scrub.addEventListener("change", () => { scrubbing = false; });
  speed.addEventListener("change", () => {
    for (const v of videos) v.defaultPlaybackRate = v.playbackRate = Number(speed.value);
  });
  showPlaying();
  requestAnimationFrame(tick);
  return { set, toggle, step, stop, isPlaying: () => playing };
}

// Runs keys[event.key], except where the focused thing uses that key itself.
function onKeys(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const focused = event.target.closest("select, input, button, summary");
    const letter = event.key.length === 1 && event.key !== " ";
    const typing = focused && focused.matches("input[type=text]");
    const arrowsFree = focused && focused.matches("button, summary") && event.key.startsWith("Arrow");
    const free = !focused || (!typing && (arrowsFree || (letter && !focused.matches("select"))));
    if (!free || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}
