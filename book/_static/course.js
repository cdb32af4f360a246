// The book's own script: it chooses the colours at once and for paper, names controls for screen readers, and opens a
// folded result once its quiz is answered.
(() => {
  "use strict";
  // The theme's script would do so when all else has loaded, and the page would change its colours before the reader's eyes.
  const { dataset } = document.documentElement;
  if (dataset.theme === "auto") dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

  // Paper is white: while a page is printed, its letters are those of the light theme.
  let worn = dataset.theme;
  addEventListener("beforeprint", () => ([worn, dataset.theme] = [dataset.theme, "light"]));
  addEventListener("afterprint", () => (dataset.theme = worn));

  const text = (element) => (element ? element.innerText.replace(/\s+/g, " ").trim() : "");

  function set(element, name, value) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }

  // ipywidgets draws a slider's label and value beside its handle, and ties neither to it.
  function nameSliders() {
    for (const handle of document.querySelectorAll(".widget-slider .noUi-handle")) {
      const slider = handle.closest(".widget-slider");
      set(handle, "aria-label", text(slider.querySelector(".widget-label")) || "value");
      const readout = text(slider.querySelector(".widget-readout"));
      if (readout) set(handle, "aria-valuetext", readout);
    }
  }

  // The answers of a quiz belong together, under the question above them.
  function nameQuizzes() {
    for (const answers of document.querySelectorAll(".widget-radio-box")) {
      const quiz = answers.closest(".widget-vbox");
      const question = quiz ? quiz.querySelector(".widget-html-content") : null;
      set(answers, "role", "radiogroup");
      set(answers, "aria-label", text(question) || "Answers");
    }
  }

  // Whoever has answered a quiz has predicted: open what it asked about, down to the next quiz.
  function openResults({ target }) {
    if (!target.matches(".widget-radio-box input")) return;
    const quiz = target.closest(".widget-radio-box");
    const parts = [...document.querySelectorAll(".widget-radio-box, details.predict")];
    for (const part of parts.slice(parts.indexOf(quiz) + 1)) {
      if (part.matches(".widget-radio-box")) return;
      part.open = true;
    }
  }

  // The theme names some buttons otherwise than the words and icons on them read. A name that is part of a
  // button's content cannot differ from it.
  function nameThemeParts() {
    for (const control of document.querySelectorAll(".search-button-field, summary[aria-label]")) {
      control.removeAttribute("aria-label");
      control.removeAttribute("title");
    }
    for (const button of document.querySelectorAll(".theme-switch-button")) {
      const name = document.createElement("span");
      name.className = "visually-hidden";
      name.textContent = button.getAttribute("aria-label") || "Colour mode";
      button.append(name);
      button.removeAttribute("aria-label");
      for (const icon of button.querySelectorAll("i")) {
        icon.removeAttribute("title");
        set(icon, "aria-hidden", "true");
      }
    }
    for (const opener of document.querySelectorAll(".bd-sidebar-primary summary")) {
      set(opener, "aria-label", `Pages below ${text(opener.closest("li").querySelector("a"))}`);
    }
    const sidebar = document.querySelector(".bd-sidebar-primary");
    if (sidebar) {
      set(sidebar, "role", "complementary");
      set(sidebar, "aria-label", "The book");
    }
  }

  // A formula that is wider than its place scrolls: then, and only then, the keyboard stops at it.
  function reachFormulas() {
    for (const formula of document.querySelectorAll("mjx-container[display], span.math")) {
      const scrolls = getComputedStyle(formula).overflowX === "auto" && formula.scrollWidth > formula.clientWidth;
      if (scrolls) set(formula, "tabindex", "0");
      else formula.removeAttribute("tabindex");
    }
  }

  function nameWidgets() {
    nameSliders();
    nameQuizzes();
  }

  document.addEventListener("DOMContentLoaded", () => {
    nameThemeParts();
    nameWidgets();
    reachFormulas();
    addEventListener("resize", reachFormulas);
    document.addEventListener("change", openResults);
    const watcher = new MutationObserver(nameWidgets);
    watcher.observe(document.querySelector("main") || document.body, { childList: true, characterData: true, subtree: true });
  });
})();
