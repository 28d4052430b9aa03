"""Nothing is missing: every name of BlueFog 0.3, with its arguments and defaults."""

import inspect
import subprocess
import sys

import networkx as nx
import pytest

import ifog.bluefog as bf
from ifog.bluefog import topology_util

# every name as one would type it, with its arguments and defaults
SURFACE = """
init(topology_fn=None, is_weighted=False)
shutdown()
size()
local_size()
rank()
local_rank()
machine_size()
machine_rank()
is_homogeneous()
suspend()
resume()
mpi_threads_supported()
unified_mpi_window_model_supported()
nccl_built()
set_skip_negotiate_stage(value)
get_skip_negotiate_stage()
load_topology()
set_topology(topology=None, is_weighted=False)
load_machine_topology()
set_machine_topology(topology, is_weighted=False)
in_neighbor_ranks()
out_neighbor_ranks()
in_neighbor_machine_ranks()
out_neighbor_machine_ranks()
allreduce(tensor, average=True, is_hierarchical_local=False, name=None)
allreduce_nonblocking(tensor, average=True, is_hierarchical_local=False, name=None)
allreduce_(tensor, average=True, is_hierarchical_local=False, name=None)
allreduce_nonblocking_(tensor, average=True, is_hierarchical_local=False, name=None)
allgather(tensor, name=None)
allgather_nonblocking(tensor, name=None)
broadcast(tensor, root_rank, name=None)
broadcast_nonblocking(tensor, root_rank, name=None)
broadcast_(tensor, root_rank, name=None)
broadcast_nonblocking_(tensor, root_rank, name=None)
barrier()
neighbor_allgather(tensor, *, src_ranks=None, dst_ranks=None, enable_topo_check=True, name=None)
neighbor_allgather_nonblocking(tensor, *, src_ranks=None, dst_ranks=None, enable_topo_check=True, name=None)
neighbor_allreduce(tensor, *, self_weight=None, src_weights=None, dst_weights=None, enable_topo_check=True, name=None)
neighbor_allreduce_nonblocking(tensor, *, self_weight=None, src_weights=None, dst_weights=None, enable_topo_check=True, \
name=None)
hierarchical_neighbor_allreduce(tensor, *, self_weight=None, src_machine_weights=None, dst_machine_weights=None, \
enable_topo_check=False, name=None)
hierarchical_neighbor_allreduce_nonblocking(tensor, *, self_weight=None, src_machine_weights=None, dst_machine_weights=None, \
enable_topo_check=False, name=None)
poll(handle)
synchronize(handle)
wait(handle)
win_create(tensor, name, zero_init=False)
win_free(name=None)
win_update(name, self_weight=None, neighbor_weights=None, reset=False, clone=False, require_mutex=False)
win_update_then_collect(name, require_mutex=True)
neighbor_win_put(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
neighbor_win_put_nonblocking(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
neighbor_win_get(name, src_weights=None, require_mutex=False)
neighbor_win_get_nonblocking(name, src_weights=None, require_mutex=False)
neighbor_win_accumulate(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
neighbor_win_accumulate_nonblocking(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
win_put(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
win_put_nonblocking(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
win_get(name, src_weights=None, require_mutex=False)
win_get_nonblocking(name, src_weights=None, require_mutex=False)
win_accumulate(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
win_accumulate_nonblocking(tensor, name, self_weight=None, dst_weights=None, require_mutex=False)
win_wait(handle)
win_poll(handle)
win_mutex(name, for_self=False, ranks=None)
get_win_version(name)
get_current_created_window_names()
win_associated_p(name)
turn_on_win_ops_with_associated_p()
turn_off_win_ops_with_associated_p()
timeline_start_activity(tensor_name, activity_name)
timeline_end_activity(tensor_name)
timeline_context(tensor_name, activity_name)
broadcast_parameters(params, root_rank)
allreduce_parameters(params)
broadcast_optimizer_state(optimizer, root_rank)
DistributedAdaptThenCombineOptimizer(optimizer, model, communication_type=neighbor_allreduce, num_steps_per_communication=1)
DistributedAdaptWithCombineOptimizer(optimizer, model, communication_type=neighbor_allreduce, num_steps_per_communication=1)
DistributedGradientAllreduceOptimizer(optimizer, model, num_steps_per_communication=1)
DistributedWinPutOptimizer(optimizer, model, num_steps_per_communication=1, window_prefix=None)
DistributedAllreduceOptimizer(optimizer, model, num_steps_per_communication=1)
DistributedNeighborAllreduceOptimizer(optimizer, model, num_steps_per_communication=1)
DistributedHierarchicalNeighborAllreduceOptimizer(optimizer, model, num_steps_per_communication=1)
InferSourceFromDestinationRanks(dst_ranks, construct_adjacency_matrix=False)
InferDestinationFromSourceRanks(src_ranks, construct_adjacency_matrix=False)
"""

TOPOLOGY_UTIL = """
ExponentialTwoGraph(size)
ExponentialGraph(size, base=2)
SymmetricExponentialGraph(size, base=4)
MeshGrid2DGraph(size, shape=None)
StarGraph(size, center_rank=0)
RingGraph(size, connect_style=0)
FullyConnectedGraph(size)
IsTopologyEquivalent(topo1, topo2)
IsRegularGraph(topo)
GetRecvWeights(topo, rank)
GetSendWeights(topo, rank)
isPowerOf(x, base)
GetDynamicOnePeerSendRecvRanks(topo, self_rank)
GetExp2DynamicSendRecvMachineRanks(world_size, local_size, self_rank, local_rank)
GetInnerOuterRingDynamicSendRecvRanks(world_size, local_size, self_rank)
GetInnerOuterExpo2DynamicSendRecvRanks(world_size, local_size, self_rank)
"""


def lines(surface):
    return [line for line in surface.strip().splitlines() if line]


def written(function):
    """A function's signature as one would type it."""
    signature = inspect.signature(function)
    parameters = [
        p.replace(annotation=p.empty, default=getattr(p.default, "name", p.default)) for p in signature.parameters.values()
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return f"{function.__name__}{text}".replace("'", "")


@pytest.mark.parametrize("line", lines(SURFACE))
def test_a_name_of_bluefog_torch_has_its_arguments_and_defaults(line):
    name = line.partition("(")[0]
    known = written(getattr(bf, name))
    if name.removeprefix("win_").split("_")[0] in ("put", "get", "accumulate"):
        known = known.removeprefix("neighbor_")  # the old names of the same functions
    assert known == line


@pytest.mark.parametrize("line", lines(TOPOLOGY_UTIL))
def test_a_name_of_topology_util_has_its_arguments_and_defaults(line):
    assert written(getattr(topology_util, line.partition("(")[0])) == line


def test_there_are_99_names_and_no_others():
    again = {line.partition("(")[0] for line in lines(TOPOLOGY_UTIL)} - {"isPowerOf"}
    expected = {line.partition("(")[0] for line in lines(SURFACE)} | again | {"CommunicationType"}
    assert len(expected) == 99
    public = {name for name, thing in vars(bf).items() if name[0] != "_" and not inspect.ismodule(thing)}
    assert public == expected
    assert all(getattr(bf, name) is getattr(topology_util, name) for name in again)


def test_everything_says_what_it_does():
    assert all(getattr(bf, line.partition("(")[0]).__doc__ for line in lines(SURFACE))
    assert all(getattr(topology_util, line.partition("(")[0]).__doc__ for line in lines(TOPOLOGY_UTIL))


def test_importing_it_starts_nothing():
    code = "import sys, ifog.bluefog; from ifog.comm import world; print('mpi4py.MPI' in sys.modules, world.existing())"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "False None\n", run.stderr


def test_communication_types_have_bluefogs_values():
    assert {kind.name: kind.value for kind in bf.CommunicationType} == {
        "neighbor_allreduce": "neighbor.allreduce",
        "hierarchical_neighbor_allreduce": "hierarchical.neighbor.allreduce",
        "allreduce": "allreduce",
        "empty": "empty",
    }


def test_before_init_calls_say_what_to_do():
    code = """
import torch, ifog.bluefog as bf
assert bf.load_topology() is None and bf.load_machine_topology() is None
assert bf.in_neighbor_ranks() == bf.out_neighbor_ranks() == []
assert bf.in_neighbor_machine_ranks() == bf.out_neighbor_machine_ranks() == []
assert not bf.nccl_built()
x = torch.ones(1)
calls = [bf.size, bf.rank, bf.local_size, bf.local_rank, bf.machine_size, bf.machine_rank, bf.is_homogeneous, bf.barrier]
calls += [bf.mpi_threads_supported, bf.unified_mpi_window_model_supported, bf.set_topology, bf.suspend]
calls += [lambda: bf.allreduce(x), lambda: bf.neighbor_allreduce(x), lambda: bf.win_create(x, "x"), lambda: bf.win_update("x")]
m = torch.nn.Linear(1, 1)
calls += [lambda: bf.DistributedAdaptThenCombineOptimizer(torch.optim.SGD(m.parameters()), m)]
calls += [lambda: bf.broadcast_parameters([x], 0), lambda: bf.timeline_start_activity("x", "y")]
for call in calls:
    try:
        call()
    except ValueError as error:
        assert "has not been initialized: call bf.init() first" in str(error), error
    else:
        raise SystemExit(call)
from ifog.comm import world
print(world.existing())
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "None\n", run.stdout + run.stderr


def test_the_types_of_the_graphs():
    assert all(
        type(getattr(topology_util, name)(4)) is nx.DiGraph
        for name in vars(topology_util)
        if name.endswith("Graph") and name[:2] != "Is"
    )
