// What pages gain with script; without it every link and form below works by itself.
//  data-quiet      a link or form whose answer replaces <main>, without leaving the page
//  data-at         seconds that the main player jumps to
//  data-key        the key that presses it
//  data-live       milliseconds between two looks at itself, while it holds or is data-under-way
//  data-upload     a form whose files show their progress
//  data-copy       copies a field
//  data-alert      the line that says what is wrong, kept as it is while the page stays open

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const FETCH_MAX_MS = 20000;

  const read = async (address, options = {}) => {
    const answer = await fetch(address, { credentials: "same-origin", signal: AbortSignal.timeout(FETCH_MAX_MS), ...options, headers: { accept: "text/html", ...options.headers } });
    if (!(answer.headers.get("content-type") || "").includes("text/html")) throw new Error("not a page");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return { page, address: answer.url, status: answer.status };
  };

  const without = (address) => address.split("#")[0];
  const play = (video) => video.play().catch(() => {});

  // The player goes on living when the next page shows the same film.
  const show = ({ page, address }, keepsAddress) => {
    const next = $("main", page);
    if (!next || !$(".bar", page)) return location.assign(address);
    const old = $("main");
    const player = $("video[data-main]", old);
    const coming = $("video[data-main]", next);
    const wasPlaying = player && !player.paused;
    const scrolls = $$("[data-keep-scroll]", old).map((list) => [list.id, list.scrollTop, list.scrollLeft]);
    const focused = document.activeElement && old.contains(document.activeElement) ? document.activeElement : null;
    const mark = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.dataset.key ? `[data-key="${focused.dataset.key}"]` : null);
    let kept = false;
    if (player && coming && without(player.src) === without(new URL(coming.getAttribute("src"), location).href)) {
      player.dataset.at = (coming.getAttribute("src").split("#t=")[1] || "");
      coming.replaceWith(player);
      kept = true;
    }
    old.replaceWith(next);
    document.title = page.title;
    if (!keepsAddress) history.pushState({ quiet: true }, "", clean(address));
    for (const [id, top, left] of scrolls) {
      const list = document.getElementById(id);
      if (list) list.scrollTo({ top, left });
    }
    $$('[aria-current="true"]', next).forEach((here) => { if (here.closest("[data-keep-scroll]")) here.scrollIntoView({ block: "nearest", inline: "nearest" }); });
    if (mark && $(mark, next)) $(mark, next).focus({ preventScroll: true });
    else if (focused) next.focus({ preventScroll: true });
    const now = $("video[data-main]", next);
    if (now && (wasPlaying || kept)) {
      if (kept && player.dataset.at) now.currentTime = Number(player.dataset.at);
      if (wasPlaying || kept) play(now);
    }
    wake(next);
  };

  // What was said once is not said again on reload.
  const clean = (address) => {
    const url = new URL(address, location);
    url.searchParams.delete("dit");
    return url.pathname + url.search + url.hash;
  };

  let turn = 0;
  const go = async (address, options) => {
    const mine = ++turn;
    const main = $("main");
    main.setAttribute("aria-busy", "true");
    try {
      const answer = await read(address, options);
      if (mine === turn) show(answer);
    } catch {
      if (options) location.reload();
      else location.assign(address);
    } finally {
      main.removeAttribute("aria-busy");
    }
  };

  document.addEventListener("click", (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const field = $(copy.dataset.copy);
      field.select();
      navigator.clipboard?.writeText(field.value).then(() => { copy.lastChild.textContent = "Copié"; }, () => {});
      return;
    }
    const link = event.target.closest("a[data-quiet]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const player = $("video[data-main]");
    if (player && link.dataset.at) {
      player.currentTime = Number(link.dataset.at);
      play(player);
    }
    go(link.href?.baseVal ?? link.href);
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-upload]")) return upload(event, form);
    if (!form.matches("[data-quiet]")) return;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form, event.submitter));
    $$("button", form).forEach((button) => { button.disabled = true; });
    go(form.action, { method: "POST", body });
  });

  addEventListener("popstate", () => { if (history.state?.quiet || $("a[data-quiet]")) read(location.href).then((answer) => show(answer, true), () => location.reload()); });

  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]")) return;
    if (event.key === " ") {
      const player = $("video[data-main]");
      if (!player || event.target.closest("button, a, summary, video")) return;
      event.preventDefault();
      if (player.paused) play(player); else player.pause();
      return;
    }
    const pressed = /^[a-z]$/.test(event.key) && $(`[data-key="${event.key}"]`);
    if (!pressed || !pressed.checkVisibility() || event.repeat && event.key !== "j" && event.key !== "k") return;
    event.preventDefault();
    pressed.click();
  });

  // Parts that change by themselves look at themselves again while something is under way.
  const wake = (root) => {
    for (const part of $$("[data-live]", root)) look(part);
    $$("[data-copy]", root).forEach((button) => { button.hidden = false; });
  };
  // Pictures are there before they are shown: nothing flickers.
  const arrived = (pictures) => Promise.race([
    Promise.allSettled(pictures.map((picture) => { const coming = new Image(); coming.src = picture.getAttribute("src"); return coming.decode(); })),
    new Promise((late) => setTimeout(late, 1500)),
  ]);
  const look = (part) => {
    const every = Number(part.dataset.live);
    setTimeout(async () => {
      if (!part.isConnected) return;
      const busy = part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
      if (document.hidden || busy || !("underWay" in part.dataset)) return look(part);
      try {
        const { page, status } = await read(location.href);
        if (!part.isConnected) return;
        if (status < 400) {
          const fresh = document.getElementById(part.id) && page.getElementById(part.id);
          if (!fresh) return location.reload();
          if (fresh.outerHTML !== part.dataset.seen) {
            await arrived($$("img", fresh));
            const focused = part.contains(document.activeElement) && document.activeElement.id;
            const top = part.scrollTop;
            fresh.dataset.seen = fresh.outerHTML;
            part.replaceWith(fresh);
            fresh.scrollTop = top;
            if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
            return look(fresh);
          }
        }
      } catch { /* The server is away for a moment: look again. */ }
      look(part);
    }, every);
  };

  const mega = (bytes) => (bytes / 1e6 < 100 ? (bytes / 1e6).toFixed(1) : Math.round(bytes / 1e6).toString()).replace(".", ",");
  const upload = (event, form) => {
    event.preventDefault();
    const box = $("[data-progress]", form);
    const wrong = $("[data-wrong]", form);
    const button = $("button.main", form);
    const request = new XMLHttpRequest();
    const began = performance.now();
    const end = (words) => {
      box.hidden = true;
      button.disabled = false;
      wrong.hidden = !words;
      wrong.textContent = words || "";
    };
    wrong.hidden = true;
    box.hidden = false;
    button.disabled = true;
    request.upload.onprogress = ({ loaded, total }) => {
      const seconds = (performance.now() - began) / 1000;
      const left = Math.round((total - loaded) / (loaded / seconds));
      $("progress", box).value = (loaded / total) * 100;
      const time = left >= 60 ? `${Math.round(left / 60)} min` : `${left} s`;
      $("[data-words]", box).textContent = loaded < total ? `${mega(loaded)} sur ${mega(total)} Mo · ${mega(loaded / seconds)} Mo/s · encore ${time}` : "Vérification…";
    };
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* Not ours to read. */ }
      if (request.status >= 400) return end(answer.detail || "L'envoi a été refusé. Rechargez la page, puis recommencez.");
      location.assign(answer.already_here ? `${form.action.split("/imports")[0]}?deja=${answer.already_here}` : form.action.split("/imports")[0]);
    };
    request.onerror = () => end("La connexion s'est interrompue ; rien n'a été gardé. Recommencez.");
    request.onabort = () => end("");
    $("[data-stop]", box).onclick = () => request.abort();
    request.open("POST", form.action);
    request.setRequestHeader("accept", "application/json");
    request.send(new FormData(form));
  };

  // A page that stays open for hours learns of an alert as one that was just opened.
  const ALERT_EVERY_MS = 15000;
  const watch = () => setTimeout(async () => {
    const line = $("[data-alert]");
    try {
      if (line && !document.hidden) {
        const { page, status } = await read("/alertes/bandeau");
        const fresh = $("[data-alert]", page);
        if (status < 400 && fresh && fresh.innerHTML !== line.innerHTML) line.replaceWith(fresh);
      }
    } catch { /* The next look may see it. */ }
    watch();
  }, ALERT_EVERY_MS);
  if ($("[data-alert][data-watched]")) watch();

  wake(document);
  if (new URLSearchParams(location.search).has("dit")) history.replaceState(history.state, "", clean(location.href));
})();
