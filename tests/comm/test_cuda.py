"""CUDA: how the driver is called, which needs none; and the tests on ranks with tensors of a GPU, where there is one."""

import ctypes
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_spmd import SPMD, run_all

from ifog.comm import cuda, devices
from ifog.comm.mpi import find

# ---- the driver ----------------------------------------------------------------------------------------------------------
HANDLE = bytes(range(64))  # with a zero in it, at which a string would end
HUGE = 2**47 + 2**21  # an address of more than 32 bits


class Library:
    """A driver that notes what it is asked: functions of C, so that what arrives has gone through the binary interface."""

    ANSWERS = {  # noqa: RUF012
        "cuDeviceGet": 3,
        "cuDevicePrimaryCtxRetain": HUGE + 8,
        "cuMemAlloc_v2": HUGE,
        "cuIpcOpenMemHandle_v2": 2 * HUGE,
        "cuIpcGetMemHandle": cuda.Handle.from_buffer_copy(HANDLE),
    }

    def __init__(self, **failing):
        self.asked, self._failing, self._kept = [], failing, []
        for name, arguments in cuda.SIGNATURES.items():
            function = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(lambda *given, name=name: self._answer(name, given))
            setattr(self, name, function)

    def _answer(self, name, given):
        if name == "cuGetErrorName":
            given[1][0] = {2: b"CUDA_ERROR_OUT_OF_MEMORY"}.get(given[0])
            return 0
        given = list(given)
        if name in self.ANSWERS:
            given.pop(0)[0] = self.ANSWERS[name]
        elif name == "cuCtxPopCurrent_v2":
            given.clear()
        self.asked.append((name, *(bytes(value) if isinstance(value, cuda.Handle) else value for value in given)))
        return self._failing.get(name, 0)


@pytest.fixture
def make():
    def make(**failing):
        library = Library(**failing)
        device = cuda.Cuda(torch.device("cuda", 5), cuda.Driver(library))
        return library, device

    return make


def within(*asked):
    """Whatever is done to memory is done in the context of the GPU, which may not be current in this thread."""
    return [("cuCtxPushCurrent_v2", HUGE + 8), *asked, ("cuCtxPopCurrent_v2",)]


def test_a_gpu_is_used_in_the_context_that_torch_uses(make):
    library, device = make()
    assert library.asked == [("cuInit", 0), ("cuDeviceGet", 5), ("cuDevicePrimaryCtxRetain", 3)]
    assert device.device == torch.device("cuda", 5)


@pytest.mark.parametrize(
    ("do", "result", "asked"),
    [
        (lambda gpu: gpu.allocate(2**33), (HUGE, HANDLE), [("cuMemAlloc_v2", 2**33), ("cuIpcGetMemHandle", HUGE)]),
        (lambda gpu: gpu.open(HANDLE[::-1], 2**33), 2 * HUGE, [("cuIpcOpenMemHandle_v2", HANDLE[::-1], 1)]),
        (lambda gpu: gpu.close(HUGE), None, [("cuIpcCloseMemHandle", HUGE)]),
        (lambda gpu: gpu.free(HUGE), None, [("cuMemFree_v2", HUGE)]),
        (lambda gpu: gpu.settle(), None, [("cuCtxSynchronize",)]),
    ],
    ids=["allocate", "open", "close", "free", "settle"],
)
def test_the_driver_is_asked_for(make, do, result, asked):
    library, device = make()
    library.asked.clear()
    assert do(device) == result
    assert library.asked == within(*asked)


def test_memory_is_pinned_and_let_go(make):
    library, device = make()
    library.asked.clear()
    unpin = device.pin(HUGE, 2**33)
    assert library.asked == within(("cuMemHostRegister_v2", HUGE, 2**33, 1))
    library.asked.clear()
    unpin()
    assert library.asked == within(("cuMemHostUnregister", HUGE))


def test_an_error_has_the_name_that_the_driver_gives_it(make):
    library, device = make(cuMemAlloc_v2=2)
    library.asked.clear()
    with pytest.raises(devices.DeviceError, match="cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY"):
        device.allocate(2**21)
    assert library.asked == within(("cuMemAlloc_v2", 2**21))
    with pytest.raises(devices.DeviceError, match="cuIpcCloseMemHandle: CUDA error 777"):
        make(cuIpcCloseMemHandle=777)[1].close(HUGE)


def test_a_block_without_a_handle_is_given_back(make):
    library, device = make(cuIpcGetMemHandle=2)
    with pytest.raises(devices.DeviceError, match="cuIpcGetMemHandle: CUDA_ERROR_OUT_OF_MEMORY"):
        device.allocate(2**21)
    assert ("cuMemFree_v2", HUGE) in library.asked


def test_without_a_driver_the_error_says_so():
    with pytest.raises(devices.DeviceError, match="the CUDA driver cannot be used"):
        cuda.Driver(SimpleNamespace())


def test_blocks_are_multiples_of_what_a_handle_opens():
    assert cuda.Cuda.grain == 2 * 2**20


def test_the_handle_is_that_of_the_driver():
    assert ctypes.sizeof(cuda.Handle) == 64


# ---- ranks -----------------------------------------------------------------------------------------------------------------
FILES = ("devices", "tensors", "gathering_and_reducing", "gradients", "matrix_product", "topology_in_force", "different_calls")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@gpu
@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("file", FILES)
def test_what_holds_on_ranks_holds_with_tensors_of_a_gpu(file, n):
    run_all(find(), n, "-m", "not slow", only=[str(SPMD / f"test_{file}.py")], IFOG_TEST_DEVICE="cuda")


def files():
    return {*Path("/dev/shm").glob("*"), *Path(tempfile.gettempdir()).glob("ifog-*")}


@gpu
def test_nothing_is_left_behind():
    before = files()
    run_all(find(), 2, only=[str(SPMD / "test_devices.py")], IFOG_TEST_DEVICE="cuda")
    assert files() <= before


@pytest.mark.parametrize("kind", ["pretended", pytest.param("cuda", marks=gpu)])
def test_the_death_of_a_rank_whose_device_is_read_is_told(kind):
    mpi = find()
    program = SPMD.parent / "programs" / "device_death.py"
    run = subprocess.run(
        mpi.command(4, str(program)),
        env=mpi.environment() | {"IFOG_TEST_DEVICE": kind},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode != 0
    assert "signal 9" in run.stdout + run.stderr, run.stderr  # said by the others, or by the launcher if it was faster
    assert "nobody has noticed" not in run.stdout
