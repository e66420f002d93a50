// AVX-512 with VNNI: Intel since Ice Lake, AMD since Zen 4.
#include "kernels.hpp"

#include <immintrin.h>

namespace sepiola {
namespace avx512 {

constexpr const char* NAME = "avx512";
constexpr int TOKENS = 12, SCORES = 16;
#define PAIRS 6  // tokens that meet two panels at once

using F = __m512;
using I = __m512i;
struct Bytes {
    __m512i v[8];
};
struct Nibbles {
    __m512i v[8];
};

static inline __mmask16 first(int n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : static_cast<__mmask16>((1 << n) - 1); }

static inline F set(float x) { return _mm512_set1_ps(x); }
static inline F load(const float* p) { return _mm512_loadu_ps(p); }
static inline F load_some(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
static inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
static inline void store_some(float* p, F x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }
static inline F keep(F x, int n) { return _mm512_maskz_mov_ps(first(n), x); }
static inline F add(F x, F y) { return _mm512_add_ps(x, y); }
static inline F sub(F x, F y) { return _mm512_sub_ps(x, y); }
static inline F mul(F x, F y) { return _mm512_mul_ps(x, y); }
static inline F div(F x, F y) { return _mm512_div_ps(x, y); }
static inline F fma(F x, F y, F z) { return _mm512_fmadd_ps(x, y, z); }
static inline F maximum(F x, F y) { return _mm512_max_ps(x, y); }
static inline F minimum(F x, F y) { return _mm512_min_ps(x, y); }
static inline F magnitude(F x) { return _mm512_abs_ps(x); }
static inline F nearest(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline F floats(I x) { return _mm512_cvtepi32_ps(x); }

static inline F power_of_two(F n) {
    __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

#define SCALED
static inline F scaled(F x, F n) { return _mm512_scalef_ps(x, n); }

static inline F load_half(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

static inline void load_bf16(const uint8_t* p, F& even, F& odd) {
    __m512i both = _mm512_loadu_si512(p);
    even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    odd = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

static inline Bytes load_bytes(const uint8_t* p) {
    Bytes r;
    for (int i = 0; i < 8; i++) r.v[i] = _mm512_loadu_si512(p + 64 * i);
    return r;
}

static inline Nibbles load_nibbles(const uint8_t* p) {
    const __m512i low = _mm512_set1_epi8(15);
    Nibbles r;
    for (int i = 0; i < 4; i++) {
        __m512i both = _mm512_loadu_si512(p + 64 * i);
        r.v[i] = _mm512_and_si512(both, low);
        r.v[4 + i] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    return r;
}

// The products of a group of weights and T tokens: no sum waits for itself, for the others come between.
#define DOTS
template <int T>
static inline void add_dots(const __m512i (&w)[8], const int8_t* x, long stride, I* products) {
#pragma GCC unroll 16
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            int32_t bytes;
            __builtin_memcpy(&bytes, x + t * stride + 4 * i, 4);
            products[t] = _mm512_dpbusd_epi32(products[t], w[i], _mm512_set1_epi32(bytes));
        }
}
template <int T>
static inline void dots(const Bytes& w, const int8_t* x, long stride, const int32_t* sums, I* products) {
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) products[t] = _mm512_set1_epi32(sums[t * (stride / GROUP)]);
    add_dots<T>(w.v, x, stride, products);
}
template <int T>
static inline void dots(const Nibbles& w, const int8_t* x, long stride, const int32_t* sums, I* products) {
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) products[t] = _mm512_srai_epi32(_mm512_set1_epi32(sums[t * (stride / GROUP)]), 4);
    add_dots<T>(w.v, x, stride, products);
}

// The same of two panels of bytes.
template <int T>
static inline void dots(const uint8_t* first, const uint8_t* second, const int8_t* x, long stride, const int32_t* sums,
                        I* above, I* below) {
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) above[t] = below[t] = _mm512_set1_epi32(sums[t * (stride / GROUP)]);
#pragma GCC unroll 16
    for (int i = 0; i < 8; i++) {
        __m512i upper = _mm512_loadu_si512(first + 64 * i), lower = _mm512_loadu_si512(second + 64 * i);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            int32_t bytes;
            __builtin_memcpy(&bytes, x + t * stride + 4 * i, 4);
            __m512i four = _mm512_set1_epi32(bytes);
            above[t] = _mm512_dpbusd_epi32(above[t], upper, four);
            below[t] = _mm512_dpbusd_epi32(below[t], lower, four);
        }
    }
}

#define SUM
static inline float sum(F x) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#define LARGEST
static inline float largest(F x) { return _mm512_reduce_max_ps(x); }

static inline int32_t store_bytes(int8_t* p, F one, F two) {
    F low = set(-127), high = set(127);
    __m512i a = _mm512_cvtps_epi32(minimum(maximum(one, low), high));
    __m512i b = _mm512_cvtps_epi32(minimum(maximum(two, low), high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16), _mm512_cvtepi32_epi8(b));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}

// 16 groups at once: their maxima and sums by trees over all of them. No number is clamped, for none is past 127; one that
// is not a number becomes -128.
#define MANY_GROUPS
static inline __m512 halves(__m512 a, __m512 b, bool high) {
    return high ? _mm512_shuffle_f32x4(a, b, 0xdd) : _mm512_shuffle_f32x4(a, b, 0x88);
}

static inline F maxima(const F (&of)[16]) {
    F quarters[4];
    for (int i = 0; i < 4; i++) {
        const F* m = of + 4 * i;
        F first = maximum(_mm512_unpacklo_ps(m[0], m[1]), _mm512_unpackhi_ps(m[0], m[1]));
        F second = maximum(_mm512_unpacklo_ps(m[2], m[3]), _mm512_unpackhi_ps(m[2], m[3]));
        __m512d a = _mm512_castps_pd(first), b = _mm512_castps_pd(second);
        quarters[i] = maximum(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    F low = maximum(halves(quarters[0], quarters[1], false), halves(quarters[0], quarters[1], true));
    F high = maximum(halves(quarters[2], quarters[3], false), halves(quarters[2], quarters[3], true));
    return maximum(halves(low, high, false), halves(low, high, true));
}

static inline void quantise_many(const float* x, long apart, int8_t* bytes, float* scales, int32_t* sums, long stride) {
    const __m512i ones = _mm512_set1_epi8(1), pairs = _mm512_set1_epi16(1);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i even_first = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    F sizes[16];
    for (int g = 0; g < 16; g++)  // the larger magnitude
        sizes[g] = _mm512_range_ps(load(x + g * apart), load(x + g * apart + 16), 11);
    const F size = maxima(sizes);
    alignas(64) float factors[16];
    F inverse = minimum(div(set(127), size), set(__FLT_MAX__));
    store(factors, _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(size, set(0), _CMP_GT_OQ), inverse));
    auto words = [&](int g, int half) {
        return _mm512_cvtps_epi32(mul(load(x + g * apart + 16 * half), set(factors[g])));
    };
    auto add_up = [&](__m512i a, __m512i b) { return _mm512_madd_epi16(_mm512_packs_epi32(a, b), pairs); };
    __m512i fours[8];
    for (int i = 0; i < 8; i++) {  // two groups
        __m512i first = _mm512_packs_epi32(words(2 * i, 0), words(2 * i, 1));
        __m512i second = _mm512_packs_epi32(words(2 * i + 1, 0), words(2 * i + 1, 1));
        __m512i both = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(first, second));
        int8_t* to = bytes + 2 * i * stride;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(both));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + stride), _mm512_extracti64x4_epi64(both, 1));
        fours[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, both);
    }
    __m512i low = add_up(add_up(fours[0], fours[1]), add_up(fours[2], fours[3]));
    __m512i high = add_up(add_up(fours[4], fours[5]), add_up(fours[6], fours[7]));
    __m512i total = _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
    total = _mm512_permutexvar_epi32(even_first, total);
    total = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(total, 7));
    if (stride == GROUP) {
        store(scales, div(size, set(127)));
        _mm512_storeu_si512(sums, total);
        return;
    }
    alignas(64) float all_scales[16];
    alignas(64) int32_t all_sums[16];
    store(all_scales, div(size, set(127)));
    _mm512_store_si512(all_sums, total);
    for (int g = 0; g < 16; g++) scales[g * (stride / GROUP)] = all_scales[g], sums[g * (stride / GROUP)] = all_sums[g];
}

#include "kernels.inl"

}  // namespace avx512

const Kernels* avx512_kernels() {
    bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vnni");
    return has ? &avx512::table : nullptr;
}

}  // namespace sepiola
