// The kernels, over an instruction set's vectors: `F` holds 16 floats, `I` 16 integers, `Bytes` and `Nibbles` a group of
// 32 columns of a panel's 16 rows. A file an instruction set defines those, the operations on them, and how many tokens
// (TOKENS) and scores (SCORES) are held in registers at once; and includes this. Nothing of the standard library may be
// used in here: the linker would let other files run what was compiled for this instruction set.

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }

static inline float sum(F x) {
    float lanes[16];
    store(lanes, x);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

static inline float largest(F x) {
    float lanes[16];
    store(lanes, x);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

// Asks for weights that are read soon: while it computes, the processor itself looks less far ahead.
template <int T>
static inline void prefetch(const uint8_t* from, int bytes) {
    if (T == 1)
        for (int i = 0; i < bytes; i += 64) __builtin_prefetch(from + 8192 + i, 0, 2);
}

template <int T>
static inline void finish(F* sums, const float* bias, float* out, long stride, bool add_) {
    F more = bias ? load(bias) : set(0);
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
    for (int t = 0; t < T; t++) total[t] = set(0);
    for (int g = 0; g < width / GROUP; g++) {
        prefetch<T>(w + g * 512L, 512);
        I products[T];
        dots<T>(load_bytes(w + g * 512L), bytes + g * GROUP, x.stride, sums + g, products);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) total[t] = fma(floats(products[t]), set(scales[t * groups + g]), total[t]);
    }
    F rows = load(reinterpret_cast<const float*>(panel));
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

static void multiply(const Matrix& m, int index, const Input& x, int token, int tokens, const float* bias, float* out,
                     long stride, bool add_) {
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

static void quantise(const float* x, int width, int8_t* bytes, float* scales, int32_t* sums) {
    for (int g = 0; g < width / GROUP; g++) {
        F first = load(x + g * GROUP), second = load(x + g * GROUP + 16);
        float size = largest(maximum(magnitude(first), magnitude(second)));
        F inverse = set(size > 0 ? 127.0f / size : 0.0f);
        scales[g] = size / 127.0f;
        sums[g] = -128 * store_bytes(bytes + g * GROUP, mul(first, inverse), mul(second, inverse));
    }
}

static void norm(const float* x, int count, const float* weight, const float* bias, float eps, bool centred,
                 float* out) {
    F total = set(0);
    float mean = 0;
    if (centred) {
        for (int i = 0; i < count; i += 16) total = add(total, load_some(x + i, count - i));
        mean = sum(total) / count;
        total = set(0);
    }
    F middle = set(mean);
    for (int i = 0; i < count; i += 16) {
        F away = keep(sub(load_some(x + i, count - i), middle), count - i);
        total = fma(away, away, total);
    }
    F factor = set(1.0f / __builtin_sqrtf(sum(total) / count + eps));
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

static inline F sigmoid(F x) { return div(set(1), add(set(1), exponential(sub(set(0), x)))); }

static inline F hyperbolic_tangent(F x) {
    return sub(set(1), div(set(2), add(exponential(add(x, x)), set(1))));
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
        case Activation::sigmoid: return sigmoid(x);
        case Activation::silu: return mul(x, sigmoid(x));
        case Activation::quick_gelu: return mul(x, sigmoid(mul(x, set(1.702f))));
        case Activation::gelu_tanh: {
            F inner = mul(set(0.7978845608028654f), fma(mul(mul(x, x), x), set(0.044715f), x));
            return mul(mul(set(0.5f), x), add(set(1), hyperbolic_tangent(inner)));
        }
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

// Two vectors of keys that follow each other, or of values.
template <bool HALF>
static inline void load_pair(const uint8_t* from, F& first, F& second) {
    if (HALF) return load_bf16(from, first, second);
    first = load(reinterpret_cast<const float*>(from)), second = load(reinterpret_cast<const float*>(from) + 16);
}

template <bool HALF, int Q, int N>
static inline void gather_values(const Attention& a, int first, int last, int column, const float* totals) {
    constexpr int SIZE = HALF ? 2 : 4;
    F sums[Q][N];
    for (int q = 0; q < Q; q++)
        for (int n = 0; n < N; n++) sums[q][n] = set(0);
    for (int page = first / PAGE; page * PAGE < last; page++) {
        const uint8_t* values = a.pages[page] + a.values + column * SIZE;
        int begin = most(first, page * PAGE), end = least(last, (page + 1) * PAGE);
        for (int p = begin; p < end; p++) {
            F value[N];
            for (int n = 0; n < N; n += 2)
                load_pair<HALF>(values + ((p % PAGE) * long(a.value_width) + 16 * n) * SIZE, value[n], value[n + 1]);
#pragma GCC unroll 16
            for (int q = 0; q < Q; q++) {
                F weight = set(a.scores[q * a.score_stride + p]);
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) sums[q][n] = fma(weight, value[n], sums[q][n]);
            }
        }
    }
    for (int q = 0; q < Q; q++)
        for (int n = 0; n < N; n++) {
            int at = column + 16 * n;
            store_some(a.out[q] + at, div(sums[q][n], set(totals[q])), a.head_width - at);
        }
}

// Scores of the positions of B blocks from p on: so many sums at once that none waits for itself.
template <bool HALF, int Q, int B>
static inline void score_blocks(const Attention& a, int p) {
    constexpr int SIZE = HALF ? 2 : 4;
    const uint8_t* keys = a.pages[p / PAGE] + a.keys + long(p % PAGE) * a.key_width * SIZE;
    F score[Q][B];
    for (int q = 0; q < Q; q++)
        for (int b = 0; b < B; b++) score[q][b] = set(0);
    for (int d = 0; d < a.head_width; d += 2) {
        F key[B], next[B];
        for (int b = 0; b < B; b++) load_pair<HALF>(keys + 16L * (d + b * a.key_width) * SIZE, key[b], next[b]);
#pragma GCC unroll 16
        for (int q = 0; q < Q; q++)
#pragma GCC unroll 4
            for (int b = 0; b < B; b++) score[q][b] = fma(key[b], set(a.query[q][d]), score[q][b]);
        if (d + 1 < a.head_width)
#pragma GCC unroll 16
            for (int q = 0; q < Q; q++)
#pragma GCC unroll 4
                for (int b = 0; b < B; b++) score[q][b] = fma(next[b], set(a.query[q][d + 1]), score[q][b]);
    }
    for (int q = 0; q < Q; q++)
        for (int b = 0; b < B; b++) {
            int at = p + 16 * b;
            F scaled = mul(score[q][b], set(a.scale));
            store(a.scores + q * a.score_stride + at, a.bias[q] ? add(scaled, load(a.bias[q] + at)) : scaled);
        }
}

template <bool HALF, int Q>
static void attend_some(const Attention& a) {
    constexpr int BLOCKS = Q <= SCORES / 4 ? 4 : Q <= SCORES / 2 ? 2 : 1;
    int first = a.begin[0], last = a.end[0];
    for (int q = 1; q < Q; q++) first = least(first, a.begin[q]), last = most(last, a.end[q]);
    int low = first / 16 * 16, high = (last + 15) / 16 * 16;
    for (int p = low; p < high;) {
        if (p % (16 * BLOCKS) == 0 && p + 16 * BLOCKS <= high)
            score_blocks<HALF, Q, BLOCKS>(a, p), p += 16 * BLOCKS;
        else
            score_blocks<HALF, Q, 1>(a, p), p += 16;
    }
    float totals[Q];
    for (int q = 0; q < Q; q++) {
        float* scores = a.scores + q * a.score_stride;
        F top = set(-__builtin_inff()), total = set(0);
        for (int p = low; p < a.begin[q]; p++) scores[p] = -__builtin_inff();
        for (int p = a.end[q]; p < high; p++) scores[p] = -__builtin_inff();
        for (int p = low; p < high; p += 16) top = maximum(load(scores + p), top);
        F peak = set(largest(top));
        for (int p = low; p < high; p += 16) store(scores + p, exponential(sub(load(scores + p), peak)));
        for (int p = low; p < a.begin[q]; p++) scores[p] = 0;
        for (int p = a.end[q]; p < high; p++) scores[p] = 0;
        for (int p = low; p < high; p += 16) total = add(total, load(scores + p));
        totals[q] = sum(total);
    }
    constexpr int COLUMNS = Q > 4 ? 2 : 4;
    int column = 0;
    for (; column + 16 * COLUMNS <= a.value_width; column += 16 * COLUMNS)
        gather_values<HALF, Q, COLUMNS>(a, first, last, column, totals);
    for (; column < a.value_width; column += 32) gather_values<HALF, Q, 2>(a, first, last, column, totals);
}

template <bool HALF>
static void attend_queries(const Attention& a) {
    switch (a.queries) {
        case 1: return attend_some<HALF, 1>(a);
        case 2: return attend_some<HALF, 2>(a);
        case 3: return attend_some<HALF, 3>(a);
        case 4: return attend_some<HALF, 4>(a);
        default: return attend_some<HALF, SCORES >= 16 ? 8 : 4>(a);
    }
}

// As many queries meet each key as registers hold.
static void attend(const Attention& a) {
    Attention some = a;
    for (int done = 0; done < a.queries; done += some.queries) {
        int left = a.queries - done;
        some.queries = left >= 8 && SCORES >= 16 ? 8 : least(left, 4);
        for (int q = 0; q < some.queries; q++) {
            some.query[q] = a.query[done + q], some.out[q] = a.out[done + q], some.bias[q] = a.bias[done + q];
            some.begin[q] = a.begin[done + q], some.end[q] = a.end[done + q];
        }
        a.half ? attend_queries<true>(some) : attend_queries<false>(some);
    }
}

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

static const Kernels table = {NAME, multiply, quantise, norm, activate, attend, rotate, add_to};
