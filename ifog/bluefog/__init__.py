"""BlueFog's names on top of ifog: a script moves over by changing its import lines.

::

    import ifog.bluefog as bf                        # was: import bluefog.torch as bf
    from ifog.bluefog import topology_util           # was: from bluefog.common import topology_util

The names, arguments, defaults and conventions are those of BlueFog 0.3: the edge i → j of a topology is one along which i
sends, a rank averages with the column of its number, and weights count only with ``is_weighted=True``.

What differs, on purpose:

- Calls are matched by their order, the same on all ranks, and not by their names; who calls something else gets an error
  that says who called what, and so do all the others. Nothing hangs, and nothing needs ``enable_topo_check``.
- Every dtype with a sum, contiguous or not, on CPU and CUDA; numbers of every type as weights. Results never share memory
  with inputs, weights are never rounded to float32, and a part of the in-neighbours may be given weights.
- `init` works again after `shutdown`, and after a failure that all ranks caught.
- Topologies are compared between the ranks, ``set_machine_topology`` is therefore a collective.
- Window buffers are never read half written, ``require_mutex`` or not; versions count what is accumulated too; push-sum's p
  is always kept, in float64.
- The distributed optimizers keep the state of the one they are given, average all parameters as one vector, let every torch
  optimizer make its own step, and leave gradients to be clipped. `ifog.learning.optimizer` has many more methods.
"""

# ruff: noqa: I001  (the names in the order of BlueFog's own list)

from . import topology_util as topology_util
from .session import init as init
from .session import shutdown as shutdown
from .session import size as size
from .session import local_size as local_size
from .session import rank as rank
from .session import local_rank as local_rank
from .session import machine_size as machine_size
from .session import machine_rank as machine_rank
from .session import is_homogeneous as is_homogeneous
from .session import suspend as suspend
from .session import resume as resume
from .session import mpi_threads_supported as mpi_threads_supported
from .session import unified_mpi_window_model_supported as unified_mpi_window_model_supported
from .session import nccl_built as nccl_built
from .session import set_skip_negotiate_stage as set_skip_negotiate_stage
from .session import get_skip_negotiate_stage as get_skip_negotiate_stage
from .session import load_topology as load_topology
from .session import set_topology as set_topology
from .session import load_machine_topology as load_machine_topology
from .session import set_machine_topology as set_machine_topology
from .session import in_neighbor_ranks as in_neighbor_ranks
from .session import out_neighbor_ranks as out_neighbor_ranks
from .session import in_neighbor_machine_ranks as in_neighbor_machine_ranks
from .session import out_neighbor_machine_ranks as out_neighbor_machine_ranks
from .averaging import allreduce as allreduce
from .averaging import allreduce_nonblocking as allreduce_nonblocking
from .averaging import allreduce_ as allreduce_
from .averaging import allreduce_nonblocking_ as allreduce_nonblocking_
from .averaging import allgather as allgather
from .averaging import allgather_nonblocking as allgather_nonblocking
from .averaging import broadcast as broadcast
from .averaging import broadcast_nonblocking as broadcast_nonblocking
from .averaging import broadcast_ as broadcast_
from .averaging import broadcast_nonblocking_ as broadcast_nonblocking_
from .averaging import barrier as barrier
from .averaging import neighbor_allgather as neighbor_allgather
from .averaging import neighbor_allgather_nonblocking as neighbor_allgather_nonblocking
from .averaging import neighbor_allreduce as neighbor_allreduce
from .averaging import neighbor_allreduce_nonblocking as neighbor_allreduce_nonblocking
from .averaging import hierarchical_neighbor_allreduce as hierarchical_neighbor_allreduce
from .averaging import hierarchical_neighbor_allreduce_nonblocking as hierarchical_neighbor_allreduce_nonblocking
from .averaging import poll as poll
from .averaging import synchronize as synchronize
from .averaging import wait as wait
from .averaging import InferSourceFromDestinationRanks as InferSourceFromDestinationRanks
from .averaging import InferDestinationFromSourceRanks as InferDestinationFromSourceRanks
from .windows import win_create as win_create
from .windows import win_free as win_free
from .windows import win_update as win_update
from .windows import win_update_then_collect as win_update_then_collect
from .windows import neighbor_win_put as neighbor_win_put
from .windows import neighbor_win_put_nonblocking as neighbor_win_put_nonblocking
from .windows import neighbor_win_get as neighbor_win_get
from .windows import neighbor_win_get_nonblocking as neighbor_win_get_nonblocking
from .windows import neighbor_win_accumulate as neighbor_win_accumulate
from .windows import neighbor_win_accumulate_nonblocking as neighbor_win_accumulate_nonblocking
from .windows import win_put as win_put
from .windows import win_put_nonblocking as win_put_nonblocking
from .windows import win_get as win_get
from .windows import win_get_nonblocking as win_get_nonblocking
from .windows import win_accumulate as win_accumulate
from .windows import win_accumulate_nonblocking as win_accumulate_nonblocking
from .windows import win_wait as win_wait
from .windows import win_poll as win_poll
from .windows import win_mutex as win_mutex
from .windows import get_win_version as get_win_version
from .windows import get_current_created_window_names as get_current_created_window_names
from .windows import win_associated_p as win_associated_p
from .windows import turn_on_win_ops_with_associated_p as turn_on_win_ops_with_associated_p
from .windows import turn_off_win_ops_with_associated_p as turn_off_win_ops_with_associated_p
from .timeline import timeline_start_activity as timeline_start_activity
from .timeline import timeline_end_activity as timeline_end_activity
from .timeline import timeline_context as timeline_context
from .training import broadcast_parameters as broadcast_parameters
from .training import allreduce_parameters as allreduce_parameters
from .training import broadcast_optimizer_state as broadcast_optimizer_state
from .optimizers import CommunicationType as CommunicationType
from .optimizers import DistributedAdaptThenCombineOptimizer as DistributedAdaptThenCombineOptimizer
from .optimizers import DistributedAdaptWithCombineOptimizer as DistributedAdaptWithCombineOptimizer
from .optimizers import DistributedGradientAllreduceOptimizer as DistributedGradientAllreduceOptimizer
from .optimizers import DistributedWinPutOptimizer as DistributedWinPutOptimizer
from .optimizers import DistributedAllreduceOptimizer as DistributedAllreduceOptimizer
from .optimizers import DistributedNeighborAllreduceOptimizer as DistributedNeighborAllreduceOptimizer
from .optimizers import DistributedHierarchicalNeighborAllreduceOptimizer as DistributedHierarchicalNeighborAllreduceOptimizer
from .topology_util import GetRecvWeights as GetRecvWeights
from .topology_util import GetSendWeights as GetSendWeights
from .topology_util import IsRegularGraph as IsRegularGraph
from .topology_util import IsTopologyEquivalent as IsTopologyEquivalent
from .topology_util import ExponentialTwoGraph as ExponentialTwoGraph
from .topology_util import ExponentialGraph as ExponentialGraph
from .topology_util import FullyConnectedGraph as FullyConnectedGraph
from .topology_util import MeshGrid2DGraph as MeshGrid2DGraph
from .topology_util import RingGraph as RingGraph
from .topology_util import StarGraph as StarGraph
from .topology_util import SymmetricExponentialGraph as SymmetricExponentialGraph
from .topology_util import GetDynamicOnePeerSendRecvRanks as GetDynamicOnePeerSendRecvRanks
from .topology_util import GetExp2DynamicSendRecvMachineRanks as GetExp2DynamicSendRecvMachineRanks
from .topology_util import GetInnerOuterRingDynamicSendRecvRanks as GetInnerOuterRingDynamicSendRecvRanks
from .topology_util import GetInnerOuterExpo2DynamicSendRecvRanks as GetInnerOuterExpo2DynamicSendRecvRanks
