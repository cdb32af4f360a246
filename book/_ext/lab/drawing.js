// What the lab shows: pictures, bars, the climb of the loss, and a slice through it.
((lab) => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  // A picture of values in [0, 1] on a canvas of 48 × 48.
  lab.paint = (canvas, x, words) => {
    const image = new ImageData(lab.SIDE, lab.SIDE);
    for (let i = 0, p = 0; p < image.data.length; p += 4) {
      for (let c = 0; c < 3; c++) image.data[p + c] = Math.round(x[i++] * 255);
      image.data[p + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    if (words) canvas.setAttribute("aria-label", words);
  };

  // The change around grey, times the largest power of two that keeps it within the picture; returns that power.
  lab.paintChange = (canvas, delta) => {
    const most = lab.largest(delta);
    const times = most ? 2 ** Math.min(6, Math.max(0, Math.floor(Math.log2(0.5 / most)))) : 1;
    const shown = delta.map((d) => Math.min(Math.max(0.5 + times * d, 0), 1));
    lab.paint(canvas, shown, `The change, ${times} times as strong`);
    return times;
  };

  lab.percent = (p) => `${(100 * p).toFixed(p > 0.995 && p < 0.9995 ? 1 : 0)} %`;

  function make(parent, tag, attributes = {}, text = "") {
    const isSvg = parent.namespaceURI === SVG || tag === "svg";
    const element = isSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  // The five likeliest answers, before (upper bar) and after (lower bar).
  lab.bars = (list, before, after) => {
    const height = (i) => Math.max(before[i], after[i]);
    const top = before.map((_, i) => i).sort((i, j) => height(j) - height(i)).slice(0, 5);
    list.replaceChildren();
    for (const i of top) {
      const row = make(list, "li");
      make(row, "span", { class: "lab-name" }, lab.classes[i]);
      make(row, "span", { class: "lab-number" }, `${lab.percent(before[i])} → ${lab.percent(after[i])}`);
      const track = make(row, "span", { class: "lab-track", "aria-hidden": "true" });
      make(track, "span", { class: "lab-before", style: `width: ${100 * before[i]}%` });
      make(track, "span", { class: "lab-after", style: `width: ${100 * after[i]}%` });
    }
  };

  // The loss of several runs, one line each: [{ name, losses }]. Above zero the attack has won more than half.
  lab.chart = (box, runs, steps) => {
    const [width, height, left, right, top, bottom] = [340, 190, 38, 8, 10, 34];
    const all = runs.flatMap((run) => run.losses).concat(0);
    const low = Math.floor(Math.min(...all) / 5) * 5, high = Math.max(Math.ceil(Math.max(...all) / 5) * 5, low + 5);
    const across = (k) => left + ((width - left - right) * k) / Math.max(steps, 1);
    const up = (u) => top + ((height - top - bottom) * (high - u)) / (high - low);
    box.replaceChildren();
    const last = runs.map((run) => `${run.name}: from ${run.losses[0].toFixed(1)} to ${run.losses.at(-1).toFixed(1)}`);
    const words = `The loss. ${last.join("; ")}`;
    const svg = make(box, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
    for (const u of [low, 0, high]) {
      make(svg, "line", { x1: left, x2: width - right, y1: up(u), y2: up(u), class: u ? "lab-grid" : "lab-zero" });
      make(svg, "text", { x: left - 5, y: up(u) + 4, "text-anchor": "end" }, u);
    }
    for (const k of [0, steps]) make(svg, "text", { x: across(k), y: height - 18, "text-anchor": k ? "end" : "start" }, k);
    make(svg, "text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "step");
    runs.forEach((run, n) => {
      const points = run.losses.map((u, k) => `${across(k).toFixed(1)},${up(u).toFixed(1)}`);
      make(svg, "polyline", { points: points.join(" "), class: `lab-line lab-line-${n}` });
      const [x, y] = points.at(-1).split(",");
      if (n) make(svg, "rect", { x: x - 4, y: y - 4, width: 8, height: 8, class: "lab-dot-1" });
      else make(svg, "circle", { cx: x, cy: y, r: 4.5, class: "lab-dot-0" });
    });
    const key = make(box, "p", { class: "lab-key" });
    runs.forEach((run, n) => make(key, "span", { class: `lab-key-${n}` }, run.name));
  };

  const LEVEL = 5, LEVELS = 6;

  // A slice of the loss: `values` on a grid of `side` × `side`, rows from the top, as a map: blue where the network holds,
  // orange where the attack has won, a shade darker for each 5 that u is away from 0. `path` is in units of the grid.
  lab.slice = (canvas, values, side, path) => {
    const context = canvas.getContext("2d"), size = canvas.width;
    const image = context.createImageData(size, size);
    for (let row = 0, p = 0; row < size; row++) {
      for (let column = 0; column < size; column++, p += 4) {
        const u = between(values, side, (row * (side - 1)) / (size - 1), (column * (side - 1)) / (size - 1));
        const clear = (1 + Math.min(Math.floor(Math.abs(u) / LEVEL), LEVELS)) / (1 + LEVELS);
        const ink = u > 0 ? [213, 94, 0] : [0, 114, 178];
        for (let c = 0; c < 3; c++) image.data[p + c] = 255 - clear * (255 - ink[c]);
        image.data[p + 3] = Number.isNaN(u) ? 0 : 255;
      }
    }
    context.putImageData(image, 0, 0);
    const at = ([a, b]) => [((size - 1) * a) / (side - 1), ((size - 1) * b) / (side - 1)];
    context.lineWidth = 2;
    for (const [style, radius] of [["#fff", 5], ["#000", 3.5]]) {
      context.strokeStyle = context.fillStyle = style;
      context.beginPath();
      for (const point of path) context.lineTo(...at(point));
      context.stroke();
      context.lineWidth = 1;
      for (const point of [path[0], path.at(-1)]) {
        context.beginPath();
        context.arc(...at(point), point === path[0] ? radius - 1.5 : radius, 0, 7);
        context.fill();
      }
    }
  };

  // The value between four points of the grid; NaN where one of them is not known yet.
  function between(values, side, row, column) {
    const r = Math.min(Math.floor(row), side - 2), c = Math.min(Math.floor(column), side - 2);
    const [s, t] = [row - r, column - c];
    const value = (i, j) => values[(r + i) * side + c + j];
    return (1 - s) * ((1 - t) * value(0, 0) + t * value(0, 1)) + s * ((1 - t) * value(1, 0) + t * value(1, 1));
  }
})((window.lab = window.lab || {}));
