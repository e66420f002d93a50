// Attention in a step: queries, keys and values are normalised and turned, keys and values kept, and queries meet them.

#include <algorithm>
#include <cstring>

#include "work.hpp"

namespace sepiola {

namespace {

constexpr int MEETING = 12;  // queries of a head that meet keys of bytes together

// A head's keys and values as matrices of bytes.
struct ByteHead {
    ByteHead(const StackSpec& s, int positions)
        : keys{Kind::int8, positions, s.head_width, nullptr}, values{Kind::int8, s.head_width, positions, nullptr} {}

    size_t bytes() const { return keys.bytes() + values.bytes(); }
    void lie(uint8_t* data) { keys.data = data, values.data = data + keys.bytes(); }

    Matrix keys, values;
};

}  // namespace

void Work::fit_bytes(const Stack& stack, const std::vector<Model::Run>& runs) {
    const StackSpec& s = stack.spec;
    int most = 0;
    byte_heads.resize(std::max(byte_heads.size(), runs.size()));
    for (size_t i = 0; i < runs.size(); i++) {
        size_t needed = s.kv_heads * ByteHead(s, runs[i].seen).bytes() / 4;
        if (byte_heads[i].size() < needed) byte_heads[i] = Floats(needed, false);
        most = std::max(most, runs[i].seen);
    }
    if (most <= byte_positions_) return;
    byte_positions_ = most;
    byte_memory_.clear();
    queries = input(byte_memory_, s.heads * tokens, s.head_width, false);
    for (Own& one : own) {
        one.query = floats(byte_memory_, queries.stride);
        one.probabilities = input(byte_memory_, MEETING, padded(most, BLOCK) + BLOCK);  // rows in other sets of the cache
        one.looked = floats(byte_memory_, size_t(MEETING) * padded(s.head_width, ROWS));
    }
}

// Normalises and turns the heads [first, last) of a token, queries first, then keys.
void Lane::turn(const Stack& stack, const Layer& layer, int token, int position, int first, int last) const {
    const StackSpec& s = stack.spec;
    for (int h = first; h < last; h++) {
        float* head = work.heads + token * work.heads_stride + h * s.head_width;
        if (stack.normalises_heads && !s.joined) {
            const Norm& norm = h < s.heads ? layer.q_norm : layer.k_norm;
            model.kernels_.norm(head, s.head_width, norm.weight, norm.bias, s.eps, false, head);
        }
        if (layer.rotary < 0) continue;
        const Rotary& rotary = stack.rotaries[layer.rotary];
        size_t at = size_t(position) * (s.head_width / 2);
        model.kernels_.rotate(head, rotary.cosines.data() + at, rotary.sines.data() + at, s.head_width / 2);
    }
}

// What the tokens [from, to) of a run attend to by one head of keys and values, for all of its heads of queries.
void Lane::see(const Stack& stack, const Model::Run& run, const Cache& cache, int layer, int head, int from, int to,
               int window, bool cross) const {
    const StackSpec& s = stack.spec;
    int group = s.heads / s.kv_heads;
    Attention a = cache.attention(layer, head);
    a.scale = s.scale, a.scores = work.own[thread].scores, a.score_stride = work.score_stride;
    auto flush = [&] {
        if (a.queries) model.kernels_.attend(a);
        a.queries = 0;
    };
    for (int t = from; t < to; t++)
        for (int g = 0; g < group; g++) {
            int q = head * group + g, i = a.queries++, position = run.position + t;
            a.query[i] = work.heads + (run.first + t) * work.heads_stride + q * s.head_width;
            a.out[i] = work.attended.values + (run.first + t) * work.attended.stride + q * s.head_width;
            a.begin[i] = window ? std::max(0, position - window + 1) : 0;
            a.end[i] = cross ? run.context_length : s.causal ? position + 1 : run.seen;
            a.bias[i] = nullptr;
            if (stack.relative && !cross)
                a.bias[i] = stack.relative_row.data() + size_t(q) * (2 * stack.laid + 48) + stack.laid + 16 - position;
            if (a.queries == QUERIES) flush();
        }
    flush();
}

// Queries of all heads as one vector, and keys.
void Lane::normalise_joined(const StackSpec& s, const Layer& layer) const {
    model.team_.each(thread, count, chunk(count, model.threads()), [&](int first, int last) {
        for (int t = first; t < last; t++) {
            float* queries = work.heads + t * work.heads_stride;
            float* keys = queries + s.heads * s.head_width;
            model.kernels_.norm(queries, s.heads * s.head_width, layer.q_norm.weight, nullptr, s.eps, false, queries);
            model.kernels_.norm(keys, s.kv_heads * s.head_width, layer.k_norm.weight, nullptr, s.eps, false, keys);
        }
    });
}

void Lane::attend(const Stack& stack, int layer, const std::vector<Model::Run>& runs) const {
    if (stack.normalises_heads && stack.spec.joined) normalise_joined(stack.spec, stack.layers[layer]);
    if (stack.attends_in_bytes) return attend_in_bytes(stack, stack.layers[layer], runs);
    const StackSpec& s = stack.spec;
    const Layer& own = stack.layers[layer];
    int group = s.heads / s.kv_heads, held = s.causal ? layer : 0;  // an encoder's keys are those of one layer
    auto keep = [&](const Model::Run& run, int t, int head) {
        const float* row = work.heads + (run.first + t) * work.heads_stride;
        run.cache->put(held, head, run.position + t, row + (s.heads + head) * s.head_width,
                       row + (s.heads + s.kv_heads + head) * s.head_width);
    };
    int pieces = 0, longest = 0;
    for (const Model::Run& run : runs) longest = std::max(longest, run.count);
    if (longest == 1) {
        pieces = int(runs.size()) * s.kv_heads;
        model.team_.each(thread, pieces, 1, [&](int first, int last) {
            for (int i = first; i < last; i++) {  // rows that share keys and values read them one after the other
                const Model::Run& run = runs[i % int(runs.size())];
                int head = i / int(runs.size());
                turn(stack, own, run.first, run.position, head * group, (head + 1) * group);
                turn(stack, own, run.first, run.position, s.heads + head, s.heads + head + 1);
                keep(run, 0, head);
                see(stack, run, *run.cache, held, head, 0, 1, own.window, false);
            }
        });
        return;
    }
    for (const Model::Run& run : runs)
        model.team_.each(thread, run.count, chunk(run.count, model.threads()), [&](int first, int last) {
            for (int t = first; t < last; t++) {
                turn(stack, own, run.first + t, run.position + t, 0, s.heads + s.kv_heads);
                for (int head = 0; head < s.kv_heads; head++) keep(run, t, head);
            }
        });
    for (const Model::Run& run : runs) {
        int slices = (run.count + 15) / 16;
        model.team_.each(thread, slices * s.kv_heads, 1, [&](int first, int last) {
            for (int i = first; i < last; i++) {  // the last slices, which see most, come first
                int slice = slices - 1 - i / s.kv_heads;
                see(stack, run, *run.cache, held, i % s.kv_heads, slice * 16, std::min(run.count, slice * 16 + 16),
                    own.window, false);
            }
        });
    }
}

// The same of a stack whose tokens see all of their run.
void Lane::attend_in_bytes(const Stack& stack, const Layer& layer, const std::vector<Model::Run>& runs) const {
    const StackSpec& s = stack.spec;
    const Kernels& k = model.kernels_;
    for (const Model::Run& run : runs)
        model.team_.each(thread, run.count, chunk(run.count, model.threads()), [&](int first, int last) {
            for (int t = first; t < last; t++) {
                if (stack.normalises_heads || layer.rotary >= 0)
                    turn(stack, layer, run.first + t, run.position + t, 0, s.heads + s.kv_heads);
                quantise_queries(s, run.first + t);
            }
        });
    auto head_of = [&](int run, int head) {
        ByteHead one(s, runs[run].seen);
        one.lie(reinterpret_cast<uint8_t*>(work.byte_heads[run].data()) + head * one.bytes());
        return one;
    };
    model.team_.each(thread, int(runs.size()) * s.kv_heads, 1, [&](int first, int last) {
        for (int i = first; i < last; i++) {
            const Model::Run& run = runs[i / s.kv_heads];
            int head = i % s.kv_heads;
            ByteHead one = head_of(i / s.kv_heads, head);
            const float* keys = work.heads + run.first * work.heads_stride + (s.heads + head) * s.head_width;
            k.pack_keys(keys, work.heads_stride, run.count, s.head_width, const_cast<uint8_t*>(one.keys.data));
            k.pack_values(keys + s.kv_heads * s.head_width, work.heads_stride, run.count, s.head_width,
                          const_cast<uint8_t*>(one.values.data));
        }
    });
    for (size_t r = 0; r < runs.size(); r++) {
        int slices = (runs[r].count + MEETING - 1) / MEETING;
        model.team_.each(thread, slices * s.heads, 1, [&](int first, int last) {
            for (int i = first; i < last; i++) {  // those of one head follow each other
                int head = i / slices, from = i % slices * MEETING;
                ByteHead one = head_of(int(r), head / (s.heads / s.kv_heads));
                see_bytes(s, one.keys, one.values, head, runs[r].first + from, std::min(MEETING, runs[r].count - from));
            }
        });
    }
}

void Lane::quantise_queries(const StackSpec& s, int token) const {
    float* query = work.own[thread].query;
    for (int head = 0; head < s.heads; head++) {
        std::memcpy(query, work.heads + token * work.heads_stride + head * s.head_width, size_t(s.head_width) * 4);
        model.kernels_.quantise_rows(work.queries, head * work.tokens + token, 1, query);
    }
}

// What some tokens attend to by one head of queries.
void Lane::see_bytes(const StackSpec& s, const Matrix& keys, const Matrix& values, int head, int first,
                     int tokens) const {
    const Kernels& k = model.kernels_;
    const Work::Own& own = work.own[thread];
    const Input& p = own.probabilities;
    k.multiply(keys, 0, keys.panels(), work.queries, head * work.tokens + first, tokens, nullptr, p.values, p.stride, false);
    for (int t = 0; t < tokens; t++) {
        long at = t * p.stride, groups = at / GROUP;
        float share = 1 / k.soften(p.values + at, keys.rows, s.scale);
        k.quantise(p.values + at, values.width() / GROUP, GROUP, p.bytes + at, p.scales + groups, p.sums + groups, GROUP);
        for (int g = 0; g < values.width() / GROUP; g++) p.scales[groups + g] *= share;
    }
    bool whole = s.head_width % ROWS == 0;  // panels: then nothing else is written over
    long stride = whole ? work.attended.stride : values.panels() * ROWS;
    float* out = work.attended.values + first * work.attended.stride + head * s.head_width;
    k.multiply(values, 0, values.panels(), p, 0, tokens, nullptr, whole ? out : own.looked, stride, false);
    for (int t = 0; !whole && t < tokens; t++)
        std::memcpy(out + t * work.attended.stride, own.looked + t * stride, size_t(s.head_width) * 4);
}

void Lane::look(const Stack& stack, int layer, const std::vector<Model::Run>& runs) const {
    const StackSpec& s = stack.spec;
    const Layer& own = stack.layers[layer];
    product(own.cross_q, open(stack, own.cross_norm), work.heads, work.heads_stride, false);
    for (const Model::Run& run : runs) {
        int slices = (run.count + 15) / 16;
        model.team_.each(thread, slices * s.kv_heads, 1, [&](int first, int last) {
            for (int i = first; i < last; i++) {
                int slice = i / s.kv_heads;
                see(stack, run, *run.context, layer, i % s.kv_heads, slice * 16, std::min(run.count, slice * 16 + 16),
                    0, true);
            }
        });
    }
    Input attended = ready(work.attended, s.heads * s.head_width, stack.quantised);
    close(own.cross_out, attended, own.cross_norm, {}, s);
}

}  // namespace sepiola
