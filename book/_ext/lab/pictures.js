// Pictures in and out: a file, the clipboard, a drop, the camera, the pointer, and a PNG.
((lab) => {
  "use strict";
  const MOST = 2048; // a larger photo is scaled down by the browser first

  // The middle square of anything that can be drawn, as 48 × 48 values of 256 levels; transparency is laid on white.
  lab.pixels = (source) => {
    const shrink = Math.min(1, MOST / Math.max(source.width, source.height));
    const [width, height] = [source.width, source.height].map((side) => Math.max(1, Math.round(side * shrink)));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(source, 0, 0, width, height);
    const side = Math.min(width, height);
    const square = context.getImageData(Math.floor((width - side) / 2), Math.floor((height - side) / 2), side, side).data;
    const colours = Float32Array.from({ length: side * side * 3 }, (_, i) => square[Math.floor(i / 3) * 4 + (i % 3)]);
    const lines = side === lab.SIDE ? colours : turned(resized(turned(resized(colours, side)), side));
    return lines.map((level) => Math.round(level) / 255);
  };

  // The resizing of `advlib.data.photos.fit_square`: each value a mean of its neighbours, weighted by a triangle that is
  // as wide as the scale, from `side` rows to 48.
  function resized(values, side) {
    const scale = side / lab.SIDE, reach = Math.max(scale, 1), width = values.length / side;
    const out = new Float32Array(lab.SIDE * width);
    for (let row = 0; row < lab.SIDE; row++) {
      const centre = scale * (row + 0.5);
      const first = Math.max(0, Math.floor(centre - reach + 0.5)), last = Math.min(side, Math.floor(centre + reach + 0.5));
      const weights = [];
      for (let i = first; i < last; i++) weights.push(Math.max(0, 1 - Math.abs(i + 0.5 - centre) / reach));
      const total = weights.reduce((a, b) => a + b);
      weights.forEach((weight, i) => {
        for (let k = 0; k < width; k++) out[row * width + k] += (weight / total) * values[(first + i) * width + k];
      });
    }
    return out;
  }

  // 48 rows as 48 columns, and back.
  function turned(values) {
    const width = values.length / lab.SIDE / 3, rows = lab.SIDE;
    return values.map((_, i) => {
      const c = i % 3, column = Math.floor(i / 3) % rows, row = Math.floor(i / 3 / rows);
      return values[(column * width + row) * 3 + c];
    });
  }

  lab.fromFile = async (file) => {
    const image = await createImageBitmap(file);
    return lab.pixels(image);
  };

  // Load, photograph, paste or drop a picture: `take(x)` gets it, `refuse(words)` says why not.
  lab.takePictures = (section, take, refuse) => {
    const use = async (files) => {
      const file = [...files].find(({ type }) => type.startsWith("image/")) || files[0];
      if (!file) return;
      try {
        take(await lab.fromFile(file));
      } catch {
        refuse(`The browser cannot read ${file.name || "this"} as a picture. Try a JPEG or a PNG.`);
      }
    };
    for (const input of section.querySelectorAll("[data-own]")) {
      input.addEventListener("change", () => use(input.files).then(() => { input.value = ""; }));
    }
    document.addEventListener("paste", (event) => use(event.clipboardData.files));
    section.addEventListener("dragover", (event) => event.preventDefault());
    section.addEventListener("drop", (event) => {
      event.preventDefault();
      use(event.dataTransfer.files);
    });
  };

  // Draw on a canvas with a pointer or with the keyboard: `dab(column, row)` is called for each dab of the brush.
  lab.drawOn = (canvas, cursor, isOn, dab) => {
    let [column, row] = [lab.SIDE / 2, lab.SIDE / 2];
    const place = () => {
      cursor.style.left = `${(100 * (column + 0.5)) / lab.SIDE}%`;
      cursor.style.top = `${(100 * (row + 0.5)) / lab.SIDE}%`;
    };
    const paint = (event) => {
      const box = canvas.getBoundingClientRect();
      [column, row] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map((share) => Math.min(Math.max(Math.floor(share * lab.SIDE), 0), lab.SIDE - 1));
      place();
      dab(column, row);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!isOn()) return;
      canvas.setPointerCapture(event.pointerId);
      paint(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (isOn() && event.buttons) paint(event);
    });
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (!isOn() || !(event.key in ARROWS || event.key === " ")) return;
      event.preventDefault();
      const [right, down] = ARROWS[event.key] || [0, 0];
      column = Math.min(Math.max(column + right, 0), lab.SIDE - 1);
      row = Math.min(Math.max(row + down, 0), lab.SIDE - 1);
      place();
      if (event.key === " ") dab(column, row);
    });
    place();
  };

  // x with a round dab of the brush; x itself stays as it is.
  lab.dabbed = (x, column, row, width, colour) => {
    const ink = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
    return x.map((value, i) => {
      const across = Math.floor(i / 3) % lab.SIDE - column, down = Math.floor(i / 3 / lab.SIDE) - row;
      return across ** 2 + down ** 2 <= (width / 2) ** 2 ? ink[i % 3] : value;
    });
  };

  lab.save = (canvas, name) => canvas.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
})((window.lab = window.lab || {}));
