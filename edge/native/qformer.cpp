// A Q-Former: learned queries, and an instruction's text beside them, share self-attention; in some layers the queries look
// at the picture. Norms stand after their sublayers.

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "parts.hpp"

namespace sepiola {

namespace {

class QFormer : public Bridge {
public:
    QFormer(const Settings& s, Model& model)
        : Bridge(model), width_(s.whole("width", 1, 1 << 16)), eps_(s.number("eps")), centred_(s.flag("centred")) {
        image_width = s.whole("image_width", 1, LARGEST);
        tokens = s.whole("queries", 1, 1 << 16);
        instructed = s.flag("instructed");
        heads_ = {s.whole("heads", 1, 1024), s.whole("kv_heads", 1, 1024), s.whole("head_width", 1, 1024),
                  s.number("scale")};
        if (heads_.heads % heads_.kv_heads)
            throw std::invalid_argument("the spec's 'heads' are no multiple of 'kv_heads'");
        int inner = s.whole("inner", 1, LARGEST);
        int each = heads_.heads * heads_.width, shared = heads_.kv_heads * heads_.width;
        queries_ = numbers("bridge.queries", size_t(tokens) * width_);
        norm_ = norm("bridge.norm", width_);
        projection_ = linear("bridge.projection", model.spec().width, width_);
        if (instructed) {
            vocabulary_ = s.whole("vocabulary", 1, LARGEST), length_ = s.whole("length", 1, LARGEST);
            words_ = linear("bridge.words", vocabulary_, width_).matrix;
            positions_ = numbers("bridge.positions", size_t(length_) * width_);
        }
        for (int i = 0, layers = s.whole("layers", 1, 1024); i < layers; i++) {
            std::string at = "bridge." + std::to_string(i) + ".";
            Layer layer;
            layer.qkv = linear(at + "qkv", each + 2 * shared, width_);
            layer.out = linear(at + "out", width_, each);
            layer.norm = norm(at + "attention_norm", width_);
            if ((layer.crosses = has(at + "cross_q"))) {
                layer.cross_q = linear(at + "cross_q", each, width_);
                layer.cross_kv = linear(at + "cross_kv", 2 * shared, image_width);
                layer.cross_out = linear(at + "cross_out", width_, each);
                layer.cross_norm = norm(at + "cross_norm", width_);
            }
            layer.query = feed_forward(at + "query_", width_, inner, s);
            layer.query_norm = norm(at + "query_feed_forward_norm", width_);
            if (instructed) {
                layer.text = feed_forward(at, width_, inner, s);
                layer.text_norm = norm(at + "feed_forward_norm", width_);
            }
            layers_.push_back(layer);
        }
    }

    void vectors(int pictures, int patches, const float* features, int count, const int32_t* words,
                 const int32_t* places, float* out) override {
        if (!instructed) count = 0;
        Vectors seen(pictures * patches, image_width), asked(pictures * tokens, width_), text(count, width_);
        for (int p = 0; p < seen.count; p++)
            std::memcpy(seen.row(p), features + size_t(p) * image_width, size_t(image_width) * 4);
        for (int q = 0; q < asked.count; q++)
            std::memcpy(asked.row(q), queries_ + size_t(q % tokens) * width_, size_t(width_) * 4);
        std::vector<int> lengths = read(pictures, count, words, places, text);
        normalise(asked, norm_, eps_, centred_, asked);
        normalise(text, norm_, eps_, centred_, text);
        std::vector<Span> own, looks;
        std::vector<std::pair<bool, int>> order;  // rows that share self-attention: of the text or not, and which
        for (int i = 0, word = 0; i < pictures; word += lengths[i], i++) {
            int first = int(order.size());
            for (int q = 0; q < tokens; q++) order.push_back({false, i * tokens + q});
            for (int t = 0; t < lengths[i]; t++) order.push_back({true, word + t});
            own.push_back({first, tokens + lengths[i], first, tokens + lengths[i]});
            looks.push_back({i * tokens, tokens, i * patches, patches});
        }
        for (const Layer& layer : layers_) {
            Vectors x(int(order.size()), width_);
            for (int t = 0; t < x.count; t++) std::memcpy(x.row(t), place(order[t], asked, text), size_t(width_) * 4);
            attend_all(layer, x, own);
            for (int t = 0; t < x.count; t++) std::memcpy(place(order[t], asked, text), x.row(t), size_t(width_) * 4);
            if (layer.crosses) look(layer, asked, seen, looks);
            feed(layer.query, asked, asked, true);
            normalise(asked, layer.query_norm, eps_, centred_, asked);
            if (!count) continue;
            feed(layer.text, text, text, true);
            normalise(text, layer.text_norm, eps_, centred_, text);
        }
        Vectors made(asked.count, projection_.matrix.rows);
        multiply(projection_, asked, made);
        copy(made, out);
    }

private:
    struct Layer {
        Linear qkv, out, cross_q, cross_kv, cross_out;
        Norm norm, cross_norm, query_norm, text_norm;
        FeedForward query, text;
        bool crosses = false;
    };

    static float* place(const std::pair<bool, int>& at, const Vectors& asked, const Vectors& text) {
        return (at.first ? text : asked).row(at.second);
    }

    // Words as vectors, and how many each picture has.
    std::vector<int> read(int pictures, int count, const int32_t* words, const int32_t* places, Vectors& text) const {
        std::vector<int> lengths(pictures, 0);
        for (int t = 0; t < count; t++) {
            if (places[t] < 0 || places[t] >= pictures || (t && places[t] < places[t - 1]))
                throw std::invalid_argument("the words of an instruction must stand together, pictures in order");
            int at = lengths[places[t]]++;
            if (words[t] < 0 || words[t] >= vocabulary_ || at >= length_)
                throw std::invalid_argument("an instruction's word " + std::to_string(words[t]) + " at " +
                                            std::to_string(at) + " is outside the bridge's vocabulary or length");
            unpack(words_, words[t], text.row(t));
            kernels().add(text.row(t), positions_ + size_t(at) * width_, width_);
        }
        return lengths;
    }

    void attend_all(const Layer& layer, Vectors& x, const std::vector<Span>& spans) {
        int each = heads_.heads * heads_.width, shared = heads_.kv_heads * heads_.width;
        Vectors qkv(x.count, each + 2 * shared), attended(x.count, each);
        multiply(layer.qkv, x, qkv);
        attend(heads_, {qkv, 0}, {qkv, each}, {qkv, each + shared}, spans, attended);
        multiply(layer.out, attended, x, Activation::none, true);
        normalise(x, layer.norm, eps_, centred_, x);
    }

    void look(const Layer& layer, Vectors& asked, Vectors& seen, const std::vector<Span>& spans) {
        int each = heads_.heads * heads_.width, shared = heads_.kv_heads * heads_.width;
        Vectors q(asked.count, each), kv(seen.count, 2 * shared), attended(asked.count, each);
        multiply(layer.cross_q, asked, q);
        multiply(layer.cross_kv, seen, kv);
        attend(heads_, {q, 0}, {kv, 0}, {kv, shared}, spans, attended);
        multiply(layer.cross_out, attended, asked, Activation::none, true);
        normalise(asked, layer.cross_norm, eps_, centred_, asked);
    }

    int width_, vocabulary_ = 0, length_ = 0;
    float eps_;
    bool centred_;
    Heads heads_{};
    const float *queries_ = nullptr, *positions_ = nullptr;
    Norm norm_;
    Matrix words_;
    Linear projection_;
    std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Bridge> make_qformer(const Settings& settings, Model& model) {
    return std::make_unique<QFormer>(settings, model);
}

}  // namespace sepiola
