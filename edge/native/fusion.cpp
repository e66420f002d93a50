// Gated fusion: each text state attends to its row's features with one head, and a gate decides how much of what it saw
// replaces it.

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "parts.hpp"

namespace sepiola {

namespace {

class Fusion : public Bridge {
public:
    Fusion(const Settings& s, Model& model) : Bridge(model), width_(model.spec().width) {
        image_width = s.whole("image_width", 1, LARGEST);
        image_ = linear("bridge.image", width_, image_width);
        q_ = linear("bridge.q", width_, width_);
        kv_ = linear("bridge.kv", 2 * width_, width_);
        out_ = linear("bridge.out", width_, width_);
        gate_ = linear("bridge.gate", width_, 2 * width_);
    }

    void fuse(int count, const float* states, const int32_t* rows, int patches, const float* features,
              const int32_t* feature_rows, float* out) override {
        std::vector<Span> spans;
        for (int t = 0, p = 0; t < count;) {
            int first = t, seen = p;
            while (t < count && rows[t] == rows[first]) t++;
            while (p < patches && feature_rows[p] == rows[first]) p++;
            if (p == seen)
                throw std::invalid_argument("row " + std::to_string(rows[first]) +
                                            " has no features, or rows do not stand in order");
            spans.push_back({first, t - first, seen, p - seen});
        }
        Vectors text(count, width_), seen(patches, image_width), image(patches, width_), kv(patches, 2 * width_),
            q(count, width_), attended(count, width_), looked(count, width_), both(count, 2 * width_), gate(count, width_);
        for (int t = 0; t < count; t++) std::memcpy(text.row(t), states + size_t(t) * width_, size_t(width_) * 4);
        for (int p = 0; p < patches; p++)
            std::memcpy(seen.row(p), features + size_t(p) * image_width, size_t(image_width) * 4);
        multiply(image_, seen, image);
        multiply(kv_, image, kv);
        multiply(q_, text, q);
        attend({1, 1, width_, 1.0f / std::sqrt(float(width_))}, {q, 0}, {kv, 0}, {kv, width_}, spans, attended);
        multiply(out_, attended, looked);
        for (int t = 0; t < count; t++) {
            std::memcpy(both.row(t), text.row(t), size_t(width_) * 4);
            std::memcpy(both.row(t) + width_, looked.row(t), size_t(width_) * 4);
        }
        multiply(gate_, both, gate);
        each(count, [&](int t) {
            float *h = text.row(t), *a = looked.row(t), *g = gate.row(t);
            for (int d = 0; d < width_; d++) a[d] -= h[d];
            kernels().activate(Activation::sigmoid, g, a, width_);
            kernels().add(h, g, width_);
            std::memcpy(out + size_t(t) * width_, h, size_t(width_) * 4);
        });
    }

private:
    int width_;
    Linear image_, q_, kv_, out_, gate_;
};

}  // namespace

std::unique_ptr<Bridge> make_fusion(const Settings& settings, Model& model) {
    return std::make_unique<Fusion>(settings, model);
}

}  // namespace sepiola
