#include "format.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

namespace sepiola {

namespace {

constexpr size_t INT4_BLOCK = 2 * ROWS * 2 + 2 * ROWS * GROUP / 2;  // bytes of 64 columns of a panel

uint32_t bits(float value) {
    uint32_t result;
    std::memcpy(&result, &value, 4);
    return result;
}

float number(uint32_t bits) {
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

// The nearest whole number: adding 1.5 · 2^23 leaves no room for a fraction. Numbers are small and finite here.
inline float nearest(float value) { return value + 12582912.0f - 12582912.0f; }

inline float clipped(float value, float low, float high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

// Whether weights are whole multiples of a scale that 4 bits hold.
bool rounded(const float* weights, float scale) {
    float inverse = 1 / scale;
    if (scale == 0 || !std::isfinite(scale) || !std::isfinite(inverse)) return false;
    for (int i = 0; i < GROUP; i++)
        if (scale * clipped(nearest(weights[i] * inverse), -8, 7) != weights[i]) return false;
    return true;
}

// The scale of a group of int4 weights: that which they were rounded by before (with calibration data, say), or else of
// some around the largest weight's own the one with the least squared error.
float int4_scale(const float* weights) {
    float extreme = 0;
    for (int i = 0; i < GROUP; i++)
        if (std::fabs(weights[i]) > std::fabs(extreme)) extreme = weights[i];
    for (int whole = 8; whole >= 1; whole--)
        if (float scale = half_to_float(float_to_half(extreme / -whole)); rounded(weights, scale)) return scale;
    float best = 0, least = INFINITY;
    for (int step = -4; step <= 8; step++) {
        float scale = half_to_float(float_to_half(extreme / (-8.0f + 0.2f * step))), inverse = 1 / scale;
        if (scale == 0 || !std::isfinite(scale) || !std::isfinite(inverse)) continue;
        float error = 0;
        float lanes[4] = {0, 0, 0, 0};
        for (int i = 0; i < GROUP; i += 4)
            for (int j = 0; j < 4; j++) {
                float off = weights[i + j] - scale * clipped(nearest(weights[i + j] * inverse), -8, 7);
                lanes[j] += off * off;
            }
        for (float lane : lanes) error += lane;
        if (error < least) least = error, best = scale;
    }
    return best;
}

void pack_int4(const Matrix& m, const float* row, int lane, uint8_t* panel) {
    for (int block = 0; block < m.width() / BLOCK; block++) {
        uint8_t* out = panel + INT4_BLOCK * block;
        for (int group = 0; group < 2; group++) {
            float scale = int4_scale(row + block * BLOCK + group * GROUP);
            uint16_t half = float_to_half(scale);
            std::memcpy(out + (group * ROWS + lane) * 2, &half, 2);
            uint8_t* nibbles = out + 2 * ROWS * 2 + group * ROWS * GROUP / 2;
            const float* w = row + block * BLOCK + group * GROUP;
            float inverse = scale == 0 ? 0 : 1 / scale;
            for (int i = 0; i < GROUP / 2; i++) {
                int low = int(clipped(nearest(w[i] * inverse), -8, 7)) + 8;
                int high = int(clipped(nearest(w[16 + i] * inverse), -8, 7)) + 8;
                nibbles[(i / 4 * ROWS + lane) * 4 + i % 4] = static_cast<uint8_t>(low | high << 4);
            }
        }
    }
}

void pack_int8(const Matrix& m, const float* row, int lane, uint8_t* panel) {
    float largest = 0;
    for (int i = 0; i < m.columns; i++) largest = std::max(largest, std::fabs(row[i]));
    float scale = largest / 127, inverse = largest < 1e-30f ? 0 : 127 / largest;
    std::memcpy(panel + 4 * lane, &scale, 4);
    uint8_t* out = panel + 4 * ROWS;
    for (int i = 0; i < m.width(); i++)
        out[(i / 4 * ROWS + lane) * 4 + i % 4] = static_cast<uint8_t>(128 + int(clipped(nearest(row[i] * inverse), -127, 127)));
}

}  // namespace

size_t Matrix::panel_bytes() const {
    size_t k = width();
    switch (kind) {
        case Kind::f32: return k * ROWS * 4;
        case Kind::bf16: return k * ROWS * 2;
        case Kind::int8: return 4 * ROWS + k * ROWS;
        default: return k / BLOCK * INT4_BLOCK;
    }
}

Kind kind_of(const char* name) {
    std::string text(name);
    if (text == "f32") return Kind::f32;
    if (text == "bf16") return Kind::bf16;
    if (text == "int8") return Kind::int8;
    if (text == "int4") return Kind::int4;
    throw std::invalid_argument("a matrix of kind '" + text + "'; expected f32, bf16, int8 or int4");
}

void pack(const Matrix& m, const float* weights, uint8_t* out, int first, int last) {
    float* row = new float[m.width()];
    for (int index = first; index < last; index++) {
        uint8_t* panel = out + m.panel_bytes() * index;
        for (int lane = 0; lane < ROWS; lane++) {
            std::fill(row, row + m.width(), 0.0f);
            int at = index * ROWS + lane;
            if (at < m.rows) std::memcpy(row, weights + size_t(at) * m.columns, 4 * size_t(m.columns));
            for (int i = 0; m.quantised() && i < m.columns; i++)
                if (!std::isfinite(row[i])) row[i] = 0;  // it would poison all that share its scale
            if (m.kind == Kind::int4) pack_int4(m, row, lane, panel);
            if (m.kind == Kind::int8) pack_int8(m, row, lane, panel);
            for (int i = 0; i < m.width(); i++) {
                if (m.kind == Kind::f32) std::memcpy(panel + (size_t(i) * ROWS + lane) * 4, row + i, 4);
                if (m.kind == Kind::bf16) {
                    uint16_t value = float_to_bf16(row[i]);
                    std::memcpy(panel + ((size_t(i) / 2 * ROWS + lane) * 2 + i % 2) * 2, &value, 2);
                }
            }
        }
    }
    delete[] row;
}

void unpack(const Matrix& m, int row, float* out) {
    const uint8_t* panel = m.panel(row / ROWS);
    int lane = row % ROWS;
    if (m.kind == Kind::f32) {
        for (int i = 0; i < m.columns; i++) std::memcpy(out + i, panel + (size_t(i) * ROWS + lane) * 4, 4);
    } else if (m.kind == Kind::bf16) {
        for (int i = 0; i < m.columns; i++) {
            uint16_t value;
            std::memcpy(&value, panel + ((size_t(i) / 2 * ROWS + lane) * 2 + i % 2) * 2, 2);
            out[i] = number(uint32_t(value) << 16);
        }
    } else if (m.kind == Kind::int8) {
        float scale;
        std::memcpy(&scale, panel + 4 * lane, 4);
        for (int i = 0; i < m.columns; i++)
            out[i] = scale * (panel[4 * ROWS + (i / 4 * ROWS + lane) * 4 + i % 4] - 128);
    } else {
        for (int i = 0; i < m.columns; i++) {
            const uint8_t* block = panel + INT4_BLOCK * (i / BLOCK);
            int group = i % BLOCK / GROUP, at = i % (GROUP / 2);
            uint16_t half;
            std::memcpy(&half, block + (group * ROWS + lane) * 2, 2);
            uint8_t both = block[2 * ROWS * 2 + group * ROWS * GROUP / 2 + (at / 4 * ROWS + lane) * 4 + at % 4];
            int weight = i % GROUP < GROUP / 2 ? both & 15 : both >> 4;
            out[i] = half_to_float(half) * (weight - 8);
        }
    }
}

float half_to_float(uint16_t half) {
    uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return number(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) return number(sign | bits(std::ldexp(float(fraction), -24)));
    return number(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t float_to_half(float value) {
    uint32_t raw = bits(value), sign = raw >> 16 & 0x8000;
    float size = std::fabs(value);
    if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
    if (size >= 65520.0f) return static_cast<uint16_t>(sign | 0x7c00);
    if (size < 6.103515625e-05f) return static_cast<uint16_t>(sign | uint32_t(std::nearbyint(std::ldexp(size, 24))));
    uint32_t body = raw & 0x7fffffff;
    return static_cast<uint16_t>(sign | ((body - (112u << 23) + 0xfff + (body >> 13 & 1)) >> 13));
}

}  // namespace sepiola
