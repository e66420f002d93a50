// Memory on large pages, and the keys and values of rows, which share pages until one of them writes.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "model.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
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

void give_back(const void* data, size_t bytes) {
#if defined(__linux__)
    uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), first = (uintptr_t(data) + page - 1) / page * page;
    uintptr_t last = (uintptr_t(data) + bytes) / page * page;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
#else
    (void)data, (void)bytes;
#endif
}

void Floats::Free::operator()(float* data) const { std::free(data); }

Cache::Cache(const StackSpec& spec, int layers, bool half)
    : layers_(layers), heads_(spec.kv_heads), width_(spec.head_width), key_width_(padded(width_, 2)),
      value_width_(padded(width_, 32)), half_(half) {}

void Cache::reserve(int kept, int positions) {
    size_t own = kept / PAGE, count = (positions + PAGE - 1) / PAGE;
    if (pages_.size() > count) pages_.resize(count);
    for (size_t i = own; i < count; i++) {
        if (i < pages_.size() && pages_[i].use_count() == 1) continue;
        auto page = std::make_shared<Floats>(size_t(layers_) * heads_ * each() / 4, false);
        if (i < pages_.size()) {
            if (i == own && kept % PAGE) std::memcpy(page->data(), pages_[i]->data(), size_t(layers_) * heads_ * each());
            pages_[i] = std::move(page);
        } else {
            pages_.push_back(std::move(page));
        }
    }
    places_.resize(count);
    for (size_t i = own; i < count; i++) places_[i] = reinterpret_cast<uint8_t*>(pages_[i]->data());
}

void Cache::put(int layer, int head, int position, const float* key, const float* value) const {
    int at = position % PAGE, lane = at % 16;
    uint8_t* page = places_[position / PAGE];
    uint8_t* block = page + keys(layer, head) + size_t(at / 16) * key_width_ * 16 * size();
    uint8_t* row = page + values(layer, head) + size_t(at) * value_width_ * size();
    if (half_) {
        auto *to = reinterpret_cast<uint16_t*>(block), *out = reinterpret_cast<uint16_t*>(row);
        for (int d = 0; d < width_; d++) to[d / 2 * 32 + lane * 2 + d % 2] = float_to_bf16(key[d]);
        for (int d = 0; d < width_; d++) out[d / 32 * 32 + d % 16 * 2 + d / 16 % 2] = float_to_bf16(value[d]);
    } else {
        for (int d = 0; d < width_; d++) reinterpret_cast<float*>(block)[d * 16 + lane] = key[d];
        std::memcpy(row, value, size_t(width_) * 4);
    }
}

Attention Cache::attention(int layer, int head) const {
    Attention a{};
    a.half = half_, a.pages = places_.data(), a.keys = keys(layer, head), a.values = values(layer, head);
    a.head_width = width_, a.key_width = key_width_, a.value_width = value_width_;
    return a;
}

}  // namespace sepiola
