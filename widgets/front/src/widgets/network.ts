import "../theme.css";
import "../network.css";
import { NetworkState } from "../network_state";
import { NetworkView } from "../network_view";
import { Audience, type Model, listen, say } from "../wire";

// What is shown belongs to the model, so that all its views show the same, and one that comes back goes on. Each view gets a
// model object of its own, but what is in it is one.
const states = new WeakMap<object, { state: NetworkState; audience: Audience }>();

function initialize({ model }: { model: Model }): void {
  const state = new NetworkState();
  states.set(model.get("start") as object, { state, audience: new Audience(model) });
  listen(model, (message) => state.take(message));
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const { state, audience } = states.get(model.get("start") as object)!;
  const view = new NetworkView(state, (message) => say(model, message), el, Boolean(model.get("presentation")));
  const leave = audience.join(el);
  return () => {
    view.close();
    leave();
  };
}

export default { initialize, render };
