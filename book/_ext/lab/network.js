// A network of the course, run in the page: the layers of PyTorch's nn.Sequential, with TensorFlow.js.
// A picture is a Float32Array of 48 · 48 · 3 values in [0, 1]: row by row, red, green and blue side by side.
((lab) => {
  "use strict";
  const SHAPE = [48, 48, 3];
  lab.SIDE = SHAPE[0];
  lab.PIXELS = SHAPE[0] * SHAPE[1] * SHAPE[2];

  // Each layer, made of its numbers, is a function of a batch (N, H, W, C).
  const LAYERS = {
    normalize: ({ mean, std }) => (x) => x.sub(mean).div(std),
    conv: ({ weight, bias, stride, padding }) => (x) => tf.conv2d(x, weight, stride, padding, "NHWC", 1, "floor").add(bias),
    relu: () => (x) => tf.relu(x),
    maxpool: ({ size }) => (x) => tf.maxPool(x, size, size, "valid"),
    flatten: () => (x) => x.reshape([x.shape[0], -1]),
    linear: ({ weight, bias }) => (x) => x.matMul(weight).add(bias),
  };

  function decode(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  const tensors = (layer) => Object.fromEntries(Object.entries(layer).map(
    ([name, value]) => [name, value.shape ? tf.tensor(decode(value.float32), value.shape) : value]));

  // Each picture's log-odds of being wrong, u = log Σ_{i≠y} exp z_i − z_y; with a target t, the log-odds that it wins,
  // −u of t. It is what `advlib.losses.log_odds` gives.
  function logOdds(z, { label, target = null }) {
    const chosen = tf.oneHot([target ?? label], z.shape[1]);
    const others = z.sub(chosen.mul(1e30)); // exp of what is left of the chosen one is 0
    const u = tf.logSumExp(others, 1).sub(z.mul(chosen).sum(1));
    return target === null ? u : u.neg();
  }

  class Network {
    constructor({ classes, layers }) {
      this.classes = classes;
      this.layers = layers.map((layer) => LAYERS[layer.kind](tensors(layer)));
    }

    forward(x) {
      return this.layers.reduce((value, layer) => layer(value), x);
    }

    // u and the logits at one picture.
    read(x, goal) {
      return tf.tidy(() => {
        const z = this.forward(tf.tensor(x, [1, ...SHAPE]));
        return { loss: logOdds(z, goal).dataSync()[0], logits: z.dataSync() };
      });
    }

    // The losses of several pictures, lying one after the other in `batch`.
    losses(batch, goal) {
      return tf.tidy(() => logOdds(this.forward(tf.tensor(batch, [batch.length / lab.PIXELS, ...SHAPE])), goal).dataSync());
    }

    // u, its gradient ∇ₓu and the logits at one picture. The last answer is kept: who drags ε asks again at the same one.
    gradient(x, goal) {
      const last = this.last;
      if (last && last.x === x && last.label === goal.label && last.target === goal.target) return last.answer;
      const answer = tf.tidy(() => {
        let logits;
        const u = (batch) => {
          const z = this.forward(batch);
          logits = z.dataSync();
          return logOdds(z, goal).sum();
        };
        const { value, grad } = tf.valueAndGrad(u)(tf.tensor(x, [1, ...SHAPE]));
        return { loss: value.dataSync()[0], gradient: grad.dataSync(), logits };
      });
      this.last = { x, label: goal.label, target: goal.target, answer };
      return answer;
    }
  }

  lab.softmax = (z) => {
    const top = Math.max(...z);
    const exp = Array.from(z, (value) => Math.exp(value - top));
    const sum = exp.reduce((a, b) => a + b, 0);
    return exp.map((value) => value / sum);
  };

  lab.argmax = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

  // Where it counts: WebAssembly, or plain JavaScript where a browser lacks that. Both are as exact as PyTorch; a graphics
  // card may round to half precision. The file of WebAssembly is in the page, which may not fetch it when it is a file.
  async function chooseBackend() {
    tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false); // threads need a server that allows them
    if (lab.wasm && (await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT"))) {
      const files = ["", "-simd", "-threaded-simd"].map((kind) => [`tfjs-backend-wasm${kind}.wasm`, lab.wasm]);
      tf.wasm.setWasmPaths(Object.fromEntries(files)); // all must be named, the second alone is asked for
      if (await tf.setBackend("wasm")) return;
    }
    await tf.setBackend("cpu");
  }

  // The networks whose weights this page carries.
  lab.loadNetworks = async () => {
    await chooseBackend();
    lab.networks = Object.fromEntries(Object.entries(lab.weights).map(([name, weights]) => [name, new Network(weights)]));
    lab.classes = Object.values(lab.networks)[0].classes;
    delete lab.weights;
  };
})((window.lab = window.lab || {}));
