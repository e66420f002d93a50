// What a step works in: vectors of all its tokens, and of each thread its own; and a thread's view of the step.
#pragma once

#include "model.hpp"

namespace sepiola {

constexpr int CHUNK = 16;  // tokens, or other pieces, that a thread takes at once, at most
constexpr int PANELS = 2;  // panels that several tokens meet at once

struct Work;

// Tokens of a step and the experts that read them: `chosen` readings of each token, those of one expert together.
struct Mixture {
    struct Group {
        int expert, first, count;  // of readings
    };
    void fit(std::vector<Floats>& memory, Work& work, int tokens, const StackSpec& spec);
    // By the router's logits: the most likely experts, and their shares.
    void choose(const Kernels& kernels, int tokens, const StackSpec& spec);

    long logits_stride = 0;
    float* logits = nullptr;    // [token][logits_stride]
    std::vector<Group> groups;  // by expert
    std::vector<int> tokens;    // of each reading
    std::vector<int> readings;  // [token][chosen], by expert
    std::vector<float> shares;  // of each of those
    Input read{};               // [reading]: what its expert reads
    float* written = nullptr;   // [reading][stride]: and writes
    float* shared = nullptr;    // [token][stride]: what the network that reads all tokens writes
    float* opening = nullptr;   // [token][16]: the first says how far its gate opens

private:
    std::vector<int> experts_;  // of each reading of a token
};

struct Work {
    // Memory for a step of so many tokens through a stack, in rows of which none has more than `seen` positions.
    void fit(const Model& model, const Stack& stack, int tokens, int seen);
    // And for one whose runs attend in bytes.
    void fit_bytes(const Stack& stack, const std::vector<Model::Run>& runs);

    int tokens = 0;
    long stride = 0, heads_stride = 0, score_stride = 0;
    float* x = nullptr;        // [token][stride]: the residual stream
    float* heads = nullptr;    // [token][heads_stride]: queries, keys and values
    float* closing = nullptr;  // [token][stride]: a sublayer before its closing norm
    Input normed{}, attended{}, inner{};
    Mixture mixture;

    // A thread's own. Where a step is one token, each quantises it for itself: nobody waits for the others.
    struct Own {
        Input normed{}, other{};
        float* rows = nullptr;  // [CHUNK][width], on their way to bytes
        float* tile = nullptr;  // [2][token][16 · PANELS]
        float* scores = nullptr;
        float* query = nullptr;  // of a head, where it attends in bytes
        Input probabilities{};   // and what they give
        float* looked = nullptr;
    };
    std::vector<Own> own;
    std::vector<Floats> byte_heads;  // of each run: keys and values of its heads as matrices of bytes
    Input queries{};                 // [head][token], in bytes alone

    static Input input(std::vector<Floats>& memory, int tokens, long columns, bool values = true);
    static float* floats(std::vector<Floats>& memory, size_t count);

private:
    std::vector<Floats> memory_, scores_, byte_memory_;
    int byte_positions_ = 0;
};

// A bridge's layers before some of the decoder's own, which see pictures; `at` says which stands before a layer, -1 for none.
struct Inserted {
    Stack stack;
    std::vector<int> at;
    int token;  // the placeholder's id, -1 for none
    Work work;

    // Makes room for a step in which tokens look at pictures, and lets it share the residual stream.
    void fit(const Model& model, const Work& outer, int tokens, const std::vector<Model::Run>& looks);
};

// One thread in a step of `count` tokens.
struct Lane {
    Model& model;
    Work& work;
    int thread;
    int count;

    // Rows `(count, width)`, normalised if there is a norm, as matrices read them: in bytes, as floats, or both.
    Input open(const float* x, long stride, const Norm* norm, const StackSpec& spec, bool quantised, bool floats) const;
    // The same of rows that a phase has written to `input`.
    Input ready(const Input& input, int columns, bool quantised) const;
    void product(const Linear& linear, const Input& input, float* out, long stride, bool add) const;
    // What a sublayer gives, by its last matrix, joins the residual stream.
    void close(const Linear& linear, const Input& input, const Norm& norm, const Norm& closing,
               const StackSpec& spec) const;
    void attend(const Stack& stack, int layer, const std::vector<Model::Run>& runs) const;
    // Cross-attention, from the residual stream to it.
    void look(const Stack& stack, int layer, const std::vector<Model::Run>& runs) const;
    // The feed-forward sublayer, from what is normed to the residual stream; and that of a mixture of experts.
    void insert(const Inserted& inserted, int layer, const std::vector<Model::Run>& looks) const;
    void feed(const Layer& layer, const Input& input, const Stack& stack) const;
    void mix(const Layer& layer, const Input& input, const Stack& stack) const;
    Input open(const Stack& stack, const Norm& norm) const;

private:
    // What some panels of a feed-forward network's first matrices make of so many rows `from` the input on, to the rows `to` of
    // `inner` on; in bytes with `quantise`, of which several rows are read then.
    void activated(const Expert& network, int panel, int panels, const Input& input, int from, int to, int tokens,
                   const StackSpec& spec, bool quantise) const;
    // The same of all panels and tokens, as the last matrix reads it.
    Input inner(const Expert& network, const Input& input, const StackSpec& spec) const;
    void normalise_joined(const StackSpec& spec, const Layer& layer) const;
    void turn(const Stack& stack, const Layer& layer, int token, int position, int first, int last) const;
    void see(const Stack& stack, const Model::Run& run, const Cache& cache, int layer, int head, int from, int to,
             int window, bool cross) const;
    void attend_in_bytes(const Stack& stack, const Layer& layer, const std::vector<Model::Run>& runs) const;
    void quantise_queries(const StackSpec& s, int token) const;
    void see_bytes(const StackSpec& s, const Matrix& keys, const Matrix& values, int head, int first, int tokens) const;
    // What stands at a token's place when a sublayer has been added, or before it is.
    void settle(int token, const Norm& norm, const Norm& closing, const StackSpec& spec) const;
    void normalise(const float* x, const Norm& norm, const StackSpec& spec, float* out) const;
};

// How many panels, or other pieces, a thread takes at once: few enough that all end together.
int chunk(int pieces, int threads);

}  // namespace sepiola
