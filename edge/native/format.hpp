// Weights in their running form: matrices cut into panels of 16 rows, laid out in the order in which products read them.
//
// A panel holds, one after the other, what its 16 rows multiply the next few columns by, so that one vector register is
// 16 rows wide whatever the processor: one of 512 bits (AVX-512), two of 256 (AVX2), four of 128 (NEON); a tile of AMX
// has the same layout. Columns are padded with zeros to a multiple of 64, rows to one of 16.
//
//   f32    [column][row]
//   bf16   [column / 2][row][2]
//   int8   16 float32 scales, then [column / 4][row][4], each weight plus 128 as an unsigned byte
//   int4   for each 64 columns: [2 groups][row] float16 scales, then for each group of 32 columns [4][row][4] bytes,
//          whose low nibble is column 4 i + j of the group and whose high one column 16 + 4 i + j, each weight plus 8
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sepiola {

enum class Kind { f32, bf16, int8, int4 };

constexpr int ROWS = 16;    // of a panel
constexpr int GROUP = 32;   // columns that share a scale: of int4 weights, and of activations
constexpr int BLOCK = 64;   // columns are padded to multiples of it
constexpr long LARGEST = 1L << 24;  // rows or columns of a matrix at most

constexpr int padded(int size, int multiple) { return (size + multiple - 1) / multiple * multiple; }

struct Matrix {
    Kind kind = Kind::f32;
    int rows = 0;
    int columns = 0;
    const uint8_t* data = nullptr;

    int panels() const { return (rows + ROWS - 1) / ROWS; }
    int width() const { return padded(columns, BLOCK); }
    size_t panel_bytes() const;
    size_t bytes() const { return panel_bytes() * panels(); }
    bool quantised() const { return kind == Kind::int8 || kind == Kind::int4; }
    const uint8_t* panel(int index) const { return data + panel_bytes() * index; }
};

// Throws std::invalid_argument for a name that is none.
Kind kind_of(const char* name);

// Packs the panels [first, last) of weights `(rows, columns)` into `out`, which holds the whole matrix.
void pack(const Matrix& shape, const float* weights, uint8_t* out, int first, int last);

// One row as it is after packing, `columns` numbers.
void unpack(const Matrix& matrix, int row, float* out);

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);

inline uint16_t float_to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (value != value) return static_cast<uint16_t>(bits >> 16 | 64);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace sepiola
