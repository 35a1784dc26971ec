"""The bound for a scan: one fused loop in C, made by the compiler of this machine for its CPU."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anticipate.nn.scan.inputs import ScanInputs, empty_sequence

SOURCE = """
#include <math.h>

/* One sample: sequences (length, d_inner), A (d_state, d_inner), B and C (length, d_state). */
void scan(const float *restrict u, const float *restrict delta, const float *restrict A,
          const float *restrict B, const float *restrict C, const float *restrict D,
          const float *restrict bias, float *restrict y, long length, long d_inner, long d_state)
{
    float state[d_state * d_inner], dt[d_inner], inflow[d_inner];
    for (long i = 0; i < d_state * d_inner; i++) state[i] = 0;
    for (long l = 0; l < length; l++, u += d_inner, delta += d_inner, y += d_inner) {
        for (long d = 0; d < d_inner; d++) {
            dt[d] = logf(1 + expf(delta[d] + bias[d]));
            inflow[d] = dt[d] * u[d];
            y[d] = D[d] * u[d];
        }
        for (long n = 0; n < d_state; n++) {
            const float *a = A + n * d_inner;
            float *h = state + n * d_inner, b = B[l * d_state + n], c = C[l * d_state + n];
            for (long d = 0; d < d_inner; d++) {
                h[d] = expf(dt[d] * a[d]) * h[d] + inflow[d] * b;
                y[d] += c * h[d];
            }
        }
    }
}
"""

COMPILE = ("-O3", "-march=native", "-ffast-math", "-fPIC", "-c")
"""Linking is a step of its own without -ffast-math, which would change how the whole process
rounds."""

FusedScan = Callable[[ScanInputs], Float[Tensor, "batch d_inner length"]]


def build() -> FusedScan | None:
    """Compile the loop and return it as a scan, or None where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, objects, library = (Path(folder) / f"scan.{suffix}" for suffix in ("c", "o", "so"))
        source.write_text(SOURCE)
        subprocess.run([compiler, *COMPILE, source, "-o", objects], check=True)
        subprocess.run([compiler, "-shared", objects, "-o", library, "-lm"], check=True)
        kernel = ctypes.CDLL(str(library)).scan
    kernel.restype = None
    pool = ThreadPoolExecutor(torch.get_num_threads())
    return lambda x: _run(kernel, pool, x)


def _run(kernel: Callable[..., None], pool: ThreadPoolExecutor, x: ScanInputs) -> Tensor:
    """Share the samples among the threads; the kernel wants contiguous channels."""
    batch, d_inner, length = x.u.shape
    y = empty_sequence(x.u)
    rows = [part.mT.contiguous() for part in (x.u, x.delta, x.A, x.B, x.C)]
    sizes = [ctypes.c_long(size) for size in (length, d_inner, x.A.shape[-1])]

    def work(row: int) -> None:
        addresses = [part[row].data_ptr() for part in rows]
        addresses += [part.data_ptr() for part in (x.D, x.delta_bias) if part is not None]
        kernel(*map(ctypes.c_void_p, (*addresses, y[row].data_ptr())), *sizes)

    list(pool.map(work, range(batch)))
    return y
