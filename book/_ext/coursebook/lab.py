"""The directive `lab`: real networks and real attacks in the reader's browser, and all files that only its page loads.

The page's own code lies in `_ext/lab`. The networks' weights and a few signs become scripts at build time: a page that
is opened as a file may load a script, but neither fetch a file nor read the pixels of one.
"""

import base64
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import assets

if TYPE_CHECKING:
    from torch import Tensor, nn

FRAME = "lab-frame"  # marks the part of a page that is the lab
SOURCES = assets.HERE / "lab"
# Scripts share one namespace and are run in this order.
SCRIPTS = ("network.js", "attacks.js", "pictures.js", "drawing.js", "landscape.js", "lab.js")
TENSORFLOW = "vendor/tensorflow/{}"
WEBASSEMBLY = assets.MODULES / "@tensorflow" / "tfjs-backend-wasm" / "dist" / "tfjs-backend-wasm-simd.wasm"
NETWORKS = ("signs-cnn", "signs-trades")
# Signs of the test split, by their places in it: one of each class, and what chapters 7 and 16 play with.
SIGNS = (103, 224, 1, 98, 131, 148, 229, 150, 184, 137, 42, 107, 60, 77, 62, 79, 7, 18)


class Lab(SphinxDirective):
    """Put the lab here. Where its scripts do not run, it says what they need."""

    def run(self) -> list[nodes.Node]:
        from advlib.models import zoo

        page = SOURCES / "lab.html"
        for source in (page, *(zoo.WEIGHTS / f"{name}.safetensors" for name in NETWORKS)):
            self.env.note_dependency(str(source))
        return [nodes.raw("", page.read_text(encoding="utf-8"), format="html", classes=[FRAME])]


def load_on_its_page_alone(
    app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Write the lab's scripts and style, and add them to the page that shows it.

    Where TensorFlow.js could not be installed, the page stays without scripts, and says so itself."""
    if doctree is None or not any(FRAME in node["classes"] for node in doctree.findall(nodes.raw)):
        return
    app.add_css_file("lab/lab.css")
    write_scripts(Path(app.outdir) / "_static" / "lab")
    if not all((Path(app.outdir) / "_static" / TENSORFLOW.format(name)).is_file() for name in assets.TENSORFLOW):
        return
    for name in assets.TENSORFLOW:
        app.add_js_file(TENSORFLOW.format(name), defer="defer")
    for script in (*(f"{name}.weights.js" for name in NETWORKS), "wasm.js", "signs.js", *SCRIPTS):
        app.add_js_file(f"lab/{script}", defer="defer")


def write_scripts(folder: Path) -> None:
    """Write the networks, the signs and copies of our own files to `folder`."""
    from advlib import load_images, load_model  # bring PyTorch, which the other pages do without
    from advlib.data.photos import to_8bit
    from advlib.data.signs import CLASSES

    folder.mkdir(parents=True, exist_ok=True)
    for source in (*SCRIPTS, "lab.css"):
        shutil.copyfile(SOURCES / source, folder / source)
    for name in NETWORKS:
        model = load_model(name)
        network = json.dumps({"classes": model.classes, "layers": layers(model)}, ensure_ascii=False)
        script = f'(window.lab = window.lab || {{}}).weights = {{ ...lab.weights, "{name}": {network} }};\n'
        (folder / f"{name}.weights.js").write_text(script, encoding="utf-8")
    # As a script, since a page that is opened as a file may not fetch it. Without it, the page counts in JavaScript.
    wasm = f'"{data_url("application/wasm", WEBASSEMBLY.read_bytes())}"' if WEBASSEMBLY.is_file() else "null"
    (folder / "wasm.js").write_text(f"(window.lab = window.lab || {{}}).wasm = {wasm};\n", encoding="utf-8")
    images = load_images("signs", "test", n=max(SIGNS) + 1)
    signs = [{"name": f"test-{i}", "label": int(images.y[i]), "png": png(to_8bit(images.x[i]))} for i in SIGNS]
    # Names for links, as `advlib.data.signs` has them; the network's own are for people.
    names = [kind.name for kind in CLASSES]
    script = f"Object.assign((window.lab = window.lab || {{}}), {json.dumps({'names': names, 'signs': signs})});\n"
    (folder / "signs.js").write_text(script, encoding="utf-8")


def layers(model: "nn.Sequential") -> list[dict]:
    """A network's layers as `network.js` reads them: pictures lie as (H, W, C) there, and batch norm is part of the
    convolution before it, w · γ/√(σ² + ε) and β − μ · γ/√(σ² + ε)."""
    from torch import nn

    found: list[dict] = []
    channels = 0
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            scale = layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()
            found[-1]["weight"] = found[-1]["weight"] * scale
            found[-1]["bias"] = layer.bias.double() - layer.running_mean.double() * scale
        elif isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
            weight = layer.weight.double().permute(2, 3, 1, 0)  # (out, in, h, w) → (h, w, in, out)
            found.append({"kind": "conv", "weight": weight, "stride": layer.stride[0], "padding": layer.padding[0]})
        elif isinstance(layer, nn.Linear):
            weight = layer.weight.double()
            if found[-1]["kind"] == "flatten":  # PyTorch flattens (C, H, W), the page (H, W, C)
                weight = weight.view(len(weight), channels, -1).permute(0, 2, 1).flatten(1)
            found.append({"kind": "linear", "weight": weight.T, "bias": layer.bias})
        elif isinstance(layer, nn.MaxPool2d):
            found.append({"kind": "maxpool", "size": layer.kernel_size})
        elif type(layer).__name__ == "Normalize":
            found.append({"kind": "normalize", "mean": layer.mean.flatten(), "std": layer.std.flatten()})
        else:
            found.append({"kind": {"ReLU": "relu", "Flatten": "flatten"}[type(layer).__name__]})
    return [{name: packed(value) for name, value in layer.items()} for layer in found]


def packed(value: "str | int | Tensor") -> "str | int | dict":
    """A tensor as its shape and its float32 numbers in base64; anything else as it is."""
    if isinstance(value, (str, int)):
        return value
    numbers = value.detach().float().contiguous().numpy().astype("<f4")
    return {"shape": list(numbers.shape), "float32": base64.b64encode(numbers.tobytes()).decode()}


def png(image: "Tensor") -> str:
    """One image as the address of a PNG that carries itself."""
    from advlib.data.photos import picture

    file = io.BytesIO()
    picture(image).save(file, format="PNG", optimize=True)
    return data_url("image/png", file.getvalue())


def data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
