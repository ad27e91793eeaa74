// « Direct »: applies what the stream of changes brings. Words of viewers only ever become text.
(() => {
  const root = document.getElementById("direct");
  if (!root) return;
  const LINES_MAX = 200;
  const DEEDS_MAX = 8;
  const MERGED_MS = 1000;
  const $ = (selector) => root.querySelector(selector);
  const lines = $("#lignes");
  const deeds = $("#faits");
  const search = $("[data-search]");
  const sprite = root.querySelector("use").getAttribute("href").split("#")[0];

  const folded = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const sift = (item) => { item.hidden = !folded(item.textContent).includes(folded(search.value.trim())); };
  search.addEventListener("input", () => [...lines.children].forEach(sift));

  const line = ({ id, name, text, trusted }) => {
    const item = document.createElement("li");
    const who = document.createElement("b");
    const said = document.createElement("span");
    item.dataset.id = id;
    who.textContent = name;
    who.className = trusted ? "ours" : "";
    said.textContent = text;
    item.append(who, " ", said);
    sift(item);
    return item;
  };
  // What was left out within a second is told in one line.
  let left = { since: -MERGED_MS };
  const more = (count) => {
    const now = performance.now();
    if (now - left.since >= MERGED_MS || !left.item.isConnected) {
      left = { since: now, count: 0, item: document.createElement("li") };
      left.item.className = "quiet";
      lines.append(left.item);
    }
    left.count += count;
    left.item.textContent = `… et ${left.count} ${left.count > 1 ? "autres messages" : "autre message"}`;
  };
  const deed = ({ icon, words }) => {
    const item = document.createElement("li");
    const said = document.createElement("span");
    const sign = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    sign.setAttribute("class", "icon");
    sign.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `${sprite}#${icon}`);
    sign.append(use);
    said.textContent = words;
    item.append(sign, said);
    return item;
  };

  const apply = (frame) => {
    const { figures } = frame;
    for (const place of root.querySelectorAll("[data-f]")) {
      const text = figures[place.dataset.f];
      if (place.textContent !== text) place.textContent = text;
    }
    for (const path of root.querySelectorAll("[data-d]")) path.setAttribute("d", figures[path.dataset.d]);
    const state = $("[data-state]");
    state.className = `state ${figures.listening_class} heard`;
    $("[data-gaps]").hidden = !figures.gaps;
    $("[data-votes]").hidden = !figures.votes;
    const button = $("[data-mark] button");
    if (button) button.disabled = !figures.is_on_air;
    const follows = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60;
    if (frame.whole) { lines.replaceChildren(); deeds.replaceChildren(); }
    for (const id of frame.gone) lines.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
    if (frame.more) more(frame.more);
    lines.append(...frame.lines.map(line));
    while (lines.children.length > LINES_MAX) lines.firstChild.remove();
    if (frame.lines.length) $("[data-silent]")?.remove();
    for (const one of frame.deeds) deeds.prepend(deed(one));
    while (deeds.children.length > DEEDS_MAX) deeds.lastChild.remove();
    if (follows) lines.scrollTop = lines.scrollHeight;
  };

  lines.scrollTop = lines.scrollHeight;
  // The browser comes back by itself and says what it has seen; the first time, the page says it.
  const flux = new EventSource(`${root.dataset.flux}?depuis=${root.dataset.seq}`);
  flux.onmessage = (event) => apply(JSON.parse(event.data));
  flux.onerror = () => {
    const state = $("[data-state]");
    state.className = "state bad heard";
    state.querySelector("span").textContent = "La page n'est plus reliée à SPARK ; elle revient d'elle-même.";
  };

  $("[data-mark]")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const said = $("[data-marked]");
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "application/json" } });
      const words = await answer.json();
      said.textContent = answer.ok ? `Marqué à ${words.at}` : words.detail;
    } catch {
      said.textContent = "La marque n'est pas partie : la connexion est coupée.";
    }
  });
})();
