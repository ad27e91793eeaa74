// Runs when an alert wakes this browser: reads what is wrong, signed in as its person, and shows it.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

const latest = async () => {
  try {
    const answer = await fetch("/alertes/derniere.json", { credentials: "include", headers: { accept: "application/json" } });
    if (answer.ok) return await answer.json();
  } catch { /* The house does not answer: the alert is told without words. */ }
  return { about: null, title: "Une alerte de SPARK", text: "Connectez-vous pour la lire." };
};

self.addEventListener("push", (event) => event.waitUntil((async () => {
  const { about, title, text } = await latest();
  await self.registration.showNotification(title, { body: text, tag: about || "spark", renotify: true, lang: "fr" });
})()));

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil((async () => {
    const windows = await self.clients.matchAll({ type: "window" });
    const here = windows.find((window) => new URL(window.url).pathname === "/alertes");
    return here ? here.focus() : self.clients.openWindow("/alertes");
  })());
});
