"""Launches by loop and what ptxas reports, from texts in their formats."""

import pytest

from benchmarks.gpu_target import Kernel, gpu_devices, nvcc_folder, parse_ptxas
from benchmarks.hlo import Program
from benchmarks.launches import LoopLaunches, count_launches

HLO = """HloModule example

%body.1 (p.1: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p.1 = (s32[], f32[4]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%p.1), index=0
  %x.1 = f32[4]{0} get-tuple-element(%p.1), index=1
  %next.1 = s32[] fusion(%i.1), kind=kLoop, calls=%add
  %inner.1 = (s32[], f32[4]{0}) while(%p.1), condition=%condition.2, body=%body.2, metadata={op_name="jit(f)/scan/solver/while"}
  ROOT %out.1 = (s32[], f32[4]{0}) tuple(%next.1, %x.1)
}

%body.2 (p.2: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p.2 = (s32[], f32[4]{0}) parameter(0)
  %y.2 = f32[4]{0} get-tuple-element(%p.2), index=1
  %gemm.2 = f32[4]{0} custom-call(%y.2), custom_call_target="__cublas$gemm"
  %copy.2 = f32[4]{0} copy(%gemm.2)
  %sorted.2 = f32[4]{0} sort(%copy.2), dimensions={0}
  ROOT %out.2 = (s32[], f32[4]{0}) tuple(%y.2, %sorted.2)
}

%one.3 (p.3: f32[4]) -> f32[4] {
  %p.3 = f32[4]{0} parameter(0)
  ROOT %f.3 = f32[4]{0} fusion(%p.3), kind=kLoop, calls=%add
}

%two.4 (p.4: f32[4]) -> f32[4] {
  %p.4 = f32[4]{0} parameter(0)
  %f.4 = f32[4]{0} fusion(%p.4), kind=kLoop, calls=%add
  ROOT %g.4 = f32[4]{0} fusion(%f.4), kind=kLoop, calls=%add
}

ENTRY %main.5 (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[4]{0}) tuple(%zero, %a)
  %loop = (s32[], f32[4]{0}) while(%start), condition=%condition.1, body=%body.1, backend_config={"known_trip_count":{"n":"128"}}, metadata={op_name="jit(f)/rollout/while"}
  %b = f32[4]{0} get-tuple-element(%loop), index=1
  %index = s32[] fusion(%b), kind=kLoop, calls=%pick
  ROOT %c = f32[4]{0} conditional(%index, %b, %b), branch_computations={%one.3, %two.4}
}
"""  # noqa: E501

PTXAS = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'nearest_fragments' for 'sm_90a'
ptxas info    : Function properties for nearest_fragments
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 560 bytes cmem[0]
ptxas info    : Compiling entry function 'loop_fusion_7' for 'sm_90a'
ptxas info    : Function properties for loop_fusion_7
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
"""


def test_launches_are_counted_by_loop():
    """Loops, branches and names of memory launch nothing themselves; of branches, the larger one counts."""
    assert count_launches(Program(HLO)) == [
        LoopLaunches((), "program", 1, 1 + 2),
        LoopLaunches((0,), "jit(f)/rollout/while", 128, 1),
        LoopLaunches((0, 0), "scan/solver/while", None, 3),
    ]


def test_kernels_are_read_from_the_assemblers_report():
    drawn, spilling = parse_ptxas(PTXAS)
    assert drawn == Kernel("nearest_fragments", 40, 0) and spilling == Kernel("loop_fusion_7", 255, 32)
    assert (
        drawn.occupancy == 51 / 64 and spilling.occupancy == 8 / 64
    )  # 65,536 registers: 51 warps of 1,280, 8 of 8,192


@pytest.mark.skipif(nvcc_folder() is not None, reason="the CUDA plugin is installed")
def test_without_the_plugin_a_gpu_is_refused():
    with pytest.raises(ValueError, match=r"topology 'h100' needs JAX's CUDA plugin .*\(pip install 'rcjax\[gpu-aot\]'"):
        gpu_devices("h100")
