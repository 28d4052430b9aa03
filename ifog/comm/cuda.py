"""CUDA devices, by way of the driver's own library: memory that the processes of a machine open from each other.

This is CUDA IPC and not NCCL. A kernel of NCCL that waits for a rank which has died cannot be woken by us; two ranks cannot
share one GPU under NCCL; and within a machine a read through IPC goes over the same NVLink.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .devices import DeviceError

_PEERS = 1  # CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS
_PORTABLE = 1  # CU_MEMHOSTREGISTER_PORTABLE: pinned for every context of this process


class Handle(ctypes.Structure):
    """CUipcMemHandle, which is passed by value."""

    _fields_ = [("reserved", ctypes.c_ubyte * 64)]


_Device = ctypes.c_int
_Context = ctypes.c_void_p
_Pointer = ctypes.c_uint64  # CUdeviceptr
_to = ctypes.POINTER

SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDeviceGet": (_to(_Device), ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (_to(_Context), _Device),
    "cuCtxPushCurrent_v2": (_Context,),
    "cuCtxPopCurrent_v2": (_to(_Context),),
    "cuCtxSynchronize": (),
    "cuMemAlloc_v2": (_to(_Pointer), ctypes.c_size_t),
    "cuMemFree_v2": (_Pointer,),
    "cuIpcGetMemHandle": (_to(Handle), _Pointer),
    "cuIpcOpenMemHandle_v2": (_to(_Pointer), Handle, ctypes.c_uint),
    "cuIpcCloseMemHandle": (_Pointer,),
    "cuMemHostRegister_v2": (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint),
    "cuMemHostUnregister": (ctypes.c_void_p,),
    "cuGetErrorName": (ctypes.c_int, _to(ctypes.c_char_p)),
}
"""The functions of the driver, which all return a CUresult, and their arguments."""


class Driver:
    """The driver's functions; one that fails raises an error with the name that the driver gives it."""

    def __init__(self, library: Any = None) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1") if library is None else library
            for name, arguments in SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = arguments, ctypes.c_int
        except (OSError, AttributeError) as error:
            raise DeviceError(f"the library of the CUDA driver cannot be used ({error})") from error

    def call(self, name: str, *arguments: Any) -> None:
        """Call one of them."""
        result = getattr(self._library, name)(*arguments)
        if result:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(result, ctypes.byref(text))
            raise DeviceError(f"{name}: {text.value.decode() if text.value else f'CUDA error {result}'}")


class _Memory:
    """Bytes of a GPU, as torch is shown them: the tensor made of it, and every view of that, holds it."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (address, False),
            "strides": None,
            "version": 2,
        }


class Cuda:
    """A GPU."""

    grain = 2**21
    """The driver packs what is smaller into pieces of this size, and a handle opens all of the piece that it lies in."""

    def __init__(self, device: torch.device, driver: Driver | None = None) -> None:
        index = torch.cuda.current_device() if device.index is None else device.index
        self.device = torch.device("cuda", index)
        self._driver = Driver() if driver is None else driver
        call, number = self._driver.call, _Device()
        self._context = _Context()
        call("cuInit", 0)
        call("cuDeviceGet", ctypes.byref(number), index)  # counted as torch counts them, CUDA_VISIBLE_DEVICES included
        # the context that torch uses; it stays until the process ends
        call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), number)

    @contextlib.contextmanager
    def _current(self) -> Iterator[Callable[..., None]]:
        """The driver works on the context that is current in this thread, which may be none, or that of another GPU."""
        self._driver.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield self._driver.call
        finally:
            self._driver.call("cuCtxPopCurrent_v2", ctypes.byref(_Context()))

    def allocate(self, nbytes: int) -> tuple[int, bytes]:
        """A new block: its address and its handle."""
        address, handle = _Pointer(), Handle()
        with self._current() as call:
            call("cuMemAlloc_v2", ctypes.byref(address), nbytes)
            try:
                call("cuIpcGetMemHandle", ctypes.byref(handle), address)
            except DeviceError:
                call("cuMemFree_v2", address)
                raise
        return address.value, bytes(handle)

    def free(self, address: int) -> None:
        """Give a block back to the system. The driver waits for the work that still uses it."""
        with self._current() as call:
            call("cuMemFree_v2", address)

    def open(self, handle: bytes, nbytes: int) -> int:  # noqa: ARG002 (the handle knows how many)
        """The address at which this process sees a block of another one. It must be another: one's own cannot be opened."""
        address = _Pointer()
        with self._current() as call:
            call("cuIpcOpenMemHandle_v2", ctypes.byref(address), Handle.from_buffer_copy(handle), _PEERS)
        return address.value

    def close(self, address: int) -> None:
        """Let go of another's block."""
        with self._current() as call:
            call("cuIpcCloseMemHandle", address)

    def view(self, address: int, nbytes: int) -> tuple[torch.Tensor, Any]:
        """Memory as bytes, and an object that lives as long as any tensor made of them."""
        held = _Memory(address, nbytes)
        tensor = torch.as_tensor(held, device=self.device)
        if tensor.data_ptr() != address:  # older torches look up where it lies, and copy what is another GPU's
            raise DeviceError(f"torch {torch.__version__} cannot read the memory of another GPU in place")
        return tensor, held

    def stream(self) -> int:
        """The stream to which torch gives its work now."""
        return torch.cuda.current_stream(self.device).cuda_stream

    def event(self) -> Callable[[], bool]:
        """What says, when called, whether all is done that this stream has been given until now."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        query: Callable[[], bool] = event.query
        return query

    def settle(self) -> None:
        """Wait until all work of this process is done."""
        with self._current() as call:
            call("cuCtxSynchronize")

    def relieve(self) -> None:
        """Memory has run out: torch gives back what it keeps in reserve."""
        torch.cuda.empty_cache()

    def pin(self, address: int, nbytes: int) -> Callable[[], None]:
        """Lock memory of the host into its place, where the GPU reads and writes it by itself."""
        with self._current() as call:
            call("cuMemHostRegister_v2", address, nbytes, _PORTABLE)

        def unpin() -> None:
            with self._current() as call:
                call("cuMemHostUnregister", address)

        return unpin
