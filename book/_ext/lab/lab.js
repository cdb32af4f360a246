// The lab: what is chosen in the form, in the address and by hand decides the run; every change starts it anew.
((lab) => {
  "use strict";
  const UNDEFENDED = "signs-cnn", TRAINED = "signs-trades";
  const $ = (id) => document.getElementById(`lab-${id}`);
  // ε as the slider counts it: grey levels of 255, or the length of the change.
  const BUDGETS = {
    Linf: { max: 32, step: 1, start: 8, unit: 1 / 255, text: (k) => `${k}/255` },
    L2: { max: 4, step: 0.1, start: 1, unit: 1, text: (k) => Number(k).toFixed(1) },
  };
  const budgets = {}; // where the slider stood last, for each norm
  let norm = "Linf";
  let form, x, own; // the form, the clean picture, the visitor's own picture
  let newest = 0, stopped = false; // the number of the newest run; whether it was stopped by hand
  let compared; // the last run on the other network: its line stays until the next one is there
  let touched = false; // whether the address is to follow the settings

  const field = (name) => form.elements[name];
  const classOf = (name) => (name === "" ? null : lab.names.indexOf(name));

  function settings() {
    const method = field("attack").value, budget = BUDGETS[norm];
    return {
      method, norm, ball: lab.balls[norm], eps: field("eps").value * budget.unit, budget,
      steps: method === "fgsm" ? 1 : Number(field("steps").value), share: Number(field("step").value),
      seed: Number(field("seed").value), goal: { label: classOf(field("label").value), target: classOf(field("target").value) },
    };
  }

  // ------------------------------------------------------------------------------------------------ the run
  let rested = 0;
  // After 30 ms of work it is time to show something, and to give way to whatever else waits.
  const due = () => performance.now() - rested > 30;
  const breath = () => new Promise((go) => setTimeout(() => {
    rested = performance.now();
    go();
  }));

  // Follow one attack step by step, and tell of it now and then; null where a newer run has begun.
  async function follow(name, asked, mine, tell) {
    const network = lab.networks[name], losses = [], path = [];
    for (const { step, x: adv, loss, logits } of lab.attack(network, x, asked.goal, asked)) {
      losses.push(loss);
      path.push(adv);
      if (!due()) continue;
      tell({ step, adv, losses, after: lab.softmax(logits) });
      await breath();
      if (mine !== newest) return null;
      if (stopped) break;
    }
    // What is shown in the end is what a file can hold.
    const adv = lab.to8bit(path[path.length - 1], x, asked);
    return { adv, losses, path, after: lab.softmax(network.read(adv, asked.goal).logits) };
  }

  async function run() {
    const mine = (newest += 1), asked = settings();
    stopped = false;
    $("refused").textContent = "";
    lab.last = null; // until all of it is shown
    showSettings(asked);
    const before = lab.softmax(lab.networks[UNDEFENDED].read(x, asked.goal).logits);
    lab.paint($("clean"), x, `The picture, read as ${reading(before)}`);
    $("stop").disabled = false;
    const runs = [{ name: "never defended", losses: [] }];
    if (compared && compared.x === x && compared.losses.length === asked.steps + 1) runs.push(compared);

    const main = await follow(UNDEFENDED, asked, mine, (now) => {
      showIterate(now, before, asked, runs);
      showProgress(now.step, asked.steps, 0);
    });
    if (!main) return;
    showIterate({ ...main, step: main.path.length - 1 }, before, asked, runs);
    showVerdict(before, main.after, asked);
    showCard("cnn", main.adv, main.after, asked);

    const noise = lab.to8bit(lab.plus(x, asked.ball.noise(asked.eps, x, lab.random(asked.seed + 1))), x, asked);
    showCard("noise", noise, lab.softmax(lab.networks[UNDEFENDED].read(noise, asked.goal).logits), asked);
    await breath();
    if (mine !== newest) return;

    const taken = main.path.length - 1;
    const trained = stopped ? null : await follow(TRAINED, asked, mine, (now) => showProgress(now.step, asked.steps, 1));
    if (mine !== newest) return;
    if (trained) {
      showCard("robust", trained.adv, trained.after, asked);
      runs[1] = compared = { name: "trained against attacks", losses: trained.losses, x };
      lab.chart($("loss"), runs, asked.steps);
    }
    $("stop").disabled = true;
    $("progress").value = 1;
    $("state").textContent = stopped ? `stopped after ${taken} of ${asked.steps} steps` : "";
    if (touched) history.replaceState(null, "", `#${link()}`);
    if ($("slice-fold").open) {
      const shown = { x, ...asked, path: main.path };
      await lab.landscape($("slice"), $("slice-text"), lab.networks[UNDEFENDED], shown, () => mine === newest);
      if (mine !== newest) return;
    }
    lab.last = { x, asked, before, noise, main, trained };
  }

  // ------------------------------------------------------------------------------------------------ what is shown
  const reading = (p) => `${lab.classes[lab.argmax(p)]}, ${lab.percent(Math.max(...p))}`;
  const won = (p, { label, target }) => (target === null ? lab.argmax(p) !== label : lab.argmax(p) === target);

  function showSettings({ method, budget, norm: measure, steps, share, eps, goal, seed }) {
    $("eps").textContent = budget.text(field("eps").value);
    $("steps").textContent = steps;
    $("step").textContent = `${share.toFixed(2)} ε`;
    for (const label of form.querySelectorAll("[data-steps]")) label.hidden = method === "fgsm";
    $("loss-title").textContent = goal.target === null
      ? "The loss: log-odds that the answer is wrong" : `The loss: log-odds of ${lab.classes[goal.target]}`;
    const truth = field("label").value;
    for (const option of field("target").options) option.disabled = option.value === truth;
    const picture = field("sign").value.startsWith("test-") ? Number(field("sign").value.slice(5)) : null;
    const ball = measure === "Linf" ? `Linf(${field("eps").value} / 255)` : `L2(${eps})`;
    const more = [
      ...(goal.target === null ? [] : [`target=${goal.target}`]),
      ...(method === "fgsm" ? [] : [`steps=${steps}`, `step=${share} * within.eps`, 'keep="last"', "early_stop=False"]),
      ...(method === "pgd" ? ["momentum=0", `seed=${seed}`] : []),
    ];
    $("code").textContent = [
      "import torch", "from advlib import L2, Linf, attacks, evaluate, load_images, load_model", "from advlib.data import load_photo",
      "from advlib.data.photos import to_8bit, to_8bit_within", "", `model, within = load_model("${UNDEFENDED}"), ${ball}`,
      picture === null ? 'x = load_photo("picture.png")  # "Save the picture before"'
        : `x = to_8bit(load_images("signs", "test", n=${picture + 1}).x[${picture}:])`,
      `y = torch.tensor([${goal.label}])  # ${lab.classes[goal.label]}`,
      `x_adv = attacks.${method}(${["model", "x", "y", "within", ...more].join(", ")})`,
      "evaluate.predict(model, to_8bit_within(x_adv, x, within))",
    ].join("\n");
  }

  function showIterate({ adv, step, losses, after }, before, asked, runs) {
    lab.paint($("attacked"), adv, `What the network gets, read as ${reading(after)}`);
    $("times").textContent = `,\u00a0×\u00a0${lab.paintChange($("change"), lab.minus(adv, x))}`;
    lab.bars($("bars"), before, after);
    runs[0].losses = losses;
    lab.chart($("loss"), runs, asked.steps);
    if (asked.steps > 1) $("state").textContent = `step ${step} of ${asked.steps}`;
  }

  function showProgress(step, steps, half) {
    $("progress").value = (half + step / steps) / 2;
  }

  function showVerdict(before, after, { goal }) {
    const fooled = won(after, goal), misread = lab.argmax(before) !== goal.label;
    const word = goal.target !== null ? (fooled ? "The target is reached" : "The target is not reached")
      : misread ? "It was misread before any attack" : fooled ? "The network is fooled" : "The network holds";
    $("verdict").innerHTML = `<span>${reading(before)}</span> <span aria-hidden="true">→</span>
      <span class="visually-hidden">becomes</span> <b>${reading(after)}</b><small>${word}</small>`;
    $("verdict").classList.toggle("lab-fooled", fooled);
  }

  function showCard(which, adv, after, { goal }) {
    const text = `${reading(after)}: ${won(after, goal) ? "fooled" : "holds"}`;
    lab.paint($(`card-${which}`), adv, `Read as ${text}`);
    $(`read-${which}`).textContent = text;
    $(`read-${which}`).classList.toggle("lab-fooled", won(after, goal));
  }

  // ------------------------------------------------------------------------------------------------ choices
  const NAMES = ["sign", "attack", "norm", "eps", "steps", "step", "seed", "label", "target"];
  const link = () => new URLSearchParams(NAMES.map((name) => [name, field(name).value])).toString();

  // What the address asks for, as far as it makes sense; the rest is as at first. Without settings it names a heading.
  function apply(hash) {
    touched = hash.includes("=");
    const asked = new URLSearchParams(hash.replace(/^#/, ""));
    form.reset();
    field("seed").value = 0;
    for (const name of Object.keys(BUDGETS)) budgets[name] = BUDGETS[name].start;
    setNorm();
    const sign = lab.signs.find(({ name }) => name === asked.get("sign")) || lab.signs[0];
    chooseSign(sign);
    for (const name of NAMES.slice(1)) {
      const wanted = asked.get(name), control = field(name);
      if (wanted === null || (control.options && ![...control.options].some(({ value }) => value === wanted))) continue;
      if (control.type !== "hidden" || /^\d{1,6}$/.test(wanted)) control.value = wanted;
      if (name === "norm") setNorm();
    }
    if (field("target").value === field("label").value) field("target").value = "";
  }

  // The slider of ε for the norm that is chosen.
  function setNorm() {
    norm = field("norm").value;
    const { max, step } = BUDGETS[norm];
    Object.assign(field("eps"), { max, step, value: budgets[norm] });
  }

  function chooseSign({ name, x: pixels, label }) {
    field("sign").value = name;
    x = pixels;
    field("label").value = lab.names[label];
    if (field("target").value === field("label").value) field("target").value = "";
  }

  // A picture of the visitor's own joins the signs; the label is what the network reads, until somebody says otherwise.
  function takeOwn(pixels, label = lab.argmax(lab.networks[UNDEFENDED].read(pixels, { label: 0 }).logits)) {
    if (!own) addSign((own = { name: "own", title: "Your picture" }));
    Object.assign(own, { x: pixels, label });
    lab.paint(own.canvas, pixels);
    chooseSign(own);
    touched = true;
    run();
  }

  function addSign(sign) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "sign", value: sign.name, className: "visually-hidden" });
    sign.canvas = Object.assign(document.createElement("canvas"), { width: lab.SIDE, height: lab.SIDE });
    const name = Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: sign.title });
    label.append(input, sign.canvas, name);
    $("signs").append(label);
  }

  async function prepare() {
    await lab.loadNetworks();
    for (const sign of lab.signs) {
      const image = new Image();
      image.src = sign.png;
      await image.decode();
      addSign(Object.assign(sign, { x: lab.pixels(image), title: `${lab.classes[sign.label]} (${sign.name})` }));
      lab.paint(sign.canvas, sign.x);
    }
    for (const name of ["label", "target"]) {
      lab.names.forEach((value, i) => field(name).add(new Option(lab.classes[i], value)));
    }
  }

  function listen() {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", ({ target }) => {
      if (!NAMES.includes(target.name)) return;
      touched = true;
      if (target.name === "sign") chooseSign([...lab.signs, own].find((sign) => sign && sign.name === target.value));
      if (target.name === "eps") budgets[norm] = target.value;
      if (target.name === "norm") setNorm();
      if (target.name === "label" && own && x === own.x) own.label = classOf(target.value);
      if (field("target").value === field("label").value) field("target").value = "";
      run();
    });
    window.addEventListener("hashchange", ({ newURL }) => {
      const { hash } = new URL(newURL); // a run may have written its own settings over it
      if (!hash.includes("=")) return;
      apply(hash);
      run();
    });
    $("stop").addEventListener("click", () => { stopped = true; });
    $("again").addEventListener("click", () => {
      field("seed").value = (Number(field("seed").value) + 1) % 1e6; // another random start, other noise
      touched = true;
      run();
    });
    $("slice-fold").addEventListener("toggle", run);
    $("save").addEventListener("click", () => lab.save($("attacked"), "attacked.png"));
    $("save-clean").addEventListener("click", () => lab.save($("clean"), "picture.png"));
    $("copy").addEventListener("click", async () => {
      history.replaceState(null, "", `#${link()}`);
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      $("copied").textContent = (copied ? "Copied." : "The link stands in the address bar: copy it there.") +
        (field("sign").value === "own" ? " It carries the settings, not your picture." : "");
    });
    lab.takePictures($("form"), takeOwn, (words) => { $("refused").textContent = words; });
    const drawing = () => $("draw").getAttribute("aria-pressed") === "true";
    $("draw").addEventListener("click", () => {
      $("draw").setAttribute("aria-pressed", String(!drawing()));
      $("brush").hidden = $("cursor").hidden = !drawing();
      $("clean").classList.toggle("lab-drawing", drawing());
      if (drawing()) $("clean").setAttribute("tabindex", "0");
      else $("clean").removeAttribute("tabindex");
    });
    lab.drawOn($("clean"), $("cursor"), drawing, (column, row) =>
      takeOwn(lab.dabbed(x, column, row, Number($("width").value), $("colour").value), classOf(field("label").value)));
  }

  document.addEventListener("DOMContentLoaded", async () => {
    form = $("form");
    try {
      await prepare();
      listen();
      apply(location.hash);
      form.hidden = false;
      $("message").hidden = true;
      await run();
    } catch (error) {
      form.hidden = true;
      $("message").hidden = false;
      throw error;
    }
  });
})((window.lab = window.lab || {}));
