// Attention over keys and values of floats, and over such that are matrices of bytes: a part of kernels.inl.

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

// Attention in bytes: keys and values are matrices, packed here, queries and probabilities what they multiply.

constexpr int WIDEST = 1024;  // of heads

static inline int whole(int size, int of) { return (size + of - 1) / of * of; }

// Four rows of 16 bytes, or of four words, one under the other: as matrices hold them, four of a row beside four of the next.
typedef uint8_t Sixteen __attribute__((vector_size(16)));
typedef uint16_t Eight __attribute__((vector_size(16)));
typedef uint32_t Four __attribute__((vector_size(16)));

static inline Four row_of(const int8_t* p) {
    Four row;
    __builtin_memcpy(&row, p, 16);
    return row ^ 0x80808080u;
}

static inline void put(uint8_t* to, Four row) { __builtin_memcpy(to, &row, 16); }

static inline void interleave_words(const int8_t* rows, long stride, uint8_t* to, long apart) {
    Four a = row_of(rows), b = row_of(rows + stride), c = row_of(rows + 2 * stride), d = row_of(rows + 3 * stride);
    Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    Four more_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), more_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    put(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    put(to + apart, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    put(to + 2 * apart, __builtin_shufflevector(more_ab, more_cd, 0, 1, 4, 5));
    put(to + 3 * apart, __builtin_shufflevector(more_ab, more_cd, 2, 3, 6, 7));
}

static inline void interleave_bytes(const int8_t* rows, long stride, uint8_t* to) {
    Sixteen r[4];
    for (int i = 0; i < 4; i++) r[i] = Sixteen(row_of(rows + i * stride));
    auto low = [](Sixteen a, Sixteen b) {
        return Eight(__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    };
    auto high = [](Sixteen a, Sixteen b) {
        return Eight(__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
    };
    auto both = [&](Eight ab, Eight cd) {
        put(to, Four(__builtin_shufflevector(ab, cd, 0, 8, 1, 9, 2, 10, 3, 11)));
        put(to + 16, Four(__builtin_shufflevector(ab, cd, 4, 12, 5, 13, 6, 14, 7, 15)));
        to += 32;
    };
    both(low(r[0], r[1]), low(r[2], r[3]));
    both(high(r[0], r[1]), high(r[2], r[3]));
}

// Asks for a row that is read soon: rows lie too far from each other for the processor to see what comes.
static inline void ask_for(const float* rows, long stride, int row, int count, int columns) {
    const float* from = rows + least(row + 12, count - 1) * stride;
    for (int d = 0; d < columns; d += 16) __builtin_prefetch(from + d);
}

static void pack_keys(const float* keys, long stride, int count, int columns, uint8_t* out) {
    float mean[WIDEST] = {}, row[WIDEST];
    int8_t bytes[ROWS * WIDEST];
    const int width = whole(columns, BLOCK);
    for (int p = 0; p < count; p++) {
        ask_for(keys, stride, p, count, columns);
        for (int d = 0; d < columns; d++) mean[d] += keys[p * stride + d];
    }
    for (int d = 0; d < columns; d++) mean[d] /= count;
    for (int first = 0; first < count; first += ROWS, out += 64 + ROWS * width) {
        float scales[ROWS];
        for (int r = 0; r < ROWS; r++) {
            const float* key = keys + (first + r) * stride;
            F top = set(0);
            for (int d = 0; d < width; d += 16) {
                bool there = first + r < count && d < columns;
                F x = there ? sub(load_some(key + d, columns - d), load(mean + d)) : set(0);
                top = maximum(top, magnitude(x));
                store(row + d, x);
            }
            float size = largest(top);
            scales[r] = size / 127.0f;
            F inverse = set(size > 0 ? 127.0f / size : 0.0f);
            for (int d = 0; d < width; d += 32)
                store_bytes(bytes + r * WIDEST + d, mul(load(row + d), inverse), mul(load(row + d + 16), inverse));
        }
        __builtin_memcpy(out, scales, 64);
        for (int c = 0; c < width; c += 16)
            for (int r = 0; r < ROWS; r += 4)
                interleave_words(bytes + r * WIDEST + c, WIDEST, out + 64 + (c / 4 * ROWS + r) * 4, ROWS * 4);
    }
}

static void pack_values(const float* values, long stride, int count, int columns, uint8_t* out) {
    float inverse[WIDEST] = {}, scales[WIDEST] = {};
    int8_t bytes[4 * WIDEST];
    const int rows = whole(columns, ROWS), width = whole(count, BLOCK);
    const long panel = 64 + long(ROWS) * width;
    for (int p = 0; p < count; p++) {
        ask_for(values, stride, p, count, columns);
        for (int d = 0; d < columns; d++) {
            float size = __builtin_fabsf(values[p * stride + d]);
            scales[d] = size > scales[d] ? size : scales[d];
        }
    }
    for (int d = 0; d < columns; d++) {
        inverse[d] = scales[d] > 0 ? 127.0f / scales[d] : 0.0f;
        scales[d] /= 127.0f;
    }
    for (int d = 0; d < rows; d += ROWS) __builtin_memcpy(out + d / ROWS * panel, scales + d, 64);
    for (int p = 0; p < width; p += 4) {
        for (int i = 0; i < 4; i++)
            for (int d = 0; d < rows; d += 32) {
                const float* x = values + (p + i) * stride + d;
                bool there = p + i < count;
                F first = there ? load_some(x, columns - d) : set(0);
                F second = there && d + 16 < columns ? load_some(x + 16, columns - d - 16) : set(0);
                store_bytes(bytes + i * WIDEST + d, mul(first, load(inverse + d)), mul(second, load(inverse + d + 16)));
            }
        for (int d = 0; d < rows; d += ROWS) interleave_bytes(bytes + d, WIDEST, out + d / ROWS * panel + 64 + p * ROWS);
    }
}

static float soften(float* x, int count, float scale) {
    F least = set(-__builtin_inff()), tops[4] = {least, least, least, least}, total = set(0);  // no maximum waits for itself
    for (int i = count; i < whole(count, BLOCK); i++) x[i] = x[0];
    for (int i = 0; i < count; i += BLOCK)
        for (int n = 0; n < 4; n++) tops[n] = maximum(load(x + i + 16 * n), tops[n]);
    F top = maximum(maximum(tops[0], tops[1]), maximum(tops[2], tops[3]));
    const float doublings = scale * 1.44269504088896341f;  // e^x is 2^(x log2 e)
    const F factor = set(doublings), shift = mul(set(largest(top)), set(-doublings));
    for (int i = 0; i < count; i += 16) {
        F y = nearly_two_to(fma(load(x + i), factor, shift));
        if (i + 16 > count) y = keep(y, count - i);
        store(x + i, y);
        total = add(total, y);
    }
    for (int i = whole(count, 16); i < whole(count, BLOCK); i += 16) store(x + i, set(0));
    return sum(total);
}
