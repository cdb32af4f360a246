// Fits a handout to its sheet: letters from 10.5 down to 8 points, until an eighth of the sheet or more is left for notes.
window.addEventListener("load", async () => {
  await MathJax.startup.promise;
  const sheet = document.querySelector("main");
  const [notes, box] = [sheet.querySelector(".notes"), sheet.querySelector(".formulas")];
  const full = () => sheet.scrollHeight > sheet.clientHeight || sheet.scrollWidth > sheet.clientWidth;
  let size = 10.5;
  while ((full() || notes.clientHeight < sheet.clientHeight / 8) && size > 8) {
    sheet.style.setProperty("--size", `${(size -= 0.25)}pt`);
  }
  // A formula that is wider than the sheet shrinks by itself.
  for (const formula of box ? box.querySelectorAll("mjx-container[display]") : []) {
    const share = box.clientWidth / formula.querySelector("svg").getBoundingClientRect().width;
    if (share < 1) formula.style.fontSize = `${Math.floor(100 * share)}%`;
  }
  document.documentElement.dataset.ready = "";
});
