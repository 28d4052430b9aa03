"""A device made of memory: CPU tensors of more than a few bytes go the road of CUDA tensors, by the same code.

``IFOG_TEST_DEVICE=pretended`` brings it into a run of these tests. It is as strict as CUDA, or stricter: nobody opens a block
of his own, or one twice, nobody frees a block that a peer has open, and nothing is done at once. With ``deaf``, one rank cannot
open what the others lend, so that all must go on through the memory of the host. With ``cuda`` there is a real device, to which
a test's tensors are moved; ``moved`` moves them to nowhere, and shows on any machine that the tests can bear it.
"""

import functools
import gc
import mmap
import os
import struct

import torch

from ifog.comm import devices

KIND = os.environ.get("IFOG_TEST_DEVICE", "")
"""What the tests of this run are about: pretended, deaf, moved or cuda; or nothing."""
WORKS = KIND in ("pretended", "moved", "cuda")
MOVED = ("neighbor_allreduce", "allreduce", "broadcast")

_HANDLE = struct.Struct("<qqq")  # process, descriptor, size
_TAIL = 4096  # behind each block: who has it open


class Pretended:
    """One rank's pretended device."""

    grain = 4096
    device = torch.device("cpu")

    def __init__(self, deaf):
        self._deaf = deaf
        self._blocks = {}  # address → (memory, descriptor)
        self._opened = {}
        self.pinned = {}
        self.late = 0

    def allocate(self, nbytes):
        assert nbytes % self.grain == 0
        descriptor = os.memfd_create("pretended")
        os.ftruncate(descriptor, nbytes + _TAIL)
        memory = mmap.mmap(descriptor, nbytes + _TAIL)
        address = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
        self._blocks[address] = memory, descriptor
        return address, _HANDLE.pack(os.getpid(), descriptor, nbytes)

    def free(self, address):
        memory, descriptor = self._blocks.pop(address)
        assert not any(memory[-_TAIL:]), "a block is freed that a peer has open"
        os.close(descriptor)
        try:
            memory.close()
        except BufferError:
            gc.collect()  # the traceback of a call that failed may hold its terms
            memory.close()  # an error, if there is still a tensor in it

    def open(self, handle, nbytes):
        pid, descriptor, size = _HANDLE.unpack(handle)
        assert pid != os.getpid(), "a handle cannot be opened in the process that made it"
        assert size == nbytes
        if self._deaf:
            raise devices.DeviceError("pretended to be deaf")
        file = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR)
        memory = mmap.mmap(file, size + _TAIL)
        os.close(file)
        at = size + _rank()
        assert not memory[at], "a block is opened twice"
        memory[at] = 1
        address = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
        self._opened[address] = memory, at
        return address

    def close(self, address):
        memory, at = self._opened.pop(address)
        memory[at] = 0

    def view(self, address, nbytes):
        memory, _ = self._blocks.get(address) or self._opened[address]
        held = memoryview(memory)[:nbytes]
        return torch.frombuffer(held, dtype=torch.uint8), held

    def stream(self):
        return 1

    def event(self):
        self.late = 3  # not at once
        return self._done

    def _done(self):
        self.late -= 1
        return self.late <= 0

    def settle(self):
        self.late = 0

    def relieve(self):
        pass

    def pin(self, address, nbytes):
        assert address not in self.pinned
        self.pinned[address] = nbytes

        def unpin():
            del self.pinned[address]

        return unpin


def _rank():
    import ifog

    return ifog.rank()


def device():
    """Where the tensors are."""
    if KIND != "cuda":
        return torch.device("cpu")
    return torch.device("cuda", _rank() % torch.cuda.device_count())


def begin():
    """From now on, in this process, what lies on the CPU lies on a device, or is moved to it before each call."""
    import ifog

    if KIND in ("pretended", "deaf", "moved"):
        devices.HOST.clear()
        devices.KINDS["cpu"] = lambda _: Pretended(deaf=KIND == "deaf" and _rank() == 1)
    if KIND in ("cuda", "moved"):
        for name in MOVED:
            for form in (name, f"{name}_nonblocking"):
                setattr(ifog, form, _moving(getattr(ifog, form)))


def _moving(call):
    """The call with tensors of the device, for tests with tensors of the CPU."""

    @functools.wraps(call)
    def moving(x, *arguments, out=None, **options):
        if out is None:
            return _back(call(_there(x), *arguments, **options))
        given = _there(out)
        result = _back(call(given if x is out else _there(x), *arguments, out=given, **options))
        return _Handle(result, given, out) if isinstance(result, _Handle) else _filled(out, given)

    return moving


def _there(x):
    if isinstance(x, torch.Tensor):
        return x.clone() if KIND == "moved" else x.to(device()) if x.is_cpu and not x.is_sparse else x
    return _each(x, _there)


def _back(x):
    if hasattr(x, "wait"):
        return _Handle(x)
    return x.cpu() if isinstance(x, torch.Tensor) else _each(x, _back)


def _each(x, change):
    if isinstance(x, dict):
        return {key: change(value) for key, value in x.items()}
    return type(x)(map(change, x)) if type(x) in (list, tuple) else x


def _filled(out, given):
    """What the user gave for the result holds what came into its copy on the device."""
    if isinstance(out, torch.Tensor):
        with torch.no_grad():
            out.copy_(given)
    else:
        for a, b in zip(*(x.values() if isinstance(x, dict) else x for x in (out, given)), strict=True):
            if isinstance(a, torch.Tensor):
                _filled(a, b)
    return out


class _Handle:
    """A handle whose result comes back from the device."""

    def __init__(self, handle, given=None, out=None):
        self._handle, self._given, self._out = handle, given, out

    def wait(self):
        result = self._handle.wait()
        return _back(result) if self._out is None else _filled(self._out, self._given)

    def __getattr__(self, name):
        return getattr(self._handle, name)

    def __repr__(self):
        return repr(self._handle)
