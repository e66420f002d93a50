// A transformer from a spec over packed weights: decoders, and encoders with a decoder that looks at them.
//
// Rows of a batch are sequences of their own, without padding: a step reads a flat list of tokens, each with its row.
// One step is one parallel region. The graph is that of `sepiola.models.transformer`, whose spec names the choices.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "format.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace sepiola {

// Memory on lines of the cache; much of it on large pages, where the system has them.
class Floats {
public:
    Floats() = default;
    explicit Floats(size_t count, bool zeros = true);
    Floats(const Floats& other);
    Floats(Floats&&) = default;
    Floats& operator=(Floats&&) = default;
    float* data() const { return data_.get(); }
    size_t size() const { return size_; }

private:
    struct Free {
        void operator()(float* data) const;
    };
    std::unique_ptr<float, Free> data_;
    size_t size_ = 0;
};

// Gives back the memory of a mapped file's bytes; they are read anew when they are asked for.
void give_back(const void* data, size_t bytes);

struct Tensor {
    const void* data = nullptr;
    size_t bytes = 0;
    std::string kind;  // f32 (numbers in a row), or of a packed matrix: "packed f32", "packed bf16", "packed int8" …
    int rows = 0, columns = 0;
};
using Tensors = std::map<std::string, Tensor>;

enum class Place { pre, post, parallel, sandwich };

struct StackSpec {
    int width = 0, length = 0;  // learned positions; 0 is none
    int layers = 0, heads = 0, kv_heads = 0, head_width = 0, inner = 0;
    int experts = 0, chosen = 0;  // of a mixture: networks a layer, and how many of them read a token
    bool renormalise = true;      // whose shares add up to 1
    int shared = 0;               // the inner width of the network that reads all tokens, 0 is none
    std::vector<int> dense;       // layers of one network instead
    int dense_inner = 0;
    bool joined = false;  // norms of queries and keys are over all heads
    int widest() const { return std::max({inner, shared, dense_inner}); }
    float scale = 0, eps = 0;
    bool centred = false, causal = true, cross = false, gated = false;
    bool closes = true;  // its states pass a last norm
    Place place = Place::pre;
    Activation activation = Activation::none;
    std::vector<int> windows;  // of each layer, 0 is none
    float amplitude = 1, local_amplitude = 1;
};

class Settings;

struct Spec {
    int width = 0, vocabulary = 0;
    float embedding_scale = 1, head_scale = 1;
    StackSpec decoder;
    std::optional<StackSpec> encoder;
    std::shared_ptr<const Settings> vision, bridge;  // null where there is none
};

struct Norm {
    const float* weight = nullptr;
    const float* bias = nullptr;
};

struct Linear {
    Matrix matrix;
    const float* bias = nullptr;  // padded to whole panels
};

// A gated network of a mixture.
struct Expert {
    Linear gate, up, down;
};

struct Layer {
    Expert network() const { return {gate, up, down}; }

    Norm attention_norm, attention_close, cross_norm, feed_forward_norm, feed_forward_close, q_norm, k_norm;
    Linear qkv, out, cross_q, cross_kv, cross_out, gate, up, down, router;
    std::vector<Expert> experts;  // instead of gate, up and down
    Expert shared;                // which reads all tokens beside them, and the gate before what it gives
    Linear shared_router;
    // Those that there are; of a mixture's experts the first ones, so many as read a token.
    std::vector<const Linear*> linears(int chosen) const;

    int window = 0;
    int rotary = -1;  // which of the stack's tables
};

struct Rotary {
    const float* frequencies = nullptr;
    float amplitude = 1;
    int positions = 0;
    std::vector<float> cosines, sines;  // [position][half]
};

struct Stack {
    // Learns how a layer's matrices read what they multiply.
    void note(const Layer& layer) {
        for (const Linear* l : layer.linears(spec.experts)) (l->matrix.quantised() ? quantised : reads_floats) = true;
    }

    StackSpec spec;
    std::vector<Layer> layers;
    std::vector<Rotary> rotaries;
    Norm embedding_norm, norm;
    bool normalises_embedding = false, normalises_heads = false;
    bool quantised = false;  // some matrix multiplies bytes
    bool reads_floats = false;  // and some, such as a router, floats
    bool attends_in_bytes = false;  // not causal, and without windows and distances
    const float* relative = nullptr;  // [heads][2 · distance + 1], by the key's position less the query's
    int distance = 0;
    int laid = 0;                 // positions for which it is laid out
    std::vector<float> relative_row;  // [heads][2 · laid + 48]
    const float* positions = nullptr;   // [length][width]
    const float* sinusoids = nullptr;   // [width / 2] frequencies
};

// Keys and values of some layers, in pages of 64 positions, as `Attention` reads them: for each layer and head the keys,
// then the values. A copy shares its pages, until one of both writes there.
class Cache {
public:
    Cache(const StackSpec& spec, int layers, bool half);
    // Room for so many positions, of which the first `kept` stay as they are and those after them may be written.
    void reserve(int kept, int positions);
    void put(int layer, int head, int position, const float* key, const float* value) const;
    // An attention to those of a layer and head, by no queries yet.
    Attention attention(int layer, int head) const;

private:
    int size() const { return half_ ? 2 : 4; }
    long each() const { return long(PAGE) * (key_width_ + value_width_) * size(); }
    // Where the keys of a layer and head begin in a page, and their values.
    long keys(int layer, int head) const { return (long(layer) * heads_ + head) * each(); }
    long values(int layer, int head) const { return keys(layer, head) + long(PAGE) * key_width_ * size(); }

    int layers_, heads_, width_, key_width_, value_width_;
    bool half_;  // bf16, not f32
    std::vector<std::shared_ptr<Floats>> pages_;
    std::vector<uint8_t*> places_;
};

// A picture as the layers between a decoder's own see it.
struct Picture {
    Cache keys_values;  // of each of these layers
    int latents;
    uint64_t mark;  // tells it from others
};
using Pictures = std::vector<std::shared_ptr<const Picture>>;

struct Sequence {
    Sequence(const StackSpec& spec, bool half) : cache(spec, spec.layers, half) {}
    int length() const { return int(read.size()); }
    std::vector<uint64_t> read;  // what was read, a number a token: its own, or of a vector a hash
    bool vectors = false;        // some of it was vectors
    Cache cache;
    std::shared_ptr<const Cache> context;
    int context_length = 0;
    Pictures pictures;      // in the order of their placeholders; all stand before what a decoder of an encoder's writes
    std::vector<int> seen;  // of each token that was read, the number of the picture that it sees, from 1; 0 is none
};
using Batch = std::vector<std::shared_ptr<Sequence>>;

struct Work;
struct Lane;
struct Inserted;
class Part;
class Vision;
class Bridge;

class Model {
public:
    // Throws std::invalid_argument for a spec out of bounds and for tensors that are missing or of another size.
    // It keeps copies of the tensors; where they lie in a `mapped` file, its pages are given back one by one.
    Model(const Spec& spec, Tensors tensors, int threads, const char* kernels, bool mapped = false);

    ~Model();

    const Spec& spec() const { return spec_; }
    int threads() const { return team_.size(); }
    const char* kernels() const { return kernels_.name; }

    // Rows that have read tokens (or vectors `(count, width)`), each row's together. What rows begin alike with, or with
    // a text that is still held, is read once, and its keys and values shared. The last row that was read alone is held.
    // Rows have pictures where layers look at them: `pictures` are none, or those of each row.
    Batch read(int rows, int count, const int32_t* tokens, const float* vectors, const int32_t* places,
               std::vector<Pictures> pictures = {});
    // Gives rows their pictures, before they read.
    void show(Batch& batch, std::vector<Pictures> pictures);
    // Tokens (or vectors `(count, width)`) of rows, each row's together, into states `(count, width)`, if wanted.
    void extend(Batch& batch, int count, const int32_t* tokens, const float* vectors, const int32_t* rows,
                float* states);
    // The encoder's states of whole sources.
    void encode(int count, const int32_t* tokens, const float* vectors, const int32_t* rows, float* states);
    // Keeps these rows, in this order; those that are named more than once share what they have read.
    void select(Batch& batch, const std::vector<int>& rows);
    // Forgets so many tokens of each row.
    void rewind(Batch& batch, const std::vector<int>& counts);
    // What rows of a new batch look at: states `(count, width)` of an encoder.
    Batch begin(int rows);
    Batch begin_from(int batch, int count, const float* memory, const int32_t* rows);
    // Logits `(count, vocabulary)` of states `(count, width)`, or `(count, chosen)` of some tokens.
    void logits(int count, const float* states, int chosen, const int32_t* tokens, float* out);
    void embed(int count, const int32_t* tokens, float* out);
    // Features `(pictures, patches, width)` of pixels `(pictures, 3, height, width)`, and what the language model reads
    // of features, `(pictures, tokens, width)`, see `Bridge::vectors`. Null where the model has none.
    Vision* vision() const { return vision_.get(); }
    Bridge* bridge() const { return bridge_.get(); }
    void features(int pictures, int height, int width, const float* pixels, float* out);
    void vectors(int pictures, int patches, const float* features, int count, const int32_t* tokens,
                 const int32_t* places, float* out);
    // Pictures of features `(pictures, patches, width)`, which are `frames` frames each; see `Bridge::look`.
    Pictures look(int pictures, int frames, int patches, const float* features);
    // States of rows that have seen their features; see `Bridge::fuse`.
    void fuse(int count, const float* states, const int32_t* rows, int patches, const float* features,
              const int32_t* feature_rows, float* out);
    // Tokens that went through the decoder's layers so far.
    long computed() const { return computed_; }
    // Bytes of the decoder's own matrices that one token reads, and a pass over them that multiplies and does nothing else.
    size_t read_bytes() const;
    void stream();

private:
    friend struct Lane;
    friend struct Work;
    friend struct Inserted;
    friend class Part;

    // Tokens of one row in a step: `first` and `count` in the step's list, from `position` in the row on. They see the
    // first `seen` positions of the cache at most.
    struct Run {
        Cache* cache;
        const Cache* context;
        int first, count, position, seen, context_length;
    };

    Stack stack(const StackSpec& spec, const std::string& name);
    Linear linear(const std::string& name, int rows, int columns);
    Norm norm(const std::string& name, int count, bool needed);
    const Tensor* find(const std::string& name) const;
    const float* numbers(const std::string& name, size_t count, bool needed);
    void check(int count, const int32_t* tokens, const int32_t* rows, int batch) const;
    void reach(Stack& stack, int positions);
    uint64_t mark(const Sequence& sequence, const int32_t* token, const float* vector) const;
    // The number of the picture that a row's next token sees, after one that sees the picture `before`.
    int looks_at(const Sequence& sequence, int before, const int32_t* token) const;
    // What a row's token is known by: a placeholder by its picture. Marks those of `seen`, which it is one of.
    uint64_t known_by(const Sequence& sequence, size_t at, const int32_t* token, const float* vector) const;
    // Runs of tokens that see the same picture.
    std::vector<Run> looks(Batch& batch, int count, const int32_t* tokens, const int32_t* rows) const;
    void forward(Batch& batch, int count, const int32_t* tokens, const float* vectors, const int32_t* rows,
                 float* states);
    void run(Stack& stack, Work& work, const std::vector<Run>& runs, int count, const int32_t* tokens,
             const float* vectors, float* states, const std::vector<Run>* looks = nullptr);
    std::vector<Run> runs(int count, const int32_t* rows) const;

    Spec spec_;
    Tensors tensors_;
    Floats weights_;  // all packed matrices
    std::vector<std::unique_ptr<std::vector<float>>> own_;  // biases, padded
    const Kernels& kernels_;
    Matrix embedding_, decoder_embedding_, head_;
    const float* head_bias_ = nullptr;
    Stack decoder_;
    std::optional<Stack> encoder_;
    Team team_;
    std::unique_ptr<Work> work_, encoder_work_;
    std::unique_ptr<Vision> vision_;
    std::unique_ptr<Bridge> bridge_;
    std::unique_ptr<Inserted> inserted_;  // a bridge's layers between the decoder's own
    std::vector<std::weak_ptr<Sequence>> held_;  // texts that were read
    std::shared_ptr<Sequence> last_;             // the last that was read alone
    std::atomic<long> computed_{0};
    bool half_ = false;  // a decoder's keys and values are held in bf16
};

}  // namespace sepiola
