// What stands before the text: a vision encoder, which makes features of pixels, and a bridge, which makes of features
// what the language model reads. Each kind is a file of its own, over the model's weights and its threads.
#pragma once

#include "model.hpp"
#include "settings.hpp"
#include "work.hpp"

namespace sepiola {

// Rows of numbers that a matrix multiplies, `columns` of them in use.
struct Rows {
    Rows(int count, int columns);
    float* row(int index) const { return input.values + index * input.stride; }

    int count, columns;
    Input input{};

private:
    Floats values_, bytes_, scales_, sums_;
};

// What the kinds have in common: their weights by name, and the model's threads and kernels.
class Part {
public:
    virtual ~Part();

protected:
    explicit Part(Model& model) : model_(model) {}

    // As `Model` reads them; a part's stack is closed by a norm where its spec says so.
    Linear linear(const std::string& name, int rows, int columns) { return model_.linear(name, rows, columns); }
    Norm norm(const std::string& name, int count) { return model_.norm(name, count, true); }
    const float* numbers(const std::string& name, size_t count) { return model_.numbers(name, count, true); }
    Stack stack(const StackSpec& spec, const std::string& name) { return model_.stack(spec, name); }

    // `work(index)` for [0, count), shared among the threads.
    void each(int count, const std::function<void(int)>& work);
    // out[t * stride + row] = activation(bias + matrix · row t). The rows of `out` have room for whole panels.
    void multiply(const Linear& linear, Rows& rows, float* out, long stride, Activation activation = Activation::none);
    // Runs of `each` vectors, one after the other, through a stack that is not causal: `states` take their place.
    void through(Stack& stack, int runs, int each, const float* vectors, float* states);

    Model& model_;

private:
    std::unique_ptr<Work> work_;
    std::vector<Cache> caches_;
};

// Pixels to features, `patches` vectors of `width` for each picture.
class Vision : public Part {
public:
    // Pixels `(pictures, 3, height, width)` to features `(pictures, patches, width)`. Throws std::invalid_argument for
    // pictures of a size that it does not read.
    virtual void features(int pictures, int height, int width, const float* pixels, float* out) = 0;

    int patches = 0, width = 0;

protected:
    using Part::Part;
};

// Features, `patches` vectors of `image_width` for each picture, to `tokens` vectors of the language model.
class Bridge : public Part {
public:
    virtual void vectors(int pictures, int patches, const float* features, float* out) = 0;

    int tokens = 0, image_width = 0;

protected:
    using Part::Part;
};

// By the spec's `kind`; throw std::invalid_argument for one that is none, and for weights that do not fit.
std::unique_ptr<Vision> make_vision(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_bridge(const Settings& settings, Model& model);

// The kinds, each in a file of its name.
std::unique_ptr<Vision> make_vit(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_projection(const Settings& settings, Model& model);

}  // namespace sepiola
