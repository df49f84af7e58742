"""What a compiled program does, by benchmarks.work. Oracle: FLOPs and bytes counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.hlo import Program
from benchmarks.work import _taps, count_work

SIDE = 64
MATRIX = 2 * SIDE**3  # FLOPs of one product


def program_of(function, *arguments) -> Program:
    return Program(jax.jit(function).lower(*arguments).compile().as_text())


@pytest.fixture(scope="module")
def matrix():
    return jnp.ones((SIDE, SIDE))


def repeated(x, times):
    return jax.lax.fori_loop(0, times, lambda _, y: jnp.tanh(y @ x), x)


def test_a_counted_loop_counts_as_often_as_it_runs(matrix):
    work = count_work(program_of(lambda x: repeated(x, 7), matrix))
    assert work.matrix_flops == 7 * MATRIX
    assert 7 * SIDE**2 <= work.other_flops < 8 * SIDE**2  # and the counter
    assert 7 * 3 * 4 * SIDE**2 <= work.bytes < 2 * 7 * 3 * 4 * SIDE**2  # a product reads two matrices, writes one


def test_a_loop_that_depends_on_data_counts_as_often_as_it_is_said_to(matrix):
    program = program_of(lambda x, n: repeated(repeated(x, n), 3), matrix, 5)
    assert count_work(program, {(0,): 11}).matrix_flops == 14 * MATRIX
    with pytest.raises(ValueError, match=r"the trip count of loop \(0,\) is unknown"):
        count_work(program)


def test_loops_are_told_apart_by_their_place(matrix):
    def nested(x, n):
        inner = jax.lax.fori_loop(0, n, lambda _, y: repeated(y, n), x)
        return repeated(inner, n)

    work = count_work(program_of(nested, matrix, 5), {(0,): 2, (0, 0): 10, (1,): 100})
    assert work.matrix_flops == (2 * 10 + 100) * MATRIX


@pytest.mark.parametrize(("padding", "taps"), [("VALID", (6 * 3) ** 2), ("SAME", (8 * 3 - 2) ** 2)])
def test_convolutions_are_products_but_with_padding(padding, taps):
    x, kernel = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 32))

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert count_work(program_of(convolve, x, kernel)).matrix_flops == 2 * 2 * taps * 16 * 32


@pytest.mark.parametrize("stride", [1, 2, 3, 6])
@pytest.mark.parametrize(("input_step", "kernel_step"), [(1, 1), (1, 2), (2, 1), (4, 3), (6, 1)])
@pytest.mark.parametrize("pad", [0, 2, -1])
def test_taps_are_those_of_the_definition(stride, input_step, kernel_step, pad):
    inputs, outputs, size = 5, 7, 4
    places = [o * stride + k * kernel_step - pad for o in range(outputs) for k in range(size)]
    expected = sum(place % input_step == 0 and 0 <= place < inputs * input_step for place in places)
    assert _taps(inputs, outputs, size, stride, input_step, kernel_step, pad) == expected


def test_a_tpu_writes_batched_products_as_dilated_convolutions():
    """128 products of 10x7 by 7x10, as its compiler wrote them."""
    program = Program("""
ENTRY %main (x: f32[128,10,7]) -> f32[128,10,10] {
  %x = f32[128,10,7]{2,1,0:T(8,128)} parameter(0)
  %y = f32[128,10,7]{2,1,0:T(8,128)} parameter(1)
  ROOT %z = f32[128,10,10]{2,1,0:T(8,128)S(1)} convolution(%x, %y), window={size=128 stride=127 lhs_dilate=128}, dim_labels=0bf_0oi->0bf
}
""")  # noqa: E501
    assert count_work(program).matrix_flops == 128 * 2 * 10 * 7 * 10


def test_what_a_slice_leaves_is_not_read():
    """A loop that adds one row of a large array after another reads it once, not in every turn."""
    rows = jnp.ones((1000, SIDE))
    work = count_work(
        program_of(lambda rows: jax.lax.scan(lambda total, row: (total + row, total), rows[0], rows), rows)
    )
    assert work.bytes < 20 * rows.nbytes


COUNTED_BY_ITS_CONDITION = """
%condition (a: (s32[], f32[8])) -> pred[] {
  %a = (s32[], f32[8]{0}) parameter(0)
  %limit = s32[] constant(9)
  %i = s32[] get-tuple-element(%a), index=0
  ROOT %lt = pred[] compare(%i, %limit), direction=LT
}

%body (a: (s32[], f32[8])) -> (s32[], f32[8]) {
  %a = (s32[], f32[8]{0}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%a), index=1
  %y = f32[8]{0} add(%x, %x), backend_config={"estimated_cycles":"100"}
  %i = s32[] get-tuple-element(%a), index=0
  ROOT %next = (s32[], f32[8]{0}) tuple(%i, %y)
}

ENTRY %main (x: f32[8]) -> f32[16] {
  %x = f32[8]{0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8]{0}) tuple(%zero, %x)
  %loop = (s32[], /*index=1*/f32[8]{0:T(128)}) while(%start), condition=%condition, body=%body
  %y = f32[8]{0} get-tuple-element(%loop), index=1
  ROOT %all = f32[16]{0} all-gather(%y), replica_groups={{0,1}}, dimensions={0}
}
"""


def test_a_tpu_program_counts_loops_by_their_conditions():
    """The TPU compiler does not write down how often a loop runs, and estimates cycles."""
    program = Program(COUNTED_BY_ITS_CONDITION)
    work = count_work(program)
    assert (work.cycles, work.other_flops, work.matrix_flops) == (900, 9 * 8, 0)
    assert work.bytes == 9 * 3 * 32 + 32 + 64
    (gather,) = program.collectives()
    assert (gather.kind, gather.bytes) == ("all-gather", 64)


def test_a_collective_spread_over_fusions_is_one():
    steps = "\n".join(f"  %g{i} = f32[16]{{0}} all-gather(%x), channel_id={i // 2}" for i in range(4))
    program = Program(f"ENTRY %main (x: f32[8]) -> f32[16] {{\n  %x = f32[8]{{0}} parameter(0)\n{steps}\n}}")
    assert len(program.collectives()) == 2
