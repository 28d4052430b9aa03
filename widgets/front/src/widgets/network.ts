import "../theme.css";
import "../network.css";
import { NetworkState } from "../network_state";
import { NetworkView } from "../network_view";
import { shared } from "../wire";

export default shared(
  () => new NetworkState(),
  (state, say, el, presentation) => new NetworkView(state, say, el, presentation),
);
