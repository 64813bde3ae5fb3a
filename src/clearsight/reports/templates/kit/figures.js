// Draw every figure in the colours of the page, and again when the theme changes or the page is printed.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const swaps = [["#0072B2", "#56B4E9"], ["rgba(0,114,178,", "rgba(86,180,233,"]];

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  };

  // Charts on paper are smaller: text and markers shrink with them. CSS zoom would misplace what Plotly measures.
  const shrunk = (value, by, parent = "") => {
    if (Array.isArray(value)) return value.map((item) => shrunk(item, by, parent));
    if (value === null || typeof value !== "object") return value;
    const sizes = parent.endsWith("font") || parent === "marker" || parent === "margin";
    const scaled = (key, item) => {
      if (!sizes || !(key === "size" || parent === "margin")) return shrunk(item, by, key);
      return Array.isArray(item) ? item.map((size) => size * by) : item * by;
    };
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, scaled(key, item)]));
  };

  const themed = (text, night) => {
    const figure = JSON.parse(night ? swaps.reduce((all, [day, late]) => all.replaceAll(day, late), text) : text);
    const colour = colours();
    const body = getComputedStyle(document.body);
    const layout = figure.layout;
    layout.font = { family: body.fontFamily, size: 13, color: colour("--muted") };
    layout.hoverlabel = { bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
    // Text on the sky blue of dark pages must be dark; Plotly would write it in a grey that is hard to read.
    for (const trace of figure.data) {
      if (trace.type === "bar" && trace.marker?.color === "#56B4E9") trace.insidetextfont = { color: colour("--on-accent") };
    }
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = { ...layout[axis], gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line") };
    }
    for (const note of layout.annotations ?? []) {
      const names = { "on-colour": "--on-accent", "on-paper": "--ink", mark: "--ink" };
      note.font = { ...note.font, color: colour(names[note.name] ?? "--muted") };
      if (note.name === "tick") note.bgcolor = colour("--paper");
      if (note.name === "mark") Object.assign(note, { bgcolor: colour("--paper"), bordercolor: colour("--muted") });
    }
    const by = Number(colour("--chart-scale")) || 1;
    if (by === 1) return figure;
    const height = Math.max(layout.height * by, Math.min(layout.height, 120)); // axis and legend of a single bar need room
    return { data: shrunk(figure.data, by), layout: { ...shrunk(layout, by), height } };
  };

  const paint = () => {
    const night = dark.matches && !paper.matches;
    for (const place of document.querySelectorAll(".chart")) {
      const figure = themed(document.getElementById(place.dataset.figure).textContent, night);
      place.style.height = `${figure.layout.height}px`;
      Plotly.react(place, figure.data, figure.layout, { responsive: true, displayModeBar: false });
    }
  };

  paint();
  dark.addEventListener("change", paint);
  paper.addEventListener("change", () => {
    paint();
    document.querySelectorAll(".chart").forEach((place) => Plotly.Plots.resize(place));
  });
})();
