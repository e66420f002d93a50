// What stands before the text: a vision encoder, which makes features of pixels, and a bridge, which makes of features
// what the language model reads. Each kind is a file of its own, over the model's weights and its threads.
#pragma once

#include "model.hpp"
#include "settings.hpp"
#include "work.hpp"

namespace sepiola {

// Rows of numbers that a matrix multiplies, `columns` of them in use.
struct Vectors {
    Vectors(int count, int columns);
    float* row(int index) const { return input.values + index * input.stride; }

    int count, columns;
    Input input{};

private:
    Floats values_, bytes_, scales_, sums_;
};

// Heads of attention: what some rows attend to, in columns from `column` on.
struct Heads {
    int heads, kv_heads, width;
    float scale;
};
struct Columns {
    const Vectors& rows;
    int column;
};
// Rows that see each other: `count` queries from `first` on, and so many keys.
struct Span {
    int first, count, keys_first, keys;
};

// A feed-forward network, gated or not.
struct FeedForward {
    Linear gate, up, down;
    bool gated;
    Activation activation;
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
    bool has(const std::string& name) const { return model_.find(name) != nullptr; }
    Stack stack(const StackSpec& spec, const std::string& name) { return model_.stack(spec, name); }
    // Layers that stand before some of the decoder's own.
    void insert(Stack stack, std::vector<int> at, int token);
    // Whether keys and values of the decoder are held in bf16.
    bool half() const { return model_.half_; }

    // By the spec's `gated` and `activation`.
    FeedForward feed_forward(const std::string& name, int width, int inner, const Settings& settings);

    // `work(index)` for [0, count), shared among the threads.
    void each(int count, const std::function<void(int)>& work);
    // Row t of `out` = activation(bias + matrix · row t); with `add`, the product is added to what is there before.
    void multiply(const Linear& linear, Vectors& rows, Vectors& out, Activation activation = Activation::none,
                  bool add = false, int first = 0);
    // Row t of `out` = the network of row t, which is added to what is there with `add`.
    void feed(const FeedForward& network, Vectors& rows, Vectors& out, bool add);
    // Rows normalised into `out`, which may be the same.
    void normalise(const Vectors& rows, const Norm& norm, float eps, bool centred, Vectors& out);
    // out = a + b, whose rows may repeat.
    void sum(const Vectors& a, const float* b, long stride, int repeat, Vectors& out);
    // What each span's queries attend to of its keys, in rows of `heads · width`.
    void attend(const Heads& heads, Columns queries, Columns keys, Columns values, const std::vector<Span>& spans,
                Vectors& out);
    // Runs of `each` vectors, one after the other, through a stack that is not causal: `states` take their place.
    void through(Stack& stack, int runs, int each, const float* vectors, float* states);
    static void copy(const Vectors& rows, float* out);

    const Kernels& kernels() const { return model_.kernels_; }

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
    // Where it is `instructed`, `tokens` `(count)` of the bridge's own vocabulary are read beside the pictures that
    // `places` names, in order.
    virtual void vectors(int pictures, int patches, const float* features, int count, const int32_t* tokens,
                         const int32_t* places, float* out);

    // Text states `(count, width)` of rows, having seen the features `(patches, image_width)` of theirs: rows count from
    // 0, and each has some of both. `out` may be `states`.
    virtual void fuse(int count, const float* states, const int32_t* rows, int patches, const float* features,
                      const int32_t* feature_rows, float* out);

    // A picture of features `(patches, image_width)`, which are those of so many frames, for its layers between the
    // decoder's own.
    virtual std::shared_ptr<const Picture> look(int frames, int patches, const float* features);

    int tokens = 0, image_width = 0;  // no tokens: it makes none
    bool instructed = false;

protected:
    using Part::Part;
};

// By the spec's `kind`; throw std::invalid_argument for one that is none, and for weights that do not fit.
std::unique_ptr<Vision> make_vision(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_bridge(const Settings& settings, Model& model);

// The kinds, each in a file of its name.
std::unique_ptr<Vision> make_vit(const Settings& settings, Model& model);
std::unique_ptr<Vision> make_resnet(const Settings& settings, Model& model);
std::unique_ptr<Vision> make_detr(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_projection(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_qformer(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_fusion(const Settings& settings, Model& model);
std::unique_ptr<Bridge> make_gated_cross(const Settings& settings, Model& model);

}  // namespace sepiola
