// Patches as tokens: one matrix, or two with an activation between them, over patches laid together in squares (pixel
// shuffle) or in lines.

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "parts.hpp"

namespace sepiola {

namespace {

class Projection : public Bridge {
public:
    Projection(const Settings& s, Model& model)
        : Bridge(model), patches_(s.whole("patches", 1, LARGEST)), shuffle_(s.whole("shuffle", 1, 64)),
          neighbours_(s.whole("neighbours", 1, 4096)), activation_(activation(s)), width_(model.spec().width) {
        image_width = s.whole("image_width", 1, LARGEST / (shuffle_ * shuffle_ * neighbours_));
        int squares = shuffle_ * shuffle_;
        grid_ = int(std::lround(std::sqrt(double(patches_)))) / shuffle_;
        if (patches_ % (squares * neighbours_) || (shuffle_ > 1 && long(grid_) * grid_ * squares != patches_))
            throw std::invalid_argument("the spec's 'patches' (" + std::to_string(patches_) +
                                        ") cannot be laid together by its 'shuffle' and 'neighbours'");
        tokens = patches_ / (squares * neighbours_);
        int into = image_width * squares * neighbours_;
        for (int i = 0, layers = s.whole("layers", 1, 2); i < layers; i++)
            layers_.push_back(linear("bridge." + std::to_string(i), width_, i ? width_ : into));
    }

    void vectors(int pictures, int patches, const float* features, int, const int32_t*, const int32_t*,
                 float* out) override {
        if (patches != patches_)
            throw std::invalid_argument("pictures have " + std::to_string(patches) + " features; this bridge reads " +
                                        std::to_string(patches_));
        Vectors rows(pictures * tokens, layers_[0].matrix.columns), made(pictures * tokens, width_);
        each(pictures * tokens, [&](int index) {
            const float* picture = features + size_t(index / tokens) * patches_ * image_width;
            float* to = rows.row(index);
            int token = index % tokens, parts = shuffle_ * shuffle_ * neighbours_;
            for (int i = 0; i < parts; i++, to += image_width)
                std::memcpy(to, picture + size_t(patch(token, i)) * image_width, size_t(image_width) * 4);
        });
        bool more = layers_.size() > 1;
        multiply(layers_[0], rows, made, more ? activation_ : Activation::none);
        if (!more) return copy(made, out);
        Vectors last(made.count, width_);
        multiply(layers_[1], made, last);
        copy(last, out);
    }

private:
    // Which patch is the i-th of those that make a token.
    int patch(int token, int i) const {
        if (shuffle_ == 1) return token * neighbours_ + i;
        int line = token / grid_ * shuffle_ + i / shuffle_, column = token % grid_ * shuffle_ + i % shuffle_;
        return line * grid_ * shuffle_ + column;
    }

    int patches_, shuffle_, neighbours_;
    Activation activation_;
    int width_, grid_ = 0;
    std::vector<Linear> layers_;
};

}  // namespace

std::unique_ptr<Bridge> make_projection(const Settings& settings, Model& model) {
    return std::make_unique<Projection>(settings, model);
}

}  // namespace sepiola
