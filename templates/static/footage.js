// A camera's picture while it is recorded, by hls.js (see hls-LICENSE.txt). What is typed in the form goes without.
//  data-flux    the playlist's address; ?depuis=<UTC milliseconds> says from when on
//  data-first   the first instant there is, in UTC milliseconds

(() => {
  const box = document.getElementById("image");
  if (!box || !window.Hls || !window.Hls.isSupported()) return;
  const video = box.querySelector("video");
  const reel = box.querySelector("[data-reel]");
  const clock = box.querySelector("[data-clock]");
  const state = box.querySelector("[data-state]");
  const toLive = box.querySelector("[data-now]");
  const first = Number(box.dataset.first);
  // A player that goes back begins so long before the present; how much of the past one playlist holds.
  const LIVE_MS = 20000;
  const PAST_MS = 600000;
  const LIVE_WITHIN_MS = 12000;
  let hls = null;
  let isLive = true;
  let dragging = false;
  let restarts = 0;

  // The villa's clock, wherever the reader is.
  const villa = { timeZone: "Europe/Paris" };
  const words = (at) => at.toLocaleTimeString("fr-FR", villa);
  const day = (at) => at.toLocaleDateString("fr-FR", { ...villa, weekday: "short", day: "numeric" });
  const say = (text, kind) => { state.textContent = text; state.className = `state ${kind}`; };

  const load = (since, live) => {
    isLive = live;
    if (hls) hls.destroy();
    hls = new window.Hls({ enableWorker: false, lowLatencyMode: true, backBufferLength: 60, maxBufferLength: 20, liveSyncDuration: 4 });
    const end = live ? "" : `&jusqua=${Math.round(since + PAST_MS)}`;
    hls.loadSource(`${box.dataset.flux}?depuis=${Math.round(since)}${end}`);
    hls.attachMedia(video);
    hls.on(window.Hls.Events.MANIFEST_PARSED, () => video.play().catch(() => {}));
    hls.on(window.Hls.Events.ERROR, (_, error) => {
      if (!error.fatal) return;
      say(live ? "La caméra n'envoie rien." : "Rien n'a été enregistré à cet instant.", "warn");
      if (live) setTimeout(() => { if (isLive) load(Date.now() - LIVE_MS, true); }, Math.min(15000, 2000 * ++restarts));
    });
  };

  const playing = () => (hls && hls.playingDate) || null;

  const tick = () => {
    reel.max = Date.now();
    const at = playing();
    if (!at) return;
    restarts = 0;
    if (!dragging) reel.value = at.getTime();
    clock.textContent = `${day(at)} ${words(at)}`;
    const late = Date.now() - at.getTime();
    if (isLive && late < LIVE_WITHIN_MS) say(`En direct, à ${(late / 1000).toFixed(1).replace(".", ",")} s`, "live");
    else say(`Il y a ${late < 120000 ? `${Math.round(late / 1000)} s` : `${Math.round(late / 60000)} min`}`, "");
    toLive.hidden = isLive && late < LIVE_WITHIN_MS;
    video.dataset.at = at.toISOString();
  };

  reel.min = first;
  reel.max = Date.now();
  reel.value = reel.max;
  reel.addEventListener("input", () => { dragging = true; const at = new Date(Number(reel.value)); clock.textContent = `${day(at)} ${words(at)}`; });
  reel.addEventListener("change", () => { dragging = false; const at = Number(reel.value); if (Date.now() - at < LIVE_WITHIN_MS) load(Date.now() - LIVE_MS, true); else load(at, false); });
  toLive.addEventListener("click", () => load(Date.now() - LIVE_MS, true));

  // « Début ici » and « Fin ici » write the instant that is shown.
  for (const button of box.querySelectorAll("[data-fill]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const at = playing();
      if (!at) return;
      document.getElementById(button.dataset.fill).value = `${words(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
      document.getElementById("jour").value = at.toLocaleDateString("sv-SE", villa);
    });
  }
  setInterval(tick, 250);
  const asked = Number(new URLSearchParams(location.search).get("a"));
  if (asked) load(asked, false); else load(Date.now() - LIVE_MS, true);
})();
