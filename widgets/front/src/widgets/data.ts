import "../theme.css";
import "../data.css";
import { DataState } from "../data_state";
import { DataView } from "../data_view";
import { shared } from "../wire";

export default shared(
  () => new DataState(),
  (state, say, el, presentation) => new DataView(state, say, el, presentation),
);
