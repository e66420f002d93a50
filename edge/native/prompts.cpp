// Reading prompts: what rows of a batch begin alike with, or with a text that is still held, is read once.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "model.hpp"

namespace sepiola {

namespace {

constexpr int SHARED = 16;  // tokens that must be alike, so that a pass of its own pays

// How many tokens two texts begin with alike.
int common(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
    size_t most = std::min(a.size(), b.size());
    return int(std::mismatch(a.begin(), a.begin() + most, b.begin()).first - a.begin());
}

void require(bool right, const std::string& message) {
    if (!right) throw std::invalid_argument(message);
}

}  // namespace

uint64_t Model::mark(const Sequence& sequence, const int32_t* token, const float* vector) const {
    std::vector<float> embedded;
    if (token && !sequence.vectors) return uint64_t(*token);
    if (token) {
        embedded.resize(spec_.width);
        unpack(embedding_, *token, embedded.data());
        for (float& x : embedded) x *= spec_.embedding_scale;
        vector = embedded.data();
    }
    uint64_t hash = 1469598103934665603ull;
    for (int d = 0; d < spec_.width; d++) {
        uint32_t bits;
        std::memcpy(&bits, vector + d, 4);
        hash = (hash ^ bits) * 0x9E3779B97F4A7C15ull;
        hash ^= hash >> 29;
    }
    return hash | 1ull << 63;
}

void Model::select(Batch& batch, const std::vector<int>& rows) {
    auto turn = team_.turn();
    Batch kept;
    std::vector<bool> taken(batch.size());
    for (int row : rows) {
        require(row >= 0 && row < int(batch.size()), "row " + std::to_string(row) + " is not in the batch");
        kept.push_back(taken[row] ? std::make_shared<Sequence>(*batch[row]) : batch[row]);
        taken[row] = true;
    }
    batch = std::move(kept);
}

void Model::rewind(Batch& batch, const std::vector<int>& counts) {
    auto turn = team_.turn();
    require(counts.size() == batch.size(), "rewind takes one number a row");
    for (size_t i = 0; i < batch.size(); i++)
        require(counts[i] >= 0 && counts[i] <= batch[i]->length(), "a row cannot forget more than it holds");
    for (size_t i = 0; i < batch.size(); i++) {
        batch[i]->read.resize(batch[i]->read.size() - counts[i]);
        batch[i]->seen.resize(std::min(batch[i]->seen.size(), batch[i]->read.size()));
    }
}

Batch Model::read(int rows, int count, const int32_t* tokens, const float* vectors, const int32_t* places,
                  std::vector<Pictures> pictures) {
    require(!spec_.decoder.cross, "a decoder that looks at an encoder reads no prompts");
    check(count, tokens, places, rows);
    auto turn = team_.turn();
    Batch batch = begin(rows);
    for (size_t row = 0; row < pictures.size(); row++) batch[row]->pictures = std::move(pictures[row]);
    std::vector<std::vector<uint64_t>> texts(rows);
    std::vector<int> firsts(rows, 0);
    for (int i = count - 1; i >= 0; i--) firsts[places[i]] = i;
    for (int i = 0; i < count; i++) {
        Sequence& row = *batch[places[i]];
        row.vectors = vectors != nullptr;
        int before = row.seen.empty() ? 0 : row.seen.back();
        row.seen.push_back(looks_at(row, before, tokens ? tokens + i : nullptr));
        texts[places[i]].push_back(known_by(row, row.seen.size() - 1, tokens ? tokens + i : nullptr,
                                            vectors ? vectors + size_t(i) * spec_.width : nullptr));
    }
    for (const auto& row : batch) row->seen.clear();

    // In the order of their texts, rows follow the first that is much like them.
    std::vector<int> order(rows), heads(rows), shared(rows, 0);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return texts[a] < texts[b]; });
    for (int i = 0, head = -1, with_head = 0; i < rows; i++) {
        int row = order[i], with_last = i ? common(texts[order[i - 1]], texts[row]) : 0;
        with_head = std::min(with_head, with_last);
        if (with_head < SHARED || with_head < with_last / 2)
            head = row, with_head = int(texts[row].size());
        else
            shared[row] = with_head;
        heads[row] = head;
    }

    auto proceed = [&](auto&& chosen) {
        std::vector<int32_t> rest, at;
        std::vector<float> rest_vectors;
        for (int row = 0; row < rows; row++) {
            if (!chosen(row)) continue;
            for (int t = batch[row]->length(); t < int(texts[row].size()); t++) {
                size_t from = size_t(firsts[row]) + t;
                if (tokens) rest.push_back(tokens[from]);
                if (vectors)
                    rest_vectors.insert(rest_vectors.end(), vectors + from * spec_.width,
                                        vectors + (from + 1) * spec_.width);
                at.push_back(row);
            }
        }
        forward(batch, int(at.size()), tokens ? rest.data() : nullptr, vectors ? rest_vectors.data() : nullptr,
                at.data(), nullptr);
    };
    auto go_on = [&](int row, const Sequence& from, int length) {
        Pictures own = std::move(batch[row]->pictures);  // of which those before `length` are the same
        *batch[row] = from;
        batch[row]->pictures = std::move(own);
        batch[row]->read.resize(length);
        batch[row]->seen.resize(std::min<size_t>(batch[row]->seen.size(), length));
    };
    for (int row = 0; row < rows; row++) {
        if (heads[row] != row) continue;
        std::shared_ptr<Sequence> best;
        for (const auto& one : held_)
            if (auto text = one.lock())
                if (!best || common(text->read, texts[row]) > common(best->read, texts[row])) best = text;
        if (int length = best ? common(best->read, texts[row]) : 0; length >= SHARED) go_on(row, *best, length);
    }
    last_.reset();
    proceed([&](int row) { return heads[row] == row; });
    for (int row = 0; row < rows; row++)
        if (heads[row] != row) go_on(row, *batch[heads[row]], shared[row]);
    proceed([&](int row) { return heads[row] != row; });

    held_.erase(std::remove_if(held_.begin(), held_.end(), [](const auto& one) { return one.expired(); }), held_.end());
    held_.insert(held_.end(), batch.begin(), batch.end());
    if (rows == 1) last_ = batch[0];
    return batch;
}

}  // namespace sepiola
