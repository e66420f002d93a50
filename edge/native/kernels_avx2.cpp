// AVX2 with FMA and F16C: most x86-64 processors since 2013.
#include "kernels.hpp"

#include <immintrin.h>

namespace sepiola {
namespace avx2 {

constexpr const char* NAME = "avx2";
constexpr int TOKENS = 2, SCORES = 4;

struct F {
    __m256 a, b;
};
struct I {
    __m256i a, b;
};
struct Bytes {
    const uint8_t* from;
};
struct Nibbles {
    const uint8_t* from;
};

alignas(32) static const int32_t MASK[48] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                             0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                             0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0};

static inline __m256i mask(int n, int from) {
    n = n < 0 ? 0 : n > 16 ? 16 : n;
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(MASK + 16 - n + from));
}

static inline F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline F load_some(const float* p, int n) {
    if (n >= 16) return load(p);
    return {_mm256_maskload_ps(p, mask(n, 0)), _mm256_maskload_ps(p + 8, mask(n, 8))};
}
static inline void store(float* p, F x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
static inline void store_some(float* p, F x, int n) {
    if (n >= 16) return store(p, x);
    _mm256_maskstore_ps(p, mask(n, 0), x.a), _mm256_maskstore_ps(p + 8, mask(n, 8), x.b);
}
static inline F keep(F x, int n) {
    if (n >= 16) return x;
    return {_mm256_and_ps(x.a, _mm256_castsi256_ps(mask(n, 0))), _mm256_and_ps(x.b, _mm256_castsi256_ps(mask(n, 8)))};
}
static inline F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
static inline F maximum(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
static inline F minimum(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
static inline F magnitude(F x) {
    __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
static inline F nearest(F x) {
    constexpr int how = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, how), _mm256_round_ps(x.b, how)};
}
static inline F floats(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

static inline __m256 power_of_two(__m256 n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
static inline F power_of_two(F n) { return {power_of_two(n.a), power_of_two(n.b)}; }

static inline F load_half(const uint8_t* p) {
    const __m128i* halves = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

static inline __m256i load_32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

static inline void load_bf16(const uint8_t* p, F& even, F& odd) {
    __m256i first = load_32(p), second = load_32(p + 32), high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
    even = {_mm256_castsi256_ps(_mm256_slli_epi32(first, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(second, 16))};
    odd = {_mm256_castsi256_ps(_mm256_and_si256(first, high)), _mm256_castsi256_ps(_mm256_and_si256(second, high))};
}

static inline Bytes load_bytes(const uint8_t* p) { return {p}; }
static inline Nibbles load_nibbles(const uint8_t* p) { return {p}; }

static inline __m256i four(const int8_t* x) {
    int32_t bytes;
    __builtin_memcpy(&bytes, x, 4);
    return _mm256_set1_epi32(bytes);
}

// Pairs of weights in [-127, 127] and of activations in [-127, 127] add up to less than 2^15: nothing saturates.
static inline __m256i pairs(__m256i offset, __m256i x) {
    __m256i w = _mm256_xor_si256(offset, _mm256_set1_epi8(-128));
    __m256i sums = _mm256_maddubs_epi16(_mm256_sign_epi8(w, w), _mm256_sign_epi8(x, w));
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

static inline I dot(Bytes w, const int8_t* x, int32_t) {
    I r = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int i = 0; i < 8; i++) {
        __m256i activations = four(x + 4 * i);
        r.a = _mm256_add_epi32(r.a, pairs(load_32(w.from + 64 * i), activations));
        r.b = _mm256_add_epi32(r.b, pairs(load_32(w.from + 64 * i + 32), activations));
    }
    return r;
}

// 16 products of at most 15 · 127 each fit in 16 bits.
static inline __m256i half_of_dot(const uint8_t* w, const int8_t* x, int32_t sum) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sums = _mm256_setzero_si256();
    for (int i = 0; i < 4; i++) {
        __m256i both = load_32(w + 64 * i);
        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(_mm256_and_si256(both, low), four(x + 4 * i)));
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(high, four(x + 16 + 4 * i)));
    }
    return _mm256_add_epi32(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)), _mm256_set1_epi32(sum / 16));
}

static inline I dot(Nibbles w, const int8_t* x, int32_t sum) {
    return {half_of_dot(w.from, x, sum), half_of_dot(w.from + 32, x, sum)};
}

static inline int32_t store_bytes(int8_t* p, F first, F second) {
    F low = set(-127), high = set(127);
    first = minimum(maximum(first, low), high), second = minimum(maximum(second, low), high);
    __m256i words[4] = {_mm256_cvtps_epi32(first.a), _mm256_cvtps_epi32(first.b), _mm256_cvtps_epi32(second.a),
                        _mm256_cvtps_epi32(second.b)};
    __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]), _mm256_packs_epi32(words[2], words[3]));
    packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
    __m256i sums = _mm256_add_epi32(_mm256_add_epi32(words[0], words[1]), _mm256_add_epi32(words[2], words[3]));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

#include "kernels.inl"

}  // namespace avx2

const Kernels* avx2_kernels() {
    bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    return has ? &avx2::table : nullptr;
}

}  // namespace sepiola
