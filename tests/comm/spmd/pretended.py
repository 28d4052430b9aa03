"""A device made of memory: CPU tensors of more than a few bytes go the road of CUDA tensors, by the same code.

``IFOG_TEST_DEVICE=pretended`` brings it into a run of these tests. It is as strict as CUDA, or stricter: nobody opens a block
of his own, or one twice, nobody frees a block that a peer has open, and nothing is done at once. With ``deaf``, one rank cannot
open what the others lend, so that all must go on through the memory of the host.
"""

import mmap
import os
import struct

import torch

from ifog.comm import devices

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


def begin():
    """From now on, in this process, what lies on the CPU lies on a device."""
    kind = os.environ.get("IFOG_TEST_DEVICE")
    if kind:
        devices.KINDS["cpu"] = lambda _: Pretended(deaf=kind == "deaf" and _rank() == 1)
