// NEON's vectors of 16, for kernels with and without the dot-product instructions: the file that includes this defines
// `dot_four`, four sums of four products each.

constexpr int TOKENS = 4, SCORES = 4;

struct F {
    float32x4_t v[4];
};
struct I {
    int32x4_t v[4];
};
struct Bytes {
    const uint8_t* from;
};
struct Nibbles {
    const uint8_t* from;
};

#define EACH for (int i = 0; i < 4; i++)

static inline F set(float x) { F r; EACH r.v[i] = vdupq_n_f32(x); return r; }
static inline F load(const float* p) { F r; EACH r.v[i] = vld1q_f32(p + 4 * i); return r; }
static inline void store(float* p, F x) { EACH vst1q_f32(p + 4 * i, x.v[i]); }
static inline F load_some(const float* p, int n) {
    if (n >= 16) return load(p);
    float lanes[16] = {};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return load(lanes);
}
static inline void store_some(float* p, F x, int n) {
    if (n >= 16) return store(p, x);
    float lanes[16];
    store(lanes, x);
    for (int i = 0; i < n; i++) p[i] = lanes[i];
}
static inline F keep(F x, int n) {
    if (n >= 16) return x;
    float lanes[16];
    store(lanes, x);
    return load_some(lanes, n);
}
static inline F add(F a, F b) { EACH a.v[i] = vaddq_f32(a.v[i], b.v[i]); return a; }
static inline F sub(F a, F b) { EACH a.v[i] = vsubq_f32(a.v[i], b.v[i]); return a; }
static inline F mul(F a, F b) { EACH a.v[i] = vmulq_f32(a.v[i], b.v[i]); return a; }
static inline F div(F a, F b) { EACH a.v[i] = vdivq_f32(a.v[i], b.v[i]); return a; }
static inline F fma(F a, F b, F c) { EACH c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]); return c; }
static inline F maximum(F a, F b) { EACH a.v[i] = vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); return a; }
static inline F minimum(F a, F b) { EACH a.v[i] = vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); return a; }
static inline F magnitude(F a) { EACH a.v[i] = vabsq_f32(a.v[i]); return a; }
static inline F nearest(F a) { EACH a.v[i] = vrndnq_f32(a.v[i]); return a; }
static inline F floats(I a) { F r; EACH r.v[i] = vcvtq_f32_s32(a.v[i]); return r; }

static inline F power_of_two(F n) {
    EACH n.v[i] = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.v[i]), vdupq_n_s32(127)), 23));
    return n;
}

static inline F load_half(const uint8_t* p) {
    F r;
    EACH r.v[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * i)));
    return r;
}

static inline void load_bf16(const uint8_t* p, F& even, F& odd) {
    EACH {
        uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8(p + 16 * i));
        even.v[i] = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
        odd.v[i] = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000)));
    }
}

static inline Bytes load_bytes(const uint8_t* p) { return {p}; }
static inline Nibbles load_nibbles(const uint8_t* p) { return {p}; }

static inline int8x16_t four(const int8_t* x) {
    int32_t bytes;
    __builtin_memcpy(&bytes, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
}

static inline I dot(Bytes w, const int8_t* x, int32_t) {
    I r;
    EACH r.v[i] = vdupq_n_s32(0);
    for (int quad = 0; quad < 8; quad++) {
        int8x16_t activations = four(x + 4 * quad);
        EACH {
            uint8x16_t offset = vld1q_u8(w.from + 64 * quad + 16 * i);
            r.v[i] = dot_four(r.v[i], vreinterpretq_s8_u8(veorq_u8(offset, vdupq_n_u8(128))), activations);
        }
    }
    return r;
}

static inline I dot(Nibbles w, const int8_t* x, int32_t sum) {
    I r;
    EACH r.v[i] = vdupq_n_s32(sum / 16);
    for (int quad = 0; quad < 4; quad++) {
        int8x16_t low = four(x + 4 * quad), high = four(x + 16 + 4 * quad);
        EACH {
            uint8x16_t both = vld1q_u8(w.from + 64 * quad + 16 * i);
            r.v[i] = dot_four(r.v[i], vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))), low);
            r.v[i] = dot_four(r.v[i], vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), high);
        }
    }
    return r;
}

static inline int32_t store_bytes(int8_t* p, F first, F second) {
    F low = set(-127), high = set(127);
    first = minimum(maximum(first, low), high), second = minimum(maximum(second, low), high);
    int32x4_t sums = vdupq_n_s32(0);
    for (int half = 0; half < 2; half++) {
        const F& x = half ? second : first;
        int32x4_t w[4];
        EACH w[i] = vcvtnq_s32_f32(x.v[i]), sums = vaddq_s32(sums, w[i]);
        int16x8_t a = vcombine_s16(vmovn_s32(w[0]), vmovn_s32(w[1])), b = vcombine_s16(vmovn_s32(w[2]), vmovn_s32(w[3]));
        vst1q_s8(p + 16 * half, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
    }
    return vaddvq_s32(sums);
}

#include "kernels.inl"
