import "../theme.css";
import "../curves.css";
import "../bench.css";
import "../race.css";
import { RaceState } from "../race_state";
import { RaceView } from "../race_view";
import { shared } from "../wire";

export default shared(
  () => new RaceState(),
  (state, say, el, presentation) => new RaceView(state, say, el, presentation),
);
