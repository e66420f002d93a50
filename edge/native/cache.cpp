// Memory on large pages, and the keys and values of rows, which share pages until one of them writes.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "model.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sepiola {

namespace {

constexpr size_t LARGE = 2 << 20;  // bytes of a large page

}  // namespace

Floats::Floats(size_t count, bool zeros) : size_(count) {
    size_t line = count * 4 < 4 * LARGE ? 64 : LARGE;
    size_t bytes = std::max(line, (count * 4 + line - 1) / line * line);
    data_.reset(static_cast<float*>(std::aligned_alloc(line, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (line == LARGE) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
    if (zeros) std::memset(data_.get(), 0, bytes);
}

Floats::Floats(const Floats& other) : Floats(other.size_, false) {
    if (other.size_) std::memcpy(data(), other.data(), other.size_ * 4);
}

void Floats::Free::operator()(float* data) const { std::free(data); }

Cache::Cache(const StackSpec& spec, int layers_)
    : layers(layers_), heads(spec.kv_heads), width(spec.head_width), stride(padded(spec.head_width, 16)) {}

void Cache::reserve(int kept, int positions) {
    size_t own = kept / PAGE, count = (positions + PAGE - 1) / PAGE;
    if (pages_.size() > count) pages_.resize(count);
    for (size_t i = own; i < count; i++) {
        if (i < pages_.size() && pages_[i].use_count() == 1) continue;
        auto page = std::make_shared<Floats>(size_t(layers) * heads * PAGE * (width + stride), false);
        if (i < pages_.size()) {
            size_t here = i == own ? kept % PAGE : 0, blocks = padded(int(here), ROWS);
            for (int layer = 0; here && layer < layers; layer++)
                for (int head = 0; head < heads; head++) {
                    const float* from = pages_[i]->data();
                    std::memcpy(page->data() + keys(layer, head), from + keys(layer, head), blocks * width * 4);
                    std::memcpy(page->data() + values(layer, head), from + values(layer, head), here * stride * 4);
                }
            pages_[i] = std::move(page);
        } else {
            pages_.push_back(std::move(page));
        }
    }
    places_.resize(count);
    for (size_t i = own; i < count; i++) places_[i] = pages_[i]->data();
}

void Cache::put(int layer, int head, int position, const float* key, const float* value) const {
    float* page = places_[position / PAGE];
    int at = position % PAGE;
    float* to = page + keys(layer, head) + size_t(at / 16) * width * 16 + at % 16;
    for (int d = 0; d < width; d++) to[d * 16] = key[d];
    std::memcpy(page + values(layer, head) + size_t(at) * stride, value, size_t(width) * 4);
}

}  // namespace sepiola
