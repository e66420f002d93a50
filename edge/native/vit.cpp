// A Vision Transformer: patches as rows of one product, a class token before them where there is one, a stack of layers.

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "parts.hpp"

namespace sepiola {

namespace {

constexpr int TOGETHER = 256;  // vectors that go through the layers at once, if pictures are so small

class ViT : public Vision {
public:
    ViT(const Settings& s, Model& model)
        : Vision(model), side_(s.whole("size", 1, 1 << 16)), patch_(s.whole("patch", 1, side_)), grid_(side_ / patch_),
          class_(s.flag("class_token")), skips_(s.flag("patch_features")), tokens_(grid_ * grid_ + class_) {
        if (skips_ && !class_) throw std::invalid_argument("the spec's 'patch_features' leaves out a class token that is none");
        width = s.whole("width", 1, LARGEST);
        patches = tokens_ - skips_;
        StackSpec stack_ = stack_spec(s.within("stack"), width, tokens_);
        stack_.causal = stack_.cross = false;
        stack_.closes = s.flag("closes");
        layers_ = stack(stack_, "vision");
        bool plain = !layers_.relative && *std::max_element(stack_.windows.begin(), stack_.windows.end()) == 0;
        layers_.attends_in_bytes = plain && layers_.layers[0].qkv.matrix.quantised();
        embedding_ = linear("vision.patch_embedding", width, 3 * patch_ * patch_);
        if (class_) class_token_ = numbers("vision.class_token", width);
    }

    void features(int pictures, int height, int columns, const float* pixels, float* out) override {
        if (height != side_ || columns != side_)
            throw std::invalid_argument("pictures are " + std::to_string(height) + " × " + std::to_string(columns) +
                                        " pixels; this vision encoder reads " + std::to_string(side_) + " × " +
                                        std::to_string(side_));
        int most = std::max(1, TOGETHER / tokens_);
        for (int first = 0; first < pictures; first += most) {
            int some = std::min(most, pictures - first);
            some_features(some, pixels + size_t(first) * 3 * side_ * side_, out + size_t(first) * patches * width);
        }
    }

private:
    void some_features(int pictures, const float* pixels, float* out) {
        int squares = grid_ * grid_;
        if (!rows_ || rows_->count != pictures * squares) {  // kept: new memory would be cleared by one thread
            rows_ = std::make_unique<Vectors>(pictures * squares, 3 * patch_ * patch_);
            embedded_ = std::make_unique<Vectors>(pictures * squares, width);
            vectors_.resize(size_t(pictures) * tokens_ * width);
        }
        Vectors &rows = *rows_, &embedded = *embedded_;
        each(pictures * squares, [&](int index) {
            const float* picture = pixels + size_t(index / squares) * 3 * side_ * side_;
            int line = index % squares / grid_ * patch_, column = index % grid_ * patch_;
            float* to = rows.row(index);
            for (int channel = 0; channel < 3; channel++)
                for (int y = 0; y < patch_; y++, to += patch_)
                    std::memcpy(to, picture + (size_t(channel) * side_ + line + y) * side_ + column, patch_ * 4);
        });
        multiply(embedding_, rows, embedded);
        std::vector<float> states(skips_ ? vectors_.size() : 0);
        each(pictures * tokens_, [&](int index) {
            int place = index % tokens_ - class_;
            const float* from = place < 0 ? class_token_ : embedded.row(index / tokens_ * squares + place);
            std::memcpy(vectors_.data() + size_t(index) * width, from, size_t(width) * 4);
        });
        through(layers_, pictures, tokens_, vectors_.data(), skips_ ? states.data() : out);
        for (int i = 0; skips_ && i < pictures; i++)
            std::memcpy(out + size_t(i) * patches * width, states.data() + (size_t(i) * tokens_ + 1) * width,
                        size_t(patches) * width * 4);
    }

    int side_, patch_, grid_;
    bool class_, skips_;
    int tokens_;
    Linear embedding_;
    const float* class_token_ = nullptr;
    Stack layers_;
    std::unique_ptr<Vectors> rows_, embedded_;  // of the pictures before
    std::vector<float> vectors_;
};

}  // namespace

std::unique_ptr<Vision> make_vit(const Settings& settings, Model& model) {
    return std::make_unique<ViT>(settings, model);
}

}  // namespace sepiola
