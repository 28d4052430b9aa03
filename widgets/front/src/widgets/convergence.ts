import "../theme.css";
import "../curves.css";
import { CurvesState } from "../curves_state";
import { CurvesView } from "../curves_view";
import { shared } from "../wire";

export default shared(
  () => new CurvesState(),
  (state, _say, el, presentation) => new CurvesView(state, el, presentation),
);
