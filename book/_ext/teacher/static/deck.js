// Makes the slides of a chapter: waits for formulas and widgets, fits each slide to its box, then hands over to reveal.js.
(() => {
  "use strict";
  const frame = () => new Promise(requestAnimationFrame);
  const CONTROLS = ".noUi-handle, .widget-radio-box input";
  const tooHigh = (slide) => slide.scrollHeight > slide.clientHeight;
  const over = (slide) => tooHigh(slide) || slide.scrollWidth > slide.clientWidth;

  async function drawn() {
    await MathJax.startup.promise;
    const waiting = () => [...document.querySelectorAll(".widget")].some((area) => !area.querySelector(".lm-Widget"));
    while (waiting()) await frame();
    await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
    await frame();
  }

  // The pictures of a slider become as high as the slide bears.
  function fitPictures(slide) {
    let height = 500;
    do slide.style.setProperty("--picture", `${(height -= 10)}px`);
    while (over(slide) && height > 120);
  }

  // Words are as large as the slide bears, down to letters of 24 px, and a formula that is too wide shrinks.
  function fitWords(slide) {
    const answer = slide.querySelector(".advlib-quiz") && longestAnswer(slide);
    for (const size of [42, 38, 34, 30, 28, 26, 24]) {
      slide.style.fontSize = `${size}px`;
      fitFormulas(slide);
      if (!over(slide)) break;
    }
    answer?.remove();
    if (!over(slide)) return;
    slide.classList.add("broken");  // lines of more than 80 letters
  }

  // The longest that may be said of an answer of a quiz, in its place.
  function longestAnswer(slide) {
    const { state } = JSON.parse(document.querySelector("script[type*='widget-state']").textContent);
    const of = (name) => state[name.replace("IPY_MODEL_", "")].state;
    const quiz = of(JSON.parse(slide.querySelector("script[type*='widget-view']").textContent).model_id);
    const stack = quiz.children.map(of).find((part) => "selected_index" in part);
    const said = stack.children.map((name) => of(name).value).sort((one, other) => other.length - one.length);
    const answer = document.createElement("div");
    answer.style.gridArea = "2 / 2";
    answer.innerHTML = said[0];
    slide.querySelector(".advlib-quiz").append(answer);
    return answer;
  }

  function fitFormulas(slide) {
    for (const formula of slide.querySelectorAll("mjx-container[display]")) {
      formula.style.fontSize = "";
      const size = parseFloat(getComputedStyle(formula).fontSize);
      const share = formula.clientWidth / formula.querySelector("svg").getBoundingClientRect().width;
      if (share < 1) formula.style.fontSize = `${Math.floor(size * share)}px`;
    }
  }

  // Words that still do not fit go on: a list or a table by its rows, else by its parts.
  function carryOn(slide) {
    const words = [...slide.children].every((part) => part.matches(".words, aside"));
    if (!words || !tooHigh(slide)) return;
    const next = slide.cloneNode(false);
    const heading = slide.querySelector("h1, h2, h3")?.cloneNode(true);
    heading?.append(" …");
    next.append(heading ?? "");
    const [rest, moved] = parts(slide, next);
    while (tooHigh(slide) && rest.children.length > 1) moved.prepend(rest.lastElementChild);
    if (!moved.children.length) return;
    if (moved.children.length === 1 && rest.children.length > 2) moved.prepend(rest.lastElementChild);
    slide.after(next);
    fitWords(next);
    carryOn(next);
  }

  // From where, and to where, the rest of a slide moves.
  function parts(slide, next) {
    const words = slide.querySelector(".words");
    const list = words.querySelector(":scope > ul, :scope > ol, :scope > table");
    const copy = words.cloneNode(false);
    next.append(copy);
    if (!list) return [words, copy];
    const again = list.cloneNode(false);
    copy.append(again);
    if (!list.tHead) return [list, again];
    again.append(list.tHead.cloneNode(true), list.tBodies[0].cloneNode(false));
    return [list.tBodies[0], again.tBodies[0]];
  }

  // The arrow keys move a slider that was touched last; the keys of a presenter's clicker turn the slide all the same.
  function turn(event) {
    const step = { PageDown: "next", PageUp: "prev" }[event.key];
    if (!step || !event.target.closest(CONTROLS)) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    event.target.blur();
    Reveal[step]();
  }

  window.addEventListener("keydown", turn, true);
  window.addEventListener("load", async () => {
    const slides = document.querySelector(".slides");
    slides.classList.add("measuring");
    await drawn();
    for (const slide of [...slides.children]) {
      if (slide.querySelector("img, .widget-slider")) fitPictures(slide);
      else fitWords(slide);
      carryOn(slide);
    }
    slides.classList.remove("measuring");
    await Reveal.initialize({
      width: 1280, height: 720, margin: 0, center: false, controls: false, display: "flex", hash: true, slideNumber: "c/t",
      keyboardCondition: (event) => !event.target.closest(CONTROLS), transition: "none", plugins: [RevealNotes], showNotes: location.search.includes("print-pdf") && "separate-page",
    });
    document.documentElement.dataset.ready = "";
  });
})();
