// The book's own script: it tells the widgets where their fonts lie, and names them for screen readers.
(() => {
  "use strict";
  const here = new URL(".", document.currentScript.src);
  window.__jupyter_widgets_assets_path__ = new URL("vendor/widgets/", here).href;

  const text = (element) => (element ? element.textContent.replace(/\s+/g, " ").trim() : "");

  // ipywidgets draws a slider's label and its value beside the handle, but ties neither to it.
  function nameSliders(root) {
    for (const handle of root.querySelectorAll(".noUi-handle")) {
      const widget = handle.closest(".jupyter-widgets");
      if (!widget) continue;
      const label = text(widget.querySelector(".widget-label")) || "value";
      const readout = text(widget.querySelector(".widget-readout"));
      set(handle, "aria-label", label);
      if (readout) set(handle, "aria-valuetext", readout);
    }
  }

  // The answers of a quiz belong together, under the question that stands above them.
  function nameRadios(root) {
    for (const box of root.querySelectorAll(".widget-radio-box")) {
      const widget = box.closest(".jupyter-widgets");
      const panel = widget.parentElement.closest(".jupyter-widgets");
      const label = text(widget.querySelector(".widget-label"));
      const question = panel ? text(panel.querySelector(".widget-html-content, .jupyter-widgets-html")) : "";
      set(box, "role", "radiogroup");
      set(box, "aria-label", label || question || "answers");
    }
    // What a slider or an answer brings up is read out when it changes.
    for (const stack of root.querySelectorAll(".widget-stack, .jupyter-widgets.widget-stack")) {
      set(stack, "aria-live", "polite");
    }
  }

  function set(element, name, value) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }

  function name() {
    nameSliders(document);
    nameRadios(document);
  }

  document.addEventListener("DOMContentLoaded", () => {
    name();
    new MutationObserver(name).observe(document.body, { childList: true, characterData: true, subtree: true });
  });
})();
