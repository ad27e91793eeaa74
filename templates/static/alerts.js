// Lets this browser be woken by alerts, or no more.
(() => {
  const button = document.getElementById("reveil");
  if (!button || !("serviceWorker" in navigator) || !("PushManager" in window)) return;
  const say = (words) => { document.getElementById("reveil-dit").textContent = words; };
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const post = async (path, endpoint) => {
    const answer = await fetch(path, { method: "POST", credentials: "same-origin", headers: { "x-csrf-token": button.dataset.csrf }, body: new URLSearchParams({ endpoint }) });
    if (!answer.ok) throw new Error(answer.status);
  };
  const show = (isOn) => {
    button.dataset.state = isOn ? "on" : "off";
    button.querySelector("span").textContent = isOn ? button.dataset.on : button.dataset.off;
    button.hidden = false;
  };
  const begin = async (worker) => {
    if (await Notification.requestPermission() !== "granted") return say("Ce navigateur refuse les notifications : autorisez-les dans ses réglages.");
    const push = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(button.dataset.wake) });
    await post("/alertes/appareils", push.endpoint);
    show(true);
    say("Cet appareil sera prévenu.");
  };
  const end = async (push) => {
    await post("/alertes/appareils/oublier", push.endpoint);
    await push.unsubscribe();
    show(false);
    say("");
  };
  (async () => {
    const worker = await navigator.serviceWorker.register("/reveil.js", { scope: "/" });
    show(Boolean(await worker.pushManager.getSubscription()));
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const push = await worker.pushManager.getSubscription();
        await (push ? end(push) : begin(worker));
      } catch {
        say("Le service de notifications de ce navigateur ne répond pas. Réessayez plus tard.");
      } finally {
        button.disabled = false;
      }
    });
  })().catch(() => {});
})();
