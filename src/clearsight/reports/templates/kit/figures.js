// Draw every figure in the colours of the page, and again when the theme changes or the page is printed.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const swaps = [["#0072B2", "#56B4E9"], ["rgba(0,114,178,", "rgba(86,180,233,"]];

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  };

  const themed = (text, night) => {
    const figure = JSON.parse(night ? swaps.reduce((all, [day, late]) => all.replaceAll(day, late), text) : text);
    const colour = colours();
    const body = getComputedStyle(document.body);
    const layout = figure.layout;
    layout.font = { family: body.fontFamily, size: 13, color: colour("--muted") };
    layout.hoverlabel = { bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = { ...layout[axis], gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line") };
    }
    for (const note of layout.annotations ?? []) {
      const names = { "on-colour": "--on-accent", "on-paper": "--ink", mark: "--ink" };
      note.font = { ...note.font, color: colour(names[note.name] ?? "--muted") };
      if (note.name === "tick") note.bgcolor = colour("--paper");
      if (note.name === "mark") Object.assign(note, { bgcolor: colour("--paper"), bordercolor: colour("--muted") });
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
