import "../theme.css";
import "../cluster.css";
import { ClusterState } from "../cluster_state";
import { ClusterView } from "../cluster_view";
import { shared } from "../wire";

export default shared(
  () => new ClusterState(),
  (state, say, el, presentation) => new ClusterView(state, say, el, presentation),
);
