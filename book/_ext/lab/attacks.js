// The attacks, as in chapters 4, 6, 7 and 8: two norm balls, and one climb that is FGSM, BIM and PGD.
((lab) => {
  "use strict";
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const plus = (a, b) => a.map((value, i) => value + b[i]);
  const minus = (a, b) => a.map((value, i) => value - b[i]);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const length = (values) => Math.sqrt(values.reduce((total, value) => total + value * value, 0));

  // δ cut so that x + δ stays in [0, 1].
  const boxed = (delta, x) => delta.map((value, i) => clamp(value, -x[i], 1 - x[i]));

  // clip(t · direction) to the box, with the largest t ≤ most whose length is within the radius: pixels at the box stay
  // there, the others share what is left of the radius, t² = (radius² − Σ_boxed δ²) / Σ_free direction².
  function stretch(direction, radius, x, most = 1e12) {
    let free = direction.map(() => 1);
    let t = 0;
    for (;;) {
      const used = sum(direction.map((d, i) => (free[i] ? 0 : clamp(t * d, -x[i], 1 - x[i]) ** 2)));
      const share = Math.max(sum(direction.map((d, i) => free[i] * d * d)), 1e-38);
      t = Math.max(t, Math.min(Math.sqrt(Math.max(radius ** 2 - used, 0) / share), most));
      const delta = boxed(direction.map((d) => t * d), x);
      const stillFree = delta.map((value, i) => Number(value === Math.fround(t * direction[i])));
      if (stillFree.every((value, i) => value === free[i])) return delta;
      free = stillFree;
    }
  }

  // A ball Δ = {δ : ‖δ‖ ≤ ε} measures a change, finds the steepest step, comes back inside and draws a random change;
  // the box [0, 1] is part of each. `advlib.norms` does the same. `along` is the steepest direction without a box.
  lab.balls = {
    Linf: {
      size: largest,
      along: (gradient) => gradient.map(Math.sign),
      steepest: (gradient, radius, x) => boxed(gradient.map((g) => radius * Math.sign(g)), x),
      project: (delta, radius, x) => boxed(delta.map((d) => clamp(d, -radius, radius)), x),
      sample: (radius, x, random) => boxed(x.map(() => radius * (2 * random() - 1)), x),
      // As large as the ball allows: each value up by ε or down by ε.
      noise: (radius, x, random) => boxed(x.map(() => (random() < 0.5 ? -radius : radius)), x),
    },
    L2: {
      size: length,
      along: (gradient) => {
        const top = largest(gradient) || 1; // squares of tiny gradients would vanish
        const scaled = gradient.map((g) => g / top), size = length(scaled) || 1;
        return scaled.map((g) => g / size);
      },
      steepest: (gradient, radius, x) => stretch(lab.balls.L2.along(gradient), radius, x),
      project: (delta, radius, x) => stretch(delta, radius, x, 1),
      sample: (radius, x, random) => {
        const direction = lab.balls.L2.along(lab.gauss(x.length, random));
        const share = random() ** (1 / x.length); // uniform in a ball of so many dimensions
        return boxed(direction.map((d) => radius * share * d), x);
      },
      noise: (radius, x, random) => stretch(lab.gauss(x.length, random), radius, x),
    },
  };

  // One iterate after the other, from `start`: x_{k+1} = x + project(x_k + steepest(∇ₓu(x_k)) − x). A loop over this
  // decides when to take the next step, and when to stop.
  lab.climb = function* (network, x, goal, { ball, eps, steps, step, start = x }) {
    let adv = start;
    for (let k = 0; k < steps; k++) {
      const { loss, logits, gradient } = network.gradient(adv, goal);
      yield { step: k, x: adv, loss, logits };
      const moved = plus(adv, ball.steepest(gradient, step, adv));
      adv = plus(x, ball.project(minus(moved, x), eps, x));
    }
    yield { step: steps, x: adv, ...network.read(adv, goal) };
  };

  // FGSM is one step of length ε, BIM many short ones, PGD the same from a random start.
  lab.attack = (network, x, goal, { method, norm, eps, steps, share, seed }) => {
    const ball = lab.balls[norm];
    if (method === "fgsm") return lab.climb(network, x, goal, { ball, eps, steps: 1, step: eps });
    const start = method === "pgd" ? plus(x, ball.sample(eps, x, lab.random(seed))) : x;
    return lab.climb(network, x, goal, { ball, eps, steps, step: share * eps, start });
  };

  // The nearest picture of 256 levels that a file can hold, inside the ball around x, which has 256 levels itself.
  // Where rounding leaves the ball, each value takes the next level towards x: `advlib.data.photos.to_8bit_within`.
  lab.to8bit = (adv, x, { ball, eps }) => {
    const levels = minus(adv, x).map((d) => d * 255);
    const most = Math.floor(eps * 255 + 1e-3);
    const whole = (value, i) => Math.round(clamp(Math.round(x[i] * 255) + value, 0, 255)) / 255;
    const nearest = levels.map((level) => clamp(Math.round(level), -most, most));
    if (ball.size(nearest) / 255 <= eps + 1e-6) return nearest.map(whole);
    return levels.map((level) => Math.sign(level) * Math.floor(Math.abs(level) + 1e-3)).map(whole);
  };

  // Numbers in [0, 1) that a seed decides, the same in every browser (mulberry32).
  lab.random = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };

  // Normal numbers, each of two uniform ones (Box and Muller).
  lab.gauss = (count, random) =>
    Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));

  Object.assign(lab, { plus, minus, largest, length });
})((window.lab = window.lab || {}));
