#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "parts.hpp"

namespace sepiola {

namespace {

constexpr int TOGETHER = 128;  // tokens of a decoder's prompt that go through the layers at once

void require(bool right, const std::string& message) {
    if (!right) throw std::invalid_argument(message);
}

void check_stack(const StackSpec& s, const std::string& name) {
    auto within = [&](const char* key, long value, long most) {
        require(value >= 1 && value <= most, name + "." + key + " is " + std::to_string(value) + "; expected 1 to " +
                                                 std::to_string(most));
    };
    within("layers", s.layers, 1024);
    within("heads", s.heads, 1024);
    within("kv_heads", s.kv_heads, 1024);
    within("head_width", s.head_width, 1024);
    within("inner", s.inner, LARGEST);
    within("width", s.width, LARGEST);
    require(s.experts >= 0 && s.experts <= 1024, name + ".experts is " + std::to_string(s.experts) + "; expected 0 to 1024");
    if (s.experts) {
        within("chosen", s.chosen, s.experts);
        require(s.gated, name + ".experts are gated");
    }
    require(s.experts || (!s.shared && s.dense.empty()), name + ".shared and .dense are of a mixture");
    require(s.heads % s.kv_heads == 0, name + ".heads is no multiple of kv_heads");
    require(long(s.windows.size()) == s.layers, name + ".windows is not one a layer");
}

}  // namespace

const Tensor* Model::find(const std::string& name) const {
    auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
}

std::vector<const Linear*> Layer::linears(int chosen) const {
    std::vector<const Linear*> result;
    for (const Linear* l : {&qkv, &out, &cross_q, &cross_kv, &cross_out, &gate, &up, &down, &router, &shared_router,
                            &shared.gate, &shared.up, &shared.down})
        if (l->matrix.data) result.push_back(l);
    for (int e = 0; e < std::min(chosen, int(experts.size())); e++)
        for (const Linear* l : {&experts[e].gate, &experts[e].up, &experts[e].down}) result.push_back(l);
    return result;
}

const float* Model::numbers(const std::string& name, size_t count, bool needed) {
    const Tensor* tensor = find(name);
    require(tensor || !needed, "there is no tensor '" + name + "'");
    if (!tensor) return nullptr;
    require(tensor->kind == "f32" && tensor->bytes == count * 4,
            "'" + name + "' has " + std::to_string(tensor->bytes) + " bytes of " + tensor->kind + "; expected " +
                std::to_string(count) + " numbers of f32");
    own_.push_back(std::make_unique<std::vector<float>>(count + 2 * ROWS, 0.0f));
    std::memcpy(own_.back()->data(), tensor->data, count * 4);
    return own_.back()->data();
}

Linear Model::linear(const std::string& name, int rows, int columns) {
    const Tensor* tensor = find(name);
    require(tensor, "there is no matrix '" + name + "'");
    require(tensor->kind.rfind("packed ", 0) == 0, "'" + name + "' is " + tensor->kind + "; expected a packed matrix");
    Linear result;
    result.matrix = {kind_of(tensor->kind.c_str() + 7), rows, columns, static_cast<const uint8_t*>(tensor->data)};
    require(tensor->rows == rows && tensor->columns == columns && tensor->bytes == result.matrix.bytes(),
            "'" + name + "' is (" + std::to_string(tensor->rows) + ", " + std::to_string(tensor->columns) + ") in " +
                std::to_string(tensor->bytes) + " bytes; expected (" + std::to_string(rows) + ", " +
                std::to_string(columns) + ") in " + std::to_string(result.matrix.bytes()));
    result.bias = numbers(name + ".bias", rows, false);
    return result;
}

Norm Model::norm(const std::string& name, int count, bool needed) {
    return {numbers(name + ".weight", count, needed), numbers(name + ".bias", count, false)};
}

Stack Model::stack(const StackSpec& s, const std::string& name) {
    check_stack(s, name);
    Stack result;
    result.spec = s;
    int width = s.width, each = s.heads * s.head_width, shared = s.kv_heads * s.head_width;
    bool closes = s.place == Place::sandwich, own = s.place != Place::parallel;
    result.normalises_heads = find(name + ".0.q_norm.weight") != nullptr;
    result.normalises_embedding = find(name + ".embedding_norm.weight") != nullptr;
    result.embedding_norm = norm(name + ".embedding_norm", width, false);
    result.norm = norm(name + ".norm", width, s.closes);
    for (const char* table : {".rotary", ".local_rotary"})
        if (find(name + table))
            result.rotaries.push_back({numbers(name + table, s.head_width / 2, true),
                                       table[1] == 'r' ? s.amplitude : s.local_amplitude, 0, {}, {}});
    for (int i = 0; i < s.layers; i++) {
        std::string at = name + "." + std::to_string(i) + ".";
        Layer layer;
        layer.window = s.windows[i];
        layer.rotary = result.rotaries.empty() ? -1 : layer.window ? int(result.rotaries.size()) - 1 : 0;
        layer.attention_norm = norm(at + "attention_norm", width, true);
        if (closes) layer.attention_close = norm(at + "attention_close", width, true);
        layer.qkv = linear(at + "qkv", each + 2 * shared, width);
        layer.out = linear(at + "out", width, each);
        if (result.normalises_heads) {
            layer.q_norm = norm(at + "q_norm", s.joined ? each : s.head_width, true);
            layer.k_norm = norm(at + "k_norm", s.joined ? shared : s.head_width, true);
        }
        if (s.cross) {
            layer.cross_norm = norm(at + "cross_norm", width, true);
            layer.cross_q = linear(at + "cross_q", each, width);
            layer.cross_kv = linear(at + "cross_kv", 2 * shared, width);
            layer.cross_out = linear(at + "cross_out", width, each);
        }
        if (own) layer.feed_forward_norm = norm(at + "feed_forward_norm", width, true);
        if (closes) layer.feed_forward_close = norm(at + "feed_forward_close", width, true);
        auto network = [&](const std::string& at, int inner) {
            return Expert{s.gated ? linear(at + "gate", inner, width) : Linear{}, linear(at + "up", inner, width),
                          linear(at + "down", width, inner)};
        };
        bool dense = std::find(s.dense.begin(), s.dense.end(), i) != s.dense.end();
        int experts = dense ? 0 : s.experts;
        if (experts) layer.router = linear(at + "router", experts, width);
        for (int e = 0; e < experts; e++)
            layer.experts.push_back(network(at + "experts." + std::to_string(e) + ".", s.inner));
        if (experts && s.shared) {
            layer.shared = network(at + "shared.", s.shared);
            layer.shared_router = linear(at + "shared.router", 1, width);
        }
        if (!experts) {
            Expert own = network(at, dense ? s.dense_inner : s.inner);
            layer.gate = own.gate, layer.up = own.up, layer.down = own.down;
        }
        result.note(layer);
        result.layers.push_back(layer);
    }
    if (const Tensor* relative = find(name + ".relative")) {
        result.distance = int(std::min<size_t>(relative->bytes / 4 / s.heads, LARGEST) / 2);
        result.relative = numbers(name + ".relative", size_t(s.heads) * (2 * result.distance + 1), true);
    }
    if (s.length) result.positions = numbers(name + ".positions", size_t(s.length) * width, true);
    result.sinusoids = numbers(name + ".sinusoids", (width + 1) / 2, false);
    return result;
}

Model::Model(const Spec& spec, Tensors tensors, int threads, const char* names, bool mapped)
    : spec_(spec), tensors_(std::move(tensors)), kernels_(sepiola::kernels(names)),
      team_(threads > 0 ? std::min(threads, 1024) : processors()), work_(new Work), encoder_work_(new Work) {
    require(spec.width >= 1 && spec.width <= LARGEST, "width is " + std::to_string(spec.width));
    require(spec.vocabulary >= 1 && spec.vocabulary <= LARGEST, "vocabulary is " + std::to_string(spec.vocabulary));
    size_t bytes = 0;
    auto packed = [](const Tensor& tensor) { return tensor.kind.rfind("packed ", 0) == 0; };
    for (const auto& [name, tensor] : tensors_)
        if (packed(tensor)) bytes += (tensor.bytes + 63) / 64 * 64;
    weights_ = Floats(bytes / 4, false);
    auto* to = reinterpret_cast<uint8_t*>(weights_.data());
    for (auto& [name, tensor] : tensors_) {
        if (!packed(tensor)) continue;
        if (tensor.bytes) std::memcpy(to, tensor.data, tensor.bytes);
        if (mapped) give_back(tensor.data, tensor.bytes);
        tensor.data = to;
        to += (tensor.bytes + 63) / 64 * 64;
    }
    embedding_ = linear("embedding", spec.vocabulary, spec.width).matrix;
    decoder_embedding_ = find("decoder_embedding")
                             ? linear("decoder_embedding", spec.vocabulary, spec.width).matrix
                             : embedding_;
    head_ = find("head") ? linear("head", spec.vocabulary, spec.width).matrix : embedding_;
    head_bias_ = numbers("head.bias", spec.vocabulary, false);
    decoder_ = stack(spec.decoder, "decoder");
    half_ = decoder_.layers[0].qkv.matrix.kind != Kind::f32;
    require(spec.decoder.cross == spec.encoder.has_value(), "decoder.cross and an encoder go together");
    if (spec.encoder) encoder_ = stack(*spec.encoder, "encoder");
    if (spec.vision) vision_ = make_vision(*spec.vision, *this);
    if (spec.bridge) bridge_ = make_bridge(*spec.bridge, *this);
    tensors_.clear();
}

Model::~Model() = default;

void Model::check(int count, const int32_t* tokens, const int32_t* rows, int batch) const {
    for (int i = 0; i < count; i++) {
        if (tokens)
            require(tokens[i] >= 0 && tokens[i] < spec_.vocabulary,
                    "token " + std::to_string(tokens[i]) + " is outside the vocabulary of " +
                        std::to_string(spec_.vocabulary));
        require(rows[i] >= 0 && rows[i] < batch, "row " + std::to_string(rows[i]) + " is not in the batch");
        require(i == 0 || rows[i] >= rows[i - 1], "the tokens of a row must stand together, rows in order");
    }
}

// Tables of angles and distances for so many positions.
void Model::reach(Stack& s, int positions) {
    require(!s.spec.length || positions <= s.spec.length,
            "position " + std::to_string(positions) + " is beyond the model's " + std::to_string(s.spec.length));
    for (Rotary& rotary : s.rotaries) {
        int half = s.spec.head_width / 2;
        if (rotary.positions >= positions) continue;
        int until = std::max(positions, 2 * rotary.positions);
        rotary.cosines.resize(size_t(until) * half);
        rotary.sines.resize(size_t(until) * half);
        for (int p = rotary.positions; p < until; p++)
            for (int i = 0; i < half; i++) {
                float angle = float(p) * rotary.frequencies[i];
                rotary.cosines[size_t(p) * half + i] = std::cos(angle) * rotary.amplitude;
                rotary.sines[size_t(p) * half + i] = std::sin(angle) * rotary.amplitude;
            }
        rotary.positions = until;
    }
    if (s.relative && s.laid < positions) {
        s.laid = std::max(positions, 2 * s.laid);
        int size = 2 * s.laid + 48, whole = 2 * s.distance + 1;
        s.relative_row.assign(size_t(s.spec.heads) * size, 0.0f);
        for (int head = 0; head < s.spec.heads; head++)
            for (int i = 0; i < size; i++)
                s.relative_row[size_t(head) * size + i] =
                    s.relative[head * whole + std::clamp(i - s.laid - 16, -s.distance, s.distance) + s.distance];
    }
}

Batch Model::begin(int rows) {
    Batch batch;
    for (int i = 0; i < rows; i++) batch.push_back(std::make_shared<Sequence>(spec_.decoder, half_));
    return batch;
}

std::vector<Model::Run> Model::runs(int count, const int32_t* rows) const {
    std::vector<Run> result;
    for (int i = 0; i < count; i++) {
        if (i == 0 || rows[i] != rows[i - 1]) result.push_back({nullptr, nullptr, i, 0, 0, 0, 0});
        result.back().count++;
    }
    return result;
}

void Model::extend(Batch& batch, int count, const int32_t* tokens, const float* vectors, const int32_t* rows,
                   float* states) {
    check(count, tokens, rows, int(batch.size()));
    auto turn = team_.turn();
    forward(batch, count, tokens, vectors, rows, states);
}

void Model::forward(Batch& batch, int count, const int32_t* tokens, const float* vectors, const int32_t* rows,
                    float* states) {
    for (int first = 0; first < count; first += TOGETHER) {
        int some = std::min(TOGETHER, count - first), furthest = 0;
        std::vector<Run> now = runs(some, rows + first);
        for (Run& run : now) {
            Sequence& sequence = *batch[rows[first + run.first]];
            require(!spec_.decoder.cross || sequence.context, "the row has no encoder's states to look at");
            run.position = sequence.length();
            run.seen = run.position + run.count;
            furthest = std::max(furthest, run.seen);
            sequence.cache.reserve(run.position, run.seen);
            run.cache = &sequence.cache;
            run.context = sequence.context.get();
            run.context_length = sequence.context_length;
        }
        reach(decoder_, furthest);
        std::vector<Run> seen = looks(batch, some, tokens ? tokens + first : nullptr, rows + first);
        run(decoder_, *work_, now, some, tokens ? tokens + first : nullptr,
            vectors ? vectors + size_t(first) * spec_.width : nullptr,
            states ? states + size_t(first) * spec_.width : nullptr, inserted_ ? &seen : nullptr);
        computed_ += some;
        for (const Run& run : now) {
            Sequence& sequence = *batch[rows[first + run.first]];
            sequence.vectors |= vectors != nullptr;
            for (int t = first + run.first; t < first + run.first + run.count; t++)
                sequence.read.push_back(known_by(sequence, sequence.read.size(), tokens ? tokens + t : nullptr,
                                                 vectors ? vectors + size_t(t) * spec_.width : nullptr));
        }
    }
}

void Model::encode(int count, const int32_t* tokens, const float* vectors, const int32_t* rows, float* states) {
    require(encoder_.has_value(), "this model has no encoder");
    check(count, tokens, rows, 1 << 30);
    auto turn = team_.turn();
    std::vector<Run> now = runs(count, rows);
    std::vector<Cache> caches(now.size(), Cache(*spec_.encoder, 1, false));
    int furthest = 0;
    for (size_t i = 0; i < now.size(); i++) {
        caches[i].reserve(0, now[i].count);
        now[i].cache = &caches[i];
        now[i].seen = now[i].count;
        furthest = std::max(furthest, now[i].seen);
    }
    reach(*encoder_, furthest);
    run(*encoder_, *encoder_work_, now, count, tokens, vectors, states);
}

Batch Model::begin_from(int rows_, int count, const float* memory, const int32_t* rows) {
    require(spec_.decoder.cross, "this model's decoder looks at no encoder");
    check(count, nullptr, rows, rows_);
    auto turn = team_.turn();
    Batch batch = begin(rows_);
    const StackSpec& s = decoder_.spec;
    int shared = s.kv_heads * s.head_width;
    std::vector<Run> now = runs(count, rows);
    std::vector<std::shared_ptr<Cache>> contexts;
    for (const Run& run : now) {
        contexts.push_back(std::make_shared<Cache>(s, s.layers, half_));
        contexts.back()->reserve(0, run.count);
    }
    Work& w = *work_;
    w.fit(*this, decoder_, count, 0);
    team_.run([&](int thread) {
        Lane lane{*this, w, thread, count};
        Input input = lane.open(memory, spec_.width, nullptr, s, decoder_.quantised, decoder_.reads_floats);
        for (int layer = 0; layer < s.layers; layer++) {
            lane.product(decoder_.layers[layer].cross_kv, input, w.heads, w.heads_stride, false);
            team_.each(thread, int(now.size()), 1, [&](int first, int last) {
                for (int r = first; r < last; r++)
                    for (int t = 0; t < now[r].count; t++) {
                        const float* kv = w.heads + size_t(now[r].first + t) * w.heads_stride;
                        for (int head = 0; head < s.kv_heads; head++)
                            contexts[r]->put(layer, head, t, kv + head * s.head_width,
                                             kv + shared + head * s.head_width);
                    }
            });
        }
    });
    for (size_t r = 0; r < now.size(); r++) {
        Sequence& sequence = *batch[rows[now[r].first]];
        sequence.context = contexts[r];
        sequence.context_length = now[r].count;
    }
    return batch;
}

void Model::embed(int count, const int32_t* tokens, float* out) {
    for (int i = 0; i < count; i++) {
        require(tokens[i] >= 0 && tokens[i] < spec_.vocabulary, "a token is outside the vocabulary");
        unpack(embedding_, tokens[i], out + size_t(i) * spec_.width);
        for (int d = 0; d < spec_.width; d++) out[size_t(i) * spec_.width + d] *= spec_.embedding_scale;
    }
}

void Model::features(int pictures, int height, int width, const float* pixels, float* out) {
    require(vision_ != nullptr, "this model has no vision encoder");
    auto turn = team_.turn();
    vision_->features(pictures, height, width, pixels, out);
}

void Model::vectors(int pictures, int patches, const float* features, int count, const int32_t* tokens,
                    const int32_t* places, float* out) {
    require(bridge_ != nullptr, "this model has no bridge");
    auto turn = team_.turn();
    bridge_->vectors(pictures, patches, features, count, tokens, places, out);
}

Pictures Model::look(int pictures, int frames, int patches, const float* features) {
    require(bridge_ != nullptr, "this model has no bridge");
    auto turn = team_.turn();
    Pictures made;
    for (int i = 0; i < pictures; i++)
        made.push_back(bridge_->look(frames, patches, features + size_t(i) * patches * bridge_->image_width));
    return made;
}

void Model::fuse(int count, const float* states, const int32_t* rows, int patches, const float* features,
                 const int32_t* feature_rows, float* out) {
    require(bridge_ != nullptr, "this model has no bridge");
    auto turn = team_.turn();
    bridge_->fuse(count, states, rows, patches, features, feature_rows, out);
}

size_t Model::read_bytes() const {
    size_t bytes = head_.bytes();
    for (const Layer& layer : decoder_.layers)
        for (const Linear* l : layer.linears(decoder_.spec.chosen))
            if (l != &layer.cross_kv) bytes += l->matrix.bytes();
    return bytes;
}

}  // namespace sepiola
