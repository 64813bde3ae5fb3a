// Open folded parts for printing, since paper cannot be unfolded, and fold them again afterwards.
(() => {
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details.fold:not([open])")];
    unfolded.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => unfolded.splice(0).forEach((fold) => { fold.open = false; }));
})();
