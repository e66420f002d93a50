#include "parts.hpp"

#include <algorithm>
#include <cstring>

namespace sepiola {

Rows::Rows(int count_, int columns_) : count(count_), columns(columns_) {
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

void Part::multiply(const Linear& linear, Rows& rows, float* out, long stride, Activation activation) {
    const Matrix& m = linear.matrix;
    const Kernels& k = model_.kernels_;
    Input& x = rows.input;
    if (m.quantised())
        each(rows.count, [&](int t) {
            k.quantise(rows.row(t), int(x.stride), x.bytes + t * x.stride, x.scales + t * x.stride / GROUP,
                       x.sums + t * x.stride / GROUP);
        });
    each(m.panels(), [&](int p) {
        k.multiply(m, p, x, 0, rows.count, linear.bias ? linear.bias + p * ROWS : nullptr, out + p * ROWS, stride, false);
        if (activation == Activation::none) return;
        for (int t = 0; t < rows.count; t++) k.activate(activation, out + t * stride + p * ROWS, nullptr, ROWS);
    });
}

void Part::through(Stack& stack, int runs, int each, const float* vectors, float* states) {
    if (!work_) work_ = std::make_unique<Work>();
    std::vector<Model::Run> now;
    while (int(caches_.size()) < runs) caches_.emplace_back(stack.spec, 1);
    for (int i = 0; i < runs; i++) {
        caches_[i].reserve(0, each);
        now.push_back({&caches_[i], nullptr, i * each, each, 0, each, 0});
    }
    model_.reach(stack, each);
    model_.run(stack, *work_, now, runs * each, nullptr, vectors, states);
}

std::unique_ptr<Vision> make_vision(const Settings& settings, Model& model) {
    using Make = std::unique_ptr<Vision> (*)(const Settings&, Model&);
    static const std::map<std::string, Make> kinds = {{"vit", make_vit}};
    return settings.one_of("kind", kinds)(settings, model);
}

std::unique_ptr<Bridge> make_bridge(const Settings& settings, Model& model) {
    using Make = std::unique_ptr<Bridge> (*)(const Settings&, Model&);
    static const std::map<std::string, Make> kinds = {{"projection", make_projection}};
    return settings.one_of("kind", kinds)(settings, model);
}

}  // namespace sepiola
