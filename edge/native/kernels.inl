// The kernels, over an instruction set's vectors: `F` holds 16 floats, `I` 16 integers, `Bytes` and `Nibbles` a group of
// 32 columns of a panel's 16 rows. A file an instruction set defines those, the operations on them, and how many tokens
// (TOKENS) and scores (SCORES) are held in registers at once; and includes this. Nothing of the standard library may be
// used in here: the linker would let other files run what was compiled for this instruction set.

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }

#ifndef SUM
static inline float sum(F x) {
    float lanes[16];
    store(lanes, x);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}
#endif

#ifndef LARGEST
static inline float largest(F x) {
    float lanes[16];
    store(lanes, x);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}
#endif

// Asks for weights that are read soon: while it computes, the processor itself looks less far ahead.
template <int T>
static inline void prefetch(const uint8_t* from, int bytes) {
    if (T == 1)
        for (int i = 0; i < bytes; i += 64) __builtin_prefetch(from + 8192 + i, 0, 2);
}

template <int T>
static inline void finish(F* sums, const float* bias, float* out, long stride, bool add_) {
    F more = bias ? load(bias) : set(0);
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) {
        F result = bias ? add(sums[t], more) : sums[t];
        store(out + t * stride, add_ ? add(load(out + t * stride), result) : result);
    }
}

#ifndef DOTS
// The products of a group of weights and T tokens.
template <int T, class Weights>
static inline void dots(const Weights& weights, const int8_t* x, long stride, const int32_t* sums, I* products) {
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) products[t] = dot(weights, x + t * stride, sums[t * (stride / GROUP)]);
}
#endif

template <int T>
static void multiply_int8(const uint8_t* panel, int width, const Input& x, int token, const float* bias, float* out,
                          long stride, bool add_) {
    const uint8_t* w = panel + 64;
    const int8_t* bytes = x.bytes + token * x.stride;
    const float* scales = x.scales + token * (x.stride / GROUP);
    const int32_t* sums = x.sums + token * (x.stride / GROUP);
    const long groups = x.stride / GROUP;
    F total[T];
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) total[t] = set(0);
    for (int g = 0; g < width / GROUP; g++) {
        prefetch<T>(w + g * 512L, 512);
        I products[T];
        dots<T>(load_bytes(w + g * 512L), bytes + g * GROUP, x.stride, sums + g, products);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) total[t] = fma(floats(products[t]), set(scales[t * groups + g]), total[t]);
    }
    F rows = load(reinterpret_cast<const float*>(panel));
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) total[t] = mul(total[t], rows);
    finish<T>(total, bias, out, stride, add_);
}

template <int T>
static void multiply_int4(const uint8_t* panel, int width, const Input& x, int token, const float* bias, float* out,
                          long stride, bool add_) {
    const int8_t* bytes = x.bytes + token * x.stride;
    const float* scales = x.scales + token * (x.stride / GROUP);
    const int32_t* sums = x.sums + token * (x.stride / GROUP);
    const long groups = x.stride / GROUP;
    F total[T];
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) total[t] = set(0);
    for (int g = 0; g < width / GROUP; g++) {
        const uint8_t* block = panel + (g / 2) * 576L;
        prefetch<T>(block + (g % 2) * 320, g % 2 ? 256 : 320);
        F rows = load_half(block + (g % 2) * 32);
        I products[T];
        dots<T>(load_nibbles(block + 64 + (g % 2) * 256), bytes + g * GROUP, x.stride, sums + g, products);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++)
            total[t] = fma(floats(products[t]), mul(rows, set(scales[t * groups + g])), total[t]);
    }
    finish<T>(total, bias, out, stride, add_);
}

template <int T, bool HALF>
static void multiply_float(const uint8_t* panel, int width, const Input& x, int token, const float* bias, float* out,
                           long stride, bool add_) {
    const float* values = x.values + token * x.stride;
    F even[T], odd[T];
    for (int t = 0; t < T; t++) even[t] = odd[t] = set(0);
    for (int k = 0; k < width; k += 2) {
        prefetch<T>(panel + k * (HALF ? 32L : 64L), HALF ? 64 : 128);
        F first, second;
        if (HALF) {
            load_bf16(panel + k * 32L, first, second);
        } else {
            const float* w = reinterpret_cast<const float*>(panel) + k * 16L;
            first = load(w), second = load(w + 16);
        }
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            even[t] = fma(first, set(values[t * x.stride + k]), even[t]);
            odd[t] = fma(second, set(values[t * x.stride + k + 1]), odd[t]);
        }
    }
    for (int t = 0; t < T; t++) even[t] = add(even[t], odd[t]);
    finish<T>(even, bias, out, stride, add_);
}

template <int T>
static void multiply_some(const Matrix& m, const uint8_t* panel, const Input& x, int token, const float* bias,
                          float* out, long stride, bool add_) {
    switch (m.kind) {
        case Kind::int4: return multiply_int4<T>(panel, m.width(), x, token, bias, out, stride, add_);
        case Kind::int8: return multiply_int8<T>(panel, m.width(), x, token, bias, out, stride, add_);
        case Kind::bf16: return multiply_float<T, true>(panel, m.width(), x, token, bias, out, stride, add_);
        default: return multiply_float<T, false>(panel, m.width(), x, token, bias, out, stride, add_);
    }
}

template <int T>
struct Count {
    static constexpr int value = T;
};

static void multiply_panel(const Matrix& m, int index, const Input& x, int token, int tokens, const float* bias,
                           float* out, long stride, bool add_) {
    constexpr int FLOATS = TOKENS > 8 ? 8 : TOKENS;  // whose sums take more registers
    const uint8_t* panel = m.panel(index);
    int t = 0;
    auto go = [&](auto some) {
        constexpr int T = decltype(some)::value;
        for (; t + T <= tokens; t += T)
            multiply_some<T>(m, panel, x, token + t, bias, out + t * stride, stride, add_);
    };
    if (m.quantised()) go(Count<TOKENS>());
    go(Count<FLOATS>());
    if (FLOATS > 4) go(Count<4>());
    go(Count<1>());
}

#ifdef PAIRS
// Two panels of bytes and T tokens: each number of a token is read once for both. Meanwhile it asks for some
// of the panels that come next.
template <int T>
static void multiply_pair(const uint8_t* first, const uint8_t* second, int width, const Input& x, int token,
                          const float* bias, float* out, long stride, bool add_, const uint8_t* ahead) {
    const long groups = x.stride / GROUP;
    const int8_t* bytes = x.bytes + token * x.stride;
    const float* scales = x.scales + token * groups;
    const int32_t* sums = x.sums + token * groups;
    F upper[T], lower[T];
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) upper[t] = lower[t] = set(0);
    for (int g = 0; g < width / GROUP; g++) {
        __builtin_prefetch(ahead + g * 64L, 0, 2);
        I above[T], below[T];
        dots<T>(first + 64 + g * 512L, second + 64 + g * 512L, bytes + g * GROUP, x.stride, sums + g, above, below);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            F scale = set(scales[t * groups + g]);
            upper[t] = fma(floats(above[t]), scale, upper[t]), lower[t] = fma(floats(below[t]), scale, lower[t]);
        }
    }
    F rows = load(reinterpret_cast<const float*>(first)), more = load(reinterpret_cast<const float*>(second));
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) upper[t] = mul(upper[t], rows), lower[t] = mul(lower[t], more);
    finish<T>(upper, bias, out, stride, add_);
    finish<T>(lower, bias ? bias + ROWS : nullptr, out + ROWS, stride, add_);
}

static void multiply_two(const uint8_t* first, long panel_bytes, int width, const Input& x, int token, int tokens,
                         const float* bias, float* out, long stride, bool add_) {
    static_assert(PAIRS == 6, "what is left over is counted out");
    const uint8_t *second = first + panel_bytes, *ahead = second + panel_bytes;
    auto go = [&](auto some) {
        constexpr int T = decltype(some)::value;
        multiply_pair<T>(first, second, width, x, token, bias, out, stride, add_, ahead);
        token += T, tokens -= T, out += T * stride, ahead += width / GROUP * 64L;
    };
    while (tokens > 8 || tokens == 6) go(Count<6>());
    if (tokens > 6) go(Count<4>());
    switch (tokens) {
        case 1: return go(Count<1>());
        case 2: return go(Count<2>());
        case 3: return go(Count<3>());
        case 4: return go(Count<4>());
        case 5: return go(Count<5>());
    }
}
#endif

static void multiply(const Matrix& m, int index, int panels, const Input& x, int token, int tokens, const float* bias,
                     float* out, long stride, bool add_) {
    int i = 0;
#ifdef PAIRS
    if (m.kind == Kind::int8 && tokens >= 4) {
        const long bytes = m.panel_bytes();
        const uint8_t* panel = m.panel(index);
        for (; i + 2 <= panels; i += 2, panel += 2 * bytes)
            multiply_two(panel, bytes, m.width(), x, token, tokens, bias ? bias + i * ROWS : nullptr, out + i * ROWS,
                         stride, add_);
    }
#endif
    for (; i < panels; i++)
        multiply_panel(m, index + i, x, token, tokens, bias ? bias + i * ROWS : nullptr, out + i * ROWS, stride, add_);
}

static void quantise(const float* x, int groups, long apart, int8_t* bytes, float* scales, int32_t* sums, long stride) {
    int g = 0;
#ifdef MANY_GROUPS
    for (; g + 16 <= groups; g += 16) {
        quantise_many(x, apart, bytes, scales, sums, stride);
        x += 16 * apart, bytes += 16 * stride, scales += stride / GROUP * 16, sums += stride / GROUP * 16;
    }
#endif
    for (; g < groups; g++, x += apart, bytes += stride, scales += stride / GROUP, sums += stride / GROUP) {
        F first = load(x), second = load(x + 16);
        float size = largest(maximum(magnitude(first), magnitude(second)));
        float times = 127.0f / size;
        F factor = set(!(size > 0) ? 0.0f : times < __FLT_MAX__ ? times : __FLT_MAX__);  // finite, of however little
        *scales = size / 127.0f;
        *sums = -128 * store_bytes(bytes, mul(first, factor), mul(second, factor));
    }
}

// Numbers joined to four vectors of sums, none of which waits for itself, and those added up.
template <class Join>
static inline float sum_over(const float* x, int count, const Join& join) {
    F totals[4] = {set(0), set(0), set(0), set(0)};
    int i = 0;
    for (; i + 64 <= count; i += 64)
        for (int n = 0; n < 4; n++) totals[n] = join(totals[n], load(x + i + 16 * n), 16);
    for (; i < count; i += 16) totals[0] = join(totals[0], load_some(x + i, count - i), count - i);
    return sum(add(add(totals[0], totals[1]), add(totals[2], totals[3])));
}

static void norm(const float* x, int count, const float* weight, const float* bias, float eps, bool centred,
                 float* out) {
    F middle = set(centred ? sum_over(x, count, [](F total, F y, int) { return add(total, y); }) / count : 0.0f);
    float squares = sum_over(x, count, [middle](F total, F y, int left) {
        F away = keep(sub(y, middle), left);
        return fma(away, away, total);
    });
    F factor = set(1.0f / __builtin_sqrtf(squares / count + eps));
    for (int i = 0; i < count; i += 16) {
        F y = mul(sub(load_some(x + i, count - i), middle), factor);
        if (weight) y = mul(y, load_some(weight + i, count - i));
        if (bias) y = add(y, load_some(bias + i, count - i));
        store_some(out + i, y, count - i);
    }
}

// e to the x as by Cephes: 2^n times a polynomial of what is left.
static inline F exponential(F x) {
    x = minimum(maximum(x, set(-87.0f)), set(88.0f));
    F n = nearest(mul(x, set(1.44269504088896341f)));
    F r = fma(n, set(-0.693359375f), x);
    r = fma(n, set(2.12194440e-4f), r);
    F p = set(1.9875691500e-4f);
    p = fma(p, r, set(1.3981999507e-3f));
    p = fma(p, r, set(8.3334519073e-3f));
    p = fma(p, r, set(4.1665795894e-2f));
    p = fma(p, r, set(1.6666665459e-1f));
    p = fma(p, r, set(5.0000001201e-1f));
    p = fma(mul(r, r), p, add(r, set(1)));
    return mul(p, power_of_two(n));
}

#ifndef SCALED
static inline F scaled(F x, F n) { return mul(x, power_of_two(n)); }
#endif

// 2 to the x, at least 2^-126, by the polynomial of least relative error (1e-7) over what is left of x.
static inline F two_to(F x) {
    x = maximum(x, set(-126.0f));
    F n = nearest(x), r = sub(x, n);
    F p = fma(set(1.3276471e-3f), r, set(9.6755410e-3f));
    p = fma(p, r, set(5.5507131e-2f));
    p = fma(p, r, set(2.4022120e-1f));
    p = fma(p, r, set(6.9314694e-1f));
    return scaled(fma(p, r, set(1.0000001f)), n);
}

// The same to 3e-6.
static inline F nearly_two_to(F x) {
    x = maximum(x, set(-126.0f));
    F n = nearest(x), r = sub(x, n);
    F p = fma(set(9.5701019e-3f), r, set(5.5917860e-2f));
    p = fma(p, r, set(2.4024745e-1f));
    p = fma(p, r, set(6.9312181e-1f));
    return scaled(fma(p, r, set(9.9999926e-1f)), n);
}

// y times the logistic function of x · scale.
static inline F logistic(F y, F x, float scale) {
    F power = mul(x, set(-1.44269504088896341f * scale));  // e^-x is 2^(-x log2 e)
    return div(y, add(set(1), two_to(minimum(power, set(126.0f)))));
}

// The error function of a magnitude (Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most).
static inline F error_function(F x) {
    F t = div(set(1), fma(set(0.3275911f), x, set(1)));
    F p = set(1.061405429f);
    p = fma(p, t, set(-1.453152027f));
    p = fma(p, t, set(1.421413741f));
    p = fma(p, t, set(-0.284496736f));
    p = fma(p, t, set(0.254829592f));
    return sub(set(1), mul(mul(p, t), exponential(sub(set(0), mul(x, x)))));
}

static inline F activated(Activation activation, F x) {
    switch (activation) {
        case Activation::relu: return maximum(x, set(0));
        case Activation::squared_relu: x = maximum(x, set(0)); return mul(x, x);
        case Activation::sigmoid: return logistic(set(1), x, 1.0f);
        case Activation::silu: return logistic(x, x, 1.0f);
        case Activation::quick_gelu: return logistic(x, x, 1.702f);
        case Activation::gelu_tanh:  // (1 + tanh y) / 2 is the logistic function of 2 y
            return logistic(x, fma(mul(mul(x, x), x), set(0.044715f), x), 2 * 0.7978845608028654f);
        case Activation::gelu: {  // x/2 (1 + erf(x / √2)), by the symmetry of erf
            F size = error_function(mul(magnitude(x), set(0.70710678118654752f)));
            return mul(set(0.5f), fma(magnitude(x), size, x));
        }
        default: return x;
    }
}

static void activate(Activation activation, float* x, const float* factor, int count) {
    for (int i = 0; i < count; i += 16) {
        F y = activated(activation, load_some(x + i, count - i));
        if (factor) y = mul(y, load_some(factor + i, count - i));
        store_some(x + i, y, count - i);
    }
}

#include "attention.inl"

static void rotate(float* head, const float* cosines, const float* sines, int half) {
    for (int i = 0; i < half; i++) {
        float x = head[i], y = head[i + half];
        float along = x * cosines[i] - y * sines[i], across = y * cosines[i] + x * sines[i];
        head[i] = along, head[i + half] = across;
    }
}

static void add_to(float* x, const float* y, int count) {
    for (int i = 0; i < count; i++) x[i] += y[i];
}

static const Kernels table = {NAME,      multiply, quantise, norm, activate, attend, soften,
                             pack_keys, pack_values, rotate, add_to};
