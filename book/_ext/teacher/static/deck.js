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

  // A comma behind a formula does not begin a line.
  function keepPoints(slide) {
    for (const formula of slide.querySelectorAll("mjx-container:not([display])")) {
      const point = formula.nextSibling?.nodeType === Node.TEXT_NODE && formula.nextSibling.data.match(/^[^\s\w]+/);
      if (!point) continue;
      const together = document.createElement("span");
      together.className = "together";
      formula.replaceWith(together);
      together.nextSibling.data = together.nextSibling.data.slice(point[0].length);
      together.append(formula, point[0]);
    }
  }

  // The picture of a slide stands below its words, or beside them where it is larger there.
  function fitPictures(slide) {
    growPictures(slide);
    const below = drawnArea(slide);
    const column = document.createElement("div");
    column.className = "column";
    column.append(...slide.querySelectorAll(":scope > :is(.words, .print, .fragment)"));
    if (!column.children.length) return;
    slide.prepend(column);
    slide.classList.add("beside");
    for (const size of [30, 27, 24]) {
      column.style.fontSize = `${size}px`;
      growPictures(slide);
      if (!over(slide)) break;
    }
    if (!over(slide) && drawnArea(slide) > 1.15 * below) return;
    slide.classList.remove("beside");
    const [words, ...others] = column.children;
    column.replaceWith(words);
    slide.querySelector(":scope > :is(.figure, .widget)").after(...others);
    growPictures(slide);
    if (others.length && drawnArea(slide) < 0.2 * 1280 * 720) setApart(slide, others);
  }

  // Print that leaves a picture too little room has a slide of its own behind it; what is found is then said.
  function setApart(slide, parts) {
    if (!parts.some((part) => part.matches(".print"))) {
      parts.forEach((part) => part.remove());
      return fitPictures(slide);
    }
    const next = slide.cloneNode(false);
    const words = document.createElement("div");
    words.className = "words";
    words.append(slide.querySelector("h2").cloneNode(true));
    const notes = [...slide.querySelectorAll(":scope > aside")].map((aside) => aside.cloneNode(true));
    next.append(words, ...parts, ...notes);
    slide.after(next);
    fitWords(next);
    fitPictures(slide);
  }

  // The pictures of a slider become as high as the slide bears, and no higher than they are wide enough for.
  function growPictures(slide) {
    const grow = (height) => slide.style.setProperty("--picture", `${height}px`);
    let height = 560;
    do grow(height -= 10);
    while (over(slide) && height > 120);
    if (!slide.querySelector(".widget-slider")) return;
    const area = drawnArea(slide);
    do grow(height -= 10);
    while (drawnArea(slide) > 0.99 * area && height > 120);
    // Ten less: the words below may be a line longer in another position.
  }

  // How much of a slide its pictures cover, without the margins that keep their proportions.
  function drawnArea(slide) {
    const areas = [...slide.querySelectorAll("img")].filter((image) => image.checkVisibility()).map((image) => {
      const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
      return scale ** 2 * image.naturalWidth * image.naturalHeight;
    });
    return areas.reduce((one, other) => one + other, 0);
  }

  // Words are as large as the slide bears, down to letters of 24 px, and a formula that is too wide shrinks.
  function fitWords(slide) {
    const answer = slide.querySelector(".advlib-quiz") && longestAnswer(slide);
    const fits = () => [42, 38, 34, 30, 28, 26, 24].some((size) => {
      slide.style.fontSize = `${size}px`;
      fitFormulas(slide);
      return !over(slide);
    });
    // What is found in code or in a table has no room on a full slide: it is said.
    const found = slide.querySelector(":scope > .fragment");
    const roomy = fits() && (!found || parseFloat(slide.style.fontSize) > 26);
    if (!roomy && found) found.remove();
    if (!roomy && !fits()) slide.classList.toggle("full", Boolean(slide.querySelector("pre")));
    answer?.remove();
    if (over(slide)) slide.classList.add("broken");  // lines of more than 82 letters
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
    const all = rest.children.length;
    const move = () => moved.prepend(rest.lastElementChild);
    while (tooHigh(slide) && rest.children.length > 1) move();
    if (!moved.children.length) return;
    const share = Math.ceil(all / Math.ceil(all / rest.children.length));  // no slide with a row or two
    while (rest.children.length > share) move();
    fitWords(slide);
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
      keepPoints(slide);
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
