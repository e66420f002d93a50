#include "parts.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace sepiola {

namespace {

constexpr int BLOCK_ROWS = 132;  // rows that meet panels before the next ones do

}  // namespace

Vectors::Vectors(int count_, int columns_) : count(count_), columns(columns_) {
    long stride = padded(columns, BLOCK);
    size_t all = size_t(count) * stride;
    values_ = Floats(all), bytes_ = Floats(all / 4), scales_ = Floats(all / GROUP), sums_ = Floats(all / GROUP);
    input = {values_.data(), reinterpret_cast<int8_t*>(bytes_.data()), scales_.data(),
             reinterpret_cast<int32_t*>(sums_.data()), stride};
}

Part::~Part() = default;

void Part::each(int count, const std::function<void(int)>& work) {
    Team& team = model_.team_;
    team.run([&](int thread) {
        team.each(thread, count, chunk(count, team.size()), [&](int first, int last) {
            for (int i = first; i < last; i++) work(i);
        });
    });
}

void Part::multiply(const Linear& linear, Vectors& rows, Vectors& out, Activation activation, bool add, int first) {
    const Matrix& m = linear.matrix;
    const Kernels& k = model_.kernels_;
    Input& x = rows.input;
    long stride = out.input.stride;
    if (m.quantised()) each(rows.count, [&](int t) { k.quantise_rows(x, t, 1); });
    int some = rows.count > 1 ? PANELS : 1, pieces = (m.panels() + some - 1) / some;
    int blocks = (rows.count + BLOCK_ROWS - 1) / BLOCK_ROWS;
    each(blocks * pieces, [&](int index) {
        int begin = index / pieces * BLOCK_ROWS, count = std::min(BLOCK_ROWS, rows.count - begin);
        int p = index % pieces * some, panels = std::min(some, m.panels() - p);
        float* to = out.row(first + begin) + p * ROWS;
        k.multiply(m, p, panels, x, begin, count, linear.bias ? linear.bias + p * ROWS : nullptr, to, stride, add);
        if (activation == Activation::none) return;
        for (int t = 0; t < count; t++) k.activate(activation, to + t * stride, nullptr, panels * ROWS);
    });
}

FeedForward Part::feed_forward(const std::string& name, int width, int inner, const Settings& settings) {
    FeedForward network{{}, linear(name + "up", inner, width), linear(name + "down", width, inner),
                        settings.flag("gated"), activation(settings)};
    if (network.gated) network.gate = linear(name + "gate", inner, width);
    return network;
}

void Part::feed(const FeedForward& network, Vectors& rows, Vectors& out, bool add) {
    Vectors inner(rows.count, network.up.matrix.rows), gate(network.gated ? rows.count : 0, inner.columns);
    multiply(network.up, rows, inner, network.gated ? Activation::none : network.activation);
    if (network.gated) {
        multiply(network.gate, rows, gate);
        each(rows.count, [&](int t) {
            model_.kernels_.activate(network.activation, gate.row(t), inner.row(t), inner.columns);
        });
    }
    multiply(network.down, network.gated ? gate : inner, out, Activation::none, add);
}

void Part::normalise(const Vectors& rows, const Norm& norm, float eps, bool centred, Vectors& out) {
    each(rows.count, [&](int t) {
        model_.kernels_.norm(rows.row(t), rows.columns, norm.weight, norm.bias, eps, centred, out.row(t));
    });
}

void Part::sum(const Vectors& a, const float* b, long stride, int repeat, Vectors& out) {
    each(a.count, [&](int t) {
        const float *x = a.row(t), *y = b + (t % repeat) * stride;
        float* to = out.row(t);
        for (int d = 0; d < a.columns; d++) to[d] = x[d] + y[d];
    });
}

void Part::attend(const Heads& h, Columns queries, Columns keys, Columns values, const std::vector<Span>& spans,
                  Vectors& out) {
    StackSpec spec;
    spec.kv_heads = h.kv_heads, spec.head_width = h.width;
    std::vector<Cache> caches(spans.size(), Cache(spec, 1, false));
    int most = 0, group = h.heads / h.kv_heads;
    std::vector<std::pair<int, int>> pieces;  // of a span, and the first of its queries
    for (size_t i = 0; i < spans.size(); i++) {
        caches[i].reserve(0, spans[i].keys);
        most = std::max(most, spans[i].keys);
        for (int q = 0; q < spans[i].count; q += 16) pieces.push_back({int(i), q});
    }
    each(int(spans.size()) * h.kv_heads, [&](int index) {
        const Span& span = spans[index / h.kv_heads];
        int head = index % h.kv_heads;
        for (int p = 0; p < span.keys; p++)
            caches[index / h.kv_heads].put(0, head, p, keys.rows.row(span.keys_first + p) + keys.column + head * h.width,
                                           values.rows.row(span.keys_first + p) + values.column + head * h.width);
    });
    long stride = padded(most, ROWS);
    std::vector<Floats> scores;
    for (int i = 0; i < model_.threads(); i++) scores.emplace_back(QUERIES * stride);
    Team& team = model_.team_;
    team.run([&](int thread) {
        team.each(thread, int(pieces.size()) * h.kv_heads, 1, [&](int begin, int end) {
            for (int i = begin; i < end; i++) {
                auto [at, from] = pieces[i / h.kv_heads];
                const Span& span = spans[at];
                int head = i % h.kv_heads;
                Attention a = caches[at].attention(0, head);
                a.scale = h.scale;
                a.scores = scores[thread].data(), a.score_stride = stride;
                for (int q = from; q < std::min(span.count, from + 16); q++)
                    for (int g = 0; g < group; g++) {
                        int n = a.queries++, column = (head * group + g) * h.width;
                        a.query[n] = queries.rows.row(span.first + q) + queries.column + column;
                        a.out[n] = out.row(span.first + q) + column;
                        a.begin[n] = 0, a.end[n] = span.keys, a.bias[n] = nullptr;
                        if (a.queries == QUERIES) model_.kernels_.attend(a), a.queries = 0;
                    }
                if (a.queries) model_.kernels_.attend(a);
            }
        });
    });
}

void Part::copy(const Vectors& rows, float* out) {
    for (int t = 0; t < rows.count; t++)
        std::memcpy(out + size_t(t) * rows.columns, rows.row(t), size_t(rows.columns) * 4);
}

void Bridge::vectors(int, int, const float*, int, const int32_t*, const int32_t*, float*) {
    throw std::invalid_argument("this model's bridge makes no vectors that stand in the text");
}

void Bridge::fuse(int, const float*, const int32_t*, int, const float*, const int32_t*, float*) {
    throw std::invalid_argument("this model's bridge fuses no states with features");
}

std::shared_ptr<const Picture> Bridge::look(int, int, const float*) {
    throw std::invalid_argument("this model's bridge has no layers that look at pictures");
}

void Part::insert(Stack stack, std::vector<int> at, int token) {
    model_.inserted_ = std::make_unique<Inserted>(Inserted{std::move(stack), std::move(at), token, {}});
}

void Part::through(Stack& stack, int runs, int each, const float* vectors, float* states) {
    if (!work_) work_ = std::make_unique<Work>();
    std::vector<Model::Run> now;
    while (int(caches_.size()) < runs) caches_.emplace_back(stack.spec, 1, false);
    for (int i = 0; i < runs; i++) {
        caches_[i].reserve(0, each);
        now.push_back({&caches_[i], nullptr, i * each, each, 0, each, 0});
    }
    model_.reach(stack, each);
    model_.run(stack, *work_, now, runs * each, nullptr, vectors, states);
}

std::unique_ptr<Vision> make_vision(const Settings& settings, Model& model) {
    using Make = std::unique_ptr<Vision> (*)(const Settings&, Model&);
    static const std::map<std::string, Make> kinds = {
        {"vit", make_vit}, {"resnet", make_resnet}, {"detr", make_detr}};
    return settings.one_of("kind", kinds)(settings, model);
}

std::unique_ptr<Bridge> make_bridge(const Settings& settings, Model& model) {
    using Make = std::unique_ptr<Bridge> (*)(const Settings&, Model&);
    static const std::map<std::string, Make> kinds = {
        {"projection", make_projection}, {"q-former", make_qformer}, {"gated-fusion", make_fusion}, {"gated-cross", make_gated_cross}};
    return settings.one_of("kind", kinds)(settings, model);
}

}  // namespace sepiola
