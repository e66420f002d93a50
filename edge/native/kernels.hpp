// What is computed: one table of functions for each instruction set, all written once (kernels.inl) over vectors of 16.
//
// Every set gives the same bits for the same input: integers are summed exactly, and floating-point sums have one order,
// 16 lanes and a tree over them, with fused multiply-adds everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "format.hpp"

namespace sepiola {

// Rows of numbers that matrices multiply, each `stride` long and padded with zeros; and the same in eight bits, with a
// scale for each group of 32, and its sum times -128: what weights that have 128 added to them multiply too much.
struct Input {
    float* values;
    int8_t* bytes;
    float* scales;
    int32_t* sums;
    long stride;
};

enum class Activation { none, relu, gelu, gelu_tanh, quick_gelu, silu, squared_relu, sigmoid };

constexpr int QUERIES = 8;  // that meet the same keys together
constexpr int PAGE = 64;    // positions whose keys and values lie together

// Queries of one head of keys and values, which begin at the bytes `keys` and `values` of each page. Query i sees the
// positions [begin, end); `bias` is added to its scores, a number a position, and can be read 16 positions before and
// after those.
//
//   f32    keys [position / 16][key_width][16], values [position][value_width]
//   bf16   keys [position / 16][key_width / 2][16][2], values [position][value_width / 32][16][2], whose last index
//          says whether a column is one of the first 16 or of the last
struct Attention {
    bool half;  // bf16, not f32
    const uint8_t* const* pages;
    long keys, values;
    int head_width, key_width, value_width;
    float scale;
    int queries;
    const float* query[QUERIES];
    float* out[QUERIES];
    int begin[QUERIES], end[QUERIES];
    const float* bias[QUERIES];
    float* scores;  // [QUERIES][score_stride]
    long score_stride;
};

struct Kernels {
    const char* name;

    // out[t * stride + row] = bias[row] + row · token t, for the rows of so many panels; with `add`, added to what is
    // there.
    void (*multiply)(const Matrix& matrix, int panel, int panels, const Input& input, int token, int tokens,
                     const float* bias, float* out, long stride, bool add);
    // Fills the bytes, scales and sums of groups of 32 numbers, which begin `apart` from each other, their bytes `stride`.
    void (*quantise)(const float* values, int groups, long apart, int8_t* bytes, float* scales, int32_t* sums,
                     long stride);
    // LayerNorm (`centred`) or RMSNorm over `count` numbers; `weight` and `bias` may be null.
    void (*norm)(const float* x, int count, const float* weight, const float* bias, float eps, bool centred,
                 float* out);
    // x = activation(x), times `factor` where that is not null.
    void (*activate)(Activation activation, float* x, const float* factor, int count);
    void (*attend)(const Attention& attention);
    // x = e to the power of `scale` · (x - the largest), zeros from `count` to the next multiple of 64; returns the sum.
    float (*soften)(float* x, int count, float scale);
    // Rows of keys, each less the mean of all, as an int8 matrix `(count, columns)`: scores differ by a number for all.
    void (*pack_keys)(const float* keys, long stride, int count, int columns, uint8_t* matrix);
    // Rows of values as the columns of an int8 matrix `(columns, count)`.
    void (*pack_values)(const float* values, long stride, int count, int columns, uint8_t* matrix);
    // Turns the two halves of a head by angles with these cosines and sines.
    void (*rotate)(float* head, const float* cosines, const float* sines, int half);
    void (*add)(float* x, const float* y, int count);

    // The same of whole rows of an input, whose values may lie elsewhere.
    void quantise_rows(const Input& x, long first, long count, const float* values = nullptr) const {
        long at = first * x.stride;
        quantise(values ? values : x.values + at, int(count * x.stride / GROUP), GROUP, x.bytes + at, x.scales + at / GROUP,
                 x.sums + at / GROUP, GROUP);
    }
};

const Kernels* scalar_kernels();
const Kernels* avx2_kernels();  // null where the processor has it not, as all below
const Kernels* avx512_kernels();
const Kernels* neon_kernels();
const Kernels* dotprod_kernels();

// Those that this processor has, the best first.
std::vector<const Kernels*> all_kernels();

// The named kernels, or the best that this processor has. Throws std::invalid_argument for those that it has not.
const Kernels& kernels(const char* name);

}  // namespace sepiola
