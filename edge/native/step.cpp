// A step through a stack of layers, as every thread of the team runs it.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "work.hpp"

namespace sepiola {

int chunk(int pieces, int threads) { return std::clamp(pieces / (threads * 32), 1, CHUNK); }

float* Work::floats(std::vector<Floats>& memory, size_t count) {
    memory.emplace_back(count);
    return memory.back().data();
}

Input Work::input(std::vector<Floats>& memory, int tokens_, long columns, bool with_values) {
    long width = padded(int(columns), BLOCK);
    float* values = floats(memory, with_values ? tokens_ * width : 0);
    auto* bytes = reinterpret_cast<int8_t*>(floats(memory, tokens_ * width / 4));
    float* scales = floats(memory, tokens_ * width / GROUP);
    auto* sums = reinterpret_cast<int32_t*>(floats(memory, tokens_ * width / GROUP));
    return {values, bytes, scales, sums, width};
}

void Work::fit(const Model& model, const Stack& stack, int tokens_, int seen) {
    const StackSpec& s = stack.spec;
    int threads = model.threads(), width = s.width;
    if (tokens_ > tokens) {
        tokens = std::max(tokens_, 2 * tokens);
        memory_.clear();
        own.assign(threads, {});
        byte_positions_ = 0;
        stride = padded(width, BLOCK);
        heads_stride = padded(std::max(s.heads, 2 * s.kv_heads) * s.head_width + 2 * s.kv_heads * s.head_width, BLOCK) +
                       ROWS;  // an odd number of the cache's lines: rows in other sets of it
        x = floats(memory_, tokens * stride);
        heads = floats(memory_, tokens * heads_stride);
        closing = floats(memory_, tokens * stride);
        normed = input(memory_, tokens, width);
        attended = input(memory_, tokens, s.heads * s.head_width);
        int readings = tokens * std::max(1, s.chosen);
        inner = input(memory_, readings, s.widest());
        if (s.experts) mixture.fit(memory_, *this, tokens, s);
        for (Own& one : own) {
            one.normed = input(memory_, 1, width);
            one.other = input(memory_, 1, std::max(s.widest(), s.heads * s.head_width));
            one.rows = floats(memory_, CHUNK * padded(width, BLOCK));
            one.tile = floats(memory_, size_t(tokens) * PANELS * ROWS * 2);
        }
        score_stride = 0;
    }
    if (seen > score_stride || !score_stride) {
        score_stride = padded(std::max(std::max(seen, 256), int(2 * score_stride)), ROWS);
        scores_.clear();
        for (Own& one : own) {
            scores_.emplace_back(QUERIES * score_stride);
            one.scores = scores_.back().data();
        }
    }
}

void Lane::normalise(const float* x, const Norm& norm, const StackSpec& s, float* out) const {
    model.kernels_.norm(x, s.width, norm.weight, norm.bias, s.eps, s.centred, out);
}

Input Lane::open(const float* x, long stride, const Norm* norm, const StackSpec& s, bool quantised, bool floats) const {
    auto prepare = [&](const float* from, float* values) {
        if (norm)
            normalise(from, *norm, s, values);
        else
            std::memcpy(values, from, size_t(s.width) * 4);
    };
    if (count == 1) {
        Input mine = work.own[thread].normed;
        prepare(x, mine.values);
        if (quantised) model.kernels_.quantise_rows(mine, 0, 1);
        return mine;
    }
    model.team_.each(thread, count, chunk(count, model.threads()), [&](int first, int last) {
        const Input& to = work.normed;
        float* values = floats ? to.values + first * to.stride : work.own[thread].rows;
        for (int t = first; t < last; t++) prepare(x + t * stride, values + (t - first) * to.stride);
        if (quantised) model.kernels_.quantise_rows(to, first, last - first, values);
    });
    return work.normed;
}

Input Lane::ready(const Input& input, int columns, bool quantised) const {
    if (!quantised) return input;
    if (count == 1) {
        Input mine = work.own[thread].other;
        mine.values = input.values, mine.stride = padded(columns, BLOCK);
        model.kernels_.quantise_rows(mine, 0, 1);
        return mine;
    }
    model.team_.each(thread, count, chunk(count, model.threads()), [&](int first, int last) {
        model.kernels_.quantise_rows(input, first, last - first);
    });
    return input;
}

// Panels of a matrix, two where several tokens meet them, and a block of a step's tokens, before the next block does.
template <class Piece>
static void each_panel(Team& team, int thread, const Matrix& m, int count, const Piece& piece) {
    constexpr int BLOCK_TOKENS = 132;
    int some = count > 1 ? PANELS : 1, pieces = (m.panels() + some - 1) / some;
    int blocks = (count + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    team.each(thread, pieces * blocks, chunk(pieces * blocks, team.size()), [&](int first, int last) {
        for (int i = first; i < last; i++) {
            int begin = i / pieces * BLOCK_TOKENS, p = i % pieces * some;
            piece(p, std::min(some, m.panels() - p), begin, std::min(BLOCK_TOKENS, count - begin));
        }
    });
}

void Lane::product(const Linear& linear, const Input& input, float* out, long stride, bool add) const {
    each_panel(model.team_, thread, linear.matrix, count, [&](int p, int panels, int token, int tokens) {
        const float* bias = linear.bias ? linear.bias + p * ROWS : nullptr;
        model.kernels_.multiply(linear.matrix, p, panels, input, token, tokens, bias,
                                out + token * stride + p * ROWS, stride, add);
    });
}

void Lane::close(const Linear& linear, const Input& input, const Norm& norm, const Norm& closing,
                 const StackSpec& s) const {
    bool sandwich = s.place == Place::sandwich;
    product(linear, input, sandwich ? work.closing : work.x, work.stride, !sandwich);
    if (s.place != Place::post && !sandwich) return;
    model.team_.each(thread, count, chunk(count, model.threads()), [&](int first, int last) {
        for (int t = first; t < last; t++) settle(t, norm, closing, s);
    });
}

void Lane::settle(int t, const Norm& norm, const Norm& closing, const StackSpec& s) const {
    float *x = work.x + t * work.stride, *y = work.closing + t * work.stride;
    if (s.place == Place::post) normalise(x, norm, s, x);
    if (s.place != Place::sandwich) return;
    normalise(y, closing, s, y);
    model.kernels_.add(x, y, s.width);
}

void Lane::activated(const Expert& network, int p, int panels, const Input& input, int from, int to, int tokens,
                     const StackSpec& s, bool quantise) const {
    static_assert(PANELS * ROWS == GROUP, "the panels of several tokens are a group");
    const Kernels& k = model.kernels_;
    const Input& inner = work.inner;
    int wide = quantise ? GROUP : panels * ROWS;
    float *tile = work.own[thread].tile, *factors = tile + tokens * wide;
    auto fill = [&](const Linear& linear, float* out) {
        const float* bias = linear.bias ? linear.bias + p * ROWS : nullptr;
        k.multiply(linear.matrix, p, panels, input, from, tokens, bias, out, wide, false);
    };
    fill(s.gated ? network.gate : network.up, tile);
    if (s.gated) fill(network.up, factors);
    k.activate(s.activation, tile, s.gated ? factors : nullptr, tokens * wide);
    long at = to * inner.stride + p * ROWS;
    int rows = network.up.matrix.rows, over = p + panels == network.up.matrix.panels() ? padded(rows, BLOCK) - p * ROWS : wide;
    for (int t = 0; !quantise && t < tokens; t++) {
        float* to_row = inner.values + at + t * inner.stride;
        std::memcpy(to_row, tile + t * wide, wide * 4);
        std::memset(to_row + wide, 0, (over - wide) * 4);  // where a wider network wrote
    }
    if (!quantise) return;
    for (int t = 0; panels < PANELS && t < tokens; t++) std::memset(tile + t * wide + ROWS, 0, ROWS * 4);
    k.quantise(tile, tokens, GROUP, inner.bytes + at, inner.scales + at / GROUP, inner.sums + at / GROUP, inner.stride);
}

Input Lane::inner(const Expert& network, const Input& input, const StackSpec& s) const {
    bool quantised = network.down.matrix.quantised(), quantises = quantised && count > 1;
    each_panel(model.team_, thread, network.up.matrix, count, [&](int p, int panels, int token, int tokens) {
        activated(network, p, panels, input, token, token, tokens, s, quantises);
    });
    return quantises ? work.inner : ready(work.inner, network.up.matrix.rows, quantised);
}

Input Lane::open(const Stack& stack, const Norm& norm) const {
    return open(work.x, work.stride, stack.spec.place != Place::post ? &norm : nullptr, stack.spec, stack.quantised,
                stack.reads_floats);
}

void Lane::feed(const Layer& layer, const Input& input, const Stack& stack) const {
    const StackSpec& s = stack.spec;
    if (!layer.experts.empty()) return mix(layer, input, stack);
    close(layer.down, inner(layer.network(), input, s), layer.feed_forward_norm, layer.feed_forward_close, s);
}

void Model::run(Stack& stack, Work& work, const std::vector<Run>& runs, int count, const int32_t* tokens,
                const float* vectors, float* states, const std::vector<Run>* looks) {
    const StackSpec& s = stack.spec;
    int seen = 0;
    std::vector<int> positions(count);
    for (const Run& run : runs) {
        seen = std::max({seen, run.seen, run.context_length});
        for (int t = 0; t < run.count; t++) positions[run.first + t] = run.position + t;
    }
    work.fit(*this, stack, count, seen);
    if (stack.attends_in_bytes) work.fit_bytes(stack, runs);
    if (looks) inserted_->fit(*this, work, count, *looks);
    const Matrix& embedding = &stack == &decoder_ ? decoder_embedding_ : embedding_;
    auto enter = [&](int t) {
        float* x = work.x + t * work.stride;
        if (vectors) {
            std::memcpy(x, vectors + size_t(t) * s.width, size_t(s.width) * 4);
        } else {
            unpack(embedding, tokens[t], x);
            for (int d = 0; d < s.width; d++) x[d] *= spec_.embedding_scale;
        }
        if (stack.positions) kernels_.add(x, stack.positions + size_t(positions[t]) * s.width, s.width);
        for (int d = 0; stack.sinusoids && d < s.width; d++) {
            float angle = float(positions[t]) * stack.sinusoids[d / 2];
            x[d] += d % 2 ? std::cos(angle) : std::sin(angle);
        }
        if (stack.normalises_embedding)
            kernels_.norm(x, s.width, stack.embedding_norm.weight, stack.embedding_norm.bias, s.eps, s.centred, x);
    };
    auto some_layers = [&](int from, int to, int thread) {
        Lane lane{*this, work, thread, count};
        if (from == 0)
            team_.each(thread, count, 4, [&](int first, int last) {
                for (int t = first; t < last; t++) enter(t);
            });
        for (int i = from; i < to; i++) {
            const Layer& layer = stack.layers[i];
            if (looks && inserted_->at[i] >= 0)
                Lane{*this, inserted_->work, thread, count}.insert(*inserted_, inserted_->at[i], *looks);
            Input normed = lane.open(stack, layer.attention_norm);
            lane.product(layer.qkv, normed, work.heads, work.heads_stride, false);
            lane.attend(stack, i, runs);
            Input attended = lane.ready(work.attended, s.heads * s.head_width, stack.quantised);
            lane.close(layer.out, attended, layer.attention_norm, layer.attention_close, s);
            if (s.cross) lane.look(stack, i, runs);
            if (s.place != Place::parallel) normed = lane.open(stack, layer.feed_forward_norm);
            lane.feed(layer, normed, stack);
        }
        if (!states || to < s.layers) return;
        team_.each(thread, count, chunk(count, threads()), [&](int first, int last) {
            for (int t = first; t < last; t++) {
                float *x = work.x + t * work.stride, *out = states + size_t(t) * s.width;
                if (s.closes)
                    kernels_.norm(x, s.width, stack.norm.weight, stack.norm.bias, s.eps, s.centred, out);
                else
                    std::memcpy(out, x, size_t(s.width) * 4);
            }
        });
    };
    constexpr int MANY = 32;  // tokens that make a layer long: then threads may come and go between layers
    for (int from = 0, each = count > MANY ? 1 : s.layers; from < s.layers; from += each)
        team_.run([&](int thread) { some_layers(from, from + each, thread); });
}

void Model::logits(int count, const float* states, int chosen, const int32_t* tokens, float* out) {
    auto turn = team_.turn();
    constexpr int together = 64;
    std::map<int, std::vector<int>> places;  // of the tokens that are asked for, by panel
    for (int i = 0; i < chosen; i++) {
        if (tokens[i] < 0 || tokens[i] >= spec_.vocabulary) throw std::invalid_argument("a token is outside the vocabulary");
        places[tokens[i] / ROWS].push_back(i);
    }
    std::vector<int> panels;
    for (const auto& one : places) panels.push_back(one.first);
    if (!tokens)
        for (int p = 0; p < head_.panels(); p++) panels.push_back(p);
    long wide = tokens ? chosen : spec_.vocabulary;
    std::vector<float> scaled;
    if (spec_.head_scale != 1) {
        scaled.assign(states, states + size_t(count) * spec_.width);
        for (float& x : scaled) x *= spec_.head_scale;
        states = scaled.data();
    }
    for (int begin = 0; begin < count; begin += together) {
        int some = std::min(together, count - begin);
        work_->fit(*this, decoder_, some, 0);
        Work& w = *work_;
        team_.run([&](int thread) {
            Lane lane{*this, w, thread, some};
            Input input = lane.open(states + size_t(begin) * spec_.width, spec_.width, nullptr, decoder_.spec,
                                    head_.quantised(), !head_.quantised());
            float* tile = w.own[thread].tile;
            team_.each(thread, int(panels.size()), chunk(int(panels.size()), threads()), [&](int first, int last) {
                for (int i = first; i < last; i++) {
                    int p = panels[i];
                    const float* bias = head_bias_ ? head_bias_ + p * ROWS : nullptr;
                    float* to = out + size_t(begin) * wide;
                    if (!tokens && (p + 1) * ROWS <= spec_.vocabulary) {
                        kernels_.multiply(head_, p, 1, input, 0, some, bias, to + p * ROWS, wide, false);
                        continue;
                    }
                    kernels_.multiply(head_, p, 1, input, 0, some, bias, tile, ROWS, false);
                    for (int t = 0; t < some; t++) {
                        if (!tokens)
                            std::memcpy(to + t * wide + p * ROWS, tile + t * ROWS, (spec_.vocabulary - p * ROWS) * 4);
                        else
                            for (int place : places.at(p)) to[t * wide + place] = tile[t * ROWS + tokens[place] % ROWS];
                    }
                }
            });
        });
    }
}

void Model::stream() {
    auto turn = team_.turn();
    std::vector<const Matrix*> matrices = {&head_};
    for (const Layer& layer : decoder_.layers)
        for (const Linear* l : layer.linears(decoder_.spec.chosen))
            if (l != &layer.cross_kv) matrices.push_back(&l->matrix);
    std::vector<std::pair<const Matrix*, int>> panels;
    for (const Matrix* m : matrices)
        for (int p = 0; p < m->panels(); p++) panels.push_back({m, p});
    work_->fit(*this, decoder_, 1, 0);
    team_.run([&](int thread) {
        Work::Own& own = work_->own[thread];
        team_.each(thread, int(panels.size()), 8, [&](int first, int last) {
            for (int i = first; i < last; i++) {
                const Matrix& m = *panels[i].first;
                kernels_.multiply(m, panels[i].second, 1, m.columns > spec_.width ? own.other : own.normed, 0, 1, nullptr,
                                  own.tile, ROWS, false);
            }
        });
    });
}

}  // namespace sepiola
