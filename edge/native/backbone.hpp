// The convolutions of a ResNet, whose norms are folded into their weights: each is a product over the squares of a map,
// laid out as rows.
#pragma once

#include "parts.hpp"

namespace sepiola {

// A map of each picture: `rows` rows of pixels by `columns`, `vectors.columns` numbers each, picture after picture.
struct Map {
    int rows, columns;
    Vectors vectors;
};

class Backbone : public Vision {
protected:
    Backbone(const Settings& settings, Model& model);

    // Pixels `(pictures, 3, height, width)` to the last stage's map. So many pictures go together at most.
    Map map(int pictures, int height, int width, const float* pixels);
    int together(int height, int width) const;

    int map_width_ = 0;

private:
    struct Convolution {
        Linear linear;
        int kernel, stride;
    };
    struct Block {
        std::vector<Convolution> convolutions;
        std::optional<Convolution> shortcut;
    };

    Convolution convolution(const std::string& name, int from, int to, int kernel, int stride);
    // out = activation(convolution of what `square` writes), added to what is there with `add`.
    using Square = std::function<void(int picture, int row, int column, float* to)>;
    void convolve(const Convolution& convolution, const Square& square, Map& out, Activation activation, bool add);
    void convolve(const Convolution& convolution, Map& map, Map& out, Activation activation, bool add);
    static Map shaped(const Convolution& convolution, int pictures, int rows, int columns);
    Map pooled(const Map& map, int pictures);

    Convolution stem_;
    std::vector<Block> blocks_;
};

}  // namespace sepiola
