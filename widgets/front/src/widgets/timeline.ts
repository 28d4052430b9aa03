import "../theme.css";
import "../timeline.css";
import { TimelineState } from "../timeline_state";
import { TimelineView } from "../timeline_view";
import { shared } from "../wire";

export default shared(
  () => new TimelineState(),
  (state, say, el, presentation) => new TimelineView(state, say, el, presentation),
);
