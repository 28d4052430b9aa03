import "../theme.css";
import "../network.css";
import "../curves.css";
import "../bench.css";
import { BenchState } from "../bench_state";
import { BenchView } from "../bench_view";
import { shared } from "../wire";

export default shared(
  () => new BenchState(),
  (state, say, el, presentation) => new BenchView(state, say, el, presentation),
);
