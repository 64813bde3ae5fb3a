// Draws every figure of the page in the page's own ink, and again when the theme changes or the page is printed.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const swaps = [["#0072B2", "#56B4E9"], ["rgba(0,114,178,", "rgba(86,180,233,"]];

  const inks = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  };

  const themed = (text, night) => {
    const figure = JSON.parse(night ? swaps.reduce((all, [day, late]) => all.replaceAll(day, late), text) : text);
    const ink = inks();
    const body = getComputedStyle(document.body);
    const layout = figure.layout;
    layout.font = { family: body.fontFamily, size: 13, color: ink("--muted") };
    layout.hoverlabel = { bgcolor: ink("--paper"), bordercolor: ink("--line"), font: { color: ink("--ink") } };
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = { ...layout[axis], gridcolor: ink("--line"), linecolor: ink("--line"), tickcolor: ink("--line") };
    }
    for (const note of layout.annotations ?? []) {
      const colour = { "on-colour": ink("--on-accent"), "on-paper": ink("--ink"), mark: ink("--ink") }[note.name] ?? ink("--muted");
      note.font = { ...note.font, color: colour };
      if (note.name === "tick") note.bgcolor = ink("--paper");
      if (note.name === "mark") Object.assign(note, { bgcolor: ink("--paper"), bordercolor: ink("--muted") });
    }
    return figure;
  };

  const paint = () => {
    const night = dark.matches && !paper.matches;
    for (const place of document.querySelectorAll(".chart")) {
      const figure = themed(document.getElementById(place.dataset.figure).textContent, night);
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
