// Gated cross-attention (Flamingo): a resampler makes a few latents of a picture's features; layers before some of the decoder's
// own attend to the latents of the picture that a token speaks of, the last one before it. Their gates are folded into the
// matrices that they scale.

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "parts.hpp"

namespace sepiola {

void Inserted::fit(const Model& model, const Work& outer, int tokens, const std::vector<Model::Run>& looks) {
    int most = 0;
    for (const Model::Run& run : looks) most = std::max(most, run.context_length);
    work.fit(model, stack, tokens, most);
    work.x = outer.x;
    std::memset(work.attended.values, 0, size_t(tokens) * work.attended.stride * 4);  // tokens without a picture see none
}

void Lane::insert(const Inserted& inserted, int layer, const std::vector<Model::Run>& looks) const {
    const Stack& stack = inserted.stack;
    if (!looks.empty()) look(stack, layer, looks);
    feed(stack.layers[layer], open(stack, stack.layers[layer].feed_forward_norm), stack);
}

int Model::looks_at(const Sequence& sequence, int before, const int32_t* token) const {
    bool opens = token && inserted_ && *token == inserted_->token;
    return std::min(before + opens, int(sequence.pictures.size()));
}

uint64_t Model::known_by(const Sequence& sequence, size_t at, const int32_t* token, const float* vector) const {
    if (at < sequence.seen.size() && !spec_.decoder.cross)
        if (int before = at ? sequence.seen[at - 1] : 0; sequence.seen[at] > before)
            return sequence.pictures[before]->mark;
    return mark(sequence, token, vector);
}

std::vector<Model::Run> Model::looks(Batch& batch, int count, const int32_t* tokens, const int32_t* rows) const {
    std::vector<Run> result;
    int last = 0;
    for (int t = 0; inserted_ && t < count; t++) {
        Sequence& row = *batch[rows[t]];
        bool begins = !t || rows[t] != rows[t - 1];
        if (begins) row.seen.resize(row.read.size());
        int before = !row.seen.empty() ? row.seen.back() : spec_.decoder.cross ? int(row.pictures.size()) : 0;
        int now = looks_at(row, before, tokens ? tokens + t : nullptr);
        row.seen.push_back(now);
        if (now && (begins || now != last)) {
            const Picture& picture = *row.pictures[now - 1];
            result.push_back({nullptr, &picture.keys_values, t, 0, 0, 0, picture.latents});
        }
        if (now) result.back().count++;
        last = now;
    }
    return result;
}

void Model::show(Batch& batch, std::vector<Pictures> pictures) {
    if (pictures.size() != batch.size()) throw std::invalid_argument("pictures are given for each row of a batch");
    auto turn = team_.turn();
    for (size_t row = 0; row < batch.size(); row++) {
        if (pictures[row].size() < batch[row]->pictures.size())
            throw std::invalid_argument("a row's pictures cannot become fewer");
        batch[row]->pictures = std::move(pictures[row]);
    }
}

namespace {

constexpr float EPS = 1e-5f;

class GatedCross : public Bridge {
public:
    GatedCross(const Settings& s, Model& model) : Bridge(model), text_width_(model.spec().width) {
        image_width = s.whole("image_width", 1, LARGEST), width_ = s.whole("width", 1, LARGEST);
        const Settings& resampler = s.within("resampler");
        latents_ = resampler.whole("latents", 1, 1 << 16);
        heads_ = heads(resampler);
        int inner = resampler.whole("inner", 1, LARGEST);
        int each = heads_.heads * heads_.width, shared = heads_.kv_heads * heads_.width;
        if (width_ != image_width) into_ = linear("bridge.into", width_, image_width);
        queries_ = numbers("bridge.latents", size_t(latents_) * width_);
        if ((frames_ = resampler.whole("frames", 0, 1 << 16))) times_ = numbers("bridge.times", size_t(frames_) * width_);
        norm_ = norm("bridge.norm", width_);
        for (int i = 0, depth = resampler.whole("depth", 1, 1024); i < depth; i++) {
            std::string at = "bridge.resampler." + std::to_string(i) + ".";
            resampler_.push_back({norm(at + "features_norm", width_), norm(at + "latents_norm", width_),
                                  norm(at + "feed_forward_norm", width_), linear(at + "q", each, width_),
                                  linear(at + "kv", 2 * shared, width_), linear(at + "out", width_, each),
                                  feed_forward(at, width_, inner, resampler)});
        }
        context_width_ = s.whole("context_width", 1, LARGEST);
        if (context_width_ != width_) context_ = linear("bridge.context", context_width_, width_);
        insert_layers(s);
    }

    std::shared_ptr<const Picture> look(int frames, int patches, const float* features) override {
        if (frames < 1 || patches < 1 || patches % frames)
            throw std::invalid_argument(std::to_string(patches) + " features are not those of " + std::to_string(frames) +
                                        " frames");
        Vectors given(patches, image_width), made(into_.matrix.data ? patches : 0, width_), latents(latents_, width_);
        for (int p = 0; p < patches; p++)
            std::memcpy(given.row(p), features + size_t(p) * image_width, size_t(image_width) * 4);
        if (into_.matrix.data) multiply(into_, given, made);
        Vectors& seen = into_.matrix.data ? made : given;
        for (int p = 0; times_ && p < patches; p++) add_time(seen.row(p), p / (patches / frames), frames);
        for (int q = 0; q < latents_; q++) std::memcpy(latents.row(q), queries_ + size_t(q) * width_, size_t(width_) * 4);
        for (const Layer& layer : resampler_) resample(layer, latents, seen);
        normalise(latents, norm_, EPS, true, latents);
        Vectors brought(context_.matrix.data ? latents_ : 0, context_width_);
        if (context_.matrix.data) multiply(context_, latents, brought);
        return picture(context_.matrix.data ? brought : latents);
    }

private:
    struct Layer {
        Norm features_norm, latents_norm, feed_forward_norm;
        Linear q, kv, out;
        FeedForward network;
    };

    static Heads heads(const Settings& s) {
        Heads result{s.whole("heads", 1, 1024), s.whole("kv_heads", 1, 1024), s.whole("head_width", 1, 1024),
                     s.number("scale")};
        if (result.heads % result.kv_heads)
            throw std::invalid_argument("the spec's 'heads' are no multiple of 'kv_heads'");
        return result;
    }

    void insert_layers(const Settings& s) {
        Heads own = heads(s);
        StackSpec& spec = stack_.spec;
        spec.width = text_width_, spec.heads = own.heads, spec.kv_heads = own.kv_heads, spec.head_width = own.width;
        spec.scale = own.scale, spec.eps = EPS, spec.centred = spec.cross = true, spec.causal = false;
        spec.inner = s.whole("inner", 1, LARGEST), spec.activation = activation(s);
        int each = own.heads * own.width, shared = own.kv_heads * own.width;
        std::vector<int> before = s.wholes("before"), at(model_.spec().decoder.layers, -1);
        for (size_t i = 0; i < before.size(); i++) {
            if (before[i] >= int(at.size()) || at[before[i]] >= 0)
                throw std::invalid_argument("the spec's 'before' names layer " + std::to_string(before[i]) +
                                            " twice, or the decoder has it not");
            at[before[i]] = int(i);
            std::string name = "bridge.layers." + std::to_string(i) + ".";
            sepiola::Layer layer;
            layer.cross_norm = norm(name + "cross_norm", text_width_);
            layer.cross_q = linear(name + "cross_q", each, text_width_);
            layer.cross_kv = linear(name + "cross_kv", 2 * shared, context_width_);
            layer.cross_out = linear(name + "cross_out", text_width_, each);
            layer.feed_forward_norm = norm(name + "feed_forward_norm", text_width_);
            layer.up = linear(name + "up", spec.inner, text_width_);
            layer.down = linear(name + "down", text_width_, spec.inner);
            stack_.note(layer);
            stack_.layers.push_back(layer);
        }
        spec.layers = int(before.size());
        if (before.empty()) throw std::invalid_argument("the spec's 'before' names no layer");
        insert(stack_, at, s.whole("token", -1, LARGEST));
    }

    // The time embedding of a frame, interpolated where there are more frames than embeddings.
    void add_time(float* row, int frame, int frames) const {
        float place = frames <= frames_ ? float(frame) : float(frame) * float(frames_ - 1) / float(frames - 1);
        int before = std::min(int(place), frames_ - 1), after = std::min(before + 1, frames_ - 1);
        float part = place - float(before);
        const float *from = times_ + size_t(before) * width_, *to = times_ + size_t(after) * width_;
        for (int d = 0; d < width_; d++) row[d] += (1 - part) * from[d] + part * to[d];
    }

    void resample(const Layer& layer, Vectors& latents, Vectors& seen) {
        int each_head = heads_.heads * heads_.width, shared = heads_.kv_heads * heads_.width, all = seen.count + latents_;
        Vectors queries(latents_, width_), context(all, width_), q(latents_, each_head), kv(all, 2 * shared),
            attended(latents_, each_head);
        normalise(latents, layer.latents_norm, EPS, true, queries);
        each(all, [&](int t) {
            if (t >= seen.count)
                std::memcpy(context.row(t), queries.row(t - seen.count), size_t(width_) * 4);
            else
                kernels().norm(seen.row(t), width_, layer.features_norm.weight, layer.features_norm.bias, EPS, true,
                               context.row(t));
        });
        multiply(layer.q, queries, q);
        multiply(layer.kv, context, kv);
        attend(heads_, {q, 0}, {kv, 0}, {kv, shared}, {{0, latents_, 0, all}}, attended);
        multiply(layer.out, attended, latents, Activation::none, true);
        normalise(latents, layer.feed_forward_norm, EPS, true, queries);
        feed(layer.network, queries, latents, true);
    }

    std::shared_ptr<const Picture> picture(Vectors& context) {
        const StackSpec& s = stack_.spec;
        int shared = s.kv_heads * s.head_width;
        auto made = std::make_shared<Picture>(Picture{Cache(s, s.layers, half()), latents_, 1469598103934665603ull});
        made->keys_values.reserve(0, latents_);
        Vectors kv(latents_, 2 * shared);
        for (int layer = 0; layer < s.layers; layer++) {
            multiply(stack_.layers[layer].cross_kv, context, kv);
            each(latents_, [&](int t) {
                for (int head = 0; head < s.kv_heads; head++)
                    made->keys_values.put(layer, head, t, kv.row(t) + head * s.head_width,
                                          kv.row(t) + shared + head * s.head_width);
            });
        }
        for (int t = 0; t < latents_; t++)
            for (int d = 0; d < context_width_; d++) {
                uint32_t bits;
                std::memcpy(&bits, context.row(t) + d, 4);
                made->mark = (made->mark ^ bits) * 0x9E3779B97F4A7C15ull;
                made->mark ^= made->mark >> 29;
            }
        made->mark |= 1ull << 63;
        return made;
    }

    int text_width_, width_ = 0, context_width_ = 0, latents_ = 0, frames_ = 0;
    Heads heads_{};
    const float *queries_ = nullptr, *times_ = nullptr;
    Norm norm_;
    Linear into_, context_;
    std::vector<Layer> resampler_;
    Stack stack_;
};

}  // namespace

std::unique_ptr<Bridge> make_gated_cross(const Settings& settings, Model& model) {
    return std::make_unique<GatedCross>(settings, model);
}

}  // namespace sepiola
