// DETR: a ResNet's map, an encoder over it, and a decoder over learned queries, whose states are the features. Positions
// are added to queries and keys in every layer, never to values.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "backbone.hpp"

namespace sepiola {

namespace {

constexpr float EPS = 1e-5f;

class DETR : public Backbone {
public:
    DETR(const Settings& s, Model& model) : Backbone(s, model) {
        width = s.whole("width", 1, 1 << 16);
        patches = s.whole("queries", 1, 1 << 16);
        auto heads = [&](const char* key) {
            int count = s.whole(key, 1, width);
            if (width % count || width / count > 1024)
                throw std::invalid_argument(std::string("the spec's '") + key + "' do not divide its width");
            return Heads{count, count, width / count, 1.0f / std::sqrt(float(width / count))};
        };
        encoder_heads_ = heads("encoder_heads"), decoder_heads_ = heads("heads");
        project_ = linear("vision.project", width, map_width_);
        queries_ = numbers("vision.queries", size_t(patches) * width);
        norm_ = norm("vision.norm", width);
        for (int i = 0, layers = s.whole("encoder_layers", 1, 1024); i < layers; i++)
            encoder_.push_back(
                layer("vision.encoder." + std::to_string(i) + ".", s.whole("encoder_inner", 1, LARGEST), false));
        for (int i = 0, layers = s.whole("layers", 1, 1024); i < layers; i++)
            decoder_.push_back(layer("vision.decoder." + std::to_string(i) + ".", s.whole("inner", 1, LARGEST), true));
    }

    void features(int pictures, int height, int columns, const float* pixels, float* out) override {
        int most = together(height, columns);
        for (int first = 0; first < pictures; first += most)
            some_features(std::min(most, pictures - first), height, columns,
                          pixels + size_t(first) * 3 * height * columns, out + size_t(first) * patches * width);
    }

private:
    struct Attended {
        Linear qk, q, k, v, out;
        Norm norm;
    };
    struct Layer {
        Attended self, cross;
        Linear up, down;
        Norm norm;
    };

    Layer layer(const std::string& at, int inner, bool crosses) {
        Layer result;
        result.self.qk = linear(at + "qk", 2 * width, width);
        attended(result.self, at);
        if (crosses) {
            result.cross.q = linear(at + "cross_q", width, width);
            result.cross.k = linear(at + "cross_k", width, width);
            attended(result.cross, at + "cross_");
        }
        result.up = linear(at + "up", inner, width);
        result.down = linear(at + "down", width, inner);
        result.norm = norm(at + "feed_forward_norm", width);
        return result;
    }
    void attended(Attended& part, const std::string& at) {
        part.v = linear(at + "v", width, width);
        part.out = linear(at + "out", width, width);
        part.norm = norm(at + "norm", width);
    }

    void some_features(int pictures, int height, int columns, const float* pixels, float* out) {
        Map made = map(pictures, height, columns, pixels);
        int squares = made.rows * made.columns;
        Vectors x(pictures * squares, width), placed(x.count, width), states(pictures * patches, width);
        multiply(project_, made.vectors, x);
        std::vector<float> places = positions(made.rows, made.columns);
        std::vector<Span> own, queries, looks;
        for (int i = 0; i < pictures; i++) {
            own.push_back({i * squares, squares, i * squares, squares});
            queries.push_back({i * patches, patches, i * patches, patches});
            looks.push_back({i * patches, patches, i * squares, squares});
        }
        for (const Layer& layer : encoder_) {
            sum(x, places.data(), width, squares, placed);
            self_attend(layer.self, encoder_heads_, placed, x, own);
            feed_forward(layer, x);
        }
        sum(x, places.data(), width, squares, placed);
        Vectors query(states.count, width);
        for (const Layer& layer : decoder_) {
            sum(states, queries_, width, patches, query);
            self_attend(layer.self, decoder_heads_, query, states, queries);
            sum(states, queries_, width, patches, query);
            Vectors q(states.count, width), k(x.count, width), v(x.count, width);
            multiply(layer.cross.q, query, q);
            multiply(layer.cross.k, placed, k);
            multiply(layer.cross.v, x, v);
            join(layer.cross, decoder_heads_, {q, 0}, {k, 0}, {v, 0}, looks, states);
            feed_forward(layer, states);
        }
        normalise(states, norm_, EPS, true, states);
        copy(states, out);
    }

    void self_attend(const Attended& part, const Heads& heads, Vectors& placed, Vectors& x, const std::vector<Span>& spans) {
        Vectors qk(x.count, 2 * width), v(x.count, width);
        multiply(part.qk, placed, qk);
        multiply(part.v, x, v);
        join(part, heads, {qk, 0}, {qk, width}, {v, 0}, spans, x);
    }

    // x = norm(x + what its rows attend to).
    void join(const Attended& part, const Heads& heads, Columns q, Columns k, Columns v, const std::vector<Span>& spans,
              Vectors& x) {
        Vectors attended(x.count, width);
        attend(heads, q, k, v, spans, attended);
        multiply(part.out, attended, x, Activation::none, true);
        normalise(x, part.norm, EPS, true, x);
    }

    void feed_forward(const Layer& layer, Vectors& x) {
        Vectors inner(x.count, layer.up.matrix.rows);
        multiply(layer.up, x, inner, Activation::relu);
        multiply(layer.down, inner, x, Activation::none, true);
        normalise(x, layer.norm, EPS, true, x);
    }

    // Sines and cosines of row and column, of which a whole picture spans 2π.
    std::vector<float> positions(int rows, int columns) const {
        int half = width / 2;
        std::vector<float> places(size_t(rows) * columns * width);
        for (int axis = 0; axis < 2; axis++)
            for (int at = 0; at < (axis ? columns : rows); at++)
                for (int d = 0; d < half; d++) {
                    float last = float(axis ? columns : rows) + 1e-6f;
                    float period = std::pow(10000.0f, float(2 * (d / 2)) / float(half));
                    float angle = float(at + 1) / last * 6.283185307179586f / period;
                    float value = d % 2 ? std::cos(angle) : std::sin(angle);
                    for (int other = 0; other < (axis ? rows : columns); other++) {
                        int place = axis ? other * columns + at : at * columns + other;
                        places[size_t(place) * width + axis * half + d] = value;
                    }
                }
        return places;
    }

    Heads encoder_heads_{}, decoder_heads_{};
    Linear project_;
    const float* queries_ = nullptr;
    Norm norm_;
    std::vector<Layer> encoder_, decoder_;
};

}  // namespace

std::unique_ptr<Vision> make_detr(const Settings& settings, Model& model) {
    return std::make_unique<DETR>(settings, model);
}

}  // namespace sepiola
