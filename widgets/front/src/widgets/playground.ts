import "../theme.css";
import "../playground.css";
import { PlaygroundState } from "../playground_state";
import { PlaygroundView } from "../playground_view";
import { shared } from "../wire";

export default shared(
  () => new PlaygroundState(),
  (state, say, el, presentation) => new PlaygroundView(state, say, el, presentation),
);
