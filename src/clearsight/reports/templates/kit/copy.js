// Add a button after every fix that copies it. Without a clipboard (a page opened from a file) it selects the text.
(() => {
  const select = (place) => {
    const range = document.createRange();
    range.selectNodeContents(place);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  };
  for (const place of document.querySelectorAll("code.fix")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.setAttribute("aria-label", `Copy ${place.textContent}`);
    button.addEventListener("click", async () => {
      select(place);
      try {
        await navigator.clipboard.writeText(place.textContent);
        button.textContent = "copied";
      } catch {
        button.textContent = "selected";
      }
    });
    place.after(button);
  }
})();
