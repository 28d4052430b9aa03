"""How the ranks agree on what has failed. By MPI, not by ifog, which may be in any state after a test."""

import functools
import time
import traceback

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from mpi4py import MPI

import ifog
from ifog.comm import world

ifog.init()
_comm = MPI.COMM_WORLD.Dup()


def failing(error):
    """Say that this rank has failed: the others, who may wait for it, leave their waits."""
    world.current().fail(error)


def agreed(error, problem, place):
    """The problems of all ranks as one text, None if no rank has one. After a failure a new epoch begins."""
    here = world.current()
    unclean = here.board.failed_epoch >= here.epoch
    flags = _everybodys(np.array([problem is not None, unclean], np.uint8))
    if not flags.any():
        return None
    said = _comm.allgather((place, problem, getattr(error, "_from_peer", False)))
    if flags[:, 1].any():
        _recover()
    if len({place for place, *_ in said}) > 1:
        return f"the ranks are at different places: {[place for place, *_ in said]}"
    problems = {rank: text for rank, (_, text, _) in enumerate(said) if text}
    if not problems:
        return f"it passed, but left the epoch failed on ranks {flags[:, 1].nonzero()[0].tolist()}: call ifog.recover()"
    heard = {rank for rank in problems if said[rank][2]}  # of another rank's failure: a line is enough
    if len(heard) < len(problems):
        problems |= {rank: problems[rank].strip().splitlines()[-1] for rank in heard}
    return "\n\n".join(f"---- rank {rank} of {len(said)} ----\n{text}" for rank, text in sorted(problems.items()))


def _recover():
    for _ in range(5):
        try:
            return ifog.recover()
        except (ifog.CommError, ifog.errors.WaitWarning):  # another rank may be in a recovery of its test, until it gives up
            continue
    return ifog.recover()


def settle():
    """Wait until no rank is in a call of ifog: so what one of them does next touches nobody's last call."""
    _everybodys(np.zeros(1, np.uint8))


def _everybodys(mine):
    found = np.zeros((_comm.size, mine.size), np.uint8)
    request = _comm.Iallgather(mine, found)
    while not request.Test():
        time.sleep(0.00005)
    return found


def examples(most, **strategies):
    """``@given``, on all ranks alike: they draw the same examples, and agree on each before the next."""

    def decorate(test):
        @functools.wraps(test)
        def judged(*args, **drawn):
            error = problem = None
            try:
                test(*args, **drawn)
            except Exception as raised:  # noqa: BLE001  (whatever it is, all ranks shall fail with it)
                error = raised
                failing(error)
                problem = "".join(traceback.format_exception(error))
            problem = agreed(error, problem, f"an example of {test.__name__}")
            if problem:
                raise AssertionError(problem)

        # nothing that depends on the clock; and no shrinking, which would take long: examples are small as they are
        steadily = settings(
            max_examples=most,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
            report_multiple_bugs=False,
        )
        return steadily(given(**strategies)(judged))

    return decorate
