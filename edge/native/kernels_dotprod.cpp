// NEON with the dot-product instructions: Arm since 2018, such as the Raspberry Pi 5's.
#include "kernels.hpp"

#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

namespace sepiola {
namespace dotprod {

constexpr const char* NAME = "dotprod";

static inline int32x4_t dot_four(int32x4_t sums, int8x16_t w, int8x16_t x) { return vdotq_s32(sums, w, x); }

#include "neon.inl"

}  // namespace dotprod

const Kernels* dotprod_kernels() {
#if defined(__linux__)
    constexpr unsigned long has = 1UL << 20;  // HWCAP_ASIMDDP
    return getauxval(AT_HWCAP) & has ? &dotprod::table : nullptr;
#else
    return &dotprod::table;  // Apple's all have it
#endif
}

}  // namespace sepiola
