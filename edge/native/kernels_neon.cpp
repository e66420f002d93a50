// NEON: every 64-bit Arm, such as the Raspberry Pi 4's.
#include "kernels.hpp"

#include <arm_neon.h>

namespace sepiola {
namespace neon {

constexpr const char* NAME = "neon";

// Pairs of products in [-127, 127]² add up to less than 2^15.
static inline int32x4_t dot_four(int32x4_t sums, int8x16_t w, int8x16_t x) {
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sums, vpaddq_s16(low, high));
}

#include "neon.inl"

}  // namespace neon

const Kernels* neon_kernels() { return &neon::table; }

}  // namespace sepiola
