// The widgets of a page, brought to life from their stored models. What ipywidgets' own page script does besides, the
// outputs of other programs and the models of version 7, would double what a reader loads.
import * as base from "@jupyter-widgets/base";
import { ManagerBase } from "@jupyter-widgets/base-manager";
import * as controls from "@jupyter-widgets/controls";
import { Widget } from "@lumino/widgets";
import "@lumino/widgets/style/index.css";
import "@jupyter-widgets/controls/css/labvariables.css";
import "@jupyter-widgets/controls/css/widgets-base.css";

const KNOWN = { "@jupyter-widgets/base": base, "@jupyter-widgets/controls": controls };

class Manager extends ManagerBase {
  async loadClass(name, room, version) {
    const found = KNOWN[room]?.[name];
    if (!found) throw new Error(`${name} of ${room} ${version} is on the page, which draws ${Object.keys(KNOWN).join(", ")}`);
    return found;
  }

  // There is no kernel to talk to.
  async _get_comm_info() {
    return {};
  }

  async _create_comm() {
    return { on_close() {}, on_msg() {}, close() {} };
  }
}

async function comeAlive() {
  const kind = (what) => `script[type="application/vnd.jupyter.widget-${what}+json"]`;
  const stored = document.querySelector(kind("state"));
  if (!stored) return;
  const manager = new Manager();
  const models = new Map((await manager.set_state(JSON.parse(stored.textContent))).map((model) => [model.model_id, model]));
  for (const place of document.querySelectorAll(kind("view"))) {
    const view = await manager.create_view(models.get(JSON.parse(place.textContent).model_id));
    const box = Object.assign(document.createElement("div"), { className: "widget-subarea" });
    place.before(box);
    Widget.attach(view.luminoWidget, box);
  }
}

document.addEventListener("DOMContentLoaded", comeAlive);
