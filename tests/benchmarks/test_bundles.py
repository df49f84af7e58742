"""Tests the count of a TPU kernel's bundles on a schedule in libtpu's format, counted by hand."""

from benchmarks.bundles import Loop, count_bundles

SCHEDULE = """
     0   :  { %s1 = smov 0 }
   0x1 LB: > { %s2 = sphi %s1, %s3 } /* Start region 7 :: Start region 8 */
   0x2   : > { %v1 = vld [vmem:[%s2] sm:$0xff] }
   0x3 LB: >> { %v2 = vphi %v1, %v3 } /* Start region 9 */
   0x4   : >> { %10 = sbr.rel (!%p1) target = $region9 }
   0x5   : >> { %v3 = vadd.f32 %v2, %v2 }
   0x6   : >> { %v4 = vmov %v3 }
   0x7   : >> { %v5 = vmov %v3 }
   0x8   : >> { %v6 = vmov %v3 }
   0x9   : > { %11 = sbr.rel (%p2) target = $region30 }
   0xa   : > { %12 = sbr.rel (!%p3) target = $region7 }
   0xb   : > { %s3 = sadd.s32 1, %s2 }
   0xc   :  {}
   0xd   : > {}
   0xe   : > {}
   0xf   :  { %13 = vsyncpa [#allocation4], 1 }
"""


def test_loops_end_behind_the_delay_slots_of_the_branch_back():
    assert count_bundles(SCHEDULE) == [Loop(first=1, depth=1, bundles=14, own=8), Loop(3, 2, 6, 6)]
