#include "backbone.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace sepiola {

namespace {

constexpr int TOGETHER = 512;     // squares that are laid out at once
constexpr long PIXELS = 1 << 18;  // of pictures that go together
constexpr long MOST = 1 << 24;    // of one

int halved(int side, int stride) { return (side + stride - 1) / stride; }

}  // namespace

Backbone::Backbone(const Settings& s, Model& model) : Vision(model) {
    bool bottleneck = s.flag("bottleneck");
    std::vector<int> widths = s.wholes("widths"), depths = s.wholes("depths");
    if (widths.empty() || widths.size() != depths.size() || widths.size() > 16)
        throw std::invalid_argument("the spec's 'widths' and 'depths' are not as many, or none");
    int from = s.whole("stem_width", 1, 1 << 16);
    stem_ = convolution("vision.stem", 3, from, 7, 2);
    for (size_t stage = 0; stage < widths.size(); stage++) {
        int to = widths[stage];
        if (to < 4 || to > 1 << 16 || depths[stage] < 1 || depths[stage] > 1024)
            throw std::invalid_argument("the spec's 'widths' or 'depths' are out of bounds");
        for (int depth = 0; depth < depths[stage]; depth++) {
            std::string at = "vision.stage." + std::to_string(stage) + "." + std::to_string(depth) + ".";
            int stride = stage && !depth ? 2 : 1, inner = to / 4;
            Block block;
            auto add = [&](int into, int outof, int kernel, int by) {
                std::string name = at + std::to_string(block.convolutions.size());
                block.convolutions.push_back(convolution(name, into, outof, kernel, by));
            };
            if (bottleneck)
                add(from, inner, 1, 1), add(inner, inner, 3, stride), add(inner, to, 1, 1);
            else
                add(from, to, 3, stride), add(to, to, 3, 1);
            if (from != to || stride != 1) block.shortcut = convolution(at + "shortcut", from, to, 1, stride);
            blocks_.push_back(std::move(block));
            from = to;
        }
    }
    map_width_ = from;
}

Backbone::Convolution Backbone::convolution(const std::string& name, int from, int to, int kernel, int stride) {
    return {linear(name, to, from * kernel * kernel), kernel, stride};
}

int Backbone::together(int height, int width) const {
    if (height < 1 || width < 1 || long(height) * width > MOST)
        throw std::invalid_argument("pictures are " + std::to_string(height) + " × " + std::to_string(width) +
                                    " pixels; expected at most 2**24 of them");
    return int(std::max(1L, PIXELS / (long(height) * width)));
}

Map Backbone::shaped(const Convolution& c, int pictures, int rows, int columns) {
    int down = halved(rows, c.stride), across = halved(columns, c.stride);
    return {down, across, Vectors(pictures * down * across, c.linear.matrix.rows)};
}

void Backbone::convolve(const Convolution& c, const Square& square, Map& out, Activation activation, bool add) {
    int squares = out.vectors.count, each_picture = out.rows * out.columns;
    Vectors laid(std::min(TOGETHER, squares), c.linear.matrix.columns);
    for (int first = 0; first < squares; first += TOGETHER) {
        laid.count = std::min(TOGETHER, squares - first);
        each(laid.count, [&](int index) {
            int at = first + index, place = at % each_picture;
            square(at / each_picture, place / out.columns, place % out.columns, laid.row(index));
        });
        multiply(c.linear, laid, out.vectors, activation, add, first);
    }
}

void Backbone::convolve(const Convolution& c, Map& map, Map& out, Activation activation, bool add) {
    if (c.kernel == 1 && c.stride == 1) return multiply(c.linear, map.vectors, out.vectors, activation, add);
    int from = map.vectors.columns, before = c.kernel / 2;
    convolve(
        c,
        [&](int picture, int row, int column, float* to) {
            for (int y = 0; y < c.kernel; y++)
                for (int x = 0; x < c.kernel; x++, to += from) {
                    int down = row * c.stride + y - before, across = column * c.stride + x - before;
                    if (down < 0 || down >= map.rows || across < 0 || across >= map.columns)
                        std::memset(to, 0, size_t(from) * 4);
                    else
                        std::memcpy(to, map.vectors.row((picture * map.rows + down) * map.columns + across),
                                    size_t(from) * 4);
                }
        },
        out, activation, add);
}

// The greatest of 3 × 3 squares, every second one, or 0.
Map Backbone::pooled(const Map& map, int pictures) {
    Map out{halved(map.rows, 2), halved(map.columns, 2), Vectors(0, 1)};
    out.vectors = Vectors(pictures * out.rows * out.columns, map.vectors.columns);
    each(out.vectors.count, [&](int index) {
        int picture = index / (out.rows * out.columns), place = index % (out.rows * out.columns);
        float* to = out.vectors.row(index);
        for (int y = -1; y < 2; y++)
            for (int x = -1; x < 2; x++) {
                int down = place / out.columns * 2 + y, across = place % out.columns * 2 + x;
                if (down < 0 || down >= map.rows || across < 0 || across >= map.columns) continue;
                const float* from = map.vectors.row((picture * map.rows + down) * map.columns + across);
                for (int d = 0; d < map.vectors.columns; d++) to[d] = std::max(to[d], from[d]);
            }
    });
    return out;
}

Map Backbone::map(int pictures, int height, int width, const float* pixels) {
    Map stem = shaped(stem_, pictures, height, width);
    convolve(
        stem_,
        [&](int picture, int row, int column, float* to) {
            for (int y = row * 2 - 3; y < row * 2 + 4; y++)
                for (int x = column * 2 - 3; x < column * 2 + 4; x++)
                    for (int channel = 0; channel < 3; channel++, to++) {
                        bool inside = y >= 0 && y < height && x >= 0 && x < width;
                        *to = inside ? pixels[((size_t(picture) * 3 + channel) * height + y) * width + x] : 0.0f;
                    }
        },
        stem, Activation::none, false);
    Map x = pooled(stem, pictures);
    for (const Block& block : blocks_) {
        Map inner{x.rows, x.columns, Vectors(0, 1)};
        for (size_t i = 0; i + 1 < block.convolutions.size(); i++) {
            const Convolution& c = block.convolutions[i];
            Map next = shaped(c, pictures, inner.rows, inner.columns);
            convolve(c, i ? inner : x, next, Activation::relu, false);
            inner = std::move(next);
        }
        if (block.shortcut) {
            Map out = shaped(*block.shortcut, pictures, x.rows, x.columns);
            convolve(*block.shortcut, x, out, Activation::none, false);
            x = std::move(out);
        }
        convolve(block.convolutions.back(), inner, x, Activation::relu, true);
    }
    return x;
}

namespace {

class ResNet : public Backbone {
public:
    ResNet(const Settings& s, Model& model) : Backbone(s, model), side_(s.whole("size", 1, 1 << 16)) {
        width = map_width_, patches = 1;
        int side = side_;
        for (size_t halvings = 0; halvings < s.wholes("widths").size() + 1; halvings++) side = halved(side, 2);
        patches = side * side;
    }

    void features(int pictures, int height, int columns, const float* pixels, float* out) override {
        if (height != side_ || columns != side_)
            throw std::invalid_argument("pictures are " + std::to_string(height) + " × " + std::to_string(columns) +
                                        " pixels; this vision encoder reads " + std::to_string(side_) + " × " +
                                        std::to_string(side_));
        int most = together(height, columns);
        for (int first = 0; first < pictures; first += most) {
            const float* from = pixels + size_t(first) * 3 * height * columns;
            Map made = map(std::min(most, pictures - first), height, columns, from);
            copy(made.vectors, out + size_t(first) * patches * width);
        }
    }

private:
    int side_;
};

}  // namespace

std::unique_ptr<Vision> make_resnet(const Settings& settings, Model& model) {
    return std::make_unique<ResNet>(settings, model);
}

}  // namespace sepiola
