// Plain C++, for any processor: what the others are held against.
#include "kernels.hpp"

namespace sepiola {
namespace scalar {

constexpr const char* NAME = "scalar";
constexpr int TOKENS = 1, SCORES = 1;

struct F {
    float v[16];
};
struct I {
    int32_t v[16];
};
struct Bytes {
    const uint8_t* from;
};
struct Nibbles {
    const uint8_t* from;
};

#define EACH for (int i = 0; i < 16; i++)

static inline F set(float x) { F r; EACH r.v[i] = x; return r; }
static inline F load(const float* p) { F r; EACH r.v[i] = p[i]; return r; }
static inline F load_some(const float* p, int n) { F r; EACH r.v[i] = i < n ? p[i] : 0; return r; }
static inline void store(float* p, F x) { EACH p[i] = x.v[i]; }
static inline void store_some(float* p, F x, int n) { EACH if (i < n) p[i] = x.v[i]; }
static inline F keep(F x, int n) { EACH if (i >= n) x.v[i] = 0; return x; }
static inline F add(F a, F b) { EACH a.v[i] += b.v[i]; return a; }
static inline F sub(F a, F b) { EACH a.v[i] -= b.v[i]; return a; }
static inline F mul(F a, F b) { EACH a.v[i] *= b.v[i]; return a; }
static inline F div(F a, F b) { EACH a.v[i] /= b.v[i]; return a; }
static inline F fma(F a, F b, F c) { EACH a.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]); return a; }
static inline F maximum(F a, F b) { EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
static inline F minimum(F a, F b) { EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
static inline F magnitude(F a) { EACH a.v[i] = __builtin_fabsf(a.v[i]); return a; }
static inline F nearest(F a) { EACH a.v[i] = __builtin_nearbyintf(a.v[i]); return a; }
static inline F floats(I a) { F r; EACH r.v[i] = static_cast<float>(a.v[i]); return r; }

static inline float of_bits(uint32_t bits) {
    float result;
    __builtin_memcpy(&result, &bits, 4);
    return result;
}

static inline F power_of_two(F n) { EACH n.v[i] = of_bits(uint32_t(int32_t(n.v[i]) + 127) << 23); return n; }

static inline F load_half(const uint8_t* p) {
    F r;
    EACH r.v[i] = half_to_float(static_cast<uint16_t>(p[2 * i] | p[2 * i + 1] << 8));
    return r;
}

static inline void load_bf16(const uint8_t* p, F& even, F& odd) {
    EACH {
        uint32_t both;
        __builtin_memcpy(&both, p + 4 * i, 4);
        even.v[i] = of_bits(both << 16), odd.v[i] = of_bits(both & 0xffff0000);
    }
}

static inline Bytes load_bytes(const uint8_t* p) { return {p}; }
static inline Nibbles load_nibbles(const uint8_t* p) { return {p}; }

// Σ weight · activation over a group, of weights as they are: their offset falls out.
static inline I dot(Bytes w, const int8_t* x, int32_t) {
    I r;
    EACH {
        r.v[i] = 0;
        for (int k = 0; k < GROUP; k++) r.v[i] += (w.from[(k / 4 * 16 + i) * 4 + k % 4] - 128) * x[k];
    }
    return r;
}

static inline I dot(Nibbles w, const int8_t* x, int32_t) {
    I r;
    EACH {
        r.v[i] = 0;
        for (int k = 0; k < 16; k++) {
            int both = w.from[(k / 4 * 16 + i) * 4 + k % 4];
            r.v[i] += ((both & 15) - 8) * x[k] + ((both >> 4) - 8) * x[16 + k];
        }
    }
    return r;
}

// Stores 32 numbers as bytes, rounded to the nearest, and returns their sum.
static inline int32_t store_bytes(int8_t* p, F first, F second) {
    int32_t sum = 0;
    for (int i = 0; i < 32; i++) {
        float x = i < 16 ? first.v[i] : second.v[i - 16];
        x = x > -127 ? x : -127;
        x = x < 127 ? x : 127;
        p[i] = static_cast<int8_t>(__builtin_nearbyintf(x));
        sum += p[i];
    }
    return sum;
}

#include "kernels.inl"

}  // namespace scalar

const Kernels* scalar_kernels() { return &scalar::table; }

}  // namespace sepiola
