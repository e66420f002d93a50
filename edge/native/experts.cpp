// A mixture of experts in a step: a router chooses some gated networks for each token. Tokens that one expert reads are laid
// together, so that each of its panels meets all of them; what experts write is added up by token, in the experts' order.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "work.hpp"

namespace sepiola {

void Mixture::fit(std::vector<Floats>& memory, Work& work, int count, const StackSpec& s) {
    size_t all = size_t(count) * s.chosen;
    logits_stride = padded(s.experts, BLOCK);
    logits = work.floats(memory, count * logits_stride);
    read = work.input(memory, int(all), s.width);
    written = work.floats(memory, all * work.stride);
    if (s.shared) shared = work.floats(memory, count * work.stride), opening = work.floats(memory, count * ROWS);
    tokens.resize(all), readings.resize(all), shares.resize(all), experts_.resize(all);
}

void Mixture::choose(const Kernels& kernels, int count, const StackSpec& s) {
    std::vector<int> order(s.experts), begins(s.experts + 1, 0);
    float likely[1024 + BLOCK];
    for (int t = 0; t < count; t++) {
        float* row = logits + t * logits_stride;
        for (int e = 0; e < s.experts; e++) {
            order[e] = e;
            if (row[e] != row[e]) row[e] = -INFINITY;  // no number stands in no order
        }
        std::partial_sort(order.begin(), order.begin() + s.chosen, order.end(),
                          [&](int a, int b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
        std::sort(order.begin(), order.begin() + s.chosen);
        for (int i = 0; i < s.chosen; i++) {
            experts_[t * s.chosen + i] = order[i];
            likely[i] = row[order[i]];
            begins[order[i] + 1]++;
        }
        if (!s.renormalise) std::memcpy(likely, row, s.experts * 4);
        float total = kernels.soften(likely, s.renormalise ? s.chosen : s.experts, 1);
        for (int i = 0; i < s.chosen; i++) shares[t * s.chosen + i] = likely[s.renormalise ? i : order[i]] / total;
    }
    groups.clear();
    for (int e = 0; e < s.experts; e++) {
        if (begins[e + 1]) groups.push_back({e, begins[e], begins[e + 1]});
        begins[e + 1] += begins[e];
    }
    for (int i = 0; i < count * s.chosen; i++) {
        readings[i] = begins[experts_[i]]++;
        tokens[readings[i]] = i / s.chosen;
    }
}

void Lane::mix(const Layer& layer, const Input& input, const Stack& stack) const {
    const StackSpec& s = stack.spec;
    const Kernels& k = model.kernels_;
    Team& team = model.team_;
    Mixture& m = work.mixture;
    const bool shares = s.shared > 0;
    product(layer.router, input, m.logits, m.logits_stride, false);
    if (shares) product(layer.shared_router, input, m.opening, ROWS, false);
    team.each(thread, 1, 1, [&](int, int) { m.choose(k, count, s); });

    const int all = count * s.chosen, some = count > 1 ? PANELS : 1;
    const Input read = count == 1 ? input : m.read;
    if (count > 1)
        team.each(thread, all, chunk(all, team.size()), [&](int first, int last) {
            for (int i = first; i < last; i++) {
                long from = m.tokens[i] * input.stride, to = i * read.stride;
                std::memcpy(read.values + to, input.values + from, input.stride * 4);
                if (!stack.quantised) continue;
                std::memcpy(read.bytes + to, input.bytes + from, input.stride);
                std::memcpy(read.scales + to / GROUP, input.scales + from / GROUP, input.stride / GROUP * 4);
                std::memcpy(read.sums + to / GROUP, input.sums + from / GROUP, input.stride / GROUP * 4);
            }
        });

    // Panels of each chosen expert, of a matrix with so many, and the readings that meet them.
    auto each_panel = [&](int panels, auto&& piece) {
        int pieces = (panels + some - 1) / some, work_pieces = pieces * int(m.groups.size());
        team.each(thread, work_pieces, chunk(work_pieces, team.size()), [&](int first, int last) {
            for (int i = first; i < last; i++) {
                int p = i % pieces * some;
                piece(m.groups[i / pieces], p, std::min(some, panels - p));
            }
        });
    };
    bool quantises = count > 1 && layer.experts[0].down.matrix.quantised();
    each_panel((s.inner + ROWS - 1) / ROWS, [&](const Mixture::Group& group, int p, int panels) {
        const Expert& e = layer.experts[group.expert];
        activated(e, p, panels, read, count == 1 ? 0 : group.first, group.first, group.count, s, quantises);
    });
    const Input& inner = work.inner;
    if (stack.quantised && !quantises)
        team.each(thread, all, chunk(all, team.size()), [&](int first, int last) {
            k.quantise_rows(inner, first, last - first);
        });
    each_panel((s.width + ROWS - 1) / ROWS, [&](const Mixture::Group& group, int p, int panels) {
        const Expert& e = layer.experts[group.expert];
        k.multiply(e.down.matrix, p, panels, inner, group.first, group.count, e.down.bias ? e.down.bias + p * ROWS : nullptr,
                   m.written + group.first * work.stride + p * ROWS, work.stride, false);
    });
    if (shares) product(layer.shared.down, Lane::inner(layer.shared, input, s), m.shared, work.stride, false);
    bool sandwich = s.place == Place::sandwich;
    team.each(thread, count, chunk(count, team.size()), [&](int first, int last) {
        for (int t = first; t < last; t++) {
            float* to = (sandwich ? work.closing : work.x) + t * work.stride;
            if (sandwich) std::memset(to, 0, size_t(s.width) * 4);
            for (int i = t * s.chosen; i < (t + 1) * s.chosen; i++) {
                const float* written = m.written + m.readings[i] * work.stride;
                for (int d = 0; d < s.width; d++) to[d] += m.shares[i] * written[d];
            }
            if (shares) {
                float* open = m.opening + t * ROWS;
                k.activate(Activation::sigmoid, open, nullptr, 1);
                for (int d = 0; d < s.width; d++) to[d] += *open * m.shared[t * work.stride + d];
            }
            settle(t, layer.feed_forward_norm, layer.feed_forward_close, s);
        }
    });
}

}  // namespace sepiola
