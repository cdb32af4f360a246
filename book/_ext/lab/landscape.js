// A slice through the loss around a picture: along its gradient and a random direction, with the way of the attack on it.
((lab) => {
  "use strict";
  const SIDE = 9; // points of the grid in a row
  const BATCH = 3;
  let last = {}; // the last slice: it depends on the picture, the goal and the norm, not on ε

  function sliceAt(network, { x, goal, ball }) {
    if (last.x === x && last.ball === ball && last.label === goal.label && last.target === goal.target) return last;
    const along = ball.along(network.gradient(x, goal).gradient);
    const aside = ball.along(lab.gauss(x.length, lab.random(1)));
    return (last = { x, ball, ...goal, along, aside, values: new Float32Array(SIDE * SIDE).fill(NaN) });
  }

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

  // Draw the slice of `network` row by row while `alive()`. It reaches from −¼ to 1 of the largest ε along the gradient.
  lab.landscape = async (canvas, caption, network, { x, goal, ball, budget, path }, alive) => {
    const { along, aside, values } = sliceAt(network, { x, goal, ball });
    const span = 1.25 * budget.max * budget.unit, left = -span / 5, top = span / 2;
    const cell = span / (SIDE - 1);
    const points = path.map((adv) => lab.minus(adv, x)).map((delta) => [
      (dot(delta, along) / dot(along, along) - left) / cell,
      (top - dot(delta, aside) / dot(aside, aside)) / cell,
    ]);
    const words = "Across: along the gradient at the clean picture, " +
      `from ε = −${budget.text(budget.max / 4)} to ${budget.text(budget.max)}. Up and down: a random direction, as far. ` +
      "Blue: the network holds. Orange: the attack has won. Each shade is 5 log-odds. " +
      "The line is the way of the attack, seen from above; its large dot is where it ends.";
    caption.textContent = words;
    canvas.setAttribute("aria-label", `A slice of the loss. ${words}`);
    for (let k = values.findIndex((value) => Number.isNaN(value)); k >= 0 && k < values.length; k += BATCH) {
      const batch = new Float32Array(BATCH * lab.PIXELS);
      for (let n = 0; n < BATCH; n++) {
        const a = left + cell * ((k + n) % SIDE), b = top - cell * Math.floor((k + n) / SIDE);
        batch.set(x.map((value, i) => Math.min(Math.max(value + a * along[i] + b * aside[i], 0), 1)), n * lab.PIXELS);
      }
      values.set(network.losses(batch, goal).slice(0, values.length - k), k);
      lab.slice(canvas, values, SIDE, points);
      await new Promise((go) => setTimeout(go));
      if (!alive()) return;
    }
    lab.slice(canvas, values, SIDE, points);
  };
})((window.lab = window.lab || {}));
