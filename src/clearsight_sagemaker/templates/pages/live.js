// While a job runs, the page asks for itself again and shows what has changed.
const EVERY = 2000; // milliseconds

async function refresh() {
  const main = document.querySelector("main");
  if (!main.hasAttribute("data-live")) return;
  const busy = document.hidden || main.contains(document.activeElement) && document.activeElement.tagName === "INPUT";
  if (!busy && !String(document.getSelection())) {
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (response.ok) show(main, new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      // The service does not answer now; the next round asks again.
    }
  }
  setTimeout(refresh, EVERY);
}

function show(main, page) {
  const before = main.querySelector(".log");
  const atEnd = !before || before.scrollTop + before.clientHeight >= before.scrollHeight - 4;
  const place = before ? before.scrollTop : 0;
  const next = page.querySelector("main");
  main.replaceChildren(...next.childNodes);
  main.toggleAttribute("data-live", next.hasAttribute("data-live"));
  scrollLog(atEnd ? Infinity : place);
}

function scrollLog(place) {
  const log = document.querySelector(".log");
  if (log) log.scrollTop = Math.min(place, log.scrollHeight);
}

scrollLog(Infinity);
setTimeout(refresh, EVERY);
